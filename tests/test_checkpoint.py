"""The file of a checkpoint and the folder of a run's: what is written is read, and nothing else is."""

import dataclasses
import json
import os

import ml_dtypes
import numpy as np
import pytest

import jaxfed
from jaxfed import CheckpointError
from jaxfed.storage import checkpoint
from jaxfed.storage.checkpoint import Checkpoint, decode, encode, read, write
from jaxfed.storage.folder import Checkpoints

CONFIG = {"algorithm": "FedProx(mu=0.1)", "seed": 3}


def example(round=4, config=CONFIG, **more):
    arrays = {
        "state.w": np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3),
        "state.key": np.array([1, 2**32 - 1], np.uint32),
        "history/auroc": np.array([[0.5, np.nan]]),
    }
    return Checkpoint(config, round, arrays | more, {"state.key": "threefry2x32"}, {"clock": {"s": 0.1}}, {})


def bytes_of(made):
    return b"".join(encode(made))


def reason(data):
    with pytest.raises(CheckpointError) as error:
        decode(data, "file")
    assert "file" in str(error.value)
    return error.value.reason


def test_what_is_written_is_read():
    """Every type of number, and shapes that are easily lost."""
    types = [
        bool, np.int8, np.uint64, np.float16, np.float64, np.complex64,
        ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4,
    ]  # fmt: skip
    many = {f"a/{np.dtype(t).name}": np.array([[0, 1], [1, 0]]).astype(t) for t in types}
    odd = {
        "scalar": np.float32(1.5),
        "none": np.zeros((0, 3), np.int16),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10)[::3],
        "big-endian": np.arange(3, dtype=">f8"),
        "read-only": np.broadcast_to(np.float32(2), (2, 2)),
        "nan": np.array([np.nan, -np.nan, -0.0, np.inf], np.float32),
    }
    made = example(**many, **odd)
    found = decode(bytes_of(made), "file")
    assert list(found.arrays) == list(made.arrays)
    for path, array in made.arrays.items():
        new, old = found.arrays[path], np.asarray(array)
        assert new.shape == old.shape
        assert new.dtype == old.dtype.newbyteorder("=")
        assert new.tobytes() == old.astype(new.dtype).tobytes()
    for name in ("config", "round", "keys", "notes", "versions"):
        assert getattr(found, name) == getattr(made, name)


def test_every_truncation_is_found():
    data = bytes_of(example())
    found = {reason(data[:length]) for length in range(len(data))}
    assert found == {"truncated"}
    assert reason(data + b"\0") == "damaged"
    assert reason(data + data) == "damaged"


def test_every_flipped_bit_is_found():
    data = bytes_of(example())
    found = set()
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            found.add(reason(bytes(changed)))
    assert found == {"damaged", "truncated"}  # a longer length of the header looks like the latter


def test_bytes_that_change_places_are_found():
    """Two arrays swapped, each with its own right checksum elsewhere in the file."""
    one = bytes_of(example(a=np.zeros(4), b=np.ones(4)))
    assert reason(one[:-64] + one[-32:] + one[-64:-32]) == "damaged"


def test_a_newer_format(monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    newer = bytes_of(example())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"format 3.*up to 2.*newer jaxfed") as error:
        decode(newer, "file")
    assert error.value.reason == "format"


def test_an_older_format(monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    older = bytes_of(example())
    monkeypatch.undo()
    with pytest.raises(CheckpointError) as error:
        decode(older, "file")
    assert error.value.reason == "format"
    assert str(error.value) == (
        "file was written by an older jaxfed (format 1); start the run anew in another folder"
    )


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([object()]), np.zeros(2, "f4,i4"), np.zeros(1, "M8[s]")]
)
def test_only_numbers(array):
    with pytest.raises(TypeError, match="numbers"):
        bytes_of(example(w=array))


def test_no_pickle_and_a_header_that_people_can_read(tmp_path):
    write(tmp_path / "x", example())
    data = (tmp_path / "x").read_bytes()
    header = json.loads(data[48 : 48 + int.from_bytes(data[8:16], "little")])
    assert header["config"] == CONFIG
    assert header["hash"] == checkpoint.config_hash(CONFIG)
    assert [leaf["dtype"] for leaf in header["leaves"]] == ["bfloat16", "uint32", "float64"]
    assert header["leaves"][1]["key"] == "threefry2x32"
    assert all(len(leaf["sha256"]) == 64 for leaf in header["leaves"])


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_one(tmp_path, monkeypatch, call):
    """A full disk, for instance."""
    path = tmp_path / "x"
    write(path, example(4))

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(CheckpointError, match="No space"):
        write(path, example(5))
    assert read(path).round == 4
    assert os.listdir(tmp_path) == ["x"]


