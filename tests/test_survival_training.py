"""Training on times and events: Cox's loss of whole hospitals, in batches, and a discrete hazard."""

import dataclasses
import json

import flax.linen as nn
import jax
import numpy as np
import optax
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from survival_oracles import draw, hospitals, naive_cindex, naive_cox

import jaxfed
from jaxfed.core.problem import Batch
from jaxfed.data import from_arrays
from jaxfed.evaluation import baseline_hazard, discrete_hazard, life_table
from jaxfed.results.prediction import Inputs
from jaxfed.results.selected import Selected

MODEL = nn.Dense(1, use_bias=False)
CUTS = (0.2, 0.5, 1.0)
START = jaxfed.Variables({"kernel": np.full((3, 1), 0.1, np.float32)}, {})


def sgd(rate):
    return jaxfed.optimizer(optax.sgd, learning_rate=rate)


def simulation(data, **options):
    chosen = {"model": MODEL, "batch_size": None, "client_optimizer": sgd(0.5), "devices": 1} | options
    return jaxfed.Simulation(data, **{"splits": ("train", "test"), **chosen})


def trained(run):
    return np.asarray(run.variables.params["kernel"]).ravel()


def training_rows(data):
    for name in data.hospitals:
        x, y, split = data.rows(name)
        yield x[split == 0].astype(float), *y[split == 0].T


def stratified(data, w, ties="breslow"):
    """The mean over training rows of the hospitals' partial likelihoods."""
    parts = [naive_cox(x @ w, time, event, ties) for x, time, event in training_rows(data)]
    return sum(parts) / data.counts[:, 0].sum()


@pytest.mark.parametrize(
    ("task", "algorithm", "devices"),
    [("survival", jaxfed.FedAvg(), 1), ("survival-efron", jaxfed.FedSGD(server_optimizer=sgd(0.5)), 4)],
)
def test_full_batches_are_pooled_gradient_descent_of_the_stratified_likelihood(task, algorithm, devices):
    """Three rounds; hospitals of 180 rows, which are more than 128, of 15, and of 7 without an event."""
    data = hospitals((300, 25, 12), task=task)
    data.y[data.owner == 2, 1] = 0
    run = simulation(data, algorithm=algorithm, devices=devices).run(
        3, eval_every=3, initial=START, progress=False
    )
    w, ties = np.full(3, 0.1), "efron" if "efron" in task else "breslow"
    for _ in range(3):
        steps = 1e-5 * np.eye(3)
        slope = [(stratified(data, w + s, ties) - stratified(data, w - s, ties)) / 2e-5 for s in steps]
        w = w - 0.5 * np.array(slope)
    np.testing.assert_allclose(trained(run), w, atol=2e-6)
    loss = run.history.pooled["cox_loss"][-1, 0]
    assert loss == pytest.approx(stratified(data, w, ties), rel=1e-5)
    assert run.history.single["cox_loss"][-1, 2, 0] == 0
    assert np.isnan(run.history.single["cindex"][-1, 2]).all()


def test_mini_batches_are_means_over_rows_with_the_rows_at_risk_in_the_batch():
    """Also one without an event, whose gradient is 0; padding holds anything."""
    x, time, event = draw(10, seed=3)
    x, time, event = (np.stack([leaf, leaf]) for leaf in (x, time, event))
    event[1, :8] = 0
    mask = np.broadcast_to(np.arange(10) < 8, (2, 10)).astype(np.float32)
    x[:, 8:] = 1e3
    problem = next(iter(simulation(hospitals()).local_trainings.values())).problem

    @jax.jit
    @jax.vmap
    def gradient(x, y, mask):
        return problem.gradient(START, Batch(x, y, mask, jax.random.key(0)))

    found = gradient(x, np.stack([time, event], -1), mask)
    eta = x[0, :8].astype(float) @ np.full(3, 0.1)
    assert found.loss[0] == pytest.approx(naive_cox(eta, time[0, :8], event[0, :8]) / 8, rel=1e-5)
    assert np.isfinite(found.params["kernel"][0]).all()
    assert found.loss[1] == 0
    assert (found.params["kernel"][1] == 0).all()


