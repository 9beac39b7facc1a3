"""Random programs on small inputs: what engines are tried with beside networks.

An `Author` writes programs that no rule of the instruction set forbids, `mutated` damages any
program, `soup` is instructions at random. All of it comes from one `random.Random`.
"""

import re
from dataclasses import replace
from random import Random

import numpy as np

from isa.format import (
    INSTRUCTIONS,
    WORD_BITS,
    Field,
    Instruction,
    Value,
    build,
    decode,
    encode,
    layout,
)
from isa.image import Image
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearDelays,
    ClearEvents,
    ClearLogits,
    ClearMembranes,
    ClearValue,
    CountEvents,
    DelayEvents,
    DescribeKernel,
    DriveEvents,
    DriveValues,
    Emit,
    Halt,
    HoldValue,
    Lif,
    LoadEvents,
    LoadNeurons,
    LoadRows,
    Loop,
    MoveEvents,
    Readout,
    Sync,
    Update,
    Window,
)
from isa.instructions.leaky_readout import CollectLogits
from isa.instructions.neurons import Neurons
from isa.kernel import Axis, Kernel
from isa.limits import MOST_KERNELS, MOST_WINDOWS
from isa.parameters import Parameters
from isa.target import EXTERNAL, parse_target, target_text

PAPER = target_text("paper")
TARGET = parse_target(PAPER, "paper")
LANES = TARGET.lanes


NARROW = re.sub(r"(\[events\].*?width = )1024", r"\g<1>8", PAPER, flags=re.S)
NARROW = re.sub(r"(\[values\].*?width = )256", r"\g<1>5", NARROW, flags=re.S)
"""A target whose registers are so short that vectors take groups of them."""


def program(*body: Instruction, text: str = PAPER, **memories: np.ndarray) -> Image:
    """An image that runs `body` once a sample; memories by name, with _ in names as they are."""
    tables = {
        name: np.asarray(table).astype(TARGET.loadable[name].dtype)
        for name, table in memories.items()
    }
    start = Loop(counter="samples", length=len(body) + 1)
    return Image(text, (start, *body, Sync(), Halt()), tables)


def each_timestep(*body: Instruction) -> tuple[Instruction, ...]:
    """`body` once for every timestep."""
    return (Loop(counter="steps", length=len(body)), *body)


def parameters(count: int, **columns: object) -> np.ndarray:
    """Packed parameter rows of `count` neurons; what is not given is 0."""
    fields = {}
    for name in ("threshold", "bias", "reset", "leak", "shift"):
        fields[name] = np.broadcast_to(np.asarray(columns.get(name, 0), np.int64), (count,))
    return Parameters(**fields).pack().reshape(-1, LANES)


# -- hand-made programs ---------------------------------------------------------------------------

ROWS, EVENTS, VALUES, REGISTERS, LONGEST = 18, 4, 8, 4, 3
"""Rows of state memories, elements of event and of value registers, registers of each kind, delay.

v0 holds a scalar drive, v1 and v2 memory states, v3 counts.
"""


NEURONS = [cls for cls in INSTRUCTIONS.values() if issubclass(cls, Neurons)]


def fields_of(cls: type[Instruction]) -> set[str]:
    """Names of an instruction's operands."""
    return {placed.name for placed in layout(cls)}


