"""Federated algorithms, one file each."""

from jaxfed.algorithms.afl import AFL
from jaxfed.algorithms.apfl import APFL
from jaxfed.algorithms.clustered_fl import ClusteredFL
from jaxfed.algorithms.ditto import Ditto
from jaxfed.algorithms.fedavg import FedAvg
from jaxfed.algorithms.fedavgm import FedAvgM
from jaxfed.algorithms.fedbn import FedBN
from jaxfed.algorithms.fedcm import FedCM
from jaxfed.algorithms.feddyn import FedDyn
from jaxfed.algorithms.fedexp import FedExP
from jaxfed.algorithms.fednova import FedNova
from jaxfed.algorithms.fedopt import FedAdagrad, FedAdam, FedYogi
from jaxfed.algorithms.fedper import FedPer
from jaxfed.algorithms.fedprox import AdaptiveFedProx, FedProx
from jaxfed.algorithms.fedrep import FedRep
from jaxfed.algorithms.fedrolex import FedRolex
from jaxfed.algorithms.fedsam import FedSAM
from jaxfed.algorithms.fedsgd import FedSGD
from jaxfed.algorithms.fine_tuned import FineTuned
from jaxfed.algorithms.fjord import FjORD
from jaxfed.algorithms.heterofl import HeteroFL
from jaxfed.algorithms.ifca import IFCA
from jaxfed.algorithms.local_only import LocalOnly
from jaxfed.algorithms.mime import Mime, MimeLite
from jaxfed.algorithms.moon import MOON
from jaxfed.algorithms.mrmtl import MRMTL
from jaxfed.algorithms.perfedavg import PerFedAvg
from jaxfed.algorithms.pfedme import PFedMe
from jaxfed.algorithms.qfedavg import QFedAvg
from jaxfed.algorithms.scaffold import Scaffold

__all__ = [
    "AFL",
    "APFL",
    "IFCA",
    "MOON",
    "MRMTL",
    "AdaptiveFedProx",
    "ClusteredFL",
    "Ditto",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedBN",
    "FedCM",
    "FedDyn",
    "FedExP",
    "FedNova",
    "FedPer",
    "FedProx",
    "FedRep",
    "FedRolex",
    "FedSAM",
    "FedSGD",
    "FedYogi",
    "FineTuned",
    "FjORD",
    "HeteroFL",
    "LocalOnly",
    "Mime",
    "MimeLite",
    "PFedMe",
    "PerFedAvg",
    "QFedAvg",
    "Scaffold",
]
