"""What the guide shows works: its pages are gone through in order, files and commands.

A block of Python, assembly or TOML whose first line is a comment with a file's name becomes that
file. Commands of `console` blocks run beside it and must print what stands there, as in
tests/test_docs.py; `dmpc` and Python run in this process, which saves their start.
`pytest --update-golden` writes the output anew.
"""

import io
import re
import runpy
import shlex
import subprocess
from contextlib import redirect_stdout

import click
import numpy as np
import pytest
from click.testing import CliRunner

from dmpc.cli import main
from dmpc.cli.main import VERBS
from dmpc.cli.reference import reference
from tests.test_docs import ROOT, alike

GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def output_of(command):
    """What a command prints; it must succeed. What stands behind a pipe is the shell's."""
    head, *rest = re.split(r"\s(?=[|>] )", command, maxsplit=1)
    words = shlex.split(head)
    if words[0] == "python":
        with redirect_stdout(io.StringIO()) as told:
            runpy.run_path(words[1], run_name="__main__")
        return told.getvalue()
    if words[0] != "dmpc":
        return shell(command)
    run = CliRunner().invoke(main, words[1:], prog_name="dmpc")
    assert run.exit_code == 0, f"{command}\n{run.output}"
    return shell(f"cat {rest[0]}", run.stdout) if rest else run.stdout


def shell(command, given=None):
    run = subprocess.run(["bash", "-c", command], input=given, capture_output=True, text=True)
    assert run.returncode == 0, f"{command}\n{run.stderr}"
    return run.stdout


def transcript(block):
    """The commands of a block with what they print now."""
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"$ {c}\n{re.sub(' +$', '', output_of(c), flags=re.M)}" for c in commands)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in GUIDE])
def test_the_page_does_what_it_shows(page, tmp_path, monkeypatch, request):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = page.read_text("utf-8")
    for language, block in BLOCK.findall(text):
        first = re.match(r"# (\S+\.\w+)\n", block)
        if language == "console":
            printed = transcript(block)
            if request.config.getoption("--update-golden"):
                text = text.replace(f"```console\n{block}```", f"```console\n{printed}```")
                page.write_text(text, "utf-8")
            else:
                assert alike(block, printed), f"{page.name}: --update-golden mends it\n{printed}"
        elif first:
            (tmp_path / first[1]).write_text(block)


def test_every_page_is_in_the_contents_and_every_link_leads_somewhere():
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.name != "index.md"]
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for page in pages:
        text = page.read_text("utf-8")
        name = str(page.relative_to(ROOT / "docs").with_suffix(""))
        assert name in index.split(), f"docs/index.md has no line {name}"
        for link in re.findall(r"\]\(([^):#]+\.md)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_reference_has_every_verb_and_option():
    page = reference()
    for verb in VERBS:
        assert f"\n## dmpc {verb}\n" in page
        for param in main.get_command(None, verb).params:
            assert param.param_type_name == "argument" or param.opts[0] in page


SHOWN = re.compile(r"^ {4}(?:\$ )?(dmpc [a-z][^\n]*)$|`(dmpc [a-z][^`\n]*)`", re.M)


def commands():
    """Every command line of `dmpc` that a page shows, wherever it stands, and its page."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for match in SHOWN.finditer(page.read_text("utf-8")):
            yield page.name, re.split(r"\s[|>#;]|\s&&", match[1] or match[2])[0]


def test_every_command_that_is_shown_could_be_given():
    """Verbs and options are there, also those in pages whose commands take too long to run."""
    shown = list(commands())
    assert len(shown) > 50
    for page, line in shown:
        _, verb, *words = shlex.split(line)
        command = main.get_command(None, verb)
        assert command, f"{page}: {line}"
        ctx = click.Context(command, resilient_parsing=True)
        command.make_parser(ctx).parse_args([word for word in words if word != "..."])


@pytest.fixture(scope="module")
def beside_digits(tmp_path_factory):
    """A folder with the files that pages on looking into an image speak of."""
    folder, digits = tmp_path_factory.mktemp("pages"), ROOT / "examples" / "spoken_digits"
    (folder / "model.onnx").symlink_to(digits / "model.onnx")
    test = np.load(digits / "test.npz")
    np.savez(folder / "test.npz", x=test["x"][:10], y=test["y"][:10])
    as_shd = runpy.run_path(str(digits / "as_shd.py"))
    as_shd["write"](str(folder / "shd_test.h5"), test["x"][:10], test["y"][:10])
    beside = folder / "examples" / "spoken_digits"
    beside.mkdir(parents=True)
    for name in ("model.onnx", "test.npz"):
        (beside / name).symlink_to(folder / name)
    (folder / "commands.txt").write_text("break layer layer1\ncontinue\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        output_of("dmpc compile model.onnx --calibration test.npz -o digits.elf")
    return folder


DIGITS = [command for _, command in commands() if " digits.elf" in command]


@pytest.mark.parametrize("command", [one for one in dict.fromkeys(DIGITS) if "..." not in one])
def test_commands_on_an_image_run(command, beside_digits, monkeypatch):
    """Those of all pages, on an image of the first example."""
    monkeypatch.chdir(beside_digits)
    output_of(command)
