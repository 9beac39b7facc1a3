"""What all verbs keep to: examples that parse, --json that is JSON, completion, tables that fit."""

import json
import re
import shlex
import subprocess
import time

import click
import pytest
from click.shell_completion import BashComplete

from dmpc.cli.files import InputFile, OutputFile, OutputFolder
from dmpc.cli.main import VERBS, main
from dmpc.cli.tables import fitted, table
from dmpc.cli.terminal import Output, progress
from isa.engines.fast import usable_threads

NO_DATA = {"completion"}
"""Verbs that have nothing to write as data: a script for a shell."""


def command(name):
    return main.get_command(click.Context(main), name)


def examples(verb):
    """Commands of dmpc in the examples of a verb's help, as words; without what follows a pipe."""
    text = (verb.epilog or "").replace("\\\n", " ")
    for line in text.splitlines():
        line = line.strip().removeprefix('eval "$(').removesuffix(')"')
        if line.startswith("dmpc "):
            words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
            yield words[1], words[2:]


@pytest.mark.parametrize("name", VERBS)
def test_help_ends_with_examples_that_parse(dmpc, name):
    said = dmpc.ok(name, "--help")
    assert "Examples:" in said
    found = list(examples(command(name)))
    assert found
    for verb, words in found:
        used = command(verb)
        ctx = click.Context(used, info_name=verb)
        _, rest, _ = used.make_parser(ctx).parse_args(list(words))
        assert not rest, words
    assert any(verb == name for verb, _ in found)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=ascii)
@pytest.mark.parametrize("verb", VERBS)
def test_a_name_that_no_file_can_have_is_an_error(dmpc, shared, verb, name):
    files = {"image": shared.image, "data": shared.data, "samples": shared.data}
    params = command(verb).params
    for odd in params:
        if not isinstance(odd.type, InputFile | OutputFile | OutputFolder):
            continue
        words = [verb]
        for param in params:
            if param is odd or param.required:
                value = name if param is odd else files.get(param.name, shared.model)
                words += [] if isinstance(param, click.Argument) else [param.opts[0]]
                words += [value] * max(param.nargs, 1)
        result = dmpc(*words)
        assert result.exit_code in (1, 2), (odd.name, result.output)
        assert isinstance(result.exception, SystemExit), (odd.name, result.exception)


@pytest.mark.parametrize("name", sorted(VERBS.keys() - NO_DATA))
def test_every_verb_writes_json(name):
    options = {option for param in command(name).params for option in param.opts}
    assert "--json" in options


def written(dmpc, *arguments):
    return json.loads(dmpc(*arguments, "--json", "-").stdout)


def test_json_of_verbs_that_make_files(dmpc, files, tmp_path):
    made = written(dmpc, "compile", files.model, "--calibration", files.data, "-o", tmp_path / "a")
    assert [row["layer"] for row in made["layers"]] == ["layer1", "readout"]
    assert made["layers"][0]["neurons"] == 9
    assert {row["memory"] for row in made["memories"]} >= {"spike", "neuron"}
    assert made["cycles"]["measured"] is True
    assert [row["product"] for row in made["products"]][-1] == "readout"
    text = tmp_path / "a.s"
    dmpc.ok("disasm", files.image, "-o", text)
    program = written(dmpc, "disasm", files.image)
    assert program == written(dmpc, "asm", text)
    lif = next(item for item in program["instructions"] if item["mnemonic"] == "lif")
    assert (lif["layer"], lif["operands"]["groups"]) == ("layer1", "3")
    told = written(dmpc, "export", files.model, "-o", tmp_path / "a.onnx")
    assert told["bytes"] == (tmp_path / "a.onnx").stat().st_size
    assert told["graph"]["level"] == "layers"


def test_json_of_what_inspect_shows(dmpc, shared):
    everything = written(dmpc, "inspect", shared.image)
    assert everything.keys() == {"interface", "memory", "schedule"}
    assert everything["interface"]["input"]["size"] == 6
    assert everything["schedule"]["instructions"][0]["instruction"].startswith("input.events")
    graph = written(dmpc, "inspect", shared.model, "--level", "layers")["graph"]
    assert "lif" in {op["kind"] for op in graph["ops"]}
    assert graph["constants"]
    both = written(dmpc, "inspect", shared.image, "--memory", "--ranges")
    assert both.keys() == {"memory", "ranges"}


def test_graphs_are_drawn(dmpc, shared, tmp_path):
    dot, svg = tmp_path / "a.dot", tmp_path / "a.svg"
    dmpc.ok("inspect", shared.model, "--dot", dot, "--svg", svg)
    text = dot.read_text()
    assert text.startswith('digraph "small" {')
    assert text.count("{") == text.count("}")
    assert '"layer1.fast" -> "layer1.spikes";' in text
    assert '"layer1.m.next" -> "layer1.slow" [style=dashed, constraint=false];' in text
    picture = svg.read_text()
    assert picture.startswith("<?xml")
    assert "lif: layer1.spikes" in picture
    assert dmpc.ok("inspect", shared.model, "--svg", "-") == picture
    assert "lif_step: layer1.spikes" in dmpc.ok("inspect", shared.image, "--dot", "-")


def completed(words, incomplete):
    complete = BashComplete(main, {}, "dmpc", "_DMPC_COMPLETE")
    return [item.value for item in complete.get_completions(words, incomplete)]


def test_a_shell_completes_verbs_options_and_values(dmpc):
    assert completed([], "re") == ["report", "reproduce"]
    assert completed(["profile"], "--eng") == ["--engine"]
    assert completed(["profile", "--engine"], "") == ["fast", "reference", "cycle"]
    complete = BashComplete(main, {}, "dmpc", "_DMPC_COMPLETE")
    assert [item.type for item in complete.get_completions(["run"], "dig")] == ["file"]
    for shell in ("bash", "zsh", "fish"):
        assert "_DMPC_COMPLETE" in dmpc.ok("completion", shell)
    script = dmpc.ok("completion", "bash")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def wide():
    made = table("a table", "name", "long", "number", text=2)
    made.add_row("first", "x" * 100, "1234")
    return made


def test_a_wide_table_is_cut_and_says_so(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    Output().print(wide())
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "xxx…" in said
    assert "1234" in said
    assert "texts are cut to fit; COLUMNS=200 shows more, --json all of it" in said
    monkeypatch.setenv("COLUMNS", "150")
    Output().print(wide())
    said = capsys.readouterr().out
    assert "x" * 100 in said
    assert "cut" not in said


@pytest.mark.parametrize("size", ["9" * 5000, "²", "0", "-1", "", "1000000000", "x"])
@pytest.mark.parametrize("name", ["COLUMNS", "LINES", "DMPC_THREADS"])
def test_sizes_in_the_environment_that_are_none_are_not_obeyed(name, size, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("DMPC_THREADS", raising=False)
    threads = usable_threads()
    monkeypatch.setenv(name, size)
    Output().print(wide())
    assert "texts are cut to fit" in capsys.readouterr().out
    assert usable_threads() == threads


def test_numbers_and_names_are_not_cut():
    made = table("a table", "name" * 30, "number")
    assert not fitted(made, 80, 140)


def test_a_progress_bar_tells_count_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("running", 12) as advance:
        for _ in range(4):
            time.sleep(0.12)  # a bar is drawn ten times a second
            advance(2)
    said = re.sub("\x1b[^A-Za-z]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"running .* [2-8]/12 +[0-9.]+/s +0:00:0\d left", said)
