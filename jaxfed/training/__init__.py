"""Training of a single specification on devices."""
