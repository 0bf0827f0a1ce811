"""A limit between what two blocks need, and the message that names a block that fits."""

import re

import pytest

from jaxfed.core.errors import InvalidInput
from jaxfed.core.layout import memory


def names_a_block_that_fits(simulation, monkeypatch):
    """``simulation(block=...)`` with 16 is refused where the limit is between the needs of 1 and of 16."""
    allowed = (_needed(simulation(block=1)) + _needed(simulation(block=16))) // 2
    monkeypatch.setenv("JAXFED_MEMORY", str(allowed))
    with pytest.raises(
        InvalidInput, match=r"block=16: a round needs .* and there are .*; block=\d+"
    ) as found:
        simulation(block=16).run(1, progress=False)
    fits = int(re.search(r"block=(\d+) would fit", str(found.value)).group(1))
    assert 1 < fits < 16
    simulation(block=fits).run(1, progress=False)
    assert memory.format_bytes(allowed) in str(found.value)


def _needed(sim):
    """Bytes, as XLA says."""
    trainer = sim.trainer
    exact = trainer.traced(trainer.input(0), trainer.slot(0)).lower().compile().memory_analysis()
    return exact.argument_size_in_bytes + exact.temp_size_in_bytes
