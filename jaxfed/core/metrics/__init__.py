"""Metrics of segments of a flat store, under jit, and what their names mean."""
