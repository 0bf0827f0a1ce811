"""Synthetic hospitals with health-record-like data: one file for each way in which they can differ."""
