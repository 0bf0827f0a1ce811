"""Hospitals that make mistakes, and hospitals that attack.

Mistakes are far more common than malice, so they come first: a laboratory value that drifts, another unit
(:func:`drift`, :func:`unit_swap`). On labels and rows: :func:`label_flip`, :func:`random_labels`,
:func:`backdoor`. These map a data set to a data set, before training.

Attacks on uploads are parts of a chain, given first: ``chain(ALIE(malicious(hospitals, 0.2)), NNM(4),
Median())``. :class:`SignFlip`, :class:`ModelReplacement`, :class:`Constant` and :class:`Gaussian` only know
their own update and work with every aggregator; :class:`IPM`, :class:`ALIE`, :class:`MinMax`, :class:`MinSum`
and :class:`Mimic` know those of all honest hospitals, and :class:`Optimised` also the rule in use.
"""

from jaxfed.attacks.backdoor import Trigger, attack_success, backdoor, triggered
from jaxfed.attacks.collusion import ALIE, IPM
from jaxfed.attacks.hidden import MinMax, MinSum
from jaxfed.attacks.labels import label_flip, random_labels
from jaxfed.attacks.mimic import Mimic
from jaxfed.attacks.mistakes import drift, unit_swap
from jaxfed.attacks.optimised import Optimised
from jaxfed.attacks.single import Constant, Gaussian, ModelReplacement, SignFlip
from jaxfed.attacks.stacked import attacked
from jaxfed.attacks.who import malicious

__all__ = [
    "ALIE",
    "IPM",
    "Constant",
    "Gaussian",
    "Mimic",
    "MinMax",
    "MinSum",
    "ModelReplacement",
    "Optimised",
    "SignFlip",
    "Trigger",
    "attack_success",
    "attacked",
    "backdoor",
    "drift",
    "label_flip",
    "malicious",
    "random_labels",
    "triggered",
    "unit_swap",
]
