"""The results of runs and sweeps."""
