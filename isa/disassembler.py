"""An image as assembly text, which `isa.assembler` turns back into the same image."""

import json
import re
from collections.abc import Iterable, Iterator

from isa.core import Table
from isa.format import BODY, ISA_VERSION, Instruction, encode, layout
from isa.image import Image, Symbol
from isa.interface import INTERFACE
from isa.interface_text import interface_text
from isa.target import Memory, target_names, target_text
from isa.validity import MEMORY, TEXT, check

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_.$/-]*")
_INDENT, _MNEMONIC, _COMMENT = " " * 8, 16, 96
_NOTE_BYTES = 32  # of a note that is not text, on each line


def disassemble(image: Image, *, data: bool = True) -> str:
    """Assembly text of the whole image or, without `data`, of its program alone, for reading.

    Raises IsaError on an image that could not be written to a file.
    """
    check(image)
    io = interface_text(image.notes.get(INTERFACE, b""))
    lines = [f".isa {ISA_VERSION}", *_target(image, by_name=not data)]
    lines += ["", *io, "", ".text", *_code(image)] if data and io else ["", ".text", *_code(image)]
    if data:
        for memory in image.target.loadable.values():
            if memory.name in image.memories:
                lines += ["", *_memory(image, memory, image.memories[memory.name])]
        for name in sorted(image.notes):
            if name != INTERFACE or not io:
                lines += ["", f".note {name}", *_note(image.notes[name])]
    return "\n".join(lines) + "\n"


def assembly(instruction: Instruction, **shown: str) -> str:
    """One instruction as text; `shown` replaces the text of operands."""
    operands = []
    for placed in layout(type(instruction)):
        value = getattr(instruction, placed.name)
        if placed.required or value != placed.default:
            operands.append(f"{placed.name}={shown.get(placed.name) or placed.field.show(value)}")
    return f"{instruction.mnemonic:{_MNEMONIC - 1}} {', '.join(operands)}".rstrip()


def _target(image: Image, by_name: bool) -> Iterator[str]:
    name = image.target.name
    if by_name and name in target_names() and target_text(name) == image.target_text:
        yield f".target {name}"
    else:
        yield ".target"
        yield from _bars(image.target_text)


def _bars(text: str) -> Iterator[str]:
    """Text as lines behind a bar; that it ends with a newline shows as an empty last line."""
    return (f"| {line}" if line else "|" for line in text.split("\n"))


def _marks(image: Image, section: str) -> dict[int, list[str]]:
    """Lines that open and close the symbols of a section, by the offset they stand before.

    At one offset, symbols end before others begin, and an empty one, which has no end, comes first
    of those: so `.end` always closes what its name opened last.
    """
    symbols = [s for s in image.symbols if s.section == section]
    lines = [(s.offset + s.size, 0, f".end {_name(s)}") for s in symbols if s.size]
    lines += [(s.offset, 2 if s.size else 1, f"{_name(s)}:") for s in symbols]
    marks: dict[int, list[str]] = {}
    for offset, _, line in sorted(lines):
        marks.setdefault(offset, []).append(line)
    return marks


def _name(symbol: Symbol) -> str:
    plain = _PLAIN.fullmatch(symbol.name)
    return symbol.name if plain else json.dumps(symbol.name, ensure_ascii=False)


def _code(image: Image) -> Iterator[str]:
    ends = {at: end for at, i in enumerate(image.code) if (end := _body_end(image, at, i))}
    labels, marks = set(ends.values()), _marks(image, TEXT)
    for at in range(len(image.code) + 1):
        yield from marks.get(at, [])
        if at in labels:
            yield f".L{at}:"
        if at < len(image.code):
            instruction = image.code[at]
            shown = {BODY: f".L{ends[at]}"} if at in ends else {}
            text = _INDENT + assembly(instruction, **shown)
            yield f"{text:{_COMMENT}}# {at:04}: {encode(instruction):032x}"


def _body_end(image: Image, at: int, instruction: Instruction) -> int | None:
    """Where the body of a loop ends, if `instruction` has a body and it ends in the program."""
    if any(placed.name == BODY for placed in layout(type(instruction))):
        end: int = at + 1 + getattr(instruction, BODY)
        if end <= len(image.code):
            return end
    return None


def _memory(image: Image, memory: Memory, table: Table) -> Iterator[str]:
    """Rows in decimal, wide elements (packed parameters) as their bit patterns."""
    marks = _marks(image, MEMORY + memory.name)
    yield f".mem {memory.name}"
    mask, digits = (1 << memory.bits) - 1, -(-memory.bits // 4)
    rows: Iterable[list[int]] = table.tolist()
    for at, row in enumerate(rows):
        yield from marks.get(at, [])
        if memory.bits > 16:
            yield _INDENT + " ".join(f"0x{element & mask:0{digits}x}" for element in row)
        else:
            yield _INDENT + " ".join(map(str, row))
    yield from marks.get(len(table), [])


def _note(data: bytes) -> Iterator[str]:
    """Bars where a note is text, else hexadecimal bytes."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if data and all(c.isprintable() or c in "\n\t" for c in text):
        yield from _bars(text)
    else:
        for at in range(0, len(data), _NOTE_BYTES):
            yield f"{_INDENT}0x{data[at : at + _NOTE_BYTES].hex()}"
