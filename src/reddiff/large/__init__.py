"""One picture larger than memory: restored in overlapping windows, which are blended."""
