"""How hard sub-images are: grid, scores, classes, shards (Section 3.2)."""
