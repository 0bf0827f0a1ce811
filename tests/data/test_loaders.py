"""Loaders on tiny files of the published layout, which the tests write."""

from collections import namedtuple

import numpy as np
import pandas as pd
import pytest

from jaxfed.core.errors import InvalidInput
from jaxfed.data import DataWarning, diabetes_130, eicu, from_biosilo, medmnist, physionet_sepsis
from jaxfed.data.loaders.diabetes import AGES, NUMBERS
from jaxfed.data.loaders.eicu import APACHE, eicu_table
from jaxfed.data.loaders.sepsis import sepsis_table

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def eicu_folder(tmp_path_factory):
    """60 stays in 3 hospitals; the demo's files are compressed, the full ones too."""
    folder, n = tmp_path_factory.mktemp("eicu"), 60
    stay = np.arange(141000, 141000 + n)
    patient = pd.DataFrame({"patientunitstayid": stay, "patienthealthsystemstayid": stay + 1})
    patient["gender"] = RNG.choice(["Male", "Female"], n)
    patient["age"] = ["> 89", "", *RNG.integers(18, 90, n - 2).astype(str)]
    patient["ethnicity"] = RNG.choice(["Caucasian", "African American"], n)
    patient["hospitalid"] = np.repeat([59, 60, 73], [30, 20, 10])
    patient["unittype"] = RNG.choice(["MICU", "Med-Surg ICU"], n)
    patient["uniquepid"] = [f"002-{k // 2}" for k in range(n)]
    patient.to_csv(folder / "patient.csv.gz", index=False)
    values = RNG.normal(50, 9, (n, len(APACHE))).round(1)
    values[::5, 3:20] = -1
    apache = pd.DataFrame(values, columns=APACHE).assign(patientunitstayid=stay, apacheapsvarid=stay)
    apache["intubated"] = RNG.integers(0, 2, n)
    apache.to_csv(folder / "apacheApsVar.csv", index=False)
    versions = [
        pd.DataFrame(
            {
                "patientunitstayid": stay[:-1],
                "apachepatientresultsid": stay[:-1],
                "apacheversion": version,
                "predictedhospitalmortality": 0.1,
                "actualhospitalmortality": np.where(np.arange(n - 1) % 4, "ALIVE", "EXPIRED"),
            }
        )
        for version in ("IV", "IVa")
    ]
    pd.concat(versions).to_csv(folder / "apachePatientResult.csv.gz", index=False)
    return folder


def test_eicu(eicu_folder):
    """A stay once, though it has two APACHE results; "> 89" is 90; -1 is missing; hospitals by their id."""
    table = eicu_table(eicu_folder)
    assert len(table) == 59
    assert table["age"].iloc[0] == 90
    assert np.isnan(table["age"].iloc[1])
    data = eicu(eicu_folder, scale="none")
    assert data.hospitals == ("59", "60", "73")
    assert data.size.tolist() == [30, 20, 9]
    assert data.y.sum() == 15
    assert {"gender=Male", "age", "creatinine", "creatinine missing", "intubated"} <= set(data.features)
    flag = data.x[:, data.features.index("creatinine missing")]
    np.testing.assert_array_equal(np.flatnonzero(flag), np.arange(0, 59, 5))
    for person in set(data.patients):
        assert len(set(data.split[data.patients == person])) == 1
    assert eicu(eicu_folder, min_stays=15).hospitals == ("59", "60")


