"""The reference page of the instruction set, generated from what defines it.

`python -m isa.reference > docs/isa.md` writes the page that the repository holds.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

from isa import (
    arithmetic,
    assembler,
    image,
    instructions,
    interface,
    parameters,
    target,
    validity,
)
from isa import format as words
from isa.core import Core
from isa.format import (
    ISA_VERSION,
    OPCODE_BITS,
    WORD_BITS,
    Instruction,
    Placed,
    layout,
    opcodes,
)
from isa.limits import STAGE_BITS
from isa.machine import Machine
from isa.parameters import FIELDS, LEAK_BITS, Parameters
from isa.sequencer import Sequencer
from isa.target import Target, load_target
from isa.work import Count, Work

Function = Callable[..., object]


def reference() -> str:
    """The page, as Markdown."""
    sections = [
        _head(),
        _words(),
        _state(load_target("paper")),
        _parameters(),
        _control(),
        _text_and_file(),
        "## Instructions",
        _list(),
        *(_instruction(cls) for cls in opcodes()),
        _functions(),
    ]
    return "\n\n".join(sections) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _doc(thing: object) -> str:
    return inspect.getdoc(thing) or ""


def _code(source: str, language: str = "python") -> str:
    return f"```{language}\n{textwrap.dedent(source).rstrip()}\n```"


# -- the head of the page -------------------------------------------------------------------------


def _head() -> str:
    return (
        f"# Instruction set, version {ISA_VERSION}\n\n"
        "This page is generated from the definitions in `isa/` by `python -m isa.reference`; a "
        "test compares the two. The semantics and demands shown are the code that runs."
    )


def _words() -> str:
    opcode, stage = WORD_BITS - OPCODE_BITS, WORD_BITS - OPCODE_BITS - STAGE_BITS
    kinds = (
        words.unsigned, words.signed, words.event_register, words.value_register,
        words.optional_value_register, words.window_register, words.window, words.bank_number,
        words.flag, words.choice, words.bank_set,
    )  # fmt: skip
    names = (_doc(kind).split(":", 1) for kind in kinds)
    return (
        "## Words\n\n"
        f"An instruction is one word of {WORD_BITS} bits, stored little-endian. The opcode is in "
        f"bits {WORD_BITS - 1}:{opcode}, the stage, which every instruction has, in bits "
        f"{opcode - 1}:{stage}; an instruction's own operands stand from bit 0 upward, and bits "
        "that no operand uses are 0. An unknown opcode, an unused bit that is 1, or a number that "
        "means nothing is an illegal instruction; no encoder masks a value that does not fit.\n\n"
        f"{_table(('kind of operand', 'in its bits'), ((k, v.strip()) for k, v in names))}"
    )


def _state(machine: Target) -> str:
    registers = _table(
        ("registers", f"in `{machine.name}`", "bits", "hold"),
        [
            (f"{letter}0 .. {letter}{v.count - 1}", f"{v.width} elements", v.bits, what)
            for letter, v, what in (
                ("e", machine.events, "events: which inputs or neurons spiked"),
                ("v", machine.values, "values: memory states, scalar drives, graded inputs"),
            )
        ],
    )
    memories = _table(
        ("memory", "rows", "lanes", "bits", "contents"),
        [
            (m.name, m.rows, m.lanes, m.bits, "state of a sample" if m.volatile else "loaded")
            for m in machine.memories.values()
        ],
    )
    banks = ", ".join(
        f"b{n} `{bank.name}` ({'multiplies' if bank.multiplies else 'adds'})"
        for n, bank in enumerate(machine.bank)
    )
    units = [
        (f"`{name}`", " ".join(_doc(section).split()))
        for name, section in (
            ("sequencer", target.Sequencer), ("events`, `values", target.Vectors),
            ("accumulators", target.Accumulators), ("bank", target.Bank),
            ("neuron", target.Neuron), ("drive", target.Drive), ("update", target.Update),
            ("readout", target.Readout), ("delay", target.Delay),
        )
    ]  # fmt: skip
    return (
        f"## State\n\n{_doc(Target)}\nSizes are those of the target `{machine.name}`; another "
        f"target file has its own.\n\n{registers}\n\n{memories}\n\nBanks: {banks}.\n\n"
        f"{_table(('part', 'what it is'), units)}"
    )


def _parameters() -> str:
    meaning = _doc(Parameters).split("\n\n", 1)[1].replace("LEAK_BITS", str(LEAK_BITS))
    rows, low = [], 0
    for name, bits in FIELDS:
        rows.append((f"`{name}`", f"{low + bits - 1}:{low}", bits))
        low += bits
    others = [
        (f"`{name}`", f"`{one.field}`{f', its low {one.bits} bits' if one.bits else ''}", one.text)
        for name, one in parameters.ALIASES.items()
    ]
    return (
        f"### Neuron parameters\n\nAn element of the `parameter` memory packs the parameters of "
        f"one neuron: {meaning}\n\n{_table(('field', 'bits', 'width'), rows)}\n\n"
        f"All are in two's complement but `leak`, a code: {_doc(parameters.from_code)}\n\n"
        f"{_code(_sources([parameters.from_code]))}\n\n"
        "In the record of a state that never spikes itself, and in that of its limits, fields are "
        f"called otherwise:\n\n{_table(('name', 'field', 'what it is'), others)}"
    )


def _control() -> str:
    batch = _doc(inspect.getmodule(Core)).split("\n\n", 1)[1]
    sources = _sources([Sequencer.enabled, Sequencer.enter_loop, Sequencer.advance])
    return f"## Loops and samples\n\n{_doc(instructions.Loop)}\n\n{batch}\n\n{_code(sources)}"


EXAMPLE = """\
.target paper
.io     "more of the first two inputs"
        input           kind=events, size=4
        output          size=2

