"""A program's assembly text, line by line, as editors show it and set breakpoints in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isa.disassembler import disassemble
from isa.files import read_text
from isa.format import INSTRUCTIONS
from isa.image import Image
from runtime.errors import RuntimeFailure


@dataclass(frozen=True)
class Text:
    """Assembly text, from a file at `path` if it has one; `lines` of instructions, from 1."""

    name: str
    text: str
    lines: tuple[int, ...]
    path: str = ""

    def pc_at(self, line: int) -> int | None:
        """The first instruction in a line or behind it."""
        return next((pc for pc, at in enumerate(self.lines) if at >= line), None)


def disassembled(image: Image, name: str) -> Text:
    """The text that `dmpc disasm --code-only` prints."""
    text = disassemble(image, data=False)
    return Text(name, text, _lines(text))


def from_file(path: str, image: Image) -> Text:
    """The text in a file; RuntimeFailure unless it is that of the image's program."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise RuntimeFailure(f"{path}: cannot read assembly text: {error}") from error
    lines, found = _lines(text), text.splitlines()
    said = [_mnemonic(found[line - 1]) for line in lines]
    if said != [op.mnemonic for op in image.code]:
        raise RuntimeFailure(f"{path}: not the text of this program; dmpc disasm writes that")
    return Text(Path(path).name, text, lines, path)


def _lines(text: str) -> tuple[int, ...]:
    return tuple(n for n, line in enumerate(text.splitlines(), 1) if _mnemonic(line))


def _mnemonic(line: str) -> str:
    """The instruction in a line, behind labels that stand before it; none in other lines."""
    words: Sequence[str] = line.partition("#")[0].split()
    while words and words[0].endswith(":"):
        words = words[1:]
    return words[0] if words and words[0] in INSTRUCTIONS else ""
