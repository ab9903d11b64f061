"""What a training batch holds (Eqs. 1 and 4)."""
