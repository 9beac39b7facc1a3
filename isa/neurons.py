"""Neuron models as data: what each neuron keeps, and what a timestep does to it.

A model is a sequence of states, each with the stages that a timestep takes it through. A stage is
written once, over the primitives of the machine. An instruction that does one stage is the same
kind of thing as one that does all of a model: one state with one stage. From these descriptions
follow operands, semantics, timing and the page of every instruction of the neuron unit, and which
chains of ops the compiler joins into one (`dmpc.passes.fuse`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from isa.arithmetic import clamped, coupled, fire, larger, leak, reached, select, shift_round
from isa.machine import Data
from isa.parameters import LEAK_BITS, NOTHING, Parameters


class Read(NamedTuple):
    """Another state that a stage reads: as it is after its own stages, or `late`: before them."""

    state: str
    late: bool = False


@dataclass(frozen=True)
class State:
    """A number that each neuron keeps, and the stages of a timestep, in their order.

    `reads` are the other states that some stages take. A state without stages is only read.
    """

    name: str
    stages: tuple[str, ...]
    reads: Mapping[str, Read] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A model of neurons; its states lie in the neuron memory one after the other."""

    name: str
    opcode: int
    title: str
    states: tuple[State, ...]

    @property
    def changed(self) -> tuple[State, ...]:
        """The states that a timestep changes; those before them are only read."""
        return tuple(state for state in self.states if state.stages)

    @property
    def fires(self) -> bool:
        """Whether its neurons spike."""
        return any(stage in FIRING for state in self.states for stage in state.stages)


@dataclass
class Cell:
    """The states of some groups of neurons while an instruction works on them.

    `saturate` clips to a membrane's width. `events` and `values` are sums of banks, `shift` moves
    the former, `subtract` says what a spike does to a membrane; `spikes` are the neurons' own, once
    they have fired. `held` hears of neurons that could fire again, where those are counted.
    """

    saturate: Callable[[Data], Data]
    parameters: dict[str, Parameters]
    value: dict[str, Data]
    events: Data = 0
    values: Data = 0
    shift: int = 0
    subtract: bool = False
    held: Callable[[Data], Data] | None = None
    spikes: Data = None
    before: dict[str, Data] = field(init=False)

    def __post_init__(self) -> None:
        self.before = dict(self.value)

    def run(self, states: tuple[State, ...]) -> None:
        """Take states through their stages."""
        for state in states:
            for stage in state.stages:
                STAGES[stage].act(self, state)

    def read(self, state: State, stage: str) -> tuple[Data, Parameters]:
        """The other state that a stage takes, and its parameters, if the stage needs them."""
        name, late = state.reads[stage]
        return (self.before if late else self.value)[name], self.parameters.get(name, NOTHING)

    def put(self, state: State, value: Data) -> None:
        """A state's new value, saturated to its width."""
        self.value[state.name] = self.saturate(value)


@dataclass(frozen=True)
class Stage:
    """What happens to a state: in words for the page of instructions, and over the primitives.

    It reads `parameters` of the state (`isa.parameters`), `others` of the state that it takes,
    `limits` of the state's second record, and gives an instruction `operands` beside those that all
    have. Unless it is `exact`, what it makes saturates to the membrane's width. It is an
    instruction of its own, too, of `opcode` and `title`, and an op of the compiler's graph.
    """

    opcode: int
    title: str
    text: str
    act: Callable[[Cell, State], None]
    parameters: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    operands: tuple[str, ...] = ()
    exact: bool = False

    @property
    def reads(self) -> bool:
        """Whether it reads the parameter memory."""
        return bool(self.parameters or self.others or self.limits)


def _leak(cell: Cell, state: State) -> None:
    beta = cell.parameters[state.name].leak
    cell.value[state.name] = leak(cell.value[state.name], beta, LEAK_BITS)


def _integrate_events(cell: Cell, state: State) -> None:
    cell.put(state, cell.value[state.name] + shift_round(cell.events, cell.shift))


def _integrate(cell: Cell, state: State, taken: Any) -> None:
    p = cell.parameters[state.name]
    cell.put(state, cell.value[state.name] + shift_round(taken, p.shift) + p.bias)


def _integrate_state(cell: Cell, state: State) -> None:
    _integrate(cell, state, cell.read(state, "integrate.state")[0])


def _clamp(cell: Cell, state: State) -> None:
    p = cell.parameters[LIMITS]
    cell.value[state.name] = clamped(cell.value[state.name], p.floor, p.ceiling)


def _integrate_current(cell: Cell, state: State) -> None:
    i, of = cell.read(state, "integrate.current")
    cell.put(state, cell.value[state.name] + shift_round(i, of.drop))


