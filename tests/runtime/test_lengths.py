"""Samples of different lengths in one run: each is what it is in a run of its own."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from dmpc.cli.main import main
from isa.image import write_image
from runtime import Program, RuntimeFailure, load_samples
from tests.networks import samples
from tests.runtime.test_stream import KINDS, PROGRAM, made

LENGTHS = np.array([4, 1, 6, 4, 2, 6, 4])
X = np.concatenate([samples(KINDS["summed"])] * 3)[: len(LENGTHS)]
RAGGED = [x[:n] for x, n in zip(X, LENGTHS, strict=True)]


def check_each(program, x, found, **options):
    """Every number of a run of samples against runs of one of them each."""
    alone = [program.run(sample[None], **options) for sample in x]
    for name in ("logits", "predictions", "cycles", "lengths", "integers"):
        parts = [getattr(run, name) for run in alone]
        assert getattr(found, name).tolist() == np.concatenate(parts).tolist()
    total = alone[0].counts
    for run in alone[1:]:
        total.add(run.counts)
    assert found.counts == total
    assert found.energy.total == pytest.approx(sum(run.energy.total for run in alone))
    for name in found.saturations:
        assert found.saturations[name] == sum(run.saturations.get(name, 0) for run in alone)
    for place, seen in found.seen.items():
        for number, run in enumerate(alone):
            times = run.seen[place].shape[1]
            assert seen[number, :times].tolist() == run.seen[place][0].tolist()
            assert not seen[number, times:].any()


@pytest.mark.parametrize(
    "options", [{}, {"batch": 1}, {"batch": 2, "threads": 1}, {"threads": 2}], ids=str
)
def test_each_sample_is_what_it_is_alone(options):
    found = PROGRAM.run(RAGGED, watched=PROGRAM.spikes.values(), **options)
    check_each(PROGRAM, RAGGED, found, watched=PROGRAM.spikes.values())
    assert found.timesteps == 6


@pytest.mark.parametrize("engine", ["reference", "cycle"])
def test_on_other_engines(engine):
    program = Program(PROGRAM.image, "net.elf", engine)
    check_each(program, RAGGED[:3], program.run(RAGGED[:3]))


def test_graded_inputs_that_had_to_be_clipped():
    program = made(KINDS["graded"])
    x = [sample[: n + 1] for n, sample in enumerate(samples(KINDS["graded"]))]
    x[1][:, 0] = 1e6
    found = program.run(x)
    check_each(program, x, found)
    (item,) = [item for item in found.saturated if item.what == "input"]
    assert (item.count >= 2, item.total) == (True, 5 * (1 + 2 + 3))


def test_lengths_of_padded_samples():
    """What lies behind a sample's length may be anything."""
    padded = X.astype(np.float64)
    for sample, length in zip(padded, LENGTHS, strict=True):
        sample[length:] = np.nan
    labels = np.arange(len(X)) % 3
    found, ragged = PROGRAM.run(padded, labels, lengths=LENGTHS), PROGRAM.run(RAGGED, labels)
    assert found.to_json() == ragged.to_json()
    assert [sample["timesteps"] for sample in found.to_json()["samples"]] == LENGTHS.tolist()
    assert found.to_json()["totals"]["timesteps"] == LENGTHS.sum()
    full = PROGRAM.run(X, lengths=np.full(len(X), X.shape[1]))
    assert full.to_json() == PROGRAM.run(X).to_json() == PROGRAM.run(list(X)).to_json()


def test_progress_is_told_of_every_sample():
    told = []
    PROGRAM.run(RAGGED, progress=told.append, batch=2)
    assert sum(told) == len(RAGGED)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([X[0], X[1][:2, :3]], r"x\[1\] has 3 inputs, net\.elf was compiled for 4"),
        ([X[0], X[1][:0]], r"x\[1\] has shape \[0, 4\]; a sample is \[timesteps, inputs\]"),
        ([X[0], X[1][0]], r"x\[1\] has shape \[4\]; a sample is \[timesteps, inputs\], none"),
        ([X[0], X[1][:2] * 3], r"x\[1\] holds 3, but net\.elf was compiled for events"),
        ([X[0], np.full((1, 4), np.inf)], r"x\[1\]\[0, 0\] is inf"),
        ([X[0], [[0, 1], [0]]], r"x\[1\] is no array \[timesteps, inputs\]"),
        ([X[0], np.array([["a"] * 4])], r"x\[1\] holds <U1; it must be bool, integer or float"),
        ([], r"x has shape \[0\]; it must be \[samples, timesteps, inputs\]"),
    ],
)
def test_samples_that_do_not_fit(x, message):
    with pytest.raises(RuntimeFailure, match=f"^{message}"):
        PROGRAM.run(x)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 2], r"lengths are int64 \[2\]; they must be integers \[3\], the timesteps of each"),
        ([1.0, 2.0, 3.0], r"lengths are float64 \[3\]; they must be integers \[3\]"),
        ([1, 0, 2], r"lengths\[1\] is 0; x holds 1 to 6 timesteps"),
        ([1, 2, 7], r"lengths\[2\] is 7; x holds 1 to 6 timesteps"),
    ],
)
def test_lengths_that_do_not_fit(lengths, message, tmp_path):
    with pytest.raises(RuntimeFailure, match=f"^{message}"):
        PROGRAM.run(X[:3], lengths=lengths)
    path = tmp_path / "x.npz"
    np.savez(path, x=X[:3], lengths=lengths)
    with pytest.raises(RuntimeFailure, match=rf"x\.npz: {message}"):
        load_samples(path, any_length=True)


def test_a_file_of_samples_of_different_lengths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(PROGRAM.image, tmp_path / "net.elf")
    padded = X.astype(np.float32)
    padded[1, 1:] = np.nan
    np.savez("x.npz", x=padded, y=np.zeros(len(X), int), lengths=LENGTHS)
    run = CliRunner().invoke(
        main, ["run", "net.elf", "--input", "x.npz", "--json", "run.json", "--trace", "a.vcd"]
    )
    assert run.exit_code == 0, run.output
    assert "timesteps" in run.output
    expected = PROGRAM.run(RAGGED, np.zeros(len(X), int)).to_json()
    assert json.loads((tmp_path / "run.json").read_text()) == json.loads(json.dumps(expected))
    assert f"{expected['totals']['cycles'] / LENGTHS.sum():.1f} per timestep" in run.output
    with pytest.raises(RuntimeFailure, match=r"^x\.npz: lengths: its samples differ in length; "):
        load_samples("x.npz")


def test_lengths_that_are_all_the_same_are_taken_by_every_verb(tmp_path):
    np.savez(tmp_path / "x.npz", x=X, lengths=np.full(len(X), X.shape[1], np.uint8))
    loaded = load_samples(tmp_path / "x.npz")
    assert loaded.lengths is None
    assert (loaded.x == X).all()
