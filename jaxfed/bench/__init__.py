"""Benchmarks that compare parts of jaxfed: rules of aggregation on the same uploads of a round."""

from jaxfed.bench.honest import HonestUploads, honest_uploads
from jaxfed.bench.tournament import RULES, Tournament, tournament

__all__ = ["RULES", "HonestUploads", "Tournament", "honest_uploads", "tournament"]
