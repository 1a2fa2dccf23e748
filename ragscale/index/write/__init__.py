"""Building an index and changing it: segments, commits, maintenance and repair."""
