"""Benchmarks that compare parts of jaxfed: aggregators under attacks and heterogeneity."""

from jaxfed.bench.benchmark import Benchmark, aggregators, grid_of
from jaxfed.bench.catalogue import FULL, Grid

__all__ = ["FULL", "Benchmark", "Grid", "aggregators", "grid_of"]