def _fire(cell: Cell, state: State) -> None:
    p = cell.parameters[state.name]
    cell.spikes, after = fire(cell.value[state.name], p.threshold, p.reset, cell.subtract)
    cell.put(state, after)
    if cell.held:
        cell.held(reached(cell.value[state.name], p.threshold))


def _fire_adaptive(cell: Cell, state: State) -> None:
    p, (a, of) = cell.parameters[state.name], cell.read(state, "fire.adaptive")
    threshold = p.threshold + shift_round(a, of.shift)
    reset = p.reset + coupled(a, of.coupling, of.exponent) if cell.subtract else p.reset
    cell.spikes, after = fire(cell.value[state.name], threshold, reset, cell.subtract)
    cell.put(state, after)


def _adapt(cell: Cell, state: State) -> None:
    a, of = cell.read(state, "adapt")
    cell.put(state, cell.value[state.name] + shift_round(a, of.shift))


def _couple(cell: Cell, state: State) -> None:
    p, (u, _) = cell.parameters[state.name], cell.read(state, "couple")
    cell.put(state, cell.value[state.name] + coupled(u, p.coupling, p.exponent))


def _rest(cell: Cell, state: State) -> None:
    p, (r, _) = cell.parameters[state.name], cell.read(state, "rest")
    cell.value[state.name] = select(reached(r, ONE), p.reset, cell.value[state.name])


def _recover(cell: Cell, state: State) -> None:
    p, left = cell.parameters[state.name], larger(cell.value[state.name] - 1, 0 * ONE)
    cell.value[state.name] = select(cell.spikes, p.jump, left)


def _jump(cell: Cell, state: State) -> None:
    p, a = cell.parameters[state.name], cell.value[state.name]
    cell.put(state, select(cell.spikes, a + p.jump, a))


STAGES = {
    "leak": Stage(
        26,
        "The leak of neurons alone: membranes are read, and written again.",
        "{0} = leak({0})",
        _leak,
        parameters=("leak",),
        exact=True,
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
    "clamp": Stage(
        56,
        "The floor and the ceiling of membranes alone: they are read, and written again.",
        "{0} = min(max({0}, floor), ceiling)",
        _clamp,
        limits=("floor", "ceiling"),
        exact=True,
    ),
    "integrate.current": Stage(
        60,
        "The integration of one more current of the same neurons, moved as its own parameters say."
        "\n\nThe current is only read; the membranes are read, and written again.",
        "{0} += {1} >> drop of {1}",
        _integrate_current,
        others=("drop",),
    ),
    "fire": Stage(
        29,
        "Threshold and reset of neurons alone: membranes are read, and written again.",
        "spike where {0} >= threshold, which resets {0}",
        _fire,
        parameters=("threshold", "reset"),
        operands=("dest", "subtract", "offset", "last"),
    ),
    "fire.adaptive": Stage(
        44,
        "Threshold and reset of neurons alone, the threshold raised by another state of theirs."
        "\n\nThe other state is only read; the membranes are read, and written again.",
        "spike where {0} >= threshold + ({1} >> shift of {1}), which resets {0}, if by subtraction "
        "by (coupling of {1} * {1} >> its exponent) more",
        _fire_adaptive,
        parameters=("threshold", "reset"),
        others=("shift", "coupling", "exponent"),
        operands=("dest", "subtract", "offset"),
    ),
    "adapt": Stage(
        45,
        "The integration of another state of the same neurons, moved as its own parameters say."
        "\n\nThe other state is only read; the membranes are read, and written again.",
        "{0} += {1} >> shift of {1}",
        _adapt,
        others=("shift",),
    ),
    "couple": Stage(
        46,
        "The integration of another state of the same neurons, times a coupling of 8 bits."
        "\n\nThe other state is only read; the rows are read, and written again.",
        "{0} += coupling * {1} >> exponent",
        _couple,
        parameters=("coupling", "exponent"),
    ),
    "rest": Stage(
        54,
        "The rest of neurons alone: the other state tells for how many timesteps it lasts."
        "\n\nThe other state is only read; the membranes are read, and written again.",
        "{0} = reset where {1} > 0",
        _rest,
        parameters=("reset",),
        exact=True,
    ),
    "recover": Stage(
        55,
        "For how many timesteps neurons rest, alone: the rows are read, and written again.",
        "{0} = jump where there was a spike, else max({0} - 1, 0)",
        _recover,
        parameters=("jump",),
        operands=("spikes",),
        exact=True,
    ),
    "jump": Stage(
        47,
        "What a spike adds to a state alone: the rows are read, and written again.",
        "{0} += jump where there was a spike",
        _jump,
        parameters=("jump",),
        operands=("spikes",),
    ),
}
"""The stages of neurons, by the mnemonic of each alone."""

ONE = np.ones(1, np.int64)
LIMITS = "limits"
"""The name of the record of floors and ceilings, which lies behind those of all states."""

NO_ROOM = 1
"""Bits of what neurons may fire beyond their last time: none, so that all of it is counted."""

FIRING = ("fire", "fire.adaptive")
"""The stages that make spikes."""

CHARGED = ("leak", "integrate.events", "integrate.values")
CURRENT = ("leak", "integrate.state", "fire")

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
    (State("i", CHARGED), State("u", CURRENT, {"integrate.state": Read("i")})),
)
CUBA_LATE = Model(
    "cuba.late",
    36,
    "As `cuba`, on the current that the timestep before left.",
    (State("i", CHARGED), State("u", CURRENT, {"integrate.state": Read("i", late=True)})),
)