@pytest.fixture(scope="module")
def run():
    return simulation(hospitals(), batch_size=8).run(2, eval_every=2, initial=START, progress=False)


def test_metrics_of_each_hospital(run):
    data, w = hospitals(), trained(run)
    table = run.hospitals()
    for name in data.hospitals:
        x, y, split = data.rows(name)
        score, (time, event) = x[split == 2] @ w, y[split == 2].T
        assert table.loc[name, "cindex"] == pytest.approx(naive_cindex(score, time, event), rel=1e-5)
        assert table.loc[name, "cox_loss"] == pytest.approx(
            naive_cox(score, time, event) / len(time), rel=1e-4
        )
        assert table.loc[name, "prevalence"] == pytest.approx(event.mean())
    rows, frame = data.split == 2, run.to_frame().iloc[-1]
    assert frame["cindex_pooled"] == pytest.approx(naive_cindex(data.x[rows] @ w, *data.y[rows].T), rel=1e-5)
    assert frame["cox_loss_pooled"] == pytest.approx(frame["cox_loss_weighted"], rel=1e-5)
    assert run.history.primary == "cindex"
    assert run.history.scoring.higher_is_better("cindex_worst")


def test_predictions_are_risks_also_in_files(run, tmp_path):
    x = hospitals().x[:5]
    found = jaxfed.Run.load(run.save(tmp_path / "run")).predict(x, MODEL)
    assert list(found) == ["risk"]
    np.testing.assert_allclose(found["risk"], x @ trained(run), atol=1e-6)


@pytest.mark.parametrize("personal", [False, True])
def test_survival_is_predicted_with_the_baseline_of_the_training_rows(run, personal, tmp_path):
    data, model, times = hospitals(), MODEL, [0.1, 0.5, 1e6]
    if personal:
        model = jaxfed.models.logistic()
        run = simulation(data, model=model).local_only().run(1, progress=False)
    names = np.array(data.hospitals)[data.owner]
    risk = run.predict(data.x, model, names)["risk"]
    train = data.split == 0
    ends = life_table(data, split="train", intervals=200).ends
    expected = baseline_hazard(risk[train], *data.y[train].T, ends).survival(risk, times)
    for of in (run, jaxfed.Run.load(run.save(tmp_path / "run"))):
        found = of.predict(data.x, model, names, times=times)
        assert [*found] == ["risk", "survival at 0.1", "survival at 0.5", "survival at 1000000"]
        np.testing.assert_allclose(found.iloc[:, 1:], expected, rtol=1e-5)
    assert found["survival at 1000000"].isna().all()
    assert (found["survival at 0.1"] > found["survival at 0.5"]).all()


def test_times_that_no_survival_can_be_predicted_at(run):
    x = hospitals().x[:5]
    for times in (0.5, [], [-1.0], [np.nan]):
        with pytest.raises(jaxfed.InvalidInput, match=r"predict: times=.*; give one or more times >= 0"):
            run.predict(x, MODEL, times=times)
    copied = dataclasses.replace(run, best=Selected(2, run.variables))
    with pytest.raises(jaxfed.InvalidInput, match=r"has no baseline hazard.*leave times= out"):
        copied.predict(x, MODEL, times=[1.0])
    privacy = jaxfed.privacy.HospitalDP(noise_multiplier=1.0, clip=1.0)
    with pytest.warns(UserWarning, match="hospitals"):
        private = simulation(hospitals(), privacy=privacy, algorithm=jaxfed.FedAvg(weighting="uniform"))
    private = private.run(1, initial=START, progress=False)
    with pytest.raises(jaxfed.InvalidInput, match=r"trained with differential privacy"):
        private.predict(x, MODEL, times=[1.0])
    inputs = dataclasses.replace(run.inputs, meaning=discrete_hazard(CUTS).meaning((), 3))
    with pytest.raises(jaxfed.InvalidInput, match=r"survival at 0\.2, .* without times=; leave it out"):
        dataclasses.replace(run, inputs=inputs).predict(x, MODEL, times=[1.0])


