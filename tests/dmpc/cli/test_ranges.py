"""`dmpc inspect --ranges`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import dmpc
from dmpc.cli import main
from dmpc.ir.printer import to_text
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(inputs=4, layers=(Layer(neurons=6, states=3),), density=0.6, steps=20, seed=2)


@pytest.fixture
def files(tmp_path):
    x = samples(SHAPE)
    np.savez(tmp_path / "x.npz", x=x)
    dmpc.compile(network(SHAPE), calibration=x * 0).save(tmp_path / "quiet.elf")
    (tmp_path / "net.dmpir").write_text(to_text(network(SHAPE)))
    return tmp_path


def ranges(*arguments):
    done = CliRunner().invoke(main, ["inspect", "--ranges", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_scales_from_weights_are_said_to_be_safe(files):
    text = ranges(files / "net.dmpir", "--timesteps", "100")
    assert "nothing can saturate, whatever the input" in text
    assert "possible" not in text.replace("impossible", "")


def test_sums_over_time_are_safe_up_to_a_number_of_timesteps(files, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "impossible up to 32,767 timesteps" in ranges(files / "net.dmpir")


def test_what_samples_saturated_is_counted(files):
    data = json.loads(ranges(files / "quiet.elf", "--input", files / "x.npz", "--json", "-"))
    item = next(item for item in data["ranges"] if item["verdict"] == "seen")
    assert item["saturated"] > 0
    assert item["used"] > 0.99
    assert item["proved"][0] <= item["seen"][0] <= item["seen"][1] <= item["proved"][1]


def test_fewer_events_narrow_the_proof(files):
    def sums(*assumed):
        data = json.loads(ranges(files / "net.dmpir", "--json", "-", *assumed))
        item = next(item for item in data["ranges"] if item["what"] == "event sums")
        return item["proved"]

    assert sums("--events", "0") == [0, 0]
    assert sums("--events", "1")[1] < sums()[1]


@pytest.fixture
def graded(tmp_path):
    x = samples(SHAPE) * 2.0 - 0.5
    np.savez(tmp_path / "x.npz", x=x)
    dmpc.compile(network(SHAPE), calibration=x).save(tmp_path / "graded.elf")
    return tmp_path


def test_a_declared_range_of_the_input_narrows_the_proof(graded):
    def drive(*declared):
        data = json.loads(ranges(graded / "graded.elf", "--json", "-", *declared))
        item = next(item for item in data["ranges"] if item["what"] == "drive")
        return item["proved"][1]

    assert drive("--input-range", "-0.5", "1.5") < drive()
    assert drive("--input-range", "-0.5", "0.5") < drive("--input-range", "-0.5", "1.5")


def test_samples_beyond_the_declared_range_are_an_error(graded):
    files = [str(graded / "graded.elf"), "--input", str(graded / "x.npz")]
    done = CliRunner().invoke(main, ["inspect", "--ranges", *files, "--input-range", "0", "1"])
    assert done.exit_code == 1
    assert "the samples hold -0.5 .. 1.5, which is not within" in done.output


@pytest.mark.parametrize(
    ("option", "said"), [("--events", "4 active inputs in a timestep"), ("--timesteps", "20 time")]
)
def test_samples_that_are_not_as_assumed_are_an_error(files, option, said):
    given = [str(files / "quiet.elf"), "--input", str(files / "x.npz"), option]
    assert CliRunner().invoke(main, ["inspect", "--ranges", *given, "20"]).exit_code == 0
    done = CliRunner().invoke(main, ["inspect", "--ranges", *given, "3"])
    assert done.exit_code == 1
    assert f"the samples have up to {said}" in done.output
