"""Assembly text to an image: the inverse of `isa.disassembler`, and a way to write programs.

`.target` names the machine: one that ships, or a TOML file in the text's own folder. `.io`, with
the program's name, says how it is fed and read, so that it can be run: `input` takes events or
values (kind) of a size, values in steps of a scale in so many bits; `output` are the first size
numbers emitted, in steps of a scale, which average=1 divides by the timesteps, of which since=n
leaves out the first n. The host chooses how many timesteps a sample has. Events have 1 bit, values
those of the target's registers, scales are 1 and average is 0 if they are left out. `.mem` gives
rows of a memory, from 0 on.

An operand that equals its field's default may be left out. A loop's `length` is a number of words
or the label right behind its body. A label that begins with ".L" is only a place; any other names
a symbol of the image, which reaches up to the `.end` of that name, or is empty without one.
"""

import os

import numpy as np
from lark import Token

from isa.core import Table
from isa.errors import IsaError, named
from isa.format import (
    BODY,
    INSTRUCTIONS,
    ISA_VERSION,
    Instruction,
    Placed,
    Value,
    build,
    layout,
    opcodes,
)
from isa.image import Image, Symbol
from isa.interface import INTERFACE, interface
from isa.interface_source import interface_note
from isa.syntax import Node, Source, nearest, nodes, parse, tokens
from isa.target import Memory, Target, parse_target, target_names, target_text
from isa.validity import MEMORY, TARGET, TEXT, check


def assemble(text: str, origin: str) -> Image:
    """The image that assembly `text` describes; its sections may come in any order.

    Raises IsaError on the first fault, as `origin:line:column: message`.
    """
    source = Source(origin)
    sections = _Sections(source, parse(text, origin))
    stated = sections.target_text()
    target = parse_target(stated, f"{origin}: {TARGET}")
    code = sections.code()
    memories = sections.memories(target)
    notes = sections.notes() | sections.interface(target)
    image = Image(stated, code, memories, tuple(sections.symbols), notes, origin)
    with named(origin):
        check(image)
        if INTERFACE in notes:
            interface(image)
    return image


class _Sections:
    """The sections of a text by kind, and the symbols found while reading them."""

    def __init__(self, source: Source, tree: Node) -> None:
        self.source = source
        self.symbols: list[Symbol] = []
        self._sections = nodes(tree)
        for node in self._of("isa"):
            (version,) = tokens(node)
            if source.numbers(version) != [ISA_VERSION]:
                raise source.fault(
                    version, f"ISA version {version.strip()}; this is version {ISA_VERSION}"
                )

    def _of(self, *kinds: str) -> list[Node]:
        return [node for node in self._sections if node.data in kinds]

    def _one(self, directive: str, help_: str, *kinds: str) -> Node:
        found = self._of(*kinds)
        if not found:
            raise IsaError(f"{self.source.origin}: no {directive}; {help_}")
        if len(found) > 1:
            raise self.source.fault(found[1], f"a second {directive}")
        return found[0]

    def target_text(self) -> str:
        """TOML text of the target, which a program may call by name."""
        help_ = "name the machine, as in `.target paper`"
        node = self._one(".target", help_, "target_name", "target_text")
        found = tokens(node)
        if node.data == "target_text":
            return self.source.lines(found)
        name = self.source.name(found[0])
        if name not in target_names():
            name = self._beside(name, found[0])
        try:
            return target_text(name)
        except IsaError as error:
            raise self.source.fault(found[0], str(error)) from error

    def _beside(self, name: str, token: Token) -> str:
        """The path of a file that the text names: within the text's own folder, or refused.

        Whoever assembles a text of another's reads no other file by it.
        """
        folder = os.path.realpath(os.path.dirname(self.source.origin) or os.curdir)
        path = os.path.realpath(os.path.join(folder, name.replace("\0", "")))
        outside = os.path.isabs(name) or os.path.commonpath((folder, path)) != folder
        if outside or not os.path.isfile(path):
            known = ", ".join(target_names())
            message = (
                f"target {name!r}: neither a shipped target ({known}) nor a file in this folder"
            )
            raise self.source.fault(token, message)
        return path

    def code(self) -> tuple[Instruction, ...]:
        """The program."""
        node = self._one(".text", "the program stands below it", "code")
        marks = _Marks(self.source, TEXT)
        found: list[Node] = []
        for item in nodes(node):
            if item.data == "instruction":
                found.append(item)
            else:
                marks.take(item, len(found))
        self.symbols += marks.symbols()
        return tuple(_instruction(self.source, item, at, marks) for at, item in enumerate(found))

    def memories(self, target: Target) -> dict[str, Table]:
        """Contents of memories by name, [rows, lanes]."""
        found: dict[str, Table] = {}
        for node in self._of("memory"):
            (token,) = tokens(node)
            memory = target.loadable.get(token)
            if memory is None:
                help_ = nearest(token, target.loadable)
                message = f"target {target.name} loads no memory {token}; {help_}"
                raise self.source.fault(token, message)
            if memory.name in found:
                raise self.source.fault(token, f"a second .mem {token}")
            found[memory.name] = self._table(node, memory)
        return found

    def _table(self, node: Node, memory: Memory) -> Table:
        marks = _Marks(self.source, MEMORY + memory.name)
        rows: list[list[int]] = []
        for item in nodes(node):
            if item.data == "row":
                rows.append(self._row(tokens(item)[0], memory))
            else:
                marks.take(item, len(rows))
        self.symbols += marks.symbols()
        return np.array(rows, memory.dtype).reshape(-1, memory.lanes)

    def _row(self, token: Token, memory: Memory) -> list[int]:
        """One row; from 2**(bits-1) on, a number is the bit pattern of a negative element."""
        numbers = self.source.numbers(token)
        if len(numbers) != memory.lanes:
            message = f"{len(numbers)} elements; a row of {memory.name} has {memory.lanes}"
            raise self.source.fault(token, message)
        half = 1 << (memory.bits - 1)
        for number in numbers:
            if not -half <= number < 2 * half:
                message = f"{number} does not fit {memory.bits} bits: {-half} .. {half - 1}"
                raise self.source.fault(token, message)
        return [number - 2 * half if number >= half else number for number in numbers]

    def notes(self) -> dict[str, bytes]:
        """Further sections by name."""
        found: dict[str, bytes] = {}
        for node in self._of("note"):
            name, *lines = tokens(node)
            if name in found:
                raise self.source.fault(name, f"a second .note {name}")
            if lines and lines[0].type == "DATA":
                found[str(name)] = b"".join(self._hex(line) for line in lines)
            else:
                found[str(name)] = self.source.lines(lines).encode()
        return found

    def interface(self, target: Target) -> dict[str, bytes]:
        """The note of the `.io` section, if there is one."""
        found = self._of("io")
        if not found:
            return {}
        if len(found) > 1:
            raise self.source.fault(found[1], "a second .io")
        if any(tokens(node)[0] == INTERFACE for node in self._of("note")):
            raise self.source.fault(found[0], f".io says what .note {INTERFACE} says; one of them")
        return {INTERFACE: interface_note(self.source, found[0], target)}

    def _hex(self, token: Token) -> bytes:
        text = token.strip()
        try:
            if not text.startswith("0x"):
                raise ValueError(text)
            return bytes.fromhex(text[2:])
        except ValueError as error:
            raise self.source.fault(token, f"{text!r} is not hexadecimal bytes 0x...") from error


