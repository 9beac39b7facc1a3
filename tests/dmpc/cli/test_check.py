"""`dmpc check`: everything at once, for people and for programs."""

import json

import numpy as np
from onnx import helper

from isa.target import target_text
from tests.dmpc.cli.conftest import STATES, write_model


def two_unknown(nodes):
    """Two operators that are not supported, in branches of their own; both have consumers."""
    nodes[2] = helper.make_node("Softsign", ["sum"], ["drive"], name="/squash")
    nodes[7] = helper.make_node("Celu", ["u"], ["leaked"], name="/odd_leak")


def checked(dmpc, *arguments, status):
    result = dmpc("check", *arguments)
    assert result.exit_code == status, result.output
    assert result.stderr == ""
    return result.stdout


def test_a_sound_model_has_no_findings(dmpc, shared):
    before = sorted(shared.folder.iterdir())
    model = (shared.model, "--readout", "mean")
    said = checked(dmpc, *model, "--calibration", shared.data, status=0)
    assert said == f"{shared.model}: no findings\n"
    report = json.loads(checked(dmpc, *model, "--json", status=0))
    assert report["reached"] == "image"
    assert report["findings"] == []
    assert sorted(shared.folder.iterdir()) == before


def test_every_independent_error_is_reported_and_none_follows(dmpc, tmp_path):
    model = write_model(tmp_path / "net.onnx", change=two_unknown)
    said = checked(dmpc, model, status=1)
    assert (
        f"error: {model}: /squash: operator Softsign is not supported  [unknown-operator]" in said
    )
    assert f"error: {model}: /odd_leak: operator Celu is not supported  [unknown-operator]" in said
    assert said.endswith(f"\n{model}: 2 errors\n")
    assert "    MatMul(x, drive.weight) -> sum  [/sum]\n    Softsign(sum) -> drive" in said


def test_warnings_and_notes_do_not_fail(dmpc, shared, tmp_path):
    silent = write_model(tmp_path / "net.onnx", threshold=np.full(1, 1e6))
    said = checked(dmpc, silent, "--calibration", shared.data, status=0)
    assert f"warning: {silent}: /above, /u_next: no neuron of layer1 fires on" in said
    made = dmpc("compile", silent, "--calibration", shared.data, "-o", tmp_path / "net.elf")
    assert "no neuron of layer1 fires on the example input" in made.stderr
    report = json.loads(checked(dmpc, silent, "--json", status=0))
    assert (report["errors"], report["reached"]) == (0, "image")
    assert report["warnings"] + report["notes"] == len(report["findings"])
    assert report["findings"][0]["rule"] == "never-reached"


def test_a_memory_that_grows_beyond_all_numbers_is_one_finding(dmpc, tmp_path):
    model = write_model(tmp_path / "net.onnx", A=np.full((STATES, STATES), 1e30))
    said = checked(dmpc, model, status=1)
    assert said.startswith(f"error: {model}: /m_next: run for ")
    assert "the memory of layer1 leaves the range of float32 in timestep " in said
    assert "[beyond-float32]" in said
    assert said.count("error: ") == 1


def test_what_does_not_fit_is_said_of_every_memory(dmpc, shared, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(target_text("paper").replace("rows = ", "rows = 1 #"))
    report = json.loads(checked(dmpc, shared.model, "--target", path, "--json", status=1))
    full = [found for found in report["findings"] if found["severity"] == "error"]
    assert {found["rule"] for found in full} == {"memory-full"}
    memories = [found["message"].split(" memory;")[0].split()[-1] for found in full]
    assert sorted(memories) == sorted({*memories})
    assert {"drive", "update", "neuron", "parameter"} < {*memories}


def test_compile_says_how_many_more(dmpc, tmp_path):
    model = write_model(tmp_path / "net.onnx", change=two_unknown)
    said = dmpc.fails("compile", model)
    assert said.startswith(f"{model}: /squash: operator Softsign is not supported (Relu, ")
    assert said.endswith(f" (and 1 more: dmpc check {model})")


def test_json_for_programs(dmpc, tmp_path):
    model = write_model(tmp_path / "net.onnx", change=two_unknown)
    report = json.loads(checked(dmpc, model, "--json", status=1))
    assert {key: report[key] for key in ("schema", "model", "target", "reached")} == {
        "schema": 1,
        "model": str(model),
        "target": "paper",
        "reached": "",
    }
    assert (report["errors"], report["warnings"], report["notes"]) == (2, 0, 0)
    first, second = report["findings"]
    assert second["nodes"] == ["/odd_leak"]
    assert first == {
        "rule": "unknown-operator",
        "severity": "error",
        "where": f"{model}: /squash",
        "nodes": ["/squash"],
        "message": "operator Softsign is not supported",
        "nearest": first["nearest"],
        "why": first["why"],
        "piece": [
            {"op": "MatMul", "inputs": ["x", "drive.weight"], "output": "sum", "node": "/sum"},
            {"op": "Softsign", "inputs": ["sum"], "output": "drive", "node": "/squash"},
        ],
        "omitted": 0,
    }


def test_json_in_a_file_leaves_the_text(dmpc, shared, tmp_path):
    path = tmp_path / "report.json"
    said = checked(dmpc, shared.model, "--json", path, status=0)
    assert said.endswith(f"{shared.model}: 1 note\n")
    assert json.loads(path.read_text())["findings"][0]["rule"] == "readout-assumed"
    assert json.loads(path.read_text())["errors"] == 0


def test_a_file_that_cannot_be_read_is_a_finding(dmpc, tmp_path):
    path = tmp_path / "none.onnx"
    assert f"error: {path}: no such file" in checked(dmpc, path, status=1)


def test_a_wrong_target_or_wrong_samples_are_errors_of_usage(dmpc, shared, tmp_path):
    assert "target 'papre'" in dmpc.fails("check", shared.model, "--target", "papre")
    missing = tmp_path / "none.npz"
    said = dmpc.fails("check", shared.model, "--calibration", missing)
    assert said.startswith(f"{missing}: ")