def test_the_new_one_is_on_the_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    """The order of the calls that a loss of power asks for: file, name, folder."""
    calls, fsync, replace = [], os.fsync, os.replace

    def flushed(descriptor):
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def renamed(old, new):
        assert read(old).round == 4  # the whole file is there
        calls.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    write(tmp_path / "x", example(4))
    assert calls == ["file", "name", "folder"]


def folder(tmp_path, keep=3, **changes):
    return Checkpoints(tmp_path / "run", {**CONFIG, **changes}, keep)


def saved(files, *rounds):
    return [files.save(example(round, files.config)) for round in rounds]


def test_the_last_are_kept(tmp_path):
    files = folder(tmp_path, keep=2)
    assert files.latest() is None
    paths = saved(files, 0, 5, 900, 10_000_000)
    assert sorted((tmp_path / "run").iterdir()) == paths[2:]
    assert files.latest().round == 10_000_000
    saved(folder(tmp_path, keep=1), 10_000_001)
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_the_last_good_one_is_used_and_the_bad_ones_are_named(tmp_path):
    files = folder(tmp_path)
    paths = saved(files, 1, 2, 3)
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    with pytest.warns(
        UserWarning, match=r"round-00000003.checkpoint is truncated.*going on from round-00000002"
    ):
        assert files.latest().round == 2
    paths[1].write_bytes(b"nonsense")
    with pytest.warns(UserWarning, match="going on from round-00000001") as said:
        assert files.latest().round == 1
    assert [path.name in str(one.message) for path, one in zip(paths[:0:-1], said, strict=True)] == [
        True,
        True,
    ]
    paths[0].write_bytes(b"")
    with pytest.raises(CheckpointError, match="round-00000003"):
        files.latest()


def test_bad_ones_do_not_count_as_kept(tmp_path):
    files = folder(tmp_path, keep=2)
    paths = saved(files, 1, 8)
    paths[1].write_bytes(b"")
    saved(files, 3)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "round-00000001.checkpoint",
        "round-00000003.checkpoint",
    ]


def test_another_configuration_is_told_field_by_field(tmp_path):
    saved(folder(tmp_path), 1)
    other = folder(tmp_path, algorithm="FedProx(mu=0.2)", l2=0.5)
    for touch in (other.latest, lambda: saved(other, 2)):
        with pytest.raises(CheckpointError) as error:
            touch()
        assert error.value.reason == "configuration"
        text = str(error.value)
        assert "algorithm: FedProx(mu=0.1) there, FedProx(mu=0.2) here" in text
        assert "l2: None there, 0.5 here" in text
        assert "seed" not in text
    assert folder(tmp_path).latest().round == 1


def test_long_values_are_told_where_they_differ(tmp_path):
    names = [f"hospital {c}" for c in range(200)]
    saved(folder(tmp_path, names=names), 1)
    with pytest.raises(CheckpointError) as error:
        folder(tmp_path, names=[*names[:150], "somewhere else", *names[151:]]).latest()
    line = next(line for line in str(error.value).splitlines() if "names" in line)
    assert "hospital 150" in line
    assert "somewhere else" in line
    assert len(line) < 300


@pytest.mark.parametrize("other", [1, 3])
def test_another_format_is_not_passed_over(tmp_path, monkeypatch, other):
    """Going on from an older file would throw away what another version has done."""
    files = folder(tmp_path)
    saved(files, 1)
    monkeypatch.setattr(checkpoint, "FORMAT", other)
    saved(files, 2)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=f"format {other}"):
        files.latest()


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    files = folder(tmp_path)
    saved(files, 1)
    part = tmp_path / "run" / "round-00000002.checkpoint.77.part"
    part.write_bytes(b"half")
    assert files.latest().round == 1
    assert not part.exists()


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(CheckpointError, match="is a file; give a folder"):
        folder(tmp_path).latest()


def test_it_is_one_error_for_all():
    assert jaxfed.CheckpointError is checkpoint.CheckpointError
    assert dataclasses.is_dataclass(Checkpoint)
