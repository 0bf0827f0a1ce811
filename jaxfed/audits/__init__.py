"""Attacks on what hospitals send and on what models remember, and audits of claims of privacy."""

from jaxfed.audits.membership import Membership, membership
from jaxfed.audits.one_run import Audit, audit_mechanism, audit_of_scores, epsilon_bound, p_value
from jaxfed.audits.roc import Roc

__all__ = [
    "Audit",
    "Membership",
    "Roc",
    "audit_mechanism",
    "audit_of_scores",
    "epsilon_bound",
    "membership",
    "p_value",
]