class Author:
    """Writes a random program that no rule of the instruction set forbids."""

    def __init__(self, random, staged, apart=1):
        self.random, self.staged, self.apart = random, staged, apart
        self.bursts = {}  # bank: groups, stage, whether closed
        self.kernels = [self.kernel() for _ in range(4)]
        self.body = []

    def write(self, length):
        """The body of a loop; every burst that it begins finds its consumer."""
        acts = [self.accumulate] * 4 + [self.consume] * 3 + [self.other] * 4
        for _ in range(length):
            self.random.choice(acts)()
        while self.bursts:
            self.close()
            self.consume()
        return self.body

    def add(self, op: Instruction, stage: int | None = None) -> None:
        """One more instruction, in a stage or any."""
        if stage is None:
            stage = self.random.randrange(3) if self.staged else 0
        for one in far_away(op) if self.random.random() < 0.25 else (op,):
            self.body.append(replace(spread(one, self.apart), stage=stage))

    def number(self, low: int, high: int) -> int:
        """Any number from low to high."""
        return self.random.randint(low, high)

    def place(self, groups=None):
        """Rows of a state memory."""
        groups = self.number(1, 6) if groups is None else groups
        return {"row": self.number(0, ROWS - groups), "groups": groups}

    def accumulate(self, bank=None, last=False):
        """A new burst, or one more instruction of an open one."""
        able = [b for b in range(3) if b not in self.bursts or not self.bursts[b][2]]
        if bank is None and not able:
            return
        bank = self.random.choice(able) if bank is None else bank
        groups, stage, _ = self.bursts.get(
            bank, (self.number(1, 6), self.number(0, 2) if self.staged else 0, False)
        )
        join = not last and self.number(0, 2) == 0
        share = self.random.choice((16, 16, 7, 2))
        common = {"bank": bank, "groups": groups, "join": join, "share": share, "row": 0}
        common["first"] = self.number(0, 15)
        flag = self.number(0, 2) == 0
        if bank and self.number(0, 1):
            source, size = self.random.choice(((0, 1), (1, VALUES), (2, VALUES), (3, EVENTS)))
            common |= {"inputs": self.number(0, size), **self.seeing(groups, size)}
            self.add(AccumulateValues(source=source, spill=flag, **common), stage)
        else:
            source = self.number(0, REGISTERS - 1)
            common |= {"inputs": self.number(0, EVENTS), **self.seeing(groups, EVENTS)}
            self.add(AccumulateEvents(source=source, scan=flag, **common), stage)
        self.bursts[bank] = (groups, stage, not join)

    def axis(self) -> Axis:
        """An axis of few inputs."""
        size = self.number(1, 4)
        return Axis(
            size, self.number(1, 3), self.number(1, 2), self.number(0, 2), self.number(1, 2),
            self.number(1, min(size, 2)),
        )  # fmt: skip

    def kernel(self) -> Kernel:
        """A kernel that registers and windows have room for."""
        while True:
            y, x, parts = self.axis(), self.axis(), self.number(1, 2)
            channels, blocks = parts * self.number(1, 2), parts * self.number(1, 2)
            columns, planar = self.number(1, min(x.most, x.places + 2)), self.number(0, 1) == 0
            made = Kernel(y, x, channels, columns, blocks, parts, planar)
            if made.inputs <= VALUES and made.rows <= PAGE_OF_BANK:
                return made

    def seeing(self, groups: int, most: int) -> dict[str, object]:
        """Operands that name a kernel of at least so many groups; none now and then."""
        found = [
            (number, kernel, kernel.y.most * kernel.columns * kernel.blocks - groups)
            for number, kernel in enumerate(self.kernels)
        ]
        found = [one for one in found if one[2] >= 0 and one[1].inputs <= most]
        if not found or self.number(0, 2):
            return {}
        number, kernel, starts = self.random.choice(found)
        whole = {"share": 16, "first": 0, "row": self.number(0, PAGE_OF_BANK - kernel.rows)}
        start = self.number(0, starts)
        return {**whole, "inputs": kernel.inputs, "kernel": number, "start": start,
                "described": kernel}  # fmt: skip

    def close(self) -> None:
        """End every open burst."""
        for bank, (_, _, closed) in list(self.bursts.items()):
            if not closed:
                self.accumulate(bank, last=True)

    def consume(self):
        """Group work that takes the sums of one bank or of several that have the same groups."""
        ready = [bank for bank, (_, _, closed) in self.bursts.items() if closed]
        if not ready:
            return
        chosen = self.bursts[self.random.choice(ready)]
        alike = [bank for bank in ready if self.bursts[bank] == chosen]
        banks = tuple(sorted(self.random.sample(alike, self.number(1, len(alike)))))
        for bank in banks:
            del self.bursts[bank]
        self.group_work(chosen[0], banks, chosen[1])

    def since(self) -> int:
        """A timestep from which on something counts; the first where there is no loop over them."""
        return len(self.body) % 4 if self.staged else 0

    def lengthen(self) -> None:
        """Spikes of some neurons, and of more behind them."""
        dest, stage = self.number(0, 3), self.number(0, 2) if self.staged else 0
        before = 0
        for groups in (self.number(1, 4), self.number(1, 2)):
            neurons = {"parameters": 0, "banks": (), "shift": 0, **self.place(groups)}
            self.add(Lif(dest=dest, offset=before * LANES, **neurons), stage)
            before += groups

    def group_work(self, groups: int | None = None, banks=(), stage: int | None = None) -> None:
        """Work of the neuron or readout unit on sums of banks, or on none."""
        kinds = [
            cls
            for cls in (Readout, CollectLogits, *NEURONS)
            if not banks or "banks" in fields_of(cls)
        ]
        cls = self.random.choice(kinds)
        groups = self.number(1, 6) if groups is None else groups
        groups = 1 if "spikes" in fields_of(cls) else groups  # a register holds as many for sure
        rows = groups * (len(cls.states) if issubclass(cls, Neurons) else 1)
        row = self.number(0, ROWS - rows)
        source = self.number(0, ROWS - groups)
        known = {"row": row, "source": source, "groups": groups, "parameters": 0, "shift": 0}
        known |= {
            "dest": self.number(0, 3),
            "spikes": self.number(0, 3),
            "banks": banks,
            "mode": "sum",
            "since": self.since(),
        }
        given = {name: value for name, value in known.items() if name in fields_of(cls)}
        self.add(build(cls, given), stage)

    def other(self) -> None:
        """Anything that takes no sums."""
        source, dest = self.number(0, 3), self.number(0, 3)
        drive = {"dest": 0, "row": 0, "shift": 0, "bias": 5}
        size = self.number(0, VALUES)
        held = {"dest": self.number(1, 2), "source": self.number(1, 2)}
        makers = [
            lambda: self.group_work(),
            lambda: self.group_work(),
            self.lengthen,
            lambda: self.add(ClearEvents(dest=dest, size=EVENTS)),
            lambda: self.add(MoveEvents(dest=dest, source=source, size=EVENTS)),
            lambda: self.add(DriveEvents(source=source, inputs=self.number(0, EVENTS), **drive)),
            lambda: self.add(DriveValues(source=1, inputs=size, **drive)),
            lambda: self.add(
                Update(state=self.number(1, 2), drive=0, row=0, size=VALUES, shift=15)
            ),
            lambda: self.add(ClearValue(dest=self.number(1, 3), size=VALUES)),
            lambda: (
                self.staged
                and self.add(
                    HoldValue(every=self.number(1, 3), since=self.since(), size=VALUES, **held)
                )
            ),
            lambda: (
                self.staged
                and self.add(
                    DelayEvents(
                        dest=dest,
                        source=source,
                        row=self.number(0, 2),
                        axons=self.number(0, 2),
                        inputs=EVENTS,
                        length=self.number(LONGEST + 1, 5),
                    )
                )
            ),
            lambda: self.add(ClearDelays(row=0, rows=self.number(1, ROWS))),
            lambda: self.add(CountEvents(counts=3, source=source, size=EVENTS, since=self.since())),
            lambda: self.add(ClearMembranes(**self.place())),
            lambda: self.add(ClearLogits(mode="sum", **self.place())),
            lambda: self.add(Emit(**self.place())),
            lambda: self.number(0, 3) or self.add(Sync(), 0),
        ]
        self.random.choice(makers)()


