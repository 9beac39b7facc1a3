"""Random operands, instructions and images, drawn from the definitions alone."""

from functools import cache

import numpy as np
from hypothesis import strategies as st

from isa import instructions as instructions
from isa.format import INSTRUCTIONS, Field, Instruction, Value, build, layout
from isa.image import Image, Symbol
from isa.limits import MOST_KERNELS, MOST_REGISTERS, MOST_WINDOWS
from isa.target import parse_target, target_text
from isa.validity import MEMORY, TEXT

PAPER = target_text("paper")
ODD = (
    PAPER.replace('name = "paper"', 'name = "odd"')
    .replace("\nlanes = 4 ", "\nlanes = 3 ")
    .replace("weight_bits = 8", "weight_bits = 11")
    .replace("weight_bits = 16", "weight_bits = 31")
    .rstrip()
)
CLASSES = sorted(INSTRUCTIONS.values(), key=lambda cls: cls.opcode)


def operands(field: Field) -> st.SearchStrategy[Value]:
    """Operands that fit `field`, its extremes often."""
    high = (1 << field.bits) - 1
    match field.kind:
        case "flag":
            return st.booleans()
        case "choice":
            return st.sampled_from(field.range.split(", "))
        case "bank set":
            return st.sets(st.integers(0, 2)).map(lambda banks: tuple(sorted(banks)))
        case "bank":
            return st.integers(0, 2)
        case "window":
            return st.none() | st.integers(0, MOST_WINDOWS - 1)
        case "kernel":
            return st.none() | st.integers(0, MOST_KERNELS - 1)
        case "value register or none":
            return st.none() | st.integers(0, MOST_REGISTERS - 1)
        case "signed":
            low = -(high // 2) - 1
            return st.sampled_from((low, -1, 0, high // 2)) | st.integers(low, high // 2)
        case _:
            return st.sampled_from((0, 1, high)) | st.integers(0, high)


@cache  # making a strategy costs more than drawing from it
def instances(cls: type[Instruction]) -> st.SearchStrategy[Instruction]:
    fields = {placed.name: operands(placed.field) for placed in layout(cls)}
    return st.fixed_dictionaries(fields).map(lambda values: build(cls, values))


any_instruction = st.sampled_from(CLASSES).flatmap(instances)


@cache
def _tables(text: str) -> st.SearchStrategy[dict[str, np.ndarray]]:
    target = parse_target(text, "test")

    def table(name: str) -> st.SearchStrategy[np.ndarray]:
        memory = target.loadable[name]
        half = 1 << (memory.bits - 1)
        element = st.sampled_from((-half, -1, 0, half - 1)) | st.integers(-half, half - 1)
        row = st.lists(element, min_size=memory.lanes, max_size=memory.lanes)
        return st.lists(row, max_size=5).map(
            lambda rows: np.array(rows, memory.dtype).reshape(-1, memory.lanes)
        )

    loaded = list(target.loadable)
    return st.fixed_dictionaries({}, optional={name: table(name) for name in loaded})


def _symbols(sizes: dict[str, int]) -> st.SearchStrategy[tuple[Symbol, ...]]:
    printable = st.text(min_size=1, max_size=6).filter(str.isprintable)
    name = st.sampled_from(("layer1", "layer1.fast-w", ".L1", ".text", "halt", 'a "b"')) | printable

    @cache
    def symbol(section: str) -> st.SearchStrategy[Symbol]:
        places = st.tuples(*[st.integers(0, sizes[section])] * 2)
        return st.tuples(name, places).map(
            lambda drawn: Symbol(drawn[0], section, min(drawn[1]), abs(drawn[1][0] - drawn[1][1]))
        )

    return st.lists(st.sampled_from(sorted(sizes)).flatmap(symbol), max_size=12).map(_apart)


def _apart(symbols: list[Symbol]) -> tuple[Symbol, ...]:
    """The symbols, less those that overlap an earlier one of their name."""
    kept: list[Symbol] = []
    for s in symbols:
        same = [k for k in kept if (k.name, k.section) == (s.name, s.section)]
        if all(s.offset >= k.offset + k.size or k.offset >= s.offset + s.size for k in same):
            kept.append(s)
    return tuple(kept)


_texts = st.sampled_from(('{"a": [1]}', "", "\n", "a\n\n b # c", "| ; \tx\n", "µ→\u2028"))
_notes = st.dictionaries(
    st.from_regex(r"\.n[a-z.]{0,4}", fullmatch=True),
    st.binary(max_size=70) | _texts.map(str.encode),
    max_size=3,
)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Whole images, most of them not programs that would run."""
    text = draw(st.sampled_from((PAPER, ODD)))
    code = tuple(draw(st.lists(any_instruction, max_size=12)))
    tables = draw(_tables(text))
    sizes = {TEXT: len(code)} | {MEMORY + name: len(table) for name, table in tables.items()}
    return Image(text, code, tables, draw(_symbols(sizes)), draw(_notes))
