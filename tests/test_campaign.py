"""A thousand inputs of the fuzzing campaign, and whether its judges see what is wrong."""

from random import Random

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import fuzz, fuzz_judges
from benchmarks.fuzz_bases import models, write
from benchmarks.fuzz_judges import Case, climbed, judged, unlike_reference
from benchmarks.fuzz_kinds import tried
from benchmarks.random_networks import Layer, Shape
from dmpc.frontend.models import Model

SEEDS = {
    "onnx": 120, "onnx-bytes": 150, "dmpir": 100, "asm": 60, "image": 100, "nir": 60, "npz": 100,
    "toml": 60, "options": 60, "networks": 12, "graphs": 20,
    "h5": 20, "nir-data": 20, "npy": 40, "events": 40, "aedat": 20, "debug": 40,
}  # fmt: skip


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.filterwarnings("default")  # the judge hears them
def test_no_finds(kind, tmp_path):
    verdicts = {}
    for seed in range(SEEDS[kind]):
        folder = tmp_path / str(seed)
        folder.mkdir()
        verdicts[seed] = tried(kind, seed, folder)
    found = {seed: verdict for seed, verdict in verdicts.items() if verdict.outcome == "find"}
    assert not found
    outcomes = {verdict.outcome for verdict in verdicts.values()}
    assert outcomes >= ({"accepted"} if kind == "networks" else {"refused", "accepted"})


@pytest.mark.parametrize("kind", ["onnx", "onnx-bytes", "dmpir", "image", "npz", "networks"])
def test_a_seed_says_what_is_made(kind, tmp_path):
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        tried(kind, 5, folder)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]


def said(text, code=1, exception=None):
    """The verdict on a command that says this on standard error."""

    class Result:
        stdout, stderr, exit_code = "", text, code

    Result.exception = exception
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CliRunner, "invoke", lambda *_: Result)
        return judged(Case(("compile", "m.onnx"), ("m.onnx",)))


def test_the_first_judge():
    assert said("dmpc: error: m.onnx: odd\n").outcome == "refused"
    assert said("dmpc: error: odd\n").place.startswith("names no file")
    assert said("dmpc: error: m.onnx: odd\nvery\n").place.startswith("not one line")
    assert said("dmpc: error: m.onnx: \x1b[2J\n").place.startswith("control character")
    assert said("m.onnx: odd\n").place.startswith("not one line")
    assert said("", code=139).place == "exit code 139"
    assert said("", exception=KeyError("x")).place == "nowhere of ours KeyError"
    assert said("warning\n", code=0).place.startswith("stderr")


def test_a_traceback_is_a_find_at_our_innermost_line(monkeypatch):
    monkeypatch.setattr("dmpc.cli.check_verb.check_model", lambda *_, **__: np.zeros(2)[3])
    assert judged(Case(("check", "x.onnx"))).place.startswith("dmpc/cli/check_verb.py:")


def test_an_input_that_takes_too_long_is_a_find(monkeypatch):
    def forever(*_, **__):
        while True:
            pass

    monkeypatch.setattr(fuzz_judges, "SECONDS", 0.05)
    monkeypatch.setattr("dmpc.cli.check_verb.check_model", forever)
    assert judged(Case(("check", "x.onnx"))).place.startswith("hang: ")


def test_the_second_judge(tmp_path, monkeypatch):
    """A model that is imported as another one is found; itself it is not."""
    path = write(tmp_path / "m.onnx", models()[0].SerializeToString())
    assert unlike_reference(path) is None
    real = fuzz_judges.open_model

    def wrong(path):
        model = real(path)
        for name, array in model.graph.constants.items():
            if "fast.weight" in name:
                array[0] += 0.1
        return Model(model.name, model.graph, model.reference)

    monkeypatch.setattr(fuzz_judges, "open_model", wrong)
    found = unlike_reference(path)
    assert found is not None
    assert found.place == "differs from its reference"


def test_a_network_that_no_bank_can_wait_for_is_refused(tmp_path):
    shape = Shape(inputs=3, layers=(Layer(neurons=2, states=0, again=20),), classes=2)
    verdict = climbed(shape, Random(0), tmp_path)
    assert verdict.outcome == "refused"
    assert "which takes" in verdict.detail


def test_a_worker_that_dies_is_a_find_and_is_replaced():
    worker = fuzz.Worker()
    try:
        assert worker.try_one("no such kind", 0).place == "crash: exit code 1"
        assert worker.try_one("asm", 0).outcome == "accepted"
    finally:
        worker.stop()


def test_the_table(capsys):
    tally = fuzz.Tally()
    tally.add(1, fuzz_judges.Verdict("accepted"))
    tally.add(7, fuzz_judges.find("here", "why"))
    fuzz.report({"asm": tally}, fuzz.Output())
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split() == ["asm", "2", "0", "0", "1", "1", "1"]
    assert lines[-1] == "asm:7  1 times  here  why"
