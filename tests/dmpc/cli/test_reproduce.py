"""`dmpc reproduce` on a few samples: every claim measured, the picture drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dmpc.cli import main

EXAMPLE = Path(__file__).parents[3] / "examples" / "spoken_digits"


def test_reproduce(tmp_path):
    for name in ("model.onnx", "model_256.onnx", "test.npz"):
        (tmp_path / name).symlink_to(EXAMPLE / name)
    with np.load(EXAMPLE / "train.npz") as train:  # all of it would calibrate eight networks
        np.savez(tmp_path / "train.npz", x=train["x"][:60], y=train["y"][:60])
    picture, figures = tmp_path / "r.png", tmp_path / "r.json"
    arguments = ["reproduce", "--example", str(tmp_path), "--limit", "4"]
    found = CliRunner().invoke(main, [*arguments, "--plot", str(picture), "--json", str(figures)])
    assert found.exit_code == 0, found.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    told = json.loads(figures.read_text())
    claims = {claim["name"]: claim["measured"] for claim in told["claims"]}
    assert len(claims) == 8
    assert claims["energy of the memory update, 256 / 128"] == pytest.approx(1.0, abs=0.1)
    both, none = told["ablation"][0], told["ablation"][-1]
    assert none["energy"] > both["energy"]
    assert none["accuracy"] == both["accuracy"]
    assert all(claim["name"] in found.output for claim in told["claims"])


def test_an_example_that_is_not_there(tmp_path):
    found = CliRunner().invoke(main, ["reproduce", "--example", str(tmp_path / "none")])
    assert found.exit_code == 1
    assert "no file model.onnx" in found.output
    assert "--example" in found.output
    assert len(found.output.strip().splitlines()) == 1
