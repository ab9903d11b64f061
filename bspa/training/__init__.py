"""Training stages and the attribution between them (Section 3.3, Algorithm 1)."""
