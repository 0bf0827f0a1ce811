"""jaxfed: federated learning between hospitals, all hospitals as one batched axis."""

from jaxfed import aggregators, algorithms, data, evaluation, models, participation
from jaxfed.algorithms import FedAvg, FedSGD, LocalOnly
from jaxfed.checkpoint import CheckpointError
from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.core.optimizer import optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.types import Variables
from jaxfed.core.values import per_hospital, schedule
from jaxfed.devices import use_cpu_devices
from jaxfed.participation import Cyclic, Everyone, FixedCohort, Poisson
from jaxfed.report.compare import compare
from jaxfed.results import Run
from jaxfed.simulation import Simulation
from jaxfed.sweep import Halving

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Cyclic",
    "Dataset",
    "Everyone",
    "FedAvg",
    "FedSGD",
    "FixedCohort",
    "Halving",
    "InvalidInput",
    "LocalOnly",
    "Poisson",
    "Run",
    "Simulation",
    "Variables",
    "aggregators",
    "algorithms",
    "compare",
    "data",
    "evaluation",
    "models",
    "optimizer",
    "participation",
    "per_hospital",
    "pytree",
    "schedule",
    "use_cpu_devices",
]
