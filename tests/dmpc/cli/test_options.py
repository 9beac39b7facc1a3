"""No option is accepted and ignored, and a command that a message prints works as printed."""

import shlex
import sys

import click
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dmpc.cli.main import VERBS, main
from dmpc.cli.models import quoted, warn
from dmpc.cli.terminal import clean
from dmpc.findings import finding
from dmpc.frontend.onnx_import import Signature
from dmpc.frontend.onnx_reference import OnnxReference
from dmpc.passes.lint import SILENT_LAYER
from isa.target import target_names
from tests.dmpc.cli.conftest import NEURONS, write_model


@pytest.mark.parametrize(
    ("file", "arguments", "said"),
    [
        ("image", ("--timesteps", 3), "--timesteps has no effect without --ranges"),
        ("image", ("--memory", "--events", 3), "--events has no effect without --ranges"),
        ("image", ("--memory", "--sample", 1), "--sample has no effect without --schedule"),
        ("image", ("--ranges", "--timestep", 1), "--timestep has no effect without --schedule"),
        ("image", ("--memory", "--input", "x.npz"), "--input has no effect without --ranges or"),
        ("image", ("--data",), "--data has no effect when no graph is printed"),
        ("image", ("--target", "pooled"), "--target has no effect for an image"),
        ("image", ("--no-fusion",), "--no-fusion has no effect for an image"),
        ("image", ("--calibration", "x.npz"), "--calibration has no effect for an image"),
        ("model", ("--input", "x.npz"), "--input has no effect without --ranges or --schedule"),
        ("model", ("--target", "pooled"), "--target has no effect for the graph at level layers"),
        ("model", ("--level", "integer", "--no-fusion"), "--no-fusion has no effect for the"),
        ("model", ("--level", "model", "--no-dependency-breaking"), "at level model"),
        ("model", ("--memory", "--data"), "--data has no effect when no graph is printed"),
        ("model", ("--example-input", "x.npz"), "--example-input is for package.module:factory"),
        ("model", ("--frame", "2x3"), "--frame is for package.module:factory"),
        ("model", ("--frame", "2,3"), "'2,3' is not like 2x34x34"),
        ("model", ("--frame", "2x0"), "'2x0' is not like 2x34x34"),
    ],
)
def test_inspect_refuses_what_it_would_ignore(dmpc, shared, file, arguments, said):
    assert said in dmpc.misused("inspect", getattr(shared, file), *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--time-first",), "which axis of its input is time, a file shows itself"),
        (("--dt", "0.1"), "are for NIR files"),
        (("--print-after", "recognise", "--readout", "mean"), None),
        (("--no-dependency-breaking", "--print-after", "break-dependency"), "did not run"),
        (("--input-range", 0, 1, "--calibration", "DATA"), "the calibration set holds events"),
    ],
)
def test_compile_refuses_what_it_would_ignore(dmpc, shared, tmp_path, arguments, said):
    arguments = [shared.data if word == "DATA" else word for word in arguments]
    image = tmp_path / "a.elf"
    if said is None:
        assert "// after recognise" in dmpc.ok("compile", shared.model, "-o", image, *arguments)
        return
    assert said in dmpc.fails("compile", shared.model, "-o", image, *arguments)
    assert not image.exists()


def test_options_of_other_models_are_refused(dmpc, shared, tmp_path):
    text = tmp_path / "small.dmpir"
    text.write_text(dmpc.ok("inspect", shared.model, "--data"))
    assert "--readout is not for graph text" in dmpc.fails("compile", text, "--readout", "max")
    said = dmpc.fails("compile", text, "--output", "logits")
    assert "--output is not for graph text" in said
    assert "--state is for ONNX files" in dmpc.fails("compile", text, "--state", "a=b")


def test_the_answer_is_chosen_on_the_command_line(dmpc, files, tmp_path):
    model = onnx.load(files.model)
    spikes = helper.make_tensor_value_info("spikes", TensorProto.FLOAT, ["batch", NEURONS])
    model.graph.output.append(spikes)
    onnx.save(model, files.model)
    said = dmpc.fails("verify", files.model, files.image, "--input", files.data)
    assert "--output logits or --output spikes" in said
    given = (files.model, files.image, "--input", files.data, "--output", "logits")
    assert "ok   onnxruntime ~ float graph" in dmpc.ok("verify", *given)
    chosen = (files.model, "--output", "spikes")
    assert "left out: logits" in dmpc.ok("check", *chosen)
    dmpc.ok("compile", *chosen, "-o", tmp_path / "a.elf", "--calibration", files.data)
    dmpc.ok("export", *chosen, "-o", tmp_path / "again.onnx")
    assert "logits" not in dmpc.ok("inspect", *chosen)
    said = dmpc.misused("compile", files.model, "--output", "a.elf")
    assert "the file to write is -o a.elf" in said


def test_help_names_the_targets(dmpc):
    said = " ".join(dmpc.ok("compile", "--help").split())
    assert all(name in said for name in target_names())


def unknown(nodes):
    nodes[2] = helper.make_node("Softsign", ["sum"], ["drive"], name="/squash")
    nodes[7] = helper.make_node("Celu", ["u"], ["leaked"], name="/odd_leak")


