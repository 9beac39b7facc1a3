"""IR-to-IR tests: each `*.dmpir` here is a graph, and its first line names the pass to run.

    // pass: quantize calibrated=False
    // target: values.count=3                         (other figures than those of `paper`)
    // error: what the message must contain           (only where the pass must refuse)

The result is compared with `<name>.expected` beside it (`pytest --update-golden` writes it).
"""

import ast
from pathlib import Path

import pytest

from dmpc.errors import DmpcError
from dmpc.ir.parser import parse
from dmpc.ir.printer import to_text
from dmpc.passes import PASSES
from dmpc.passes.base import Pass, apply
from isa.target import Target, load_target

FILES = sorted(Path(__file__).parent.glob("*.dmpir"))


def header(path: Path, key: str) -> str:
    """What a comment at the top of a file says under a key; '' if it is not there."""
    marker = f"// {key}: "
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix(marker) for line in lines if line.startswith(marker)), "")


def requested(path: Path) -> Pass:
    """The pass that a file asks for, with its options."""
    name, *options = header(path, "pass").split()
    pairs = (option.split("=", 1) for option in options)
    given = {key: ast.literal_eval(value) for key, value in pairs}
    if changed := header(path, "target").split():
        given["target"] = smaller(changed)
    return PASSES[name](**given)


def smaller(changed: list[str]) -> Target:
    """The target `paper` with figures of its own, each `section.key=number`."""
    target = load_target("paper")
    for place, number in (one.split("=") for one in changed):
        section, key = place.split(".")
        part = getattr(target, section).model_copy(update={key: int(number)})
        target = target.model_copy(update={section: part})
    return target


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pass(path, golden):
    graph = parse(path.read_text(encoding="utf-8"), path.name)
    before = graph.copy()
    message = header(path, "error")
    if message:
        with pytest.raises(DmpcError) as caught:
            apply(requested(path), graph)
        assert message in str(caught.value)
    else:
        golden(path.with_suffix(".expected"), to_text(apply(requested(path), graph)))
    assert graph == before, "the pass changed its argument"


def test_every_pass_is_tested():
    tested = {header(path, "pass").split()[0] for path in FILES}
    assert set(PASSES) <= tested, "a registered pass without a text test"


def test_every_golden_file_belongs_to_a_test():
    kept = {path.stem for path in FILES}
    stray = [path for path in Path(__file__).parent.glob("*.expected") if path.stem not in kept]
    assert not stray
