"""`dmpc diff`: exit code 0 if nothing differs, 1 if anything does, and what it prints of it."""

import json

import numpy as np

from tests.dmpc.cli.conftest import write_model


def test_nothing_differs(dmpc, shared):
    for name in (shared.image, shared.model, "paper"):
        assert dmpc.ok("diff", name, name) == "no difference\n"
    told = dmpc.ok("diff", "paper", "paper", "--json", "-")
    assert json.loads(told) == {"kind": "a target", "changes": []}


def test_images_and_what_the_change_costs(dmpc, shared, tmp_path):
    other = tmp_path / "other.elf"
    arguments = (shared.model, "--calibration", shared.data, "-o", other)
    dmpc.ok("compile", *arguments, "--target", "pooled")
    result = dmpc("diff", shared.image, other, "--input", shared.data)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "  name: paper -> pooled" in lines
    assert any(line.startswith("  cycles per timestep: ") and "%" in line for line in lines)
    assert any(line.startswith("  layers.layer1.busy: ") for line in lines)
    assert max(map(len, lines)) <= 80
    told = json.loads(dmpc("diff", shared.image, other, "--json", "-").stdout)["changes"]
    assert {
        "section": "target",
        "what": "name",
        "before": "paper",
        "after": "pooled",
        "by": None,
    } in told
    assert len(dmpc("diff", shared.image, other, "--all").stdout.splitlines()) > len(told)


def test_models_by_op(dmpc, shared, tmp_path):
    other = write_model(tmp_path / "other.onnx", beta=np.full(1, 0.75))
    result = dmpc("diff", shared.model, other)
    assert result.exit_code == 1
    assert "constants: 1 changed" in result.stdout
    assert "differ, by 0.25 at most" in result.stdout


def test_runs_that_were_written(dmpc, shared, tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    dmpc.ok("run", shared.image, "--input", shared.data, "--json", one)
    dmpc.ok("run", shared.image, "--input", shared.data, "--limit", 3, "--json", other)
    result = dmpc("diff", one, other)
    assert result.exit_code == 1
    assert "  totals.samples: 12 -> 3  -9 (-75.0 %)" in result.stdout
    assert dmpc.ok("diff", one, one) == "no difference\n"


def test_what_it_refuses(dmpc, shared, tmp_path):
    said = dmpc.fails("diff", shared.image, "paper")
    assert said == f"{shared.image}, paper: one is an image, the other is a target"
    assert "cannot read" in dmpc.fails("diff", tmp_path / "none.elf", shared.image)
    assert "no effect on a target" in dmpc.misused("diff", "paper", "edge", "--input", shared.data)
    odd = tmp_path / "odd.json"
    for text in ("[1, 2]", '{"samples": []}', '{"totals": {}, "samples": [3]}'):
        odd.write_text(text)
        assert "neither a run nor a profile" in dmpc.fails("diff", odd, odd)
    odd.write_text("[" * 100_000)
    assert "no JSON" in dmpc.fails("diff", odd, odd)
