"""Slices of one model by width."""