@pytest.mark.parametrize("name", ["net.onnx", "my net's.onnx", "two  blanks.onnx", "größe.onnx"])
def test_a_command_in_a_message_works_as_printed(dmpc, shared, tmp_path, name, bash):
    model = write_model(tmp_path / name, change=unknown)
    data = tmp_path / "my data.npz"
    data.write_bytes(shared.data.read_bytes())
    given = (
        "--target", "paper", "--state", "u=u_next", "--no-fusion", "--calibration", data,
        "--weight-bits", 4,
    )  # fmt: skip
    said = dmpc.fails("compile", model, *given)
    printed = said.partition(" (and 1 more: ")[2].removesuffix(")")
    words = bash(printed)
    assert words[:3] == ["dmpc", "check", str(model)]
    expected = ["--state", "u=u_next", "--target", "paper", "--calibration", str(data),
                "--weight-bits", "4", "--no-fusion"]  # fmt: skip
    assert sorted(words[3:]) == sorted(expected)
    found = dmpc(*words[1:])
    assert found.exit_code == 1
    assert found.stdout.endswith(": 2 errors\n")


def test_verify_hands_its_samples_on_to_check(dmpc, shared, tmp_path):
    model = write_model(tmp_path / "net.onnx", change=unknown)
    said = dmpc.fails("verify", model, shared.image, "--input", shared.data)
    assert said.endswith(f"(and 1 more: dmpc check {model} --calibration {shared.data})")


@pytest.fixture
def bash():
    """The words that bash makes of a command."""
    import subprocess

    def words(command):
        script = f"printf '%s\\0' {command}"
        run = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
        return run.stdout.decode().split("\0")[:-1]

    return words


@pytest.mark.parametrize(
    "word", ["a\x1b[31m", "a\nb", "a\tb", "a  b", "it's", "\udcff.onnx", "\ud800", "-"]
)
def test_any_word_can_be_quoted_in_one_line(word):
    text = quoted(word)
    assert clean(text, lines=False) == text
    assert " ".join(text.split()) == text
    if "$" not in text:
        assert shlex.split(text) == [word]


def test_compile_tells_what_check_warns_of(dmpc, shared, tmp_path):
    model = write_model(tmp_path / "net.onnx", threshold=np.full(1, 1e6))
    result = dmpc("compile", model, "--calibration", shared.data)
    assert result.exit_code == 0
    warnings = result.stderr.splitlines()
    assert warnings
    assert all(line.startswith(f"dmpc: warning: {model}") for line in warnings)
    assert any("no neuron of layer1 fires" in line for line in warnings)
    checked = dmpc("check", model, "--calibration", shared.data).stdout
    assert f"\n{model}: {len(warnings)} warning" in checked


def test_of_many_warnings_the_first_are_printed(capsys):
    arguments = ["my net.onnx", "--target", "pooled"]
    ctx = main.get_command(click.Context(main), "compile").make_context("compile", arguments)
    told = [finding(SILENT_LAYER, where=f"layer{n}", layer=n) for n in range(5)]
    with ctx:
        warn(told, "my net.onnx")
    *first, last = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2:4] for line in first] == [
        ["my net.onnx", f"layer{n}"] for n in range(3)
    ]
    assert last == "dmpc: warning: 2 more: dmpc check 'my net.onnx' --target pooled"


def test_graphs_and_an_image_do_not_share_standard_output(dmpc, shared):
    said = dmpc.misused("compile", shared.model, "-o", "-", "--print-after", "fuse")
    assert "standard output takes the image" in said


def test_what_was_measured_is_told_from_a_guess(dmpc, shared, tmp_path):
    image = tmp_path / "a.elf"
    measured = dmpc.ok("compile", shared.model, "--calibration", shared.data, "-o", image)
    assert "cycles per timestep on 4 calibration samples: " in measured
    assert "guess" not in measured
    guessed = dmpc.ok("compile", shared.model, "-o", image)
    assert "a guess: " in guessed
    assert "(--calibration) may need more or fewer" in guessed


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_names_of_files_may_be_any_bytes(dmpc, shared, tmp_path):
    model, image = tmp_path / "n\udcff.onnx", tmp_path / "n\udcff.elf"
    model.write_bytes(shared.model.read_bytes())
    assert r"n\xff on target paper" in dmpc.ok("compile", model)
    assert dmpc.ok("disasm", image).startswith(".isa")
    assert r"n\xff.onnx: 1 note" in dmpc("check", model).stdout
    assert r"wrote " in dmpc.ok("export", model, "-o", tmp_path / "e.onnx")


def test_onnxruntime_says_nothing_itself(capfd):
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    kinds = {"x": TensorProto.FLOAT, "shape": TensorProto.INT64}
    inputs = [helper.make_tensor_value_info(name, kind, [None]) for name, kind in kinds.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    graph = helper.make_graph([node], "g", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    reference = OnnxReference("a.onnx", Signature("x", "y", 1, {}, {}), "mean")
    session = reference._load(model)
    with pytest.raises(Exception, match="cannot be reshaped"):
        session.run(None, {"x": np.zeros(3, np.float32), "shape": np.array([2])})
    assert capfd.readouterr().err == ""


def test_control_characters_reach_no_terminal(dmpc, tmp_path):
    def dangerous(nodes):
        unknown(nodes)
        nodes[2].name = "/squash\x1b[2J\x9b31m\u202e\r\x07"

    model = write_model(tmp_path / "a\x1b[31m.onnx", change=dangerous)
    result = dmpc("check", model)
    assert result.exit_code == 1
    said = result.output + dmpc("compile", model).output + dmpc("inspect", model).output
    assert r"/squash\x1b[2J\x9b31m\u202e\x0d\x07" in said
    assert r"a\x1b[31m.onnx" in said
    assert not set(said) & set("\x1b\x9b\u202e\r\x07")


def test_every_file_of_every_verb_is_known_as_one():
    """So that no verb overwrites what it reads, whatever options it will get."""
    ctx = click.Context(main)
    untyped = [
        (verb, param.name)
        for verb in VERBS
        for param in main.get_command(ctx, verb).params
        if isinstance(param.type, click.types.StringParamType)
        and param.name not in ("states", "print_after", "answer", "show")
    ]
    assert not untyped
