"""Differential privacy of patients and of hospitals, with its accounting."""

from jaxfed.privacy.accounting import Mechanism, epsilon, noise_for, steps_for
from jaxfed.privacy.hospital import AdaptiveClip, HospitalDP
from jaxfed.privacy.patient import PatientDP

__all__ = ["AdaptiveClip", "HospitalDP", "Mechanism", "PatientDP", "epsilon", "noise_for", "steps_for"]