def test_a_discrete_hazard_is_the_logistic_regression_of_person_periods():
    """A model of intercepts per interval and common slopes, at its optimum."""
    x, time, event = draw(150)
    data = from_arrays({"all": (x, np.stack([time, event], 1))}, task=discrete_hazard(CUTS), split=None)

    class Proportional(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            slopes = nn.Dense(1, use_bias=False, name="slopes")(x)
            return slopes + self.param("intercepts", nn.initializers.zeros, (len(CUTS),))

    sim = simulation(data, model=Proportional(), client_optimizer=sgd(1.5), splits=("train",))
    run = sim.run(400, eval_every=400, progress=False)
    rows, labels = [], []
    begin = 0.0
    for k, end in enumerate(CUTS):
        there = time > begin
        rows.append(np.c_[x[there], np.tile(np.eye(3)[k], (there.sum(), 1))])
        labels.append((event * (time <= end))[there])
        begin = end
    oracle = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(
        np.concatenate(rows), np.concatenate(labels)
    )
    params = run.variables.params
    fitted = [*params["slopes"]["kernel"].ravel(), *params["intercepts"]]
    np.testing.assert_allclose(fitted, oracle.coef_[0], atol=1e-4)
    inputs = Inputs.from_json(json.loads(json.dumps(run.inputs.to_json())))
    predicted = dataclasses.replace(run, inputs=inputs).predict(x[:4], Proportional())
    assert list(predicted) == ["risk", "survival at 0.2", "survival at 0.5", "survival at 1"]
    hazards = np.stack([oracle.predict_proba(np.c_[x[:4], np.tile(row, (4, 1))])[:, 1] for row in np.eye(3)])
    np.testing.assert_allclose(predicted.iloc[:, 1:].T, np.cumprod(1 - hazards, axis=0), atol=1e-4)
    np.testing.assert_allclose(predicted["risk"], -np.log(np.prod(1 - hazards, axis=0)), atol=1e-3)


def test_equal_cuts_are_the_same_task():
    assert discrete_hazard([1, 2]) == discrete_hazard((1.0, 2.0)) != discrete_hazard([1, 3])
    for cuts in ([2, 1], [0, 1], [], "soon", [1, np.inf], None):
        with pytest.raises(jaxfed.InvalidInput, match="ascending times above 0"):
            discrete_hazard(cuts)


def test_patients_have_privacy_only_where_rows_have_a_loss():
    private = jaxfed.privacy.PatientDP(noise_multiplier=1.0)
    with pytest.raises(jaxfed.InvalidInput, match="rows at risk; give task=jaxfed"):
        simulation(hospitals(), privacy=private).run(1)
    with pytest.raises(jaxfed.InvalidInput, match="depends on other rows"):
        jaxfed.audits.membership(simulation(hospitals()), rounds=1)
    simulation(hospitals(task=discrete_hazard(CUTS)), model=nn.Dense(3), privacy=private)


def test_rows_have_weights_only_where_rows_have_a_loss():
    ones = np.ones(77)
    with pytest.raises(jaxfed.InvalidInput, match="weight of 2 would not be worth two rows"):
        simulation(jaxfed.data.weigh_rows(hospitals(), ones))
    weighted = jaxfed.data.weigh_rows(hospitals(task=discrete_hazard(CUTS)), ones)
    simulation(weighted, model=nn.Dense(3))


def test_the_width_of_the_output_is_checked():
    with pytest.raises(jaxfed.InvalidInput, match="survival data need 1 "):
        simulation(hospitals(), model=nn.Dense(2))
    with pytest.raises(jaxfed.InvalidInput, match="discrete-hazard data need 3 "):
        simulation(hospitals(task=discrete_hazard(CUTS)))


def test_hospitals_of_different_sizes_take_whole_hospitals_as_a_chunk():
    chunks = [
        next(iter(simulation(hospitals(sizes)).local_trainings.values())).problem.chunk
        for sizes in ((40, 25), (400, 25))
    ]
    assert chunks == [32, 256]
    table = pd.Series(simulation(hospitals()).describe())
    assert "survival" in table["hospitals"]