def spread(op: Instruction, apart: int) -> Instruction:
    """The instruction on registers that lie so far from each other."""
    kinds = ("event register", "value register")
    named = {p.name: getattr(op, p.name) for p in layout(type(op)) if p.field.kind in kinds}
    return replace(op, **{name: apart * number for name, number in named.items()})


WINDOWS = {"spike": 0, "memory_a": 1, "memory_b": 2, "drive": 3, "update": 4, "neuron": 5}
PAGE_OF_BANK = 48
PAGE = {"drive": VALUES, "update": VALUES + 1, "neuron": ROWS}
"""Rows of a window; 6 groups of the widest vector in those of banks."""


def far_away(op: Instruction) -> tuple[Instruction, ...]:
    """The instruction on rows outside the chip, and before it one that brings them."""
    on_chip = {name: TARGET.memories[name].rows for name in WINDOWS}
    match op:
        case AccumulateEvents() | AccumulateValues():
            name = TARGET.bank[op.bank].name
            far = replace(op, row=op.row + on_chip[name], window=WINDOWS[name])
            if isinstance(op, AccumulateEvents) and not op.scan and op.kernel is None:
                same = ("bank", "source", "row", "inputs", "groups", "first", "share", "window")
                return LoadEvents(**{field: getattr(far, field) for field in same}), far
            load = {"row": far.row, "rows": op.layout.rows, "memory": f"b{op.bank}"}
            return LoadRows(window=far.window, **load), far
        case DriveEvents() | DriveValues() | Update():
            name = "update" if isinstance(op, Update) else "drive"
            far = replace(op, row=on_chip[name], window=WINDOWS[name])
            load = {"row": far.row, "rows": PAGE[name], "memory": name}
            return LoadRows(window=far.window, **load), far
        case Neurons() | ClearMembranes():
            start, window = on_chip["neuron"], WINDOWS["neuron"]
            near = {name: getattr(op, name) for name in ("row", "source") if name in vars(op)}
            moved = {name: row + start for name, row in near.items()}
            far = replace(op, window=window, **moved)
            if "parameters" in vars(op):
                far = replace(far, parameters=start)
            return LoadNeurons(window=window, row=start, groups=ROWS), far
    return (op,)


