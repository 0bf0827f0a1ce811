"""One file per peer: a process of its own environment, which trains when the driver asks it to."""