def test_eicu_says_where_the_files_come_from(eicu_folder, tmp_path, monkeypatch):
    for call, words in [
        (lambda: eicu(tmp_path), "no patient.csv or patient.csv.gz in"),
        (lambda: eicu(tmp_path / "no"), "is not there; get patient.csv.gz"),
        (lambda: eicu(eicu_folder, min_stays=99), "no hospital has min_stays=99 stays; the largest has 30"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            call()
        assert words in str(caught.value)
    (tmp_path / "patient.csv").write_text("patientunitstayid,hospital\n1,2\n")
    with pytest.raises(InvalidInput, match=r"patient\.csv has no column .*'hospitalid'.*physionet\.org"):
        eicu(tmp_path)
    monkeypatch.delenv("JAXFED_DATA", raising=False)
    with pytest.raises(InvalidInput, match=r"give folder=.* environment variable JAXFED_DATA"):
        eicu()


def test_physionet_sepsis(tmp_path):
    """The last value of the first hours; who has sepsis by then is left out."""
    names = ["HR", "Temp", "Age", "Gender", "Unit1", "HospAdmTime", "ICULOS", "SepsisLabel"]
    for system, count in (("A", 12), ("B", 8)):
        folder = tmp_path / "training" / f"training_set{system}"
        folder.mkdir(parents=True)
        for p in range(count):
            lines = ["|".join(names)]
            for hour in range(1, 10):
                sick = int((p % 4 == 1 and hour > 7) or (p == 0 and hour > 2))
                heart = f"{60 + p + hour}" if hour < 5 else "NaN"
                lines.append(f"{heart}|NaN|{50 + p + 30 * (system == 'B')}|{p % 2}|NaN|-0.5|{hour}|{sick}")
            (folder / f"p{p:06d}.psv").write_text("\n".join(lines) + "\n")
    table = sepsis_table(tmp_path)
    assert table["system"].value_counts().to_dict() == {"A": 11, "B": 7}
    assert table.loc[0, ["HR", "Age", "sepsis"]].tolist() == [65, 51, 1]  # patient 1, at hour 4
    data = physionet_sepsis(tmp_path, drop=["Temp", "Unit1", "HospAdmTime", "patient"], scale="none")
    assert data.hospitals == ("A", "B")
    assert data.y.sum() == 5
    assert data.features == ("HR", "Age", "Gender")
    np.testing.assert_array_equal(data.rows("B")[0][0], [65, 81, 1])
    with pytest.raises(InvalidInput, match="'Temp' has no value in training rows; leave it out with drop="):
        physionet_sepsis(tmp_path)
    with pytest.raises(InvalidInput, match=r"no folder 'training_setA'.*physionet\.org"):
        physionet_sepsis(tmp_path / "training" / "training_setA")
    with pytest.raises(InvalidInput, match="hours=0"):
        physionet_sepsis(tmp_path, hours=0)


def test_diabetes_has_proxy_sites_and_says_so(tmp_path):
    n = 300
    table = pd.DataFrame({name: RNG.integers(0, 9, n) for name in NUMBERS})
    table["encounter_id"] = np.arange(n)
    table["patient_nbr"] = np.arange(n) // 2
    table["race"] = RNG.choice(["Caucasian", "?"], n)
    table["gender"], table["age"] = RNG.choice(["Female", "Male"], n), RNG.choice(AGES, n)
    table["medical_specialty"] = np.repeat(
        ["Cardiology", "?", "Surgery-General", "Neurology"], [120, 120, 40, 20]
    )
    table["payer_code"] = "MC"
    for name in ("admission_type_id", "admission_source_id"):
        table[name] = RNG.integers(1, 4, n)
    table["discharge_disposition_id"] = np.where(np.arange(n) == 0, 11, 1 + np.arange(n) % 2)
    for name in ("max_glu_serum", "A1Cresult"):
        table[name] = RNG.choice(["None", "Norm", ">7"], n)
    for name in ("metformin", "glipizide", "glyburide", "insulin"):
        table[name] = RNG.choice(["No", "Steady"], n)
    table["diag_1"], table["diag_2"], table["diag_3"] = "250.83", RNG.choice(["428", "V45"], n), "786"
    table["change"], table["diabetesMed"] = RNG.choice(["Ch", "No"], n), RNG.choice(["Yes", "No"], n)
    table["readmitted"] = RNG.choice(["<30", ">30", "NO"], n)
    table.to_csv(tmp_path / "diabetic_data.csv", index=False)
    with pytest.warns(DataWarning) as caught:
        data = diabetes_130(tmp_path, min_stays=50)
    assert any("sites are values of 'medical_specialty', and no hospitals" in str(w.message) for w in caught)
    assert data.hospitals == ("Cardiology", "unknown", "other")
    assert len(data.y) == n - 1  # who died is left out
    assert data.y.sum() == (table["readmitted"][1:] == "<30").sum()
    assert {"diag_1=diabetes", "diag_2=circulatory", "diag_2=other", "diag_2=unseen"} <= set(data.features)
    assert {"A1Cresult=None", "race missing", "diabetesMed", "age"} <= set(data.features)
    assert not any("medical_specialty" in name for name in data.features)
    with pytest.raises(InvalidInput, match="did you mean 'payer_code'"):
        diabetes_130(tmp_path, sites="payer")


def test_medmnist(tmp_path):
    sizes = {"train": 60, "val": 10, "test": 20}
    arrays = {}
    for part, n in sizes.items():
        arrays[f"{part}_images"] = RNG.integers(0, 256, (n, 8, 8), dtype=np.uint8)
        arrays[f"{part}_labels"] = RNG.integers(0, 2, (n, 1))
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    data = medmnist(tmp_path / "pneumoniamnist.npz", 3, partition="iid")
    assert data.x.shape == (90, 8, 8, 1)
    assert data.x.dtype == np.float32
    assert data.counts.sum(axis=0).tolist() == [*sizes.values()]
    assert data.name == "pneumoniamnist"
    pixels = np.concatenate([arrays[f"{part}_images"] for part in sizes])
    assert data.x.sum() * 255 == pytest.approx(pixels.sum(), rel=1e-5)
    test = {image.tobytes() for image in arrays["test_images"]}
    ours = {(255 * image[..., 0]).round().astype(np.uint8).tobytes() for image in data.x[data.split == 2]}
    assert ours == test
    colour = {
        k: np.repeat(v[..., None], 3, -1) if "images" in k else np.repeat(v, 2, 1) for k, v in arrays.items()
    }
    np.savez(tmp_path / "chest.npz", **colour)
    assert medmnist(tmp_path / "chest.npz", 3, label=1, split=(0.5, 0.2, 0.3), alpha=2.0).x.shape[1:] == (
        8,
        8,
        3,
    )
    both = medmnist(tmp_path / "chest.npz", 3, partition="iid")
    assert both.task.targets == ("label_0", "label_1")
    np.testing.assert_array_equal(both.y[:, 0], both.y[:, 1])
    assert both.y[:, 0].sum() == data.y.sum()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "broken.npz").write_text("no zip")
    for name, more, words in [
        ("chest.npz", {"label": 2}, "label=2: the file has 2 labels"),
        ("other.npz", {}, "has no arrays 'train_images'"),
        ("broken.npz", {}, "it is no MedMNIST file"),
        ("none.npz", {}, "there is no file"),
        ("pneumoniamnist.npz", {"split": "offical"}, "give 'official'"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            medmnist(tmp_path / name, 3, **more)
        assert words in str(caught.value)


Inputs = namedtuple("Inputs", ["ts", "static"])


class Partition:
    """The interface of biosilo.load(...)."""

    dataset = "synthetic"
    client_ids = ("site-0", "site-1")

    def __init__(self, several, grouped):
        self.several, self.grouped = several, grouped

    def client(self, i, split):
        n = {"train": 20, "test": 8}[split]
        x = np.arange(n * 3.0).reshape(n, 3).astype(np.float32) + 100 * i
        groups = np.arange(n) // 2 + (50 if split == "test" else 0) if self.grouped else None
        return Inputs(x[:, :, None], x) if self.several else x, np.arange(n) % 2, groups


@pytest.mark.parametrize(("several", "grouped"), [(False, False), (True, True)])
def test_biosilo(several, grouped):
    data = from_biosilo(Partition(several, grouped), validation=0.2)
    assert data.hospitals == ("site-0", "site-1")
    assert data.counts.tolist() == [[16, 4, 8]] * 2
    x, _, split = data.rows("site-1")
    x = x["static"] if several else x
    assert (x[split == 2] == Partition(False, False).client(1, "test")[0]).all()
    if several:
        assert data.x["ts"].shape == (56, 3, 1)
        for group in set(data.patients):
            assert len(set(data.split[data.patients == group])) == 1


def test_what_is_no_partition():
    with pytest.raises(InvalidInput, match=r"got dict; give what biosilo\.load"):
        from_biosilo({})
    with pytest.raises(InvalidInput, match=r"validation=1\.5"):
        from_biosilo(Partition(False, False), validation=1.5)
    broken = Partition(False, False)
    broken.client = lambda i, split: np.zeros(3)
    with pytest.raises(InvalidInput, match=r"client\(0, 'train'\) gives ndarray; it should be"):
        from_biosilo(broken)