def _adaptive(model: Model, opcode: int) -> Model:
    """A model whose thresholds rise with its neurons' own spikes."""
    *others, u = model.states
    stages = tuple("fire.adaptive" if stage == "fire" else stage for stage in u.stages)
    u = State("u", stages, {**u.reads, "fire.adaptive": Read("a", late=True)})
    title = f"As `{model.name}`, with thresholds that rise with each spike and fall again."
    a = State("a", ("leak", "jump"))
    return Model(f"{model.name}.adaptive", opcode, title, (*others, u, a))


def _pulled(model: Model, opcode: int) -> Model:
    """A model with a current that follows each neuron's membrane and spikes (adLIF)."""
    *others, u = model.states
    stages = (*u.stages[:-1], "adapt", "fire")
    u = State("u", stages, {**u.reads, "adapt": Read("a", late=True)})
    title = f"As `{model.name}`, with a current that follows each neuron's membrane and spikes."
    a = State("a", ("leak", "couple", "jump"), {"couple": Read("u")})
    return Model(f"{model.name}.pulled", opcode, title, (*others, u, a))


def _clamped(model: Model, opcode: int) -> Model:
    """A model whose membranes have a floor and a ceiling before they fire."""
    *others, u = model.states
    u = State("u", (*u.stages[:-1], "clamp", "fire"), u.reads)
    title = f"As `{model.name}`, of membranes between a floor and a ceiling."
    return Model(f"{model.name}.clamped", opcode, title, (*others, u))


def _resting(model: Model, opcode: int) -> Model:
    """A model whose neurons rest for some timesteps after a spike."""
    *others, u = model.states
    stages = (*u.stages[:-1], "rest", "fire")
    u = State("u", stages, {**u.reads, "rest": Read("r", late=True)})
    title = f"As `{model.name}`, of neurons that rest for some timesteps after a spike."
    return Model(f"{model.name}.resting", opcode, title, (*others, u, State("r", ("recover",))))


def _fed(model: Model, opcode: int) -> Model:
    """A model whose membranes take in one more current, which another instruction keeps."""
    *others, u = model.states
    stages = (*u.stages[:-1], "integrate.current", "fire")
    u = State("u", stages, {**u.reads, "integrate.current": Read("j")})
    title = f"As `{model.name}`, on one more current of each neuron's own, which is only read."
    return Model(f"{model.name}.fed", opcode, title, (State("j", ()), *others, u))


FIRED = (LIF, CUBA, CUBA_LATE)
MODELS = (
    *(LIF, LI, CUBA, CUBA_LATE),
    *(_adaptive(one, 48 + number) for number, one in enumerate(FIRED)),
    *(_pulled(one, 51 + number) for number, one in enumerate(FIRED)),
    *(_clamped(one, 57 + number) for number, one in enumerate(FIRED)),
    *(_fed(one, 61 + number) for number, one in enumerate(FIRED)),
    *(_resting(one, 13 + number) for number, one in enumerate(FIRED)),
)
"""The models that the neuron unit takes in one instruction; others it takes stage by stage."""

READING = frozenset(stage for model in MODELS for state in model.states for stage in state.reads)
"""The stages that take another state."""


def described(states: tuple[State, ...]) -> str:
    """What an instruction does to states, in words."""
    parts = []
    for state in states:
        for stage in state.stages:
            name, late = state.reads.get(stage, Read(""))
            read = f"the last {name}" if late else name
            parts.append(STAGES[stage].text.format(state.name, read))
    return "; ".join(parts) + ". Each addition saturates to the membrane's width."
