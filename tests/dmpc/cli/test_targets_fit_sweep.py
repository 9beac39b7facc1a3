"""`dmpc targets`, `dmpc fit` and `dmpc sweep`: what one asks before a target is chosen."""

import json

import numpy as np
import pytest

from dmpc.ir.printer import to_text
from isa.target import target_names, target_text
from tests.dmpc.test_convolution import drawn
from tests.dmpc.test_convolution import imported as convolution


@pytest.fixture
def tiny(tmp_path):
    """A target that holds nothing."""
    text = target_text("paper").replace('name = "paper"', 'name = "tiny"')
    text = text.replace("rows = 32768", "rows = 2").replace("rows = 8192", "rows = 2")
    start, end = text.index("[external]"), text.index("[energy]")
    path = tmp_path / "tiny.toml"
    path.write_text(text[:start] + text[end:])
    return path


def test_targets_are_listed_and_described(dmpc, tiny):
    listed = dmpc.ok("targets")
    for name in target_names():
        assert f"\n  {name} " in listed
    said = dmpc.ok("targets", "paper", tiny)
    assert said.startswith("The published accelerator's resources")
    assert "tiny: 4 lanes, 200 MHz" in said
    assert max(map(len, (listed + said).splitlines())) <= 80
    (told,) = json.loads(dmpc.ok("targets", "edge", "--json", "-"))["targets"]
    assert (told["name"], told["lanes"]) == ("edge", 32)
    assert "neither a shipped target" in dmpc.fails("targets", "papper")


def test_fit_says_where_it_fits_and_what_is_scarce(dmpc, shared):
    said = dmpc.ok("fit", shared.model)
    assert "the smallest target that would do: paper, on the chip" in said
    assert max(map(len, said.splitlines())) <= 80
    told = json.loads(dmpc.ok("fit", shared.model, "--target", "edge", "--json", "-"))
    assert told["smallest"] == "paper"
    assert told["targets"][0]["target"] == "edge"
    assert all(one["on_chip"] for one in told["targets"])


def test_fit_says_what_would_do(dmpc, shared, tiny):
    result = dmpc("fit", shared.model, "--target", tiny)
    assert result.exit_code == 1
    assert "tiny cannot hold it: " in result.stdout
    assert "tiny with these rows would hold all of it on the chip" in result.stdout
    assert "the smallest target that would do: paper" in result.stdout
    assert "none.onnx" in dmpc.fails("fit", "none.onnx")


def swept(dmpc, shared, *arguments):
    base = ("--calibration", shared.data, "--input", shared.data)
    return dmpc("sweep", shared.model, *base, *arguments)


def test_sweep_prints_one_table_of_what_run_tells(dmpc, shared, tmp_path):
    kept = tmp_path / "sweep.json"
    result = swept(
        dmpc, shared, "--target", "paper,edge", "--weight-bits", "4,8,40", "--json", kept
    )
    assert result.exit_code == 0, result.output
    assert "paper at 40 bits: " in result.stdout
    points = json.loads(kept.read_text())["points"]
    assert [(p["target"], p["weight_bits"]) for p in points] == [
        (target, bits) for target in ("paper", "edge") for bits in (4, 8, 40)
    ]
    assert [p["error"] is None for p in points] == [True, True, False] * 2
    ran = json.loads(dmpc.ok("run", shared.image, "--input", shared.data, "--json", "-"))
    same = points[1]
    assert same["accuracy"] == ran["accuracy"]
    assert same["cycles"] == ran["totals"]["cycles"] / ran["totals"]["timesteps"]


def test_sweep_goes_on_where_it_was(dmpc, shared, tmp_path, monkeypatch):
    kept = tmp_path / "sweep.json"
    swept(dmpc, shared, "--target", "paper", "--json", kept)
    before = json.loads(kept.read_text())["points"]
    made = []
    monkeypatch.setattr(
        "dmpc.cli.sweep_verb.compiled", lambda *choice: made.append(choice[-1].target) or "no"
    )
    swept(dmpc, shared, "--target", "edge,paper", "--json", kept)
    assert made == ["edge"]
    assert json.loads(kept.read_text())["points"][1:] == before


def test_sweep_takes_no_other_sweeps_points(dmpc, shared, tmp_path):
    kept = tmp_path / "sweep.json"
    for text in ('{"samples": []}', '{"about": [], "targets": {}, "points": [3]}', "[" * 9999):
        kept.write_text(text)
        said = swept(dmpc, shared, "--json", kept)
        assert said.exit_code == 1
        assert "it is there and holds no sweep" in said.stderr
        assert kept.read_text() == text
    kept.unlink()
    swept(dmpc, shared, "--json", kept)
    said = swept(dmpc, shared, "--json", kept, "--limit", 3)
    assert "it holds a sweep of another limit" in said.stderr


def test_sweep_fails_if_nothing_can_be_compiled(dmpc, shared):
    result = swept(dmpc, shared, "--weight-bits", "40")
    assert result.exit_code == 1
    assert "no choice can be compiled" in result.stderr
    assert "is not a valid integer" in swept(dmpc, shared, "--weight-bits", "4,x").stderr


def test_convolutions_are_laid_out_for_each_targets_lanes(dmpc, tmp_path):
    model, data = tmp_path / "c.dmpir", tmp_path / "x.npz"
    model.write_text(to_text(convolution("plain")))
    np.savez(data, x=drawn("plain"))
    told = json.loads(dmpc.ok("fit", model, "--json", "-"))
    assert all(one["on_chip"] for one in told["targets"])
    arguments = ("--input", data, "--calibration", data, "--json", "-")
    points = json.loads(dmpc("sweep", model, "--target", "paper,edge", *arguments).stdout)["points"]
    assert [point["error"] for point in points] == [None, None]
