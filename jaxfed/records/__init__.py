"""Measurements of runs and sweeps, as arrays and tables."""
