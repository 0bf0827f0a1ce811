"""What users hold after a run."""