.text
main:   loop            counter=samples, length=end
        clear.membranes row=0, groups=1
        clear.value     dest=v0, size=4
        clear.logits    row=0, groups=1, mode=sum
step:   loop            counter=steps, length=after
        input.events    dest=e0, inputs=4
        acc.events      bank=b0, source=e0, row=0, inputs=4, groups=1
        lif             dest=e1, row=0, parameters=0, groups=1, banks=b0, shift=0
        count.events    counts=v0, source=e1, size=4
.end step
after:  acc.values      bank=b1, source=v0, row=0, inputs=4, groups=1
        readout         row=0, parameters=1, groups=1, banks=b1, mode=sum
        emit            row=0, groups=1
        sync
.end after
end:    halt

.mem spike              # a row for each input: its weights to the 4 neurons of a group
        40   0   0   0
         0  40   0   0
         0   0  40   0
         0   0   0  40
.mem memory_a           # a row for each neuron: its weights to the classes
         1   0   0   0
         1   0   0   0
         0   1   0   0
         0   1   0   0
.mem parameter          # four neurons of threshold 100 that leak nothing; no bias of logits
       100 100 100 100
         0   0   0   0
"""


def _text_and_file() -> str:
    names = (
        validity.NOTE, validity.TEXT, f"{validity.MEMORY}<memory>", validity.TARGET,
        interface.INTERFACE, interface.PROVENANCE,
    )  # fmt: skip
    holds = (
        "version and digest",
        "the program",
        "rows of a memory, from 0 on",
        "TOML text",
        "how it is fed and read, what `.io` states, as JSON",
        "where each instruction comes from, as JSON; not needed",
    )
    sections = _table(("section", "holds"), zip((f"`{n}`" for n in names), holds, strict=True))
    return (
        f"## Assembly text\n\n{_doc(assembler)}\n\nA whole program; `dmpc asm` makes an image of "
        "it, and `dmpc run`, `inspect` and `disasm` take that like any other:\n\n"
        f"{_code(EXAMPLE, 'asm')}\n\n"
        f"## Image\n\n{_doc(image)}\n\n{sections}"
    )


# -- instructions ---------------------------------------------------------------------------------


def _list() -> str:
    return _table(
        ("opcode", "mnemonic", "in short"),
        [
            (
                cls.opcode,
                f"[`{cls.mnemonic}`](#{cls.mnemonic.replace('.', '')})",
                _doc(cls).split("\n")[0],
            )
            for cls in opcodes()
        ],
    )


def _instruction(cls: type[Instruction]) -> str:
    parts = [f"### {cls.mnemonic}", _doc(cls), _code(_syntax(cls), "asm")]
    parts.append(_table(("bits", "field"), _encoding(cls)))
    if layout(cls):
        rows = (
            (f"`{p.name}`", p.field.kind, p.field.range, _default(p), p.field.doc)
            for p in layout(cls)
        )
        parts.append(_table(("operand", "kind", "range", "default", "meaning"), rows))
    helpers = [f for f in _functions_of(cls) if f not in (cls.execute, cls.work)]
    parts += ["Semantics:", _code(_sources([*helpers, cls.execute]))]
    parts += ["Demand on the machine:", _code(_sources([cls.work]))]
    return "\n\n".join(parts)


def _functions_of(owner: type | ModuleType) -> list[Function]:
    """Functions written in a class or module, not generated or imported there."""
    module = owner if isinstance(owner, ModuleType) else inspect.getmodule(owner)
    return [
        f
        for name, f in vars(owner).items()
        if inspect.isfunction(f) and inspect.getmodule(f) is module and not name.startswith("__")
    ]


def _sources(functions: Iterable[Function]) -> str:
    return "\n".join(textwrap.dedent(inspect.getsource(f)) for f in functions)


def _syntax(cls: type[Instruction]) -> str:
    operands = ", ".join(
        f"{p.name}=<{p.field.kind}>" if p.required else f"[{p.name}=<{p.field.kind}>]"
        for p in layout(cls)
    )
    return f"{cls.mnemonic} {operands}".rstrip()


def _default(placed: Placed) -> str:
    return "" if placed.required else placed.field.show(placed.default)


def _encoding(cls: type[Instruction]) -> Iterator[tuple[str, str]]:
    """Bit ranges from the highest to the lowest, without gaps or overlaps."""
    free = WORD_BITS - OPCODE_BITS  # bits below which nothing is said yet
    yield _bits(WORD_BITS, free), f"opcode {cls.opcode}"
    for placed in sorted(layout(cls), key=lambda placed: -placed.low):
        high = placed.low + placed.field.bits
        if high < free:
            yield _bits(free, high), "0"
        yield _bits(high, placed.low), f"`{placed.name}`"
        free = placed.low
    if free:
        yield _bits(free, 0), "0"


def _bits(above: int, low: int) -> str:
    """The bits from `low` up to the one below `above`."""
    return f"{above - 1}:{low}" if above - 1 > low else str(low)


# -- what the semantics call ----------------------------------------------------------------------


def _functions() -> str:
    modules = [module for module in vars(instructions).values() if inspect.ismodule(module)]
    everything = "".join(inspect.getsource(module) for module in modules)
    accesses = [
        (f"`core.{f.__name__}({', '.join(list(inspect.signature(f).parameters)[1:])})`", _brief(f))
        for f in _functions_of(Machine)
        if f"core.{f.__name__}(" in everything
    ]
    vectors = "`core.events` and `core.values` are the register files, read and written by number."
    shared = [f for module in (*modules, arithmetic) for f in _functions_of(module)]
    sources = _sources(shared)
    demand = "\n\n".join(_code(inspect.getsource(cls)) for cls in (Count, Work))
    return (
        f"## What the semantics call\n\n{_table(('access', 'meaning'), accesses)}\n\n{vectors}\n\n"
        f"{_code(sources)}\n\n## Demand\n\n{demand}"
    )


def _brief(function: Function) -> str:
    return _doc(function).split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    print(reference(), end="")
