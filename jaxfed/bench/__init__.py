"""Benchmarks that compare parts of jaxfed.

:func:`aggregators` trains federations under attacks and heterogeneity; :func:`tournament` compares all rules
on the same uploads of one round.
"""

from jaxfed.bench.benchmark import Benchmark, aggregators, grid_of
from jaxfed.bench.catalogue import FULL, Grid
from jaxfed.bench.honest import HonestUploads, honest_uploads
from jaxfed.bench.tournament import RULES, Tournament, tournament

__all__ = [
    "FULL",
    "RULES",
    "Benchmark",
    "Grid",
    "HonestUploads",
    "Tournament",
    "aggregators",
    "grid_of",
    "honest_uploads",
    "tournament",
]
