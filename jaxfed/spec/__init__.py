"""The specification of a simulation as data, with its checks."""
