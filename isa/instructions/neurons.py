"""Instructions of the neuron unit: leak, integration, threshold and reset."""

from collections.abc import Callable, Mapping
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
from isa.neurons import LIMITS, MODELS, NO_ROOM, STAGES, Cell, State, described
from isa.target import Target
from isa.work import NONE, Count, Work, in_window, lengthened, registers


@instruction("clear.membranes", 24)
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
    so do the parameters of those of which a stage needs any, and behind them the limits of
    membranes: a second record, of which the machine reads a row in the other cycle of a visit. A
    state that is only read comes first, or lies at `source`: then its parameters come last. The
    machine visits a group's rows one by one. Subclasses have those of the operands below that their
    stages need.
    """

    states: ClassVar[tuple[State, ...]]
    row: int
    groups: int
    window: int | None
    dest: int | None = None
    source: int | None = None
    spikes: int | None = None
    parameters: int | None = None
    banks: tuple[int, ...] = ()
    shift: int = 0
    subtract: bool = False
    offset: int = 0
    last: bool = False

    @property
    def left(self) -> Mapping[str, int]:
        """Rows of each state that it changes: several are told by their names but a membrane's."""
        changed = self._changed
        named = [state.name if len(changed) > 1 else "u" for state in changed]
        called = ("row" if name == "u" else f"row.{name}" for name in named)
        return dict(zip(called, self._rows[-len(named) :], strict=True))

    @property
    def _rows(self) -> tuple[int, ...]:
        """The first row of each state; one that is only read lies elsewhere."""
        if self.source is not None:
            return self.source, self.row
        return tuple(self.row + n * self.groups for n in range(len(self.states)))

    @property
    def _changed(self) -> tuple[State, ...]:
        """The states that are written; those before them are only read."""
        return tuple(state for state in self.states if state.stages)

    @property
    def _records(self) -> dict[str, int]:
        """The first row of the parameters of each state, of those that some stage needs."""
        first = self._changed if self.source is not None else self.states
        needs: dict[str, tuple[str, ...]] = {state.name: () for state in first}
        for state in self._changed:
            for name in state.stages:
                needs[state.name] += STAGES[name].parameters
                if STAGES[name].limits:
                    needs[LIMITS] = STAGES[name].limits
                if STAGES[name].others:
                    other = state.reads[name].state
                    needs[other] = needs.get(other, ()) + STAGES[name].others
        needed = [name for name, some in needs.items() if some]
        return {name: (self.parameters or 0) + n * self.groups for n, name in enumerate(needed)}

    @property
    def _hold(self) -> int:
        """Cycles by which rows are written later: a state may need the row of one behind it."""
        at = {state.name: number for number, state in enumerate(self.states)}
        reads = (at[read.state] - at[s.name] for s in self.states for read in s.reads.values())
        return 2 * max([0, *reads])

    def work(self, target: Target) -> Work:
        """A pass over membranes: each row is read once, and written once unless it is only read."""
        writes: tuple[str, ...] = ()
        appends: tuple[str, ...] = ()
        size, records = self.groups * target.lanes, len(self._records)
        if self.dest is not None:
            writes, appends = lengthened(target, "e", self.dest, self.offset, size)
        rows, changed = self._rows, Count(self.groups * len(self._changed))
        spikes = () if self.spikes is None else registers(target, "e", self.spikes, size)
        return Work(
            unit="neuron",
            groups=self.groups,
            states=len(rows),
            read_only=len(rows) - len(self._changed),
            apart=rows[1] - rows[0] if len(rows) > 1 else 0,
            hold=self._hold,
            reads=(*in_window(self.window), *spikes),
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
                ("parameter", "reads"): Count(self.groups * records) if records else NONE,
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
        for name, at in self._records.items():
            core.near(self.window, "parameter", at, self.groups)
            parameters[name] = core.parameters(at, self.groups)
        sums = (0, 0)
        if any("banks" in STAGES[stage].operands for one in self.states for stage in one.stages):
            sums = core.take(self.banks, self.groups, core.target.accumulators.bits)
        value = {name: core.read_state("neuron", row, self.groups) for name, row in rows.items()}
        bits = core.target.neuron.membrane_bits
        cell = Cell(
            lambda x: core.saturate(x, bits, "membrane"),
            parameters, value, *sums, shift=self.shift, subtract=self.subtract,
        )  # fmt: skip
        if self.last:
            cell.held = lambda x: core.saturate(x, NO_ROOM, "spikes")
        if self.spikes is not None:
            cell.spikes = core.events.read(self.spikes, self.groups * core.target.lanes)
        return cell


OPERANDS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "dest": (int, lambda: event_register("output spikes")),
    "row": (int, lambda: row_number("first row of membranes in the neuron memory")),
    "source": (int, lambda: row_number("first row of the other state in the neuron memory")),
    "spikes": (int, lambda: event_register("the spikes of these neurons")),
    "parameters": (int, lambda: row_number("first row in the parameter memory")),
    "groups": (int, lambda: group_count("groups of neurons")),
    "banks": (tuple[int, ...], lambda: bank_set("banks whose sums to integrate")),
    "shift": (int, lambda: signed(6, "right shift of event sums; negative shifts left")),
    "subtract": (bool, lambda: flag("a spike takes the reset value off instead of writing it")),
    "window": (
        int | None,
        lambda: window("the window that holds membranes and parameters, if external"),
    ),
    "offset": (
        int,
        lambda: elements("elements of the register that lie before these, written already", 0),
    ),
    "last": (bool, lambda: flag("neurons that could spike again are counted as saturated spikes")),
}
"""Operands of instructions on neurons in the order of their encoding, each with its type."""


def _made(mnemonic: str, opcode: int, text: str, states: tuple[State, ...]) -> type[Neurons]:
    """The instruction that takes states through their stages, with the operands that those need."""
    stages = [STAGES[stage] for state in states for stage in state.stages]
    wanted = {"row", "groups", "window"}.union(*(stage.operands for stage in stages))
    wanted |= {"parameters"} if any(stage.reads for stage in stages) else set()
    wanted |= {"source"} if len(states) > len(stages) else set()
    wanted -= {"spikes"} if "dest" in wanted else set()
    operands = {name: made for name, made in OPERANDS.items() if name in wanted}
    namespace = {
        "__annotations__": {name: kind for name, (kind, _) in operands.items()},
        **{name: field() for name, (_, field) in operands.items()},
        "states": states,
        "__doc__": text,
        "__module__": __name__,
    }
    name = "".join(part.capitalize() for part in mnemonic.split("."))
    return instruction(mnemonic, opcode)(type(name, (Neurons,), namespace))


def _alone(name: str) -> tuple[State, ...]:
    """A state with one stage, as models have it, and the state that it reads beside it."""
    models = (state for model in MODELS for state in model.states if name in state.stages)
    state = next(models)
    read = state.reads.get(name)
    if read is None:
        return (State("u", (name,)),)
    return (State(read.state, ()), State(state.name, (name,), {name: read}))


ALONE = {name: _made(name, one.opcode, one.title, _alone(name)) for name, one in STAGES.items()}
"""The instruction of each stage, by its name."""

FUSED = {
    one.name: _made(one.name, one.opcode, f"{one.title}\n\n{described(one.states)}", one.states)
    for one in MODELS
}
"""The instruction of each model, by its name."""

Fire, Leak, Lif = ALONE["fire"], ALONE["leak"], FUSED["lif"]
IntegrateEvents, IntegrateValues = ALONE["integrate.events"], ALONE["integrate.values"]