def windows() -> tuple[Instruction, ...]:
    """Windows of all memories, and membranes outside the chip."""
    names = {"spike": "b0", "memory_a": "b1", "memory_b": "b2"}
    return (
        *(
            Window(
                window=number,
                memory=names.get(name, name),
                at=200,
                rows=PAGE.get(name, PAGE_OF_BANK),
            )
            for name, number in WINDOWS.items()
        ),
        *far_away(ClearMembranes(row=0, groups=ROWS)),
    )


def first_values():
    """Every row and register is written before the random part reads it."""
    whole = {"row": 0, "groups": ROWS}
    return (
        ClearMembranes(**whole),
        ClearLogits(mode="sum", **whole),
        ClearDelays(row=0, rows=2 + 5 * EVENTS),
        ClearValue(dest=0, size=1),
        *(ClearValue(dest=number, size=VALUES) for number in range(1, REGISTERS)),
        *(
            Lif(dest=number, row=number, parameters=number, groups=1, banks=(), shift=0)
            for number in range(REGISTERS)
        ),
    )


def hand_made(random, length, loop):
    """A whole program; the loop says what its body runs in."""
    narrow = random.random() < 0.4
    apart = 3 if narrow else 1
    author = Author(random, loop.counter == "steps", apart)
    body = author.write(length)
    draw = np.random.default_rng(random.randrange(1 << 32)).integers
    count = ROWS * LANES
    loop = replace(loop, length=len(body))

    def tables() -> dict[str, np.ndarray]:
        weights = {name: draw(-20, 20, (96, LANES)) for name in ("spike", "memory_a", "memory_b")}
        neurons = {"threshold": draw(-5, 30, count), "bias": draw(-5, 15, count)}
        return {
            **weights,
            "drive": draw(-20, 20, (VALUES, 1)),
            "update": draw(-9999, 9999, (VALUES + 1, 16)),
            "parameter": parameters(count, leak=200 * 32, **neurons),
        }

    return program(
        *windows(),
        *(DescribeKernel.of(number, kernel) for number, kernel in enumerate(author.kernels)),
        *(spread(op, apart) for op in first_values()),
        *((loop, *body) if body else ()),
        text=NARROW if narrow else PAPER,
        axon=draw(0, LONGEST + 1, (2 + EVENTS, 1)),
        **tables(),
        **{EXTERNAL + name: table for name, table in tables().items()},
    )


def mutated(random, image):
    """The program with a few words changed, copied or exchanged; IsaError if one is illegal."""
    words = [encode(op) for op in image.code]
    for _ in range(random.randint(1, 3)):
        at, other = random.randrange(len(words)), random.randrange(len(words))
        match random.randrange(6):
            case 0 | 1:
                words[at] ^= 1 << random.randrange(WORD_BITS)
            case 2 | 3:  # an operand is one more or one less
                placed = random.choice(layout(type(decode(words[at]))))
                mask = ((1 << placed.field.bits) - 1) << placed.low
                nudged = words[at] + (random.choice((-1, 1)) << placed.low)
                words[at] = words[at] & ~mask | nudged & mask
            case 4:
                words[at] = words[other]
            case 5:
                words[at], words[other] = words[other], words[at]
    return Image(image.target_text, tuple(map(decode, words)), image.memories)


def drawn(random: Random, field: Field) -> Value:
    """An operand that fits a field: small as a rule, its extremes now and then."""
    high = (1 << field.bits) - 1
    match field.kind:
        case "flag":
            return random.random() < 0.5
        case "choice":
            return random.choice(field.range.split(", "))
        case "bank set":
            return tuple(bank for bank in range(3) if random.random() < 0.4)
        case "bank":
            return random.randint(0, 2)
        case "window":
            return random.choice((None, None, 0, random.randrange(MOST_WINDOWS)))
        case "kernel":
            return random.choice((None,) * 8 + (random.randrange(MOST_KERNELS),))
        case "signed":
            return random.choice((0, 1, -1, random.randint(-(high // 2) - 1, high // 2)))
    return random.choice((0, 1, random.randint(0, min(high, 5)), random.choice((high, 0))))


def soup(random: Random, length: int) -> tuple[Instruction, ...]:
    """Instructions of any kind, one after the other."""
    classes = sorted(INSTRUCTIONS.values(), key=lambda cls: cls.opcode)
    return tuple(
        build(cls, {placed.name: drawn(random, placed.field) for placed in layout(cls)})
        for cls in random.choices(classes, k=length)
    )
