"""Instructions of the loader: rows that live outside the chip are brought into windows.

Rows of a memory beyond its own are external: they lie in the memory outside the chip, under the
numbers that follow. An instruction works on them through a window, a part of the memory on the chip
that holds a stretch of them. A window has two pages, as a register has: while units read one, the
loader fills the other.
"""

from isa.format import (
    Instruction,
    bank_number,
    choice,
    elements,
    event_register,
    group_count,
    instruction,
    row_number,
    unsigned,
    window_register,
)
from isa.layout import Layout
from isa.limits import MOST_BANKS, PERIOD
from isa.machine import Machine
from isa.target import Target
from isa.work import Active, Count, Work, bank_name, registers

_BANKS = tuple(f"b{number}" for number in range(MOST_BANKS))
_LOADED = (*_BANKS, "drive", "update")


def _memory(target: Target, name: str) -> str:
    return bank_name(target, _BANKS.index(name)) if name in _BANKS else name


def _beats(target: Target, memory: str, rows: int) -> int:
    """Cycles in which rows go through the port to external memory; none of what is not there."""
    found = target.memories.get(memory)
    return target.external.beats(rows * found.row_bits) if target.external and found else 0


@instruction("window", 40)
class Window(Instruction):
    """Set rows of a memory aside for a window: two pages of `rows` rows, from row `at` on.

    Once in a sample for each window. One of the neuron memory takes the same rows of the parameter
    memory.
    """

    window: int = window_register("the window")
    memory: str = choice((*_LOADED, "neuron"), "the memory on the chip")
    at: int = row_number("first row of the first page")
    rows: int = row_number("rows of a page")

    def work(self, target: Target) -> Work:
        del target
        return Work(unit="loader")

    def execute(self, core: Machine) -> None:
        core.set_aside(self.window, _memory(core.target, self.memory), self.at, self.rows)


@instruction("load.rows", 41)
class LoadRows(Instruction):
    """Bring external rows, all of a stretch, into a window."""

    window: int = window_register("where to")
    memory: str = choice(_LOADED, "the memory whose rows they are")
    row: int = row_number("first row")
    rows: int = row_number("rows")

    def work(self, target: Target) -> Work:
        memory = _memory(target, self.memory)
        beats = Count(max(_beats(target, memory, self.rows), 1))
        return Work(
            unit="loader",
            cycles=beats,
            writes=(f"w{self.window}",),
            operations=beats,
            accesses={("external", "reads"): beats, (memory, "writes"): Count(self.rows)},
        )

    def execute(self, core: Machine) -> None:
        memory = _memory(core.target, self.memory)
        core.rows(memory, self.row, self.rows)
        core.load(self.window, memory, self.row, self.rows)


@instruction("load.events", 42)
class LoadEvents(Instruction):
    """Bring the external rows of active inputs, and of no others, into a window.

    The rows of an input lie side by side in external memory: an active input is one burst. Of a
    bank's share whole periods of groups are brought.
    """

    window: int = window_register("where to")
    bank: int = bank_number("the bank whose rows they are")
    source: int = event_register("the input's spikes")
    row: int = row_number("first row of weights")
    inputs: int = elements("width of the input")
    groups: int = group_count("groups of neurons")
    first: int = unsigned(4, "first phase of the bank's share of the rows", 0)
    share: int = unsigned(5, "sixteenths of the rows that lie in this bank", PERIOD)

    @property
    def layout(self) -> Layout:
        """Which rows the product has in the bank."""
        return Layout(self.inputs, self.groups, self.first, self.share)

    def work(self, target: Target) -> Work:
        memory, rows = bank_name(target, self.bank), self.layout.per_input
        beats = Count(active=_beats(target, memory, rows))
        return Work(
            unit="loader",
            active=Active(f"e{self.source}", self.inputs),
            cycles=beats,
            at_least=1,
            reads=registers(target, "e", self.source, self.inputs),
            writes=(f"w{self.window}",),
            operations=beats,
            accesses={("external", "reads"): beats, (memory, "writes"): Count(active=rows)},
        )

    def execute(self, core: Machine) -> None:
        core.weights(self.bank, self.row, self.layout)
        core.events.read(self.source, self.inputs)
        memory = bank_name(core.target, self.bank)
        core.load(
            self.window, memory, self.row, self.layout.rows, source=(self.source, self.inputs)
        )


@instruction("load.neurons", 43)
class LoadNeurons(Instruction):
    """Exchange neurons: membranes in the window's older page go out, others come in.

    Parameters, which nothing changes, come in alone. It takes a whole page each time.
    """

    window: int = window_register("a window of the neuron memory")
    row: int = row_number("first row, of membranes and of parameters")
    groups: int = group_count("rows, as many as the window has")

    def work(self, target: Target) -> Work:
        membranes = Count(_beats(target, "neuron", self.groups))
        parameters = _beats(target, "parameter", self.groups)
        inward = Count(membranes.fixed + parameters)
        rows = Count(self.groups)
        return Work(
            unit="loader",
            cycles=Count(max(inward.fixed + membranes.fixed, 1)),
            writes=(f"w{self.window}",),
            operations=Count(inward.fixed + membranes.fixed),
            accesses={
                ("external", "reads"): inward,
                ("external", "writes"): membranes,
                ("neuron", "reads"): rows,
                ("neuron", "writes"): rows,
                ("parameter", "writes"): rows,
            },
        )

    def execute(self, core: Machine) -> None:
        core.parameters(self.row, self.groups)
        core.load(self.window, "neuron", self.row, self.groups, page=True)
