"""Differential privacy of patients and of hospitals with its accounting, and secure sums."""

from jaxfed.privacy.accounting import Mechanism, epsilon
from jaxfed.privacy.band_mf import BandMF
from jaxfed.privacy.calibration import noise_for, steps_for
from jaxfed.privacy.correlated_noise import CorrelatedNoise
from jaxfed.privacy.hospital import AdaptiveClip, HospitalDP
from jaxfed.privacy.patient import PatientDP
from jaxfed.privacy.secure_sum import SecureSum
from jaxfed.privacy.tree import Tree

__all__ = [
    "AdaptiveClip",
    "BandMF",
    "CorrelatedNoise",
    "HospitalDP",
    "Mechanism",
    "PatientDP",
    "SecureSum",
    "Tree",
    "epsilon",
    "noise_for",
    "steps_for",
]
