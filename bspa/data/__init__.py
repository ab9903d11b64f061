"""Photographs: fetched, listed, decoded, resized, packed (Section 4.1)."""
