"""What a hardware designer's bench reads, as `$readmemh` text: memories, program, test vectors.

A line is a row, a word or a timestep, in hexadecimal digits; what follows `//` is a comment.
Elements lie side by side, each in two's complement, the first in the lowest bits.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.arithmetic import Int
from isa.disassembler import assembly
from isa.engines.fast import FastEngine
from isa.format import EVERY_ONE, WORD_BITS, Instruction, encode
from isa.image import Image
from isa.instructions import InputEvents, InputValues, Loop
from isa.validity import MEMORY, TEXT
from runtime.places import Left, left

if TYPE_CHECKING:
    from runtime.program import Program

PROGRAM, MODULE = "program", "memories.v"
_CHUNK = 1 << 16  # rows that are turned at once


@dataclass(frozen=True)
class Words:
    """A file of `words` lines, of `elements` of `bits` each; `depth` is the memory's, if it is one.

    `name` is that of the memory or of the graph's value. Of a vector that is not there in every
    timestep, there is a line for `every` so-manieth.
    """

    file: str
    name: str
    words: int
    elements: int
    bits: int
    depth: int | None = None
    every: int = 1

    @property
    def width(self) -> int:
        """Bits of a line."""
        return self.elements * self.bits


@dataclass(frozen=True)
class Files:
    """Texts by file name, and what those of words hold."""

    texts: dict[str, str]
    words: tuple[Words, ...]

    def to_json(self) -> dict[str, Any]:
        """What is in which file, as plain data."""
        each = (
            {k: v for k, v in {**asdict(w), "width": w.width}.items() if v is not None}
            for w in self.words
        )
        return {"files": list(each)}


def hexadecimal(table: Int, bits: int) -> list[str]:
    """Rows [rows, elements] of `bits` bits each as digits, the first element lowest."""
    rows, elements = table.shape
    width = elements * bits
    found: list[str] = []
    for first in range(0, rows, _CHUNK):
        part = table[first : first + _CHUNK].astype(np.int64)
        each = (part[:, :, None] >> np.arange(bits)) & 1
        whole = np.zeros((len(part), -(-width // 8) * 8), np.uint8)
        whole[:, whole.shape[1] - width :] = each.reshape(len(part), width)[:, ::-1]
        digits = -(-width // 4)
        found += [row.tobytes().hex()[-digits:] for row in np.packbits(whole, axis=1)]
    return found


def memory_files(image: Image) -> Files:
    """The program and every loaded memory of an image, and a Verilog module that reads them."""
    names = _Names()
    texts, words = {}, []
    code = [f"{encode(op):032x}" for op in image.code]
    marks = _marks(image, TEXT)
    notes = [" ".join(assembly(op).split()) for op in image.code]
    file = names.of(PROGRAM)
    texts[file] = _text(code, marks, notes)
    depth = image.target.sequencer.program
    words.append(Words(file, PROGRAM, len(code), 1, WORD_BITS, depth))
    for memory in image.target.loadable.values():
        if (table := image.memories.get(memory.name)) is not None and len(table):
            file = names.of(memory.name)
            texts[file] = _text(
                hexadecimal(table, memory.bits), _marks(image, MEMORY + memory.name)
            )
            far = memory.name not in image.target.memories
            rows = len(table) if far else memory.rows
            words.append(Words(file, memory.name, len(table), memory.lanes, memory.bits, rows))
    texts[MODULE] = _module(words)
    return Files(texts, tuple(words))


def vector_files(
    program: "Program", samples: Mapping[int, Int], timesteps: range | None = None
) -> Files:
    """Test vectors of samples by number, the device's integers [timesteps, inputs] each.

    For every sample the input, and what the program leaves under a name in each of its timesteps:
    spikes, membranes, memory states and whatever else the graph names; logits are what the device
    would say if the sample ended after that timestep. Of `timesteps`, or of all. Whole groups of
    the machine's lanes are told, as registers and rows hold them.
    """
    texts, words = {}, []
    for number, inputs in samples.items():
        names = _Names(f"sample_{number}_")
        for name, every, bits, table in _series(program, inputs):
            chosen = range(0, len(inputs), every)
            lines = [n for n, t in enumerate(chosen) if timesteps is None or t in timesteps]
            file = names.of(name)
            notes = [f"timestep {chosen[n]}" for n in lines]
            texts[file] = _text(hexadecimal(table[lines], bits), {}, notes)
            words.append(Words(file, name, len(lines), table.shape[1], bits, every=every))
    return Files(texts, tuple(words))


def _series(program: "Program", inputs: Int) -> Iterator[tuple[str, int, int, Int]]:
    """Name, timesteps from one line to the next, bits, and lines [times, elements] of vectors."""
    code, source = program.image.code, program.interface.input
    yield "input", 1, 1 if program.takes_events else source.bits, inputs
    machine, within = FastEngine(program.image), _in_loop(code)
    items = [
        item
        for item in left(program)
        if item.place[0] in within and not item.where.startswith("readout")  # those are logits
    ]
    seen = machine.run(inputs[None], watched=[item.place for item in items]).seen
    parts: dict[str, dict[int, tuple[Left, Int]]] = {}
    for item in items:  # what is left last in a timestep stands for it
        name, start = item.part
        parts.setdefault(name, {})[start] = item, seen[item.place][0]
    for name, pieces in parts.items():
        first, _ = pieces[min(pieces)]
        only = code[first.place[0]].timesteps or EVERY_ONE
        table = np.concatenate([data for _, (_, data) in sorted(pieces.items())], axis=1)
        yield name, only.every, first.bits, table[:: only.every]
    stream = machine.stream(program.inputs)
    logits = []
    for step in range(len(inputs)):
        stream.feed(inputs[step : step + 1])
        logits.append(program.integers(stream.logits))
    yield "logits", 1, program.image.target.readout.bits, np.stack(logits)


def _in_loop(code: Sequence[Instruction]) -> set[int]:
    """Instructions of the loop over timesteps, but for those that take the input."""
    found: set[int] = set()
    for pc, op in enumerate(code):
        if isinstance(op, Loop) and op.counter == "steps":
            found.update(range(pc + 1, pc + 1 + op.length))
    return {pc for pc in found if not isinstance(code[pc], InputEvents | InputValues)}


class _Names:
    """File names of what others named, each once."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.taken: set[str] = set()

    def of(self, name: str) -> str:
        """A name of letters, digits and the like."""
        plain = self.prefix + (re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") or "value")
        name, number = plain, 1
        while name.lower() in self.taken:
            number += 1
            name = f"{plain}_{number}"
        self.taken.add(name.lower())
        return f"{name}.hex"


def _marks(image: Image, section: str) -> dict[int, str]:
    """Names of what begins at a row or word."""
    found: dict[int, list[str]] = {}
    for symbol in sorted(image.symbols):
        if symbol.section == section:
            found.setdefault(symbol.offset, []).append(symbol.name)
    return {at: ", ".join(names) for at, names in found.items()}


def _text(lines: Sequence[str], marks: Mapping[int, str], notes: Sequence[str] = ()) -> str:
    made = []
    for at, line in enumerate(lines):
        if at in marks:
            made.append(f"// {marks[at]}, from {at} on")
        made.append(f"{line} // {notes[at]}" if notes else line)
    return "".join(f"{line}\n" for line in made)


def _module(words: Sequence[Words]) -> str:
    """Verilog that declares the memories and reads their files, of which a bench takes a copy."""
    lines = ["// Memories as their files fill them; rows that no file fills are unknown.", ""]
    lines.append("module memories;")
    names = {item: "mem_" + re.sub(r"\W", "_", item.name) for item in words}  # no Verilog word
    for item, name in names.items():
        lines.append(f"    reg [{item.width - 1}:0] {name} [0:{(item.depth or item.words) - 1}];")
    lines += ["", "    initial begin"]
    for item, name in names.items():
        lines.append(f'        $readmemh("{item.file}", {name}, 0, {item.words - 1});')
    return "\n".join([*lines, "    end", "endmodule", ""])
