"""Instructions of the neuron unit: leak, integration, threshold and reset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from isa.format import (
    Instruction,
    bank_set,
    elements,
    event_register,
    flag,
    group_count,
    instruction,
    row_number,
    signed,
    window,
)
from isa.machine import Machine
from isa.neurons import MODELS, STAGES, Cell, Model, State, described
from isa.target import Target
from isa.work import NONE, Count, Work, in_window, registers


@instruction("clear.membranes", 24)
@dataclass(frozen=True, kw_only=True)
class ClearMembranes(Instruction):
    """Set membranes to zero, a row a cycle."""

    row: int = row_number("first row in the neuron memory")
    groups: int = group_count("rows")
    window: int | None = window("the window that holds them, if they are external")

    def work(self, target: Target) -> Work:
        rows = Count(self.groups)
        return Work(
            unit="neuron",
            cycles=rows,
            reads=in_window(self.window),
            accesses={("neuron", "writes"): rows},
        )

    def execute(self, core: Machine) -> None:
        core.near(self.window, "neuron", self.row, self.groups)
        core.write_state("neuron", self.row, self.groups, 0)


class Neurons(Instruction):
    """An instruction on groups of neurons: it takes `states` through their stages.

    The states lie one after the other from `row` on, each in as many rows as there are groups, and
    so do their parameters. The machine visits a group's rows one by one. Subclasses have those of
    the operands below that their stages need.
    """

    states: ClassVar[tuple[State, ...]]
    row: int
    groups: int
    window: int | None
    dest: int | None = None
    parameters: int | None = None
    banks: tuple[int, ...] = ()
    shift: int = 0
    subtract: bool = False
    offset: int = 0

    @property
    def left(self) -> Mapping[str, int]:
        """Rows of each state: the last one's are `row`, another's are called by its name, too."""
        *others, _ = self.states
        names = [*(f"row.{state.name}" for state in others), "row"]
        return dict(zip(names, self._rows, strict=True))

    @property
    def _rows(self) -> tuple[int, ...]:
        """The first row of each state."""
        return tuple(self.row + n * self.groups for n in range(len(self.states)))

    @property
    def _changed(self) -> tuple[State, ...]:
        """The states that are written; those before them are only read."""
        return tuple(state for state in self.states if state.stages)

    def work(self, target: Target) -> Work:
        """A pass over membranes: each row is read once, and written once unless it is only read."""
        writes: tuple[str, ...] = ()
        appends: tuple[str, ...] = ()
        if self.dest is not None:
            size = self.offset + self.groups * target.lanes
            writes = registers(target, "e", self.dest, size, self.offset)
            if self.offset % target.events.width:
                appends = (f"e{self.dest + self.offset // target.events.width}",)
        rows, changed = self._rows, Count(self.groups * len(self._changed))
        return Work(
            unit="neuron",
            groups=self.groups,
            states=len(rows),
            read_only=len(rows) - len(self._changed),
            apart=rows[1] - rows[0] if len(rows) > 1 else 0,
            reads=in_window(self.window),
            writes=writes,
            appends=appends,
            consumes=self.banks,
            paired=True,
            row=rows[0],
            operations=Count(changed.fixed * target.lanes),
            kind="neuron",
            accesses={
                ("neuron", "reads"): Count(self.groups * len(rows)),
                ("neuron", "writes"): changed,
                ("parameter", "reads"): NONE if self.parameters is None else changed,
            },
        )

    def execute(self, core: Machine) -> None:
        """Read, go through the stages, write."""
        cell = self._cell(core)
        cell.run(self.states)
        for state, row in zip(self.states, self._rows, strict=True):
            if state.stages:
                core.write_state("neuron", row, self.groups, cell.value[state.name])
        if self.dest is not None:
            core.events.append(self.dest, self.offset, cell.spikes)

    def _cell(self, core: Machine) -> Cell:
        """States, parameters and sums; traps unless they are on the chip."""
        rows = dict(zip((state.name for state in self.states), self._rows, strict=True))
        for row in rows.values():
            core.near(self.window, "neuron", row, self.groups)
        parameters = {}
        for number, state in enumerate(self._changed):
            if self.parameters is None:
                break
            at = self.parameters + number * self.groups
            core.near(self.window, "parameter", at, self.groups)
            parameters[state.name] = core.parameters(at, self.groups)
        sums = (0, 0)
        if any(STAGES[stage].sums for state in self.states for stage in state.stages):
            sums = core.take(self.banks, self.groups, core.target.accumulators.bits)
        value = {name: core.read_state("neuron", row, self.groups) for name, row in rows.items()}
        return Cell(core, parameters, value, *sums, shift=self.shift, subtract=self.subtract)


def _destination() -> Any:
    return event_register("output spikes")


def _row() -> Any:
    return row_number("first row of membranes in the neuron memory")


def _first_parameter() -> Any:
    return row_number("first row in the parameter memory")


def _groups() -> Any:
    return group_count("groups of neurons")


def _shift() -> Any:
    return signed(6, "right shift of event sums; negative shifts left")


def _subtract() -> Any:
    return flag("a spike takes the reset value off instead of writing it")


def _window() -> Any:
    return window("the window that holds membranes and parameters, if external")


def _offset() -> Any:
    return elements("elements of the register that lie before these, written already", 0)


@dataclass(frozen=True, kw_only=True)
class Spiking(Neurons):
    """All that a timestep does to neurons of a model that fires."""

    dest: int = _destination()
    row: int = _row()
    parameters: int = _first_parameter()
    groups: int = _groups()
    banks: tuple[int, ...] = bank_set("banks whose sums to integrate")
    shift: int = _shift()
    subtract: bool = _subtract()
    window: int | None = _window()
    offset: int = _offset()


@dataclass(frozen=True, kw_only=True)
class Silent(Neurons):
    """All that a timestep does to neurons of a model that never fires."""

    row: int = _row()
    parameters: int = _first_parameter()
    groups: int = _groups()
    banks: tuple[int, ...] = bank_set("banks whose sums to integrate")
    shift: int = _shift()
    window: int | None = _window()


def _instruction_of(model: Model) -> type[Neurons]:
    """The instruction that takes all states of a model through all their stages."""
    kind = Spiking if model.fires else Silent
    text = f"{model.title}\n\n{described(model.states)}"
    about = {"states": model.states, "__doc__": text, "__module__": __name__}
    name = "".join(part.capitalize() for part in model.name.split("."))
    return instruction(model.name, model.opcode)(type(name, (kind,), about))


FUSED = {model.name: _instruction_of(model) for model in MODELS}
"""The instruction of each model, by its name."""

Lif = FUSED["lif"]


@instruction("leak", 26)
@dataclass(frozen=True, kw_only=True)
class Leak(Neurons):
    """The leak of neurons alone: membranes are read, and written again."""

    states = (State("u", ("leak",)),)
    row: int = _row()
    parameters: int = _first_parameter()
    groups: int = _groups()
    window: int | None = _window()


@instruction("integrate.events", 27)
@dataclass(frozen=True, kw_only=True)
class IntegrateEvents(Neurons):
    """The integration of event sums alone: membranes are read, and written again."""

    states = (State("u", ("integrate.events",)),)
    row: int = _row()
    groups: int = _groups()
    banks: tuple[int, ...] = bank_set("banks whose event sums to integrate")
    shift: int = _shift()
    window: int | None = _window()


@instruction("integrate.values", 28)
@dataclass(frozen=True, kw_only=True)
class IntegrateValues(Neurons):
    """The integration of value sums and bias alone: membranes are read, and written again."""

    states = (State("u", ("integrate.values",)),)
    row: int = _row()
    parameters: int = _first_parameter()
    groups: int = _groups()
    banks: tuple[int, ...] = bank_set("banks whose value sums to integrate")
    window: int | None = _window()


@instruction("integrate.state", 37)
@dataclass(frozen=True, kw_only=True)
class IntegrateState(Neurons):
    """The integration of another state of the same neurons, such as a current, and of the bias.

    The other state is only read; the membranes are read, and written again.
    """

    states = (State("i", ()), State("u", ("integrate.state",), source="i"))
    row: int = _row()
    source: int = row_number("first row of the other state in the neuron memory")
    parameters: int = _first_parameter()
    groups: int = _groups()
    window: int | None = _window()

    @property
    def _rows(self) -> tuple[int, ...]:
        return (self.source, self.row)


@instruction("fire", 29)
@dataclass(frozen=True, kw_only=True)
class Fire(Neurons):
    """Threshold and reset of neurons alone: membranes are read, and written again."""

    states = (State("u", ("fire",)),)
    dest: int = _destination()
    row: int = _row()
    parameters: int = _first_parameter()
    groups: int = _groups()
    subtract: bool = _subtract()
    window: int | None = _window()
    offset: int = _offset()
