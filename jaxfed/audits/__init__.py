"""Attacks on what hospitals send and on what models remember, and audits of claims of privacy."""

from jaxfed.audits.canaries import audit
from jaxfed.audits.dense_layers import dense_rows
from jaxfed.audits.inversion import Inversion, invert
from jaxfed.audits.membership import Membership, membership
from jaxfed.audits.one_run import Audit, audit_mechanism, audit_of_scores, epsilon_bound, p_value
from jaxfed.audits.prevalence import Prevalence, prevalence
from jaxfed.audits.roc import Roc

__all__ = [
    "Audit",
    "Inversion",
    "Membership",
    "Prevalence",
    "Roc",
    "audit",
    "audit_mechanism",
    "audit_of_scores",
    "dense_rows",
    "epsilon_bound",
    "invert",
    "membership",
    "p_value",
    "prevalence",
]
