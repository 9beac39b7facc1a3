"""What the documents show is true: their code runs, their commands print what stands there.

A `python` block runs after those above it on the page. The commands of a `console` block run, and
their output must be the one shown but for digits: numbers may be 5 % off, so that another
processor's rounding passes and a change of the machine does not. `pytest --update-golden` writes
the blocks anew. A `dmpir` block must be a graph that the verifier takes.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmpc.ir.parser import parse
from dmpc.ir.verify import verify

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def blocks(page: Path, language: str) -> Iterator[str]:
    """The code blocks of a page that are marked with a language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    for match in re.finditer(pattern, page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield match[1]


def pages_with(language: str) -> list[pytest.param]:
    found = [page for page in PAGES if page.exists() and any(blocks(page, language))]
    return [pytest.param(page, id=page.name) for page in found]


@pytest.fixture
def beside_examples(tmp_path, monkeypatch):
    """An empty folder that holds the examples, as a user's copy of the repository would."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_runs(page, beside_examples):
    del beside_examples
    program = "\n".join(blocks(page, "python"))
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("page", pages_with("console"))
def test_commands_print_what_is_shown(page, beside_examples, request):
    del beside_examples
    shown = list(blocks(page, "console"))
    printed = [transcript(block) for block in shown]
    if request.config.getoption("--update-golden"):
        text = page.read_text("utf-8")
        for old, new in zip(shown, printed, strict=True):
            text = text.replace(f"```console\n{old}```", f"```console\n{new}```")
        page.write_text(text, "utf-8")
        return
    stale = f"{page.name} is out of date: pytest tests/test_docs.py --update-golden mends it"
    for old, new in zip(shown, printed, strict=True):
        assert alike(old, new), f"{stale}\n\n{new}"


def transcript(block: str) -> str:
    """The commands of a block with what they print now."""
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"$ {command}\n{output_of(command)}" for command in commands)


def output_of(command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert run.returncode == 0, f"{command}\n{run.stderr}"
    return run.stdout.rstrip() + "\n" if run.stdout.strip() else ""


def alike(shown: str, printed: str) -> bool:
    """Equal but for blanks, rules of tables, and numbers that are about the same."""
    if words(shown) != words(printed):
        return False
    pairs = zip(numbers(shown), numbers(printed), strict=True)
    return all(abs(a - b) <= 0.05 * max(a, b) + 1 for a, b in pairs)


def words(text: str) -> list[str]:
    return re.sub("[─━]+", "", NUMBER.sub("#", text)).split()


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


@pytest.mark.parametrize("page", pages_with("dmpir"))
def test_graphs_are_sound(page):
    for block in blocks(page, "dmpir"):
        verify(parse(block, page.name))
