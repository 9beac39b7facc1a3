"""`dmpc quantize`: tables, JSON, widths for compile, errors."""

import json

import numpy as np
import pytest

from dmpc.ir.printer import to_text
from dmpc.passes.quantization.widths import read_widths, width_plan
from isa.target import load_target
from tests.networks import Layer, Shape, network, samples

LAYERS = (Layer(16, states=5, hard=False), Layer(12, states=4, dilation=2))
SHAPE = Shape(inputs=20, layers=LAYERS, samples=40, steps=20, seed=3)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A model, a calibration set and a test set, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.dmpir").write_text(to_text(network(SHAPE)))
    x = samples(SHAPE)
    y = np.arange(len(x)) % 3
    (tmp_path / "two.toml").write_text("[default]\nweights = 2\nslow = 2\ndrive = 2\nupdate = 2\n")
    np.savez(tmp_path / "train.npz", x=x[:30], y=y[:30])
    np.savez(tmp_path / "test.npz", x=x[30:], y=y[30:])
    return tmp_path


GIVEN = ("quantize", "net.dmpir", "--calibration", "train.npz")


def test_report_search_and_compile(files, dmpc):
    found = dmpc(
        *GIVEN, "--input", "test.npz", "--report", "--max-drop", "20", "--save", "w.toml",
        "--plot", "impulse.png", "--json", "found.json",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    for words in ("a bit less", "slow state", "impulse responses", "widths", "on test.npz"):
        assert words in found.output
    assert (files / "impulse.png").read_bytes().startswith(b"\x89PNG")
    plain = json.loads((files / "found.json").read_text())
    assert plain["bits"] < plain["target_bits"]
    assert {"layer1", "layer2", "readout"} == {loss["layer"] for loss in plain["losses"]}
    assert set(plain["difference"]["alone"]) == {"layer1.spikes", "layer2.spikes"}
    plan = width_plan(load_target("paper"), None, read_widths("w.toml"))
    for part, bits in plain["widths"].items():
        layer, name = part.split(".")
        assert getattr(plan[layer], name) == bits, part
    made = dmpc(
        "compile", "net.dmpir", "--calibration", "train.npz", "--widths", "w.toml", "-o", "net.elf"
    )
    assert made.exit_code == 0, made.output
    ran = dmpc("verify", "net.dmpir", "net.elf", "--input", "test.npz", "--max-drop", "100")
    assert ran.exit_code == 0, ran.output


def test_plain_difference_on_the_calibration_set(files, dmpc):
    del files
    found = dmpc(*GIVEN)
    assert found.exit_code == 0, found.output
    assert "through the network" in found.output
    assert "on train.npz" in found.output
    assert "a bit less" not in found.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--widths", "no.toml"), 1, "no.toml: cannot read"),
        (("--weight-bits", "12"), 1, "weights of 12 bits; this target holds 2 .. 8"),
        (("--limit", "3"), 2, "--limit counts samples of --input"),
        (("--max-drop", "0", "--widths", "two.toml"), 1, "of 100 answers lose half of their lead"),
    ],
)
def test_errors_are_one_line(files, dmpc, arguments, code, message):
    del files
    found = dmpc(*GIVEN, *arguments)
    assert found.exit_code == code, found.output
    assert message in found.stderr
