"""The names of the arms of a comparison, what each is, and which two are shown against one another."""

from __future__ import annotations

from collections.abc import Sequence

LOCAL, POOLED, FEDERATED = "local-only", "pooled", "federated"
PERSONALISED, LEFT_OUT = "personalised", "leave-one-out"
MEANINGS = {
    LOCAL: "every hospital trains alone",
    POOLED: "all training rows in one place",
    FEDERATED: "one model of all hospitals",
    PERSONALISED: "a model of its own for each hospital",
    LEFT_OUT: "each hospital with the model of all others",
}


def shown_pair(arms: Sequence[str]) -> tuple[str, str]:
    """The arm whose gains are shown, and the one that it is set against."""
    return FEDERATED if FEDERATED in arms else arms[-1], LOCAL if LOCAL in arms else arms[0]
