"""Differential privacy of patients and of hospitals with its accounting, and secure sums."""

from jaxfed.privacy.accounting import Mechanism, epsilon, noise_for, steps_for
from jaxfed.privacy.hospital import AdaptiveClip, HospitalDP
from jaxfed.privacy.patient import PatientDP
from jaxfed.privacy.secure_sum import SecureSum

__all__ = [
    "AdaptiveClip",
    "HospitalDP",
    "Mechanism",
    "PatientDP",
    "SecureSum",
    "epsilon",
    "noise_for",
    "steps_for",
]
