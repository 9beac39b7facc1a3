"""Neuron models as data: what each neuron keeps, and what a timestep does to it.

A model is a sequence of states, each with the stages that a timestep takes it through. A stage is
written once, over the primitives of the machine. An instruction that does one stage is the same
kind of thing as one that does all of a model: one state with one stage. From these descriptions
follow operands, semantics, timing and the page of every instruction of the neuron unit, and which
chains of ops the compiler joins into one (`dmpc.passes.fuse`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from isa.arithmetic import fire, leak, shift_round
from isa.machine import Data, Machine
from isa.parameters import LEAK_BITS, Parameters


@dataclass(frozen=True)
class State:
    """A number that each neuron keeps, and the stages of a timestep, in their order.

    `source` is the state that `integrate.state` adds, as it is after its own stages, or with `late`
    as it was before them. A state without stages is only read.
    """

    name: str
    stages: tuple[str, ...]
    source: str = ""
    late: bool = False


@dataclass(frozen=True)
class Model:
    """A model of neurons; its states lie in the neuron memory one after the other."""

    name: str
    opcode: int
    title: str
    states: tuple[State, ...]

    @property
    def fires(self) -> bool:
        """Whether its neurons spike."""
        return any("fire" in state.stages for state in self.states)


@dataclass
class Cell:
    """The states of some groups of neurons while an instruction works on them.

    `events` and `values` are sums of banks, `shift` moves the former, `subtract` says what a spike
    does to a membrane.
    """

    core: Machine
    parameters: dict[str, Parameters]
    value: dict[str, Data]
    events: Data = 0
    values: Data = 0
    shift: int = 0
    subtract: bool = False
    spikes: Data = None
    before: dict[str, Data] = field(init=False)

    def __post_init__(self) -> None:
        self.before = dict(self.value)

    def run(self, states: tuple[State, ...]) -> None:
        """Take states through their stages."""
        for state in states:
            for stage in state.stages:
                STAGES[stage].act(self, state)

    def put(self, state: State, value: Data) -> None:
        """A state's new value, saturated to its width."""
        bits = self.core.target.neuron.membrane_bits
        self.value[state.name] = self.core.saturate(value, bits, "membrane")


@dataclass(frozen=True)
class Stage:
    """What happens to a state: in words for the page of instructions, and over the primitives.

    It reads `parameters` of the state (`isa.parameters`), and gives an instruction `operands`
    beside those that all have. It is an instruction of its own, too, of `opcode` and `title`.
    """

    opcode: int
    title: str
    text: str
    act: Callable[[Cell, State], None]
    parameters: tuple[str, ...] = ()
    operands: tuple[str, ...] = ()


def _leak(cell: Cell, state: State) -> None:
    beta = cell.parameters[state.name].leak
    cell.value[state.name] = leak(cell.value[state.name], beta, LEAK_BITS)


def _integrate_events(cell: Cell, state: State) -> None:
    cell.put(state, cell.value[state.name] + shift_round(cell.events, cell.shift))


def _integrate(cell: Cell, state: State, taken: Any) -> None:
    p = cell.parameters[state.name]
    cell.put(state, cell.value[state.name] + shift_round(taken, p.shift) + p.bias)


def _integrate_state(cell: Cell, state: State) -> None:
    _integrate(cell, state, (cell.before if state.late else cell.value)[state.source])


def _fire(cell: Cell, state: State) -> None:
    p = cell.parameters[state.name]
    cell.spikes, after = fire(cell.value[state.name], p.threshold, p.reset, cell.subtract)
    cell.put(state, after)


STAGES = {
    "leak": Stage(
        26,
        "The leak of neurons alone: membranes are read, and written again.",
        "{0} = leak({0})",
        _leak,
        parameters=("leak",),
    ),
    "integrate.events": Stage(
        27,
        "The integration of event sums alone: membranes are read, and written again.",
        "{0} += event sums >> shift",
        _integrate_events,
        operands=("banks", "shift"),
    ),
    "integrate.values": Stage(
        28,
        "The integration of value sums and bias alone: membranes are read, and written again.",
        "{0} += (value sums >> parameter shift) + bias",
        lambda cell, state: _integrate(cell, state, cell.values),
        parameters=("shift", "bias"),
        operands=("banks",),
    ),
    "integrate.state": Stage(
        37,
        "The integration of another state of the same neurons, such as a current, and of the bias."
        "\n\nThe other state is only read; the membranes are read, and written again.",
        "{0} += ({1} >> parameter shift) + bias",
        _integrate_state,
        parameters=("shift", "bias"),
    ),
    "fire": Stage(
        29,
        "Threshold and reset of neurons alone: membranes are read, and written again.",
        "spike where {0} >= threshold, which resets {0}",
        _fire,
        parameters=("threshold", "reset"),
        operands=("dest", "subtract", "offset"),
    ),
}
"""The stages of neurons, by the mnemonic of each alone."""

CHARGED = ("leak", "integrate.events", "integrate.values")

LIF = Model(
    "lif",
    25,
    "Leaky integrate and fire: one read and one write of each membrane.",
    (State("u", (*CHARGED, "fire")),),
)
LI = Model("li", 30, "Leaky integrators, which never spike.", (State("u", CHARGED),))
CUBA = Model(
    "cuba",
    31,
    "Leaky integrate and fire on a synaptic current of each neuron's own.",
    (State("i", CHARGED), State("u", ("leak", "integrate.state", "fire"), source="i")),
)
CUBA_LATE = Model(
    "cuba.late",
    36,
    "As `cuba`, on the current that the timestep before left.",
    (State("i", CHARGED), State("u", ("leak", "integrate.state", "fire"), source="i", late=True)),
)
MODELS = (LIF, LI, CUBA, CUBA_LATE)
"""The models that the neuron unit takes in one instruction; others it takes stage by stage."""


def described(states: tuple[State, ...]) -> str:
    """What an instruction does to states, in words."""
    parts = []
    for state in states:
        source = f"the last {state.source}" if state.late else state.source
        parts += [STAGES[stage].text.format(state.name, source) for stage in state.stages]
    return "; ".join(parts) + ". Each addition saturates to the membrane's width."
