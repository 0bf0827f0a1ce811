"""What was measured, as arrays and tables."""
