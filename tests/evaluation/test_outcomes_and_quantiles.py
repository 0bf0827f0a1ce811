"""Several outcomes at once, and a number with its quantiles, against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    roc_auc_score,
)  # fmt: skip

import jaxfed
from jaxfed import InvalidInput
from jaxfed.core.task import Measure
from jaxfed.evaluation import multilabel, quantiles

rng = np.random.default_rng(0)
SEGMENT = np.repeat([0, 1, 2], [60, 40, 5])
SEGMENT[3] = 3  # a row of no segment


def measured(task, outputs, y):
    losses = task.losses(jnp.asarray(outputs), jnp.asarray(y), None)
    return Measure(task)(jnp.asarray(outputs), losses, jnp.asarray(y), jnp.asarray(SEGMENT), 3), losses


def outcomes(unknown):
    y = rng.integers(0, 2, (105, 3)).astype(np.float32)
    y[rng.random(y.shape) < unknown] = -1
    y[100:, 1] = 1  # one class
    return y


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_outcomes(unknown):
    task, y, outputs = (
        multilabel(["a", "b", "c"]),
        outcomes(unknown),
        rng.normal(size=(105, 3)).astype(np.float32),
    )
    metrics, losses = measured(task, outputs, y)
    p = 1 / (1 + np.exp(-outputs.astype(float)))
    for s in range(3):
        inside = s == SEGMENT
        areas = []
        for j, name in enumerate("abc"):
            at = inside & (y[:, j] >= 0)
            area = roc_auc_score(y[at, j], outputs[at, j]) if len({*y[at, j]}) == 2 else np.nan
            np.testing.assert_allclose(metrics[f"auroc_{name}"][s], area, rtol=1e-6)
            areas.append(area)
        np.testing.assert_allclose(metrics["auroc"][s], np.nanmean(areas), rtol=1e-6)
        known = inside[:, None] & (y >= 0)
        np.testing.assert_allclose(metrics["brier"][s], brier_score_loss(y[known], p[known]), rtol=1e-5)
        np.testing.assert_allclose(
            metrics["accuracy"][s], accuracy_score(y[known], p[known] > 0.5), rtol=1e-6
        )
        total = log_loss(y[known], p[known], normalize=False, labels=[0, 1]) / (3 * inside.sum())
        np.testing.assert_allclose(metrics["log_loss"][s], total, rtol=1e-5)
        np.testing.assert_allclose(losses[inside].mean(), total, rtol=1e-5)


def test_nothing_known_is_undefined_and_adds_nothing():
    task, y = multilabel(["a", "b"]), np.full((105, 2), -1, np.float32)
    metrics, losses = measured(task, rng.normal(size=(105, 2)).astype(np.float32), y)
    assert (losses == 0).all()
    for name in ("auroc", "brier", "accuracy"):
        assert np.isnan(metrics[name]).all()


def test_a_broken_model_has_no_metrics():
    outputs = rng.normal(size=(105, 2)).astype(np.float32)
    outputs[0] = np.nan
    metrics, _ = measured(multilabel(["a", "b"]), outputs, outcomes(0.1)[:, :2])
    assert all(np.isnan(values[0]) and np.isfinite(values[1]) for values in metrics.values())
    metrics, _ = measured(quantiles([0.2, 0.8]), outputs, outputs[:, 0])
    assert all(np.isnan(values[0]) and np.isfinite(values[1]) for values in metrics.values())


def test_quantiles():
    levels = (0.1, 0.5, 0.9)
    y, outputs = rng.normal(size=105).astype(np.float32), rng.normal(size=(105, 3)).astype(np.float32)
    metrics, _ = measured(quantiles(levels), outputs, y)
    ordered = np.sort(outputs, 1)
    for s in range(3):
        at = s == SEGMENT
        pinball = np.mean([mean_pinball_loss(y[at], outputs[at, j], alpha=q) for j, q in enumerate(levels)])
        np.testing.assert_allclose(metrics["pinball"][s], pinball, rtol=1e-5)
        np.testing.assert_allclose(metrics["mae"][s], mean_absolute_error(y[at], ordered[at, 1]), rtol=1e-5)
        inside = (ordered[at, 0] <= y[at]) & (y[at] <= ordered[at, 2])
        np.testing.assert_allclose(metrics["coverage"][s], inside.mean(), rtol=1e-6)
        np.testing.assert_allclose(metrics["width"][s], (ordered[at, 2] - ordered[at, 0]).mean(), rtol=1e-5)


def test_the_least_pinball_loss_is_at_the_quantile():
    task, y = quantiles((0.2, 0.7)), rng.normal(size=4001).astype(np.float32)

    def loss(outputs):
        return float(task.losses(jnp.broadcast_to(outputs, (4001, 2)), jnp.asarray(y), None).mean())

    at = np.quantile(y, [0.2, 0.7]).astype(np.float32)
    for step in ([0.1, 0], [-0.1, 0], [0, 0.1], [0, -0.1]):
        assert loss(at) < loss(at + np.array(step, np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: multilabel(["died"]), "at least two names"),
        (lambda: multilabel("died"), "at least two names"),
        (lambda: multilabel(["a", "a"]), "each once"),
        (lambda: multilabel(["a", "b c"]), "letters, digits and underscores"),
        (lambda: quantiles([0.5]), "at least two ascending"),
        (lambda: quantiles([0.9, 0.1]), "at least two ascending"),
        (lambda: quantiles([0.0, 0.5]), "above 0 and below 1"),
        (lambda: quantiles("ab"), "at least two ascending"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def federation(task, y):
    x = rng.normal(size=(80, 2)).astype(np.float32)
    parts = {h: (x[h::2], y(x[h::2])) for h in (0, 1)}
    return jaxfed.data.from_arrays({f"h{h}": pair for h, pair in parts.items()}, task=task)


@pytest.mark.parametrize(
    ("task", "y", "columns", "first"),
    [
        (multilabel(["a", "b"]), lambda x: (x > 0).astype(np.float32), ["a", "b"], "auroc"),
        (
            quantiles([0.25, 0.75]), lambda x: x.sum(1), ["0.25 quantile", "0.75 quantile"], "pinball",
        ),
    ],
    ids=["outcomes", "quantiles"],
)  # fmt: skip
def test_a_run_from_data_to_files(task, y, columns, first, tmp_path):
    data = federation(task, y)
    model = jaxfed.models.logistic()
    step = jaxfed.optimizer(optax.sgd, learning_rate=0.5)
    run = jaxfed.Simulation(data, model, client_optimizer=step, epochs=3).run(3, progress=False)
    assert run.history.primary == first
    before, after = (run.history.pooled[first][e, -1] for e in (0, -1))
    assert after > before if first == "auroc" else after < before
    run.save(tmp_path, predictions=True)
    again = jaxfed.Run.load(tmp_path)
    table = again.predict(data.x[:5], model)
    assert [*table] == columns
    assert table.equals(run.predict(data.x[:5], model))
    if first == "auroc":
        assert ((table > 0) & (table < 1)).all(axis=None)
    else:
        assert (table[columns[0]] <= table[columns[1]]).all()
    p = again.performance()
    assert p.first == first
    assert p.pooled[first].iloc[0] == pytest.approx(
        run.history.pooled[first][run.history.chosen(), -1], rel=1e-5
    )
    assert again.predictions.to_frame()[columns].shape == (len(again.predictions), 2)


def test_several_labels_of_a_table():
    df = pd.DataFrame(
        {"site": ["n", "s"] * 6, "age": range(12), "died": [0, 1] * 6, "icu stay": [True, None] * 6}
    )
    data = jaxfed.data.from_frame(df, label=["died", "icu stay"], split=None)
    assert data.task == multilabel(["died", "icu_stay"])
    assert data.rows("n")[1].tolist() == [[0, 1]] * 6
    assert data.rows("s")[1].tolist() == [[1, -1]] * 6
    assert data.features == ("age",)
    with pytest.raises(InvalidInput, match="give one column as text"):
        jaxfed.data.from_frame(df, label=["died"])
    with pytest.raises(InvalidInput, match="label column 'icu stay' holds 'maybe'"):
        jaxfed.data.from_frame(df.replace({"icu stay": {True: "maybe"}}), label=["died", "icu stay"])
