"""Rounds of a federation as one pure function of stacked hospitals."""