class _Marks:
    """Labels of one section, and the symbols that they open and `.end` closes."""

    def __init__(self, source: Source, section: str) -> None:
        self._source, self._section = source, section
        self._places: dict[tuple[str, bool], list[int]] = {}
        self._open: dict[str, list[int]] = {}
        self._closed: list[Symbol] = []

    def take(self, node: Node, at: int) -> None:
        """A `label` or `end` before word or row `at`."""
        (token,) = tokens(node)
        name = self._source.name(token)
        if node.data == "label":
            self._places.setdefault((name, _local(token)), []).append(at)
            if not _local(token):
                self._open.setdefault(name, []).append(at)
        elif self._open.get(name):
            start = self._open[name].pop()
            self._closed.append(Symbol(name, self._section, start, at - start))
        else:
            known = (name for name, starts in self._open.items() if starts)
            raise self._source.fault(token, f".end {name}: not open here; {nearest(name, known)}")

    def place(self, token: Token) -> int:
        """Where the label that `token` refers to stands."""
        name = self._source.name(token)
        places = self._places.get((name, _local(token)), [])
        if len(places) == 1:
            return places[0]
        if places:
            raise self._source.fault(token, f"label {name} stands in {len(places)} places")
        known = (name for name, _ in self._places)
        raise self._source.fault(token, f"no label {name}; {nearest(name, known)}")

    def symbols(self) -> list[Symbol]:
        """Symbols closed, and those left open, which are empty."""
        left = [(name, at) for name, starts in self._open.items() for at in starts]
        return self._closed + [Symbol(name, self._section, at, 0) for name, at in left]


def _local(token: Token) -> bool:
    return token.startswith(".L")


def _instruction(source: Source, node: Node, at: int, marks: _Marks) -> Instruction:
    """The instruction that becomes word `at`."""
    (mnemonic,) = tokens(node)
    cls = INSTRUCTIONS.get(mnemonic)
    if cls is None:
        what, known = "instruction", [cls.mnemonic for cls in opcodes()]
        if mnemonic.startswith("."):
            what, known = "directive", [".isa", ".target", ".io", ".text", ".mem", ".note", ".end"]
        raise source.fault(mnemonic, f"no {what} {mnemonic}; {nearest(mnemonic, known)}")
    fields = {placed.name: placed for placed in layout(cls)}
    operands: dict[str, Value] = {}
    for node_ in nodes(node):
        name, text = tokens(node_)
        if name not in fields:
            raise source.fault(name, f"{mnemonic} has no operand {name}; {nearest(name, fields)}")
        if name in operands:
            raise source.fault(name, f"{mnemonic}: {name} is given twice")
        if name == BODY and (text.type == "STRING" or not text[:1].isdecimal()):
            operands[str(name)] = _distance(source, text, at, marks)
        else:
            operands[str(name)] = _operand(source, str(mnemonic), fields[str(name)], text)
    for placed in fields.values():
        if placed.name not in operands and placed.required:
            field = placed.field
            message = f"{mnemonic} needs {placed.name}=, {field.kind} {field.range}: {field.doc}"
            raise source.fault(mnemonic, message)
    return build(cls, operands)


def _distance(source: Source, token: Token, at: int, marks: _Marks) -> int:
    words = marks.place(token) - (at + 1)
    if words < 0:
        raise source.fault(token, f"label {token} stands before the body; it belongs behind it")
    return words


def _operand(source: Source, mnemonic: str, placed: Placed, token: Token) -> Value:
    try:
        value = placed.field.read(str(token))
        placed.field.to_bits(value)
    except ValueError as error:
        raise source.fault(token, f"{mnemonic}: {placed.name}: {error}") from error
    return value
