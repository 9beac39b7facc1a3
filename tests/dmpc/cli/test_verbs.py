"""The verbs, as a user calls them."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

from dmpc.frontend import open_model
from dmpc.ir.levels import LEVELS
from dmpc.ir.parser import parse
from dmpc.ir.printer import to_text
from dmpc.passes import PASSES
from isa.image import read_image
from tests.dmpc.cli.conftest import CLASSES, INPUTS, NEURONS, SAMPLES, STATES, STEPS
from tests.dmpc.frontend.repeated import T, Unrolled
from tests.networks import Layer, Shape, network


def test_compile_alone_writes_beside_the_model_and_says_what_calibration_improves(dmpc, files):
    files.image.unlink()
    said = dmpc.ok("compile", files.model)
    assert files.image.exists()
    assert f"wrote {files.image}" in said
    assert "scales from static ranges" in said
    assert "note: without --calibration" in said
    assert "a calibration set gives states and membranes precision" in said
    assert "cycles per timestep, a guess: " in said
    assert "it was run on random events of density" in said


def test_compile_summarises_layers_memories_and_cycles(dmpc, files):
    said = dmpc.ok(
        "compile", files.model, "--calibration", files.data, "-o", files.folder / "b.elf"
    )
    rows = [line.split() for line in said.splitlines() if line.strip()]
    starts = [row[:4] for row in rows]
    assert ["layer1", str(INPUTS), str(NEURONS), str(STATES)] in starts
    assert ["readout", str(NEURONS), str(CLASSES)] in [row[:3] for row in rows]
    memories = {"spike", "memory_a", "drive", "update", "parameter", "neuron"}
    assert memories <= {row[0] for row in rows}
    assert "cycles per timestep on 4 calibration samples" in said
    assert f"scales from calibration on {SAMPLES} samples" in said
    assert "note:" not in said


def test_compiling_twice_gives_the_same_bytes(dmpc, files):
    for name in ("one.elf", "two.elf"):
        dmpc.ok("compile", files.model, "--calibration", files.data, "-o", files.folder / name)
    assert (files.folder / "one.elf").read_bytes() == (files.folder / "two.elf").read_bytes()


def graphs(said):
    """Printed graphs by the pass before them."""
    parts = said.split("// after ")[1:]
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1].split("\n}\n")[0] for part in parts}


NEEDED = [name for name in PASSES if name not in ("align", "limit-spikes")]
"""The passes of a network without convolutions, of neurons that spike once."""


@pytest.mark.parametrize("name", NEEDED)
def test_print_after_a_pass(dmpc, shared, tmp_path, name):
    said = dmpc.ok("compile", shared.model, "-o", tmp_path / "a.elf", "--print-after", name)
    found = graphs(said)
    assert list(found) == [name]
    assert found[name].startswith("dmpir 1\ngraph ")


def test_print_after_all_prints_every_pass_in_order(dmpc, shared, tmp_path):
    said = dmpc.ok("compile", shared.model, "-o", tmp_path / "a.elf", "--print-after-all")
    assert list(graphs(said)) == NEEDED


def test_run_prints_predictions_accuracy_and_cycles(dmpc, shared):
    said = dmpc.ok("run", shared.image, "--input", shared.data)
    labels = np.load(shared.data)["y"]
    image = read_image(shared.image)
    assert image.target.name == "paper"
    assert f"... {SAMPLES - 10} more" in said
    assert f" % of {len(labels)} samples" in said
    assert " per timestep: " in said


def test_run_json_to_a_file_and_to_a_pipe(dmpc, files):
    path = files.folder / "run.json"
    shown = dmpc.ok("run", files.image, "--input", files.data, "--json", path)
    piped = dmpc.ok("run", files.image, "--input", files.data, "--json", "-")
    data = json.loads(path.read_text())
    assert json.loads(piped) == data, "with - nothing else is printed"
    assert "accuracy" in shown
    assert len(data["samples"]) == SAMPLES
    labels = np.load(files.data)["y"].tolist()
    assert [sample["label"] for sample in data["samples"]] == labels
    right = [sample["prediction"] == sample["label"] for sample in data["samples"]]
    assert data["accuracy"] == pytest.approx(np.mean(right))
    assert all(len(sample["logits"]) == CLASSES for sample in data["samples"])
    assert sum(sample["cycles"] for sample in data["samples"]) == data["totals"]["cycles"]
    assert data["totals"]["timesteps"] == SAMPLES * STEPS
    assert {"units", "memories", "saturations"} <= set(data["totals"])


def test_limit_runs_the_first_samples(dmpc, shared):
    whole = json.loads(dmpc.ok("run", shared.image, "--input", shared.data, "--json", "-"))
    part = json.loads(
        dmpc.ok("run", shared.image, "--input", shared.data, "--json", "-", "--limit", 3)
    )
    assert part["samples"] == whole["samples"][:3]


def test_verify_climbs_every_rung(dmpc, shared):
    arguments = ("verify", shared.model, shared.image, "--input", shared.data, "--max-drop", 50)
    said = dmpc.ok(*arguments)
    data = json.loads(dmpc.ok(*arguments, "--json", "-"))
    assert data["ok"]
    names = [rung["name"] for rung in data["rungs"]]
    assert names == [
        "onnxruntime ~ float graph",
        "float graph ~ integer graph",
        "integer graph = simulator, every bit",
        "fast engine = reference engine, logits, cycles and counts",
    ]
    for rung in data["rungs"]:
        assert rung["ok"]
        assert rung["figures"]
        assert f"ok   {rung['name']}" in said
    figures = [rung["figures"] for rung in data["rungs"]]
    assert figures[0]["largest_logit_error"] < 1e-3
    assert {"float_accuracy", "integer_accuracy", "spike_mismatch"} <= set(figures[1])
    assert "layer_alone_mismatch" in figures[1]
    assert figures[2]["elements"] > SAMPLES * STEPS * NEURONS
    assert not any(figures[2]["different"].values())


def test_verify_fails_with_one_line_where_a_rung_breaks(dmpc, shared):
    """A drop of less than nothing cannot be met: one more sample would have to be right."""
    arguments = ("verify", shared.model, shared.image, "--input", shared.data)
    result = dmpc(*arguments, "--max-drop", -101)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"dmpc: error: {shared.image}: float graph ~ integer graph: ")
    assert result.stderr.count("\n") == 1
    assert "FAIL float graph ~ integer graph" in result.stdout
    data = json.loads(dmpc(*arguments, "--max-drop", -101, "--json", "-").stdout)
    assert [rung["ok"] for rung in data["rungs"]] == [True, False, True, True]
    assert not data["ok"]


def test_verify_needs_no_labels(dmpc, files):
    np.savez(files.data, x=np.load(files.data)["x"])
    arguments = ("verify", files.model, files.image, "--input", files.data, "--max-drop", 50)
    data = json.loads(dmpc.ok(*arguments, "--json", "-"))
    assert "prediction_agreement" in data["rungs"][1]["figures"]
    assert "float_accuracy" not in data["rungs"][1]["figures"]


@pytest.mark.parametrize("level", LEVELS)
def test_inspect_a_model_at_each_level_and_what_it_printed(dmpc, shared, tmp_path, level):
    said = dmpc.ok("inspect", shared.model, "--level", level, "--data")
    assert parse(said, "said").level == level
    text = tmp_path / "graph.dmpir"
    text.write_text(said)
    assert dmpc.ok("inspect", text, "--level", level, "--data") == said
    if level != LEVELS[-1]:
        onward = LEVELS[LEVELS.index(level) + 1]
        assert f"level {onward} " in dmpc.ok("inspect", text, "--level", onward)


def test_inspect_shows_layers_of_a_model_by_default(dmpc, shared):
    assert " level layers {" in dmpc.ok("inspect", shared.model)


def test_a_graph_as_text_compiles_to_the_same_image(dmpc, files):
    text = files.folder / "small.dmpir"
    text.write_text(dmpc.ok("inspect", files.model, "--level", "model", "--data"))
    dmpc.ok("compile", text, "--calibration", files.data, "-o", files.folder / "text.elf")
    assert read_image(files.folder / "text.elf").code == read_image(files.image).code


def test_neurons_may_bear_another_layers_name_than_their_products(dmpc, tmp_path):
    """So graph text may say, by hand; what they read is what charges them."""
    text = to_text(network(Shape(6, (Layer(4), Layer(5, current="now")), seed=1)), data=True)
    for name in ("layer1", "layer2"):
        text = re.sub(rf'(= lif\(.*layer = )"{name}"', rf'\1"other{name[-1]}"', text)
    (tmp_path / "odd.dmpir").write_text(text)
    said = dmpc("compile", str(tmp_path / "odd.dmpir")).stdout
    assert re.search(r"other1 +6 +4 ", said)
    assert re.search(r"other2 +4 +5 ", said)


def test_inspect_an_image(dmpc, shared):
    said = dmpc.ok("inspect", shared.image)
    assert f"input: {INPUTS} events" in said
    assert f"output: {CLASSES} logits" in said
    assert "memory map" in said
    assert "layer1.drive.weight" in said
    assert "in cycles from its first instruction" in said


def test_inspect_memory_or_schedule_alone(dmpc, shared):
    memory = dmpc.ok("inspect", shared.image, "--memory")
    assert "memory map" in memory
    assert "instruction" not in memory
    schedule = dmpc.ok("inspect", shared.image, "--schedule")
    assert "memory map" not in schedule
    for word in ("input.events", "drive.events", "acc.values", "lif", "update"):
        assert word in schedule


def test_the_schedule_of_a_model_is_that_of_its_image(dmpc, shared):
    options = ("--schedule", "--input", shared.data, "--sample", 2, "--timestep", 5)
    of_image = dmpc.ok("inspect", shared.image, *options)
    assert dmpc.ok("inspect", shared.model, "--calibration", shared.data, *options) == of_image


def test_inspect_the_graph_inside_an_image(dmpc, shared):
    said = dmpc.ok("inspect", shared.image, "--level", "scheduled", "--data")
    assert parse(said, "said").level == "scheduled"


def test_an_image_goes_to_text_and_back_byte_for_byte(dmpc, files):
    text = files.folder / "small.s"
    text.write_text(dmpc.ok("disasm", files.image))
    dmpc.ok("asm", text, "-o", files.folder / "again.elf")
    assert (files.folder / "again.elf").read_bytes() == files.image.read_bytes()


def test_asm_writes_beside_its_source(dmpc, files):
    dmpc.ok("disasm", files.image, "-o", files.folder / "beside.s")
    assert dmpc.ok("asm", files.folder / "beside.s") == f"wrote {files.folder / 'beside.elf'}\n"
    assert (files.folder / "beside.elf").exists()


def test_disasm_of_the_code_alone_is_for_reading(dmpc, shared):
    said = dmpc.ok("disasm", shared.image, "--code-only")
    assert "lif" in said
    assert len(said) < len(dmpc.ok("disasm", shared.image)) / 2


def test_help_lists_every_verb(dmpc):
    said = dmpc.ok("--help")
    assert all(verb in said for verb in ("compile", "run", "verify", "inspect", "disasm", "asm"))


# -- in a process of its own ----------------------------------------------------------------------


def dmpc_process(*arguments, **options):
    command = [sys.executable, "-c", "from dmpc.__main__ import run; run()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def test_a_pipe_sees_no_progress_and_no_colours(shared):
    found = dmpc_process(
        "verify", shared.model, shared.image, "--input", shared.data, "--max-drop", 50
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "\x1b" not in found.stdout
    assert "\r" not in found.stdout


def test_an_error_in_a_process_is_one_line_without_a_traceback(shared, tmp_path):
    found = dmpc_process("run", tmp_path / "none.elf", "--input", shared.data)
    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr.startswith(f"dmpc: error: {tmp_path / 'none.elf'}: ")
    assert found.stderr.count("\n") == 1


def test_the_seed_of_hashing_does_not_show(shared, tmp_path):
    images = []
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.elf"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found = dmpc_process("compile", shared.model, "-o", path, env=environment)
        assert found.returncode == 0, found.stderr
        images.append(path.read_bytes())
    assert images[0] == images[1]


def test_the_command_starts_without_training_or_plotting_libraries():
    script = (
        "import sys, dmpc, dmpc.cli.main; "
        "print(sorted({'torch', 'onnxruntime', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


def test_what_export_writes_shows_a_vector_as_often_as_the_model_does(dmpc, tmp_path):
    source, portable = tmp_path / "static.onnx", tmp_path / "portable.onnx"
    onnx.save(Unrolled("computed once").model(), source)
    assert dmpc.ok("export", source, "-o", portable) == f"wrote {portable}\n"
    models = [open_model(path) for path in (source, portable)]
    assert [model.graph.attrs["repeats"] for model in models] == [T, T]
    graph = models[0].graph
    x = np.random.default_rng(0).random((3, 1, graph.types[graph.inputs[0]].size))
    expected, found = (model.reference.logits(x) for model in models)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected) > 0


def test_export_writes_a_model_that_verifies_against_the_image_of_the_first(dmpc, files):
    portable = files.folder / "portable.onnx"
    assert dmpc.ok("export", files.model, "-o", portable) == f"wrote {portable}\n"
    said = dmpc.ok("verify", portable, files.image, "--input", files.data)
    assert "FAIL" not in said
    assert dmpc.fails("export", files.data, "-o", portable).startswith(f"{files.data}: unknown")
    assert "missing option '-o'" in dmpc.misused("export", files.model)
