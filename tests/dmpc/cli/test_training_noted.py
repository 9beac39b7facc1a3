"""What a file says of its training goes from verb to verb, and with the image its weights."""

import json

import numpy as np
import onnx
import pytest

from dmpc.passes.quantization.widths import read_widths
from tests.dmpc.cli.conftest import CLASSES, NEURONS, write_model

TRAINED = {"default": {"drive": 12, "slow": 10, "update": 16, "weights": 3}}
KEPT = "widths are those that the network was trained at: weights of 3 bits\n"
WARNED = (
    "dmpc: warning: net.onnx: the network was trained at drive of 12 bits, slow of 10 bits, update "
    "of 16 bits, weights of 3 bits; it is compiled at drive of 12 bits, slow of 10 bits, update of "
    "16 bits, weights of 8 bits\n"
)


@pytest.fixture
def trained(files, tmp_path, monkeypatch):
    """A model that was trained at 3 bits, and samples, in the working directory."""
    monkeypatch.chdir(files.folder)
    model = onnx.load(write_model(tmp_path / "net.onnx"))
    onnx.helper.set_model_props(model, {"dmpc.widths": json.dumps(TRAINED), "author": "me"})
    onnx.save(model, "net.onnx")
    return tmp_path


def test_widths_of_training_are_announced(trained, dmpc):
    assert KEPT in dmpc.ok("compile", "net.onnx", "-o", "a.elf")
    other = dmpc("compile", "net.onnx", "--weight-bits", 8, "-o", "b.elf")
    assert (other.exit_code, KEPT in other.stdout) == (0, False)
    assert other.stderr.replace("b.elf", "net.onnx") == WARNED
    assert (trained / "a.elf").read_bytes() != (trained / "b.elf").read_bytes()


def test_an_exported_file_says_at_which_widths_too(trained, dmpc):
    dmpc.ok("export", "net.onnx", "-o", "out.onnx")
    props = {one.key: one.value for one in onnx.load("out.onnx").metadata_props}
    assert json.loads(props["dmpc.widths"]) == TRAINED
    assert sorted(props) == ["dmpc.version", "dmpc.widths"]
    assert KEPT in dmpc.ok("compile", "out.onnx", "-o", "out.elf")
    assert (trained / "out.elf").exists()


def test_saved_widths_are_all_of_them(trained, dmpc):
    """Else the target's own would be taken for those of training, when the file is given back."""
    data = ("--calibration", "data.npz")
    assert KEPT in dmpc.ok("quantize", "net.onnx", *data, "--save", "w.toml")
    assert read_widths("w.toml") == TRAINED
    other = dmpc("quantize", "net.onnx", *data, "--weight-bits", 8, "--save", "wide.toml")
    assert (other.exit_code, other.stderr) == (0, WARNED)
    assert read_widths("wide.toml")["default"]["weights"] == 8
    made = dmpc("compile", "net.onnx", *data, "--widths", "wide.toml", "-o", "wide.elf")
    assert "weights of 8 bits" in made.stderr
    assert (trained / "wide.elf").exists()


def test_an_image_of_other_weights_is_told(files, tmp_path, dmpc):
    other = write_model(tmp_path / "other.onnx", out_weight=np.ones((NEURONS, CLASSES)))
    said = dmpc.fails("verify", other, files.image, "--input", files.data)
    assert "this image was not made from this model" in said
