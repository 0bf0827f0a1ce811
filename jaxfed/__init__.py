"""jaxfed: federated learning between hospitals, all hospitals as one batched axis."""

from jaxfed import aggregators, algorithms, data, evaluation, models, participation, privacy, transforms
from jaxfed.aggregators import chain
from jaxfed.algorithms import FedAvg, FedSGD, LocalOnly
from jaxfed.core.dataset import Dataset
from jaxfed.core.errors import InvalidInput
from jaxfed.core.hyperparameters import per_hospital, schedule
from jaxfed.core.metrics.metric import Metric
from jaxfed.core.optimizer import optimizer
from jaxfed.core.pytree import pytree
from jaxfed.core.task import Task
from jaxfed.core.types import Variables
from jaxfed.participation import Cyclic, Everyone, FixedCohort, Poisson
from jaxfed.results.compare import compare
from jaxfed.results.run import Run
from jaxfed.runtime.devices import use_cpu_devices
from jaxfed.simulation import Simulation
from jaxfed.storage.checkpoint import CheckpointError
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
    "Metric",
    "Poisson",
    "Run",
    "Simulation",
    "Task",
    "Variables",
    "aggregators",
    "algorithms",
    "chain",
    "compare",
    "data",
    "evaluation",
    "models",
    "optimizer",
    "participation",
    "per_hospital",
    "privacy",
    "pytree",
    "schedule",
    "transforms",
    "use_cpu_devices",
]
