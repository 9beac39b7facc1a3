"""Ops of the integer levels on neurons: the stages of a timestep, and those of a model fused.

What a stage or a model takes, gives and computes is what `isa.neurons` says, so that the integer
graph and the machine cannot differ in it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from dmpc.ir.integer_types import (
    ENDLESS,
    FUSED,
    INTEGER,
    LAYER,
    SUM_BITS,
    TIMES,
    like,
    number,
    same_vectors,
    times,
)
from dmpc.ir.registry import (
    BITS,
    SHIFTS,
    Attrs,
    AttrSpec,
    EvalContext,
    OpDef,
    Tensor,
    register,
)
from dmpc.ir.types import TensorType
from isa.neurons import (
    FIRING,
    LIMITS,
    MODELS,
    NO_ROOM,
    READING,
    STAGES,
    Cell,
    Model,
    Read,
    State,
    described,
)
from isa.parameters import ALIASES, FIELDS, Parameters

T_ = TypeVar("T_")
States = Callable[[Read], T_]
"""A state of neurons, by how it is read."""

PARAMETERS = {
    name: tuple({"leak": "beta"}.get(one, one) for one in stage.parameters)
    for name, stage in STAGES.items()
}
"""The parameters that each stage of a neuron reads, by the names of operands."""

OTHERS = tuple(dict.fromkeys(name for stage in STAGES.values() for name in stage.others))
"""The parameters that stages read of another state than their own."""
FIELD_OF = {"beta": "leak", **{name: alias.field for name, alias in ALIASES.items()}}
"""Fields of the parameter memory, of those operands that are called otherwise."""
EVENTS = "integrate.events"
SPIKED = tuple(name for name, stage in STAGES.items() if "spikes" in stage.operands)
"""Stages that take spikes which the neurons have made already."""
SOURCE = "source"
"""The name of the other state that a stage takes; its parameters end in it."""
ATTRS = {
    "layer": LAYER,
    "events": AttrSpec(int, "how many of the sums are event sums"),
    "event_shift": AttrSpec(int, "right shift of the event total; negative: left", limits=SHIFTS),
    "shift": AttrSpec(int, "right shift of the total; negative: left", limits=SHIFTS),
    "fraction": AttrSpec(int, "fractional bits of beta", limits=BITS),
    "sum_bits": SUM_BITS,
    "bits": AttrSpec(int, "width of the membrane", limits=BITS),
    "reset_mode": AttrSpec(str, "what a spike does to u", choices=("hard", "subtract")),
    "times": TIMES,
    "endless": ENDLESS,
}
"""What ops on neurons may be told."""


def _specs(*names: str) -> dict[str, AttrSpec]:
    return {name: ATTRS[name] for name in names}


_NONE = np.zeros(1, np.int64)
"""A parameter that nobody reads."""

Records = Mapping[str, tuple[str | None, ...]]
"""Which operand is which field of each state's parameters, in the order of `FIELDS`; none: None."""


def _records(states: tuple[State, ...]) -> Records:
    """The parameters that states need, by whose they are."""
    names: dict[str, dict[str, str]] = {}
    for state in states:
        for stage in state.stages:
            for of, some in needed(state, stage).items():
                fields = {FIELD_OF.get(name, name): name + ending(of) for name in some}
                names.setdefault(of, {}).update(fields)
    return {of: tuple(fields.get(name) for name, _ in FIELDS) for of, fields in names.items()}


def _cell(
    ctx: EvalContext,
    attrs: Attrs,
    records: Records,
    value: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
) -> Cell:
    """States and parameters of some neurons, for stages to work on."""
    parameters = {
        of: Parameters(*[_NONE if name is None else given[name] for name in fields])
        for of, fields in records.items()
    }
    layer, bits = attrs["layer"], number(attrs, "bits") if "bits" in attrs else 0

    def saturate(x: Tensor) -> Tensor:
        return ctx.saturate(x, bits, f"{layer}: membrane")

    def hold_back(x: Tensor) -> Tensor:
        return ctx.saturate(x, NO_ROOM, f"{layer}: spikes")

    cell = Cell(saturate, parameters, dict(value), subtract=attrs.get("reset_mode") == "subtract")
    cell.held = hold_back if attrs.get("endless") else None
    return cell


