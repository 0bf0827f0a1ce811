"""Files: checkpoints, arrays and sweeps on disk."""
