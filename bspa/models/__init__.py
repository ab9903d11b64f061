"""The networks, their weights, and their use on whole images."""
