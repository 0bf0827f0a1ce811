"""Groups of hospitals: one program for all of them, and each as if it were alone."""

import jax
import jax.numpy as jnp
from federations import Lab, hospitals, recipe, same
from groups import OF, SGD, GroupLab, models

from jaxfed.algorithms import FedAvg
from jaxfed.algorithms.mixed import ByGroup
from jaxfed.core.hyperparameters import per_hospital
from jaxfed.participation import Poisson

ROUNDS = 3
HALF = Poisson(jnp.float32(0.6))


def test_groups_by_themselves_are_federations_by_themselves():
    """Bit for bit, with mini-batches, absences and numbers that differ between hospitals."""
    data, epochs = hospitals(), [1, 3, 2, 2, 1]
    lab = GroupLab(ByGroup(FedAvg()), participation=HALF, batch_size=4, epochs=per_hospital(epochs))
    _, found, log = lab.rounds(ROUNDS)
    for name, model in models().items():
        mine = [c for c, group in enumerate(OF) if group == name]
        part = data.select([data.hospitals[c] for c in mine])
        how = recipe(part, model=model, participation=HALF, client=SGD, batch_size=4,
                     epochs=per_hospital([epochs[c] for c in mine]))  # fmt: skip
        server, _, info = Lab(how, part).rounds(ROUNDS)
        seen = {**info.clients, "present": info.present, "rejected": info.rejected}
        same(jax.tree.map(lambda leaf: leaf[0], found[name]), server.variables.params)
        same({key: rows[:, mine] for key, rows in log.items()}, seen)
