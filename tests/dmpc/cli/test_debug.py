"""`dmpc debug` as a command: scripts, what is piped to it, and the model beside."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from dmpc.cli import main
from dmpc.compiler import import_model
from tests.dmpc.cli.conftest import weights, write_model


@pytest.fixture
def script(files):
    def write(*lines):
        path = files.folder / "commands.txt"
        path.write_text("\n".join(lines))
        return ("debug", files.image, "--input", files.data, "--script", path)

    return write


def test_a_script_tells_what_was_told(files, script, dmpc):
    told = files.folder / "told.json"
    arguments = script("# first", "break timestep 2", "", "continue", "print layer1.u 0", "c")
    shown = dmpc.ok(*arguments, "--json", told)
    assert "(dmpc) break timestep 2\nbreakpoint 1: timestep 2\n" in shown
    assert "# first" not in shown
    commands = json.loads(told.read_text())["commands"]
    assert [c["command"] for c in commands] == [
        "break timestep 2", "continue", "print layer1.u 0", "c"
    ]  # fmt: skip
    assert commands[1]["at"]["timestep"] == 2
    assert commands[-1]["at"]["ended"]
    assert re.fullmatch(r" +0  -?\d+ \(-?[\d.e-]+\)", commands[2]["lines"][1])
    assert json.loads(dmpc.ok(*arguments, "--json", "-"))["commands"] == commands


def test_the_last_line_says_what_a_run_says(files, script, dmpc):
    run = files.folder / "run.json"
    dmpc.ok("run", files.image, "--input", files.data, "--json", run)
    sample = json.loads(run.read_text())["samples"][5]
    for engine in ("cycle", "fast"):
        shown = dmpc.ok(*script("c"), "--sample", "5", "--engine", engine)
        said = f"ended in cycle {sample['cycles']}: class {sample['prediction']}, logit "
        assert said in shown
        assert f"({max(sample['logits']):.6g})" in shown


def test_commands_can_be_piped(files):
    arguments = ["debug", str(files.image), "--input", str(files.data)]
    run = CliRunner().invoke(main, arguments, input="step\nfoo\nstep\nquit\nstep\n")
    assert run.exit_code == 0
    assert run.stdout.count("=>") == 3
    assert "error: no command 'foo'; help lists them" in run.stdout


def test_the_model_it_was_made_of_agrees_at_first(files, script, dmpc):
    beside = ("--model", files.model, "--tolerance", "0.5")
    shown = dmpc.ok(*script("break", "delete 1", "break differs layer1.m", "c"), *beside)
    assert "(dmpc) break\n  1  differs\n" in shown
    assert "the sample has ended" in shown


def test_a_value_that_differs_from_the_model_is_named(files, script, dmpc):
    """What one of its weights adds at least, no rounding does."""
    shown = dmpc.ok(*script("c", "c"), "--model", files.model, "--tolerance", "0")
    found = re.search(
        r"breakpoint 1: layer1, timestep (\d), neuron (\d+): (\S+) is (\S+) \((-?\d+)\) on the "
        r"machine, (\S+) in the model; more than 1e-09 apart",
        shown,
    )
    assert found
    assert float(found[4]) == pytest.approx(float(found[6]), abs=0.02)


def test_another_model_is_told(files, script, dmpc):
    other = write_model(files.folder / "other.onnx", A=0.5 * weights()["A"])
    said = dmpc.fails(*script("c"), "--model", other)
    assert said.startswith(f"{other}: this image was not made from this model: ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("brake", "no command 'brake'; did you mean break?"),
        ("break pc 99999", "a program counter is a number from 0 to "),
        ("restart 99", "there is no sample 99; the last is 11"),
        ("print layer1.u", "nothing was written to layer1.u yet in this sample"),
    ],
)
def test_an_error_ends_a_script_and_names_its_line(line, said, files, script, dmpc):
    told = dmpc.fails(*script("# a comment", "where", line, "c"))
    assert told.startswith(f"{files.folder}/commands.txt:3: {said}")


def test_what_is_no_usage(files, dmpc):
    debug = ("debug", files.image, "--input", files.data)
    assert "--tolerance has no effect without --model" in dmpc.misused(*debug, "--tolerance", "1")
    assert "--json has no effect without --script" in dmpc.misused(*debug, "--json", "-")
    assert "cannot read commands: No such" in dmpc.fails(*debug, "--script", files.folder / "no")
    assert "there is no sample 12; the last is 11" in dmpc.fails(*debug, "--sample", "12")


def test_graded_input_shows_its_real_numbers(files, dmpc):
    x = np.random.default_rng(0).uniform(-1, 1, (4, 8, 6))
    data, image, commands = (files.folder / n for n in ("graded.npz", "graded.elf", "c.txt"))
    np.savez(data, x=x)
    dmpc.ok("compile", files.model, "--calibration", data, "-o", image)
    commands.write_text("print input 3\n")
    shown = dmpc.ok("debug", image, "--input", data, "--script", commands, "--sample", "2")
    found = re.search(r"^ +3  -?\d+ \((\S+)\)$", shown, re.M)
    assert float(found[1]) == pytest.approx(x[2, 0, 3], abs=1e-3)


def framed(*messages):
    data = [json.dumps({"seq": n, "type": "request", **m}) for n, m in enumerate(messages, 1)]
    return "".join(f"Content-Length: {len(text)}\r\n\r\n{text}" for text in data)


@pytest.mark.parametrize("beside", [(), ("--model", "small.onnx", "--tolerance", "0")])
def test_an_editor_is_spoken_to_on_standard_output(files, beside, monkeypatch):
    monkeypatch.chdir(files.folder)
    asked = framed(
        {"command": "initialize"},
        {"command": "launch", "arguments": {"program": "nothing.elf"}},
        {"command": "launch", "arguments": {"program": 1}},
        {"command": "launch", "arguments": {"program": "small.elf", "sample": 2}},
        {"command": "configurationDone"},
        {"command": "evaluate", "arguments": {"expression": "c", "context": "repl"}},
        {"command": "disconnect"},
    )
    arguments = ["debug", "--dap", "--input", "data.npz", *beside]
    run = CliRunner().invoke(main, arguments, input=asked)
    assert run.exit_code == 0, run.output
    assert run.stderr == ""
    sent = re.split(rb"Content-Length: \d+\r\n\r\n", run.stdout_bytes)
    told = list(map(json.loads, filter(None, sent)))
    answers = {m["request_seq"]: m for m in told if m["type"] == "response"}
    assert [answers[n]["success"] for n in range(1, 8)] == [True, False, False, *[True] * 4]
    assert answers[2]["message"].startswith("nothing.elf: ")
    assert answers[3]["message"] == "the launch argument program is a text"
    ended = "more than 1e-09 apart" if beside else "the sample has ended in cycle"
    assert ended in answers[6]["body"]["result"]


def test_what_is_missing_without_an_editor(files, dmpc):
    assert "missing IMAGE" in dmpc.misused("debug", "--input", files.data)
    assert "missing --input" in dmpc.misused("debug", files.image)
    assert "--script has no effect with --dap" in dmpc.misused("debug", "--dap", "--script", "x")


def test_a_module_of_torch_would_be_traced_on_the_samples(files, script, dmpc, monkeypatch):
    """A loop over time that is written in Python must be as long as theirs to be one."""
    given = []

    def spied(model, options, x):
        given.append(x.shape)
        return import_model(model, options, x)

    monkeypatch.setattr("dmpc.cli.beside.import_model", spied)
    dmpc.ok(*script("where"), "--model", files.model)
    with np.load(files.data) as data:
        assert given == [data["x"].shape]
