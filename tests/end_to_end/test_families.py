"""The example that compares the families, on a few samples; their models in every bit."""

import runpy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import runtime
from dmpc import Options
from dmpc import compile as compile_model
from dmpc.verification import verify
from isa.target import target_names

EXAMPLE = Path(__file__).parents[2] / "examples" / "families" / "compare.py"
COMPARE = runpy.run_path(str(EXAMPLE))
SPOKEN = runtime.load_samples(COMPARE["SPOKEN"] / "test.npz")


@pytest.mark.parametrize(
    ("family", "target"),
    [
        (family, target)
        for family, target in product(COMPARE["MODELS"], target_names())
        if family == "DMP" or target != "edge"
    ],
)
def test_a_family_in_every_bit(family, target):
    model, x = COMPARE["MODELS"][family], SPOKEN.x[::100]
    image = compile_model(model, calibration=x, options=Options(target=target)).image
    few = slice(None, None, 250)
    found = verify(model, image, SPOKEN.x[few], SPOKEN.y[few], max_drop=30)
    assert [rung.reason for rung in found.rungs if not rung.ok] == []


def test_what_each_family_has_and_its_column_in_the_table(monkeypatch, tmp_path):
    found = {}
    globals_ = COMPARE["main"].callback.__globals__
    with np.load(COMPARE["SPOKEN"] / "train.npz") as train:  # all of it takes long to calibrate on
        np.savez(tmp_path / "train.npz", x=train["x"][:100], y=train["y"][:100])
    (tmp_path / "test.npz").symlink_to(COMPARE["SPOKEN"] / "test.npz")
    monkeypatch.setitem(globals_, "SPOKEN", tmp_path)

    def measured(model, *given):
        found[model] = COMPARE["measure"](model, *given)
        return found[model]

    monkeypatch.setitem(globals_, "measure", measured)
    result = CliRunner().invoke(COMPARE["main"], ["--limit", "40"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "40 spoken digits on target paper" in result.output
    for word in (*COMPARE["MODELS"], "cycles per timestep", "kbit, delays", "nJ per sample"):
        assert word in result.output
    costs = {family: found[model] for family, model in COMPARE["MODELS"].items()}
    sizes = np.array([one.parameters for one in costs.values()])
    assert np.ptp(sizes) < 0.01 * sizes.mean()
    for family, one in costs.items():
        assert (one.bits["delays"] > 0) == (one.energy["delays"] > 0) == (family == "DSNN")
        assert (one.energy["memory update"] > 0) == (family == "DMP")
        assert one.accuracy > 0.7
        assert abs(one.accuracy - one.float_accuracy) < 0.1
        assert sum(one.energy.values()) == pytest.approx(one.total)
    assert costs["RSNN"].bits["weights"] > costs["FSNN"].bits["weights"]
