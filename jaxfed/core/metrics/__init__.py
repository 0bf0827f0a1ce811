"""Metrics of segments of a flat store, under jit, and the meaning of their names."""
