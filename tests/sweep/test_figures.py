"""Figures of sweeps made by hand: what they show, and what they refuse."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sweeps import made

from jaxfed.core.errors import InvalidInput
from jaxfed.figures.settings import BEST, scale

STEP, MU = "client_optimizer.learning_rate", "algorithm.mu"
NAN = float("nan")


def bowl(settings, round):
    step, mu = np.log10(settings.get(STEP, 0.1)) + 1, settings.get(MU, 0.01)
    return 1 - 0.05 * round + 0.1 * step**2 + abs(mu - 0.01) + 0.01 * settings.get("seed", 0)


def died(settings):
    """A whole cell, and one seed of another."""
    step, mu = settings[STEP], settings.get(MU, 0)
    return 7.0 if (step, mu) == (1.0, 0) or (step, mu, settings.get("seed")) == (1.0, 0.01, 1) else NAN


GRID = {STEP: [0.01, 0.1, 1.0], MU: [0.01, 0.0], "seed": [0, 1]}


def drawn(figure):
    figure.savefig("/dev/null", format="png")  # whatever cannot be drawn fails here
    return figure


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_heat_map():
    figure = drawn(made(GRID, bowl, died=died).plot())
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (STEP, MU)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0", "0.01"]  # numbers by size
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown[(1, 1)] == "0.505"
    assert shown[(0, 0)] == "0.615"
    assert shown[(2, 0)] == "× round 7"
    assert shown[(2, 1)] == "0.600\n1 of 2 ×"
    (frame,) = [p for p in axes.patches if isinstance(p, Rectangle) and to_hex(p.get_edgecolor()) == BEST]
    assert frame.get_xy() == (0.5, 0.5)
    assert "mean of 2 seeds" in axes.get_title(loc="left")
    assert "on test rows 0.605" in axes.get_title(loc="left")
    image = axes.images[0].get_array()
    assert image[1, 1] == pytest.approx(0.505)
    assert axes.images[0].get_cmap().name == "viridis_r"  # less is better


def test_the_best_is_marked_where_validation_says():
    """Also where test rows are shown and say something else."""
    sweep = made(GRID, bowl)
    loss = sweep.data["log_loss_pooled"].copy()
    loss.loc[{STEP: 0.01, "split": "test"}] = 0.1
    sweep = type(sweep)(sweep.data.assign(log_loss_pooled=loss), {}, {})
    axes = drawn(sweep.plot(split="test")).axes[0]
    (frame,) = [p for p in axes.patches if isinstance(p, Rectangle) and to_hex(p.get_edgecolor()) == BEST]
    assert frame.get_xy() == (0.5, 0.5)
    assert axes.get_title(loc="left").startswith("test log loss, pooled")


def test_a_cell_is_the_best_of_the_other_fields():
    sweep = made(
        {**GRID, "model": ["mlp", "logistic"]}, lambda s, r: bowl(s, r) + 0.2 * (s["model"] == "mlp")
    )
    axes = drawn(sweep.plot(x=STEP, y=MU)).axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts}[(1, 1)] == "0.505"
    assert "best of model" in axes.get_title(loc="left")
    axes = drawn(sweep.plot(y="model", kind="heatmap")).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (STEP, "model")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["mlp", "logistic"]


def test_drawn_values_are_points_on_logarithmic_axes():
    rng = np.random.default_rng(0)
    fields = {STEP: 10 ** rng.uniform(-3, 0, 20), MU: 10 ** rng.uniform(-3, 0, 20)}
    sweep = made(fields, bowl, zipped=True, died=lambda s: 3.0 if s[STEP] > 0.5 else NAN)
    axes = drawn(sweep.plot()).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    dead, living, ring = (len(points.get_offsets()) for points in axes.collections)
    assert (dead, living, ring) == (sweep.dead, 20 - sweep.dead, 1)


def test_curves_of_one_field():
    sweep = made({STEP: [0.01, 0.1, 1.0], "seed": [0, 1, 2]}, bowl, died=died)
    left, right = drawn(sweep.plot()).axes
    labels = left.get_legend_handles_labels()[1]
    assert labels[::-1] == ["learning_rate=0.1 (best)", "learning_rate=0.01", "learning_rate=1"]
    best = left.lines[labels.index("learning_rate=0.1 (best)")]
    np.testing.assert_allclose(best.get_ydata(), [1.01, 0.76, 0.51], rtol=1e-6)
    assert right.get_xscale() == "log"
    assert "3 of 3 diverged" in texts(right.figure)
    assert (left.get_xlabel(), left.get_ylabel()) == ("rounds", "validation log loss, pooled")


def test_curves_of_many_settings_show_the_best_ones():
    sweep = made({STEP: [0.01, 0.03, 0.1, 0.3, 1.0], MU: [0.0, 0.01]}, bowl)
    (axes,) = drawn(sweep.plot("auroc", kind="curves")).axes
    labels = axes.get_legend_handles_labels()[1]
    assert "learning_rate=0.1, mu=0.01 (best)" in labels
    assert "the 5 others" in labels
    assert len(labels) == 6


def test_what_explodes_leaves_the_picture():
    sweep = made({STEP: [0.01, 0.1, 1.0]}, lambda s, r: bowl(s, r) + (1e6 * r if s[STEP] == 1 else 0))
    left, right = drawn(sweep.plot()).axes
    assert left.get_ylim()[1] < 2
    assert right.get_ylim()[1] < 2


def test_parallel_coordinates():
    rng = np.random.default_rng(0)
    fields = {
        STEP: 10 ** rng.uniform(-3, 0, 20),
        MU: rng.choice([0.0, 0.1], 20),
        "model": 10 * ["mlp", "cnn"],
    }
    sweep = made(fields, bowl, zipped=True, died=lambda s: 3.0 if s[STEP] > 0.5 else NAN)
    figure = drawn(sweep.plot())
    axes = figure.axes[0]
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    assert names == ["learning_rate", "mu", "model", "validation log loss,\npooled"]
    ends = np.array([line.get_ydata()[-1] for line in axes.lines if len(line.get_xdata()) == 4])
    assert len(ends) == 20
    assert (ends < 0).sum() == sweep.dead
    assert ends.max() == 1
    assert "diverged" in texts(figure)


def test_short_names_stay_different():
    sweep = made({"algorithm.mu": [0.0, 0.1], "aggregator.mu": [0.0, 1.0], "l2": [0.0, 0.1]}, bowl)
    names = [tick.get_text() for tick in drawn(sweep.plot()).axes[0].get_xticklabels()]
    assert names[:3] == ["algorithm.mu", "aggregator.mu", "l2"]


@pytest.mark.parametrize("kind", ["heatmap", "curves", "parallel"])
@pytest.mark.parametrize(
    "sweep",
    [
        made({STEP: [1.0, 3.0], MU: [0.0, 0.1]}, bowl, died=lambda s: 3.0),
        made({STEP: [0.1], MU: [0.1]}, bowl),
        made({STEP: [0.1, 0.3], MU: [0.0, 0.1], "seed": [0, 1]}, bowl, splits=("train",), rounds=(4,)),
    ],
    ids=["all dead", "one configuration", "no validation rows, one evaluation"],
)
def test_odd_sweeps_are_drawn(sweep, kind):
    assert isinstance(drawn(sweep.plot(kind=kind)), Figure)


def test_only_seeds_are_curves():
    (axes,) = drawn(made({"seed": range(3)}, bowl).plot()).axes
    assert axes.get_title() == "Mean and range of 3 seeds"


@pytest.mark.parametrize(
    ("fields", "arguments", "said"),
    [
        (GRID, {"kind": "heat"}, "did you mean 'heatmap'"),
        (GRID, {"metric": "auorc"}, "did you mean 'auroc'"),
        (GRID, {"split": "tets"}, "did you mean 'test'"),
        (GRID, {"x": "algorithm.nu"}, "did you mean 'algorithm.mu'"),
        (GRID, {"x": MU, "y": MU}, "two fields"),
        ({STEP: [0.1]}, {"kind": "heatmap"}, "needs two fields"),
        ({"seed": [0, 1]}, {"kind": "parallel"}, "needs a field"),
    ],
)
def test_what_cannot_be_drawn(fields, arguments, said):
    with pytest.raises(InvalidInput, match=said):
        made(fields, bowl).plot(**arguments)


def test_the_best_of_other_fields_needs_validation_rows():
    sweep = made({STEP: [0.1, 0.3], MU: [0.0, 0.1], "l2": [0.0, 0.1]}, bowl, splits=("train",))
    with pytest.raises(InvalidInput, match="best of l2"):
        sweep.plot(x=STEP, y=MU)


def test_scales():
    assert scale([0.01, 0.1]) == "log"
    assert scale([0, 0.01, 0.1]) == "symlog"
    assert scale([1, 2, 3]) == "linear"
    assert scale([-1, 0.01, 10]) == "linear"
    assert scale([0.0, 0.1]) == "linear"
