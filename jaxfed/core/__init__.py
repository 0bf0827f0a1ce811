"""The lowest layer: data layout, problem, local training, one round. It imports no other part of jaxfed."""