def _total(ctx: EvalContext, attrs: Attrs, sums: Sequence[Tensor], what: str) -> Tensor | int:
    """Sums as the neuron unit takes them; none add up to nothing."""
    if not sums:
        return 0
    total = sum(sums[1:], sums[0])
    return ctx.saturate(total, number(attrs, "sum_bits"), f"{attrs['layer']}: {what} sums")


def _run(cell: Cell, attrs: Attrs, states: tuple[State, ...], skipped: Sequence[str] = ()) -> None:
    """Take states through their stages; those that may spike several `times` fire again."""
    for state in states:
        for stage in state.stages:
            if stage in skipped:
                continue
            every, held = [], cell.held
            for left in reversed(range(times(attrs) if stage in FIRING else 1)):
                cell.held = None if left else held
                STAGES[stage].act(cell, state)
                every.append(cell.spikes)
            if len(every) > 1:
                cell.spikes = np.concatenate(every, axis=-1)


# -- stages, each an op of its own ----------------------------------------------------------------


def _stage(name: str) -> OpDef:
    """The op that takes a state of neurons through one stage."""
    stage, fires, spiked = STAGES[name], name in FIRING, name in SPIKED
    state = State("u", (name,), {name: Read(SOURCE)} if name in READING else {})
    by_state = needed(state, name)
    keys = [one + ending(of) for of, some in by_state.items() for one in some]
    parameters = tuple(key.removesuffix(ending(LIMITS)) for key in keys)
    records = _records((state,))

    def infer(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
        vectors = [type_ for at, type_ in enumerate(types) if not (spiked and at == 1)]
        size = same_vectors(vectors, ["u", *["operands"] * (len(vectors) - 1)])
        if spiked and types[1] != TensorType("event", (size,)):
            raise ValueError(f"spikes must be event[{size}], not {types[1]}")
        after = types[0] if stage.exact else like(types[0], number(attrs, "bits"))
        return (TensorType("event", (size * times(attrs),)), after) if fires else (after,)

    def evaluate(ctx: EvalContext, attrs: Attrs, u: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        first = len(rest) - len(parameters)
        own = dict(zip(keys, rest[first:], strict=True))
        value = {"u": u, **({SOURCE: rest[0]} if name in READING else {})}
        cell = _cell(ctx, attrs, records, value, own)
        if name == EVENTS:
            cell.shift = number(attrs, "shift")
            cell.events = _total(ctx, attrs, rest[:first], "event")
        elif "banks" in stage.operands:
            cell.values = _total(ctx, attrs, rest[:first], "value")
        elif spiked:
            cell.spikes = rest[0]
        _run(cell, attrs, (state,))
        after: Tensor = cell.value["u"]
        return (cell.spikes, after) if fires else (after,)

    return OpDef(
        name.replace(".", "_"),
        f"{stage.title} {stage.text.format('u', SOURCE)}. Vectors [n].",
        INTEGER,
        ("u", *_taken(name), *parameters),
        ("spikes", "after") if fires else ("after",),
        infer,
        evaluate,
        _told(name),
        parameters,
    )


def _taken(name: str) -> Iterator[str]:
    """What a stage takes beside its own state and parameters."""
    if "banks" in STAGES[name].operands:
        yield "sums*"
    if name in SPIKED:
        yield "spikes"
    if name in READING:
        yield SOURCE


def _told(name: str) -> dict[str, AttrSpec]:
    """What the op of a stage is told."""
    stage, fires = STAGES[name], name in FIRING
    told = {
        "layer": True,
        "shift": name == EVENTS,
        "fraction": "leak" in stage.parameters,
        "sum_bits": "banks" in stage.operands,
        "reset_mode": fires,
        "bits": not stage.exact,
        "times": name == "fire",
        "endless": name == "fire",
    }
    return _specs(*(attr for attr, is_told in told.items() if is_told))


# -- models: all stages of all states -------------------------------------------------------------


def slots(model: Model) -> dict[str, tuple[str, ...]]:
    """The names of an op's operands that are parameters, by the ending that a state gives them."""
    found: dict[str, dict[str, None]] = {ending(state.name): {} for state in model.states}
    for state in model.states:
        for stage in state.stages:
            for of, names in needed(state, stage).items():
                end = ending(of)
                found.setdefault(end, {}).update(dict.fromkeys(name + end for name in names))
    return {end: tuple(names) for end, names in found.items()}


def needed(state: State, stage: str) -> dict[str, tuple[str, ...]]:
    """The parameters that a stage reads: its state's, another's, or limits, by whose they are."""
    own, others = {state.name: PARAMETERS[stage]}, STAGES[stage].others
    if STAGES[stage].limits:
        own |= {LIMITS: STAGES[stage].limits}
    return own | ({state.reads[stage].state: others} if others else {})


def ending(state: str) -> str:
    """What distinguishes a state's parameters; nothing does a membrane's."""
    return "" if state == "u" else f"_{state}"


def taken_by(
    state: State, stage: str, sums: Sequence[T_], split: int, states: States[T_]
) -> list[T_]:
    """What a stage takes beside its own state: some of the sums, or another state."""
    if stage == "integrate.events":
        return list(sums[:split])
    if stage == "integrate.values":
        return list(sums[split:])
    return [states(state.reads[stage])] if stage in state.reads else []


def step_name(model: Model) -> str:
    """The op that takes neurons of a model through a timestep."""
    return model.name.replace(".", "_") + "_step"


MODEL_OF = {step_name(model): model for model in MODELS}
"""The model of each such op."""


def _step(model: Model) -> OpDef:
    first, *others = (state.name for state in model.states)
    changed = [state.name for state in model.changed]
    parameters = tuple(name for names in slots(model).values() for name in names)
    records = _records(model.states)

    def infer(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
        sums = len(types) - 1 - len(others) - len(parameters)
        events = number(attrs, "events")
        if not 0 <= events <= sums or sums == 0:
            raise ValueError(f"{events} event sums among {sums} sums")
        size = same_vectors(types, [first, *["sums"] * sums, *others, *parameters])
        states = (types[0], *types[1 + sums : 1 + sums + len(others)])[-len(changed) :]
        if not model.fires:
            return states
        return (TensorType("event", (size * times(attrs),)), *states)

    def evaluate(ctx: EvalContext, attrs: Attrs, *operands: Tensor) -> tuple[Tensor, ...]:
        count = len(operands) - 1 - len(others) - len(parameters)
        sums, rest = operands[1 : 1 + count], operands[1 + count :]
        value = dict(zip((first, *others), (operands[0], *rest), strict=False))
        given = dict(zip(parameters, rest[len(others) :], strict=True))
        split = number(attrs, "events")
        cell = _cell(ctx, attrs, records, value, given)
        cell.shift = number(attrs, "event_shift")
        cell.events = _total(ctx, attrs, sums[:split], "event")
        cell.values = _total(ctx, attrs, sums[split:], "value")
        _run(cell, attrs, model.states, skipped=() if split else (EVENTS,))
        return (*((cell.spikes,) if model.fires else ()), *(cell.value[name] for name in changed))

    told = ["layer", "events", "event_shift", "fraction", "sum_bits", "bits"]
    told += ["reset_mode"] if model.fires else []
    # What a spike moves besides the membrane is moved by one.
    moved = any(stage in SPIKED for state in model.states for stage in state.stages)
    told += ["times", "endless"] if model.fires and not moved else []
    return OpDef(
        step_name(model),
        f"One timestep of neurons in registers. {described(model.states)} The first `events` sums "
        "are event sums. Vectors [n].",
        FUSED,
        (first, "sums*", *others, *parameters),
        (*(("spikes",) if model.fires else ()), *(f"{name}_next" for name in changed)),
        infer,
        evaluate,
        _specs(*told),
        parameters=parameters,
    )


for _name in STAGES:
    register(_stage(_name))
for _model in MODELS:
    register(_step(_model))
