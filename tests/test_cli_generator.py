"""Arguments of the generator on the command line."""

import numpy as np
import pytest

from jaxfed.cli.options import FederationOptions, generator, load
from jaxfed.core.errors import InvalidInput
from jaxfed.data import heterogeneity, synthetic_ehr


def test_arguments_reach_the_generator():
    data = load(FederationOptions(hospitals=3, seed=2, generator=("n_max=60", "s_a=0.9", "sizes=equal")))
    np.testing.assert_array_equal(data.x, synthetic_ehr(3, seed=2, n_max=60, s_a=0.9, sizes="equal").x)


def test_generated_records_can_be_trained_on():
    data = load(FederationOptions(hospitals=4, generator=("n_max=300", "units=true", "mcar=0.2")))
    assert np.isfinite(data.x).all()
    assert "lactate missing" in data.features
    train = data.x[data.split == 0]
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-4)


def test_a_sweep_varies_what_is_not_given():
    make = generator(FederationOptions(hospitals=2, generator=("n_max=40",)))
    assert np.abs(make(s_x=2.0).x.mean()) != np.abs(make(s_x=0.0).x.mean())


def test_a_rule_and_its_options_share_out_real_data():
    options = FederationOptions(
        data="digits", hospitals=5, generator=("partition=classes_per_hospital", "classes=2")
    )
    assert heterogeneity(load(options))["effective_classes"].max() <= 2.0001


@pytest.mark.parametrize(
    ("data", "given", "message"),
    [
        ("synthetic", ("s_a",), "--generator: 's_a': give a name and a value"),
        ("synthetic", ("seed=3",), "--generator: seed=3: give --seed 3"),
        ("synthetic", ("s_a=1", "s_a=2"), "s_a is given twice"),
        ("synthetic", ("mcarr=0.1",), "did you mean 'mcar'"),
        ("synthetic", ("mcar=some",), "mcar='some'"),
        ("digits", ("partition=dirichlet", "alpa=1"), "did you mean 'alpha'"),
        ("heart", ("s_a=1",), "--data heart is not generated"),
    ],
)
def test_wrong_arguments_are_named(data, given, message):
    with pytest.raises(InvalidInput) as caught:
        load(FederationOptions(data=data, hospitals=3, generator=given))
    assert message in str(caught.value)
