"""Ops of the integer levels on neurons: the stages of a timestep, and those of a model fused."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from dmpc.ir.integer_types import (
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
    op_def,
    register,
)
from dmpc.ir.types import TensorType
from isa import arithmetic
from isa.neurons import LIMITS, MODELS, STAGES, Model, Read, State, described
from isa.parameters import ALIASES

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
FIELD_OF = {"beta": "leak", **ALIASES}
"""Fields of the parameter memory, of those operands that are called otherwise."""


def _infer_leak(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    same_vectors(types, ("u", "beta"))
    return (types[0],)


def _evaluate_leak(ctx: EvalContext, attrs: Attrs, u: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
    del ctx
    return (arithmetic.leak(u, beta, number(attrs, "fraction")),)


LEAK_OP = register(
    OpDef(
        "leak",
        "Membranes after a timestep's leak: beta · u >> fraction, rounded to nearest. Vectors [n].",
        INTEGER,
        ("u", "beta"),
        ("leaked",),
        _infer_leak,
        _evaluate_leak,
        {"layer": LAYER, "fraction": AttrSpec(int, "fractional bits of beta", limits=BITS)},
        parameters=("beta",),
    )
)


def _total(ctx: EvalContext, attrs: Attrs, sums: Sequence[Tensor], what: str) -> Tensor:
    total = sum(sums[1:], sums[0])
    return ctx.saturate(total, number(attrs, "sum_bits"), f"{attrs['layer']}: {what} sums")


def _membrane(ctx: EvalContext, attrs: Attrs, u: Tensor) -> Tensor:
    return ctx.saturate(u, number(attrs, "bits"), f"{attrs['layer']}: membrane")


def _infer_integrate(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    same_vectors(types, ["u", *["sums, shift, bias"] * (len(types) - 1)])
    return (like(types[0], number(attrs, "bits")),)


def _evaluate_integrate_events(
    ctx: EvalContext, attrs: Attrs, u: Tensor, *sums: Tensor
) -> tuple[Tensor, ...]:
    shifted = arithmetic.shift_round(_total(ctx, attrs, sums, "event"), number(attrs, "shift"))
    return (_membrane(ctx, attrs, u + shifted),)


INTEGRATE_EVENTS = register(
    OpDef(
        "integrate_events",
        "Add the total of event sums, moved right by `shift`, to membranes, saturated. All [n].",
        INTEGER,
        ("u", "sums*"),
        ("charged",),
        _infer_integrate,
        _evaluate_integrate_events,
        {
            "layer": LAYER,
            "shift": AttrSpec(int, "right shift of the total; negative: left", limits=SHIFTS),
            "sum_bits": SUM_BITS,
            "bits": AttrSpec(int, "width of the membrane", limits=BITS),
        },
    )
)


def _evaluate_integrate_values(
    ctx: EvalContext, attrs: Attrs, u: Tensor, *rest: Tensor
) -> tuple[Tensor, ...]:
    *sums, shift, bias = rest
    charge = u + bias
    if sums:
        charge = charge + arithmetic.shift_round(_total(ctx, attrs, sums, "value"), shift)
    return (_membrane(ctx, attrs, charge),)


INTEGRATE_VALUES = register(
    OpDef(
        "integrate_values",
        "Add the total of value sums, moved right by each neuron's `shift`, and the bias to "
        "membranes; saturates once. Vectors [n].",
        INTEGER,
        ("u", "sums*", "shift", "bias"),
        ("charged",),
        _infer_integrate,
        _evaluate_integrate_values,
        {
            "layer": LAYER,
            "sum_bits": SUM_BITS,
            "bits": AttrSpec(int, "width of the membrane", limits=BITS),
        },
        parameters=("shift", "bias"),
    )
)


def _evaluate_integrate_state(
    ctx: EvalContext, attrs: Attrs, u: Tensor, source: Tensor, shift: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    return (_membrane(ctx, attrs, u + bias + arithmetic.shift_round(source, shift)),)


INTEGRATE_STATE = register(
    OpDef(
        "integrate_state",
        "Add another state of the same neurons, such as a synaptic current, moved right by each "
        "neuron's `shift`, and the bias to membranes; saturates once. Vectors [n].",
        INTEGER,
        ("u", "source", "shift", "bias"),
        ("charged",),
        _infer_integrate,
        _evaluate_integrate_state,
        {"layer": LAYER, "bits": AttrSpec(int, "width of the membrane", limits=BITS)},
        parameters=("shift", "bias"),
    )
)


def _infer_clamp(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    same_vectors(types, ("u", "floor", "ceiling"))
    return (types[0],)


def _evaluate_clamp(
    ctx: EvalContext, attrs: Attrs, u: Tensor, floor: Tensor, ceiling: Tensor
) -> tuple[Tensor, ...]:
    del ctx, attrs
    return (arithmetic.clamped(u, floor, ceiling),)


CLAMP = register(
    OpDef(
        "clamp",
        "Membranes no lower than their floor, then no higher than their ceiling. Vectors [n].",
        INTEGER,
        ("u", "floor", "ceiling"),
        ("clamped",),
        _infer_clamp,
        _evaluate_clamp,
        {"layer": LAYER},
        parameters=("floor", "ceiling"),
    )
)


def _infer_fire(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = same_vectors(types, ("u", "threshold", "reset")) * times(attrs)
    return (TensorType("event", (size,)), like(types[0], number(attrs, "bits")))


def _evaluate_fire(
    ctx: EvalContext, attrs: Attrs, u: Tensor, threshold: Tensor, reset: Tensor
) -> tuple[Tensor, ...]:
    subtract = attrs["reset_mode"] == "subtract"
    every = []
    for _ in range(times(attrs)):
        spikes, after = arithmetic.fire(u, threshold, reset, subtract)
        u = _membrane(ctx, attrs, after)
        every.append(spikes)
    return (np.concatenate(every, axis=-1) if len(every) > 1 else every[0], u)


RESET_MODE = AttrSpec(str, "what a spike does to u", choices=("hard", "subtract"))

FIRE = register(
    OpDef(
        "fire",
        "Spikes of membranes at or above threshold, and the membranes after reset: a spike "
        "writes the reset value (hard) or takes it off (subtract). Vectors [n].",
        INTEGER,
        ("u", "threshold", "reset"),
        ("spikes", "u_next"),
        _infer_fire,
        _evaluate_fire,
        {
            "layer": LAYER,
            "reset_mode": RESET_MODE,
            "bits": AttrSpec(int, "width of the membrane", limits=BITS),
            "times": TIMES,
        },
        parameters=("threshold", "reset"),
    )
)


def _infer_fire_adaptive(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = same_vectors(types, ("u", "source", "threshold", "reset", *["parameters"] * 3))
    return (TensorType("event", (size,)), like(types[0], number(attrs, "bits")))


def _evaluate_fire_adaptive(
    ctx: EvalContext, attrs: Attrs, u: Tensor, source: Tensor, *own: Tensor
) -> tuple[Tensor, ...]:
    threshold, reset, shift, coupling, exponent = own
    subtract = attrs["reset_mode"] == "subtract"
    if subtract:
        reset = reset + arithmetic.coupled(source, coupling, exponent)
    raised = threshold + arithmetic.shift_round(source, shift)
    spikes, after = arithmetic.fire(u, raised, reset, subtract)
    return (spikes, _membrane(ctx, attrs, after))


_RAISING = STAGES["fire.adaptive"].others

FIRE_ADAPTIVE = register(
    OpDef(
        "fire_adaptive",
        "As `fire`, with a threshold that another state of the neurons raises, moved right by its "
        "`shift`; a subtractive reset takes off so much more, times its coupling. Vectors [n].",
        INTEGER,
        ("u", "source", "threshold", "reset", *(f"{one}_source" for one in _RAISING)),
        ("spikes", "u_next"),
        _infer_fire_adaptive,
        _evaluate_fire_adaptive,
        {name: spec for name, spec in FIRE.attrs.items() if name != "times"},
        parameters=("threshold", "reset", *(f"{one}_source" for one in _RAISING)),
    )
)


def _infer_added(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    same_vectors(types, ["u", "source", *["parameters"] * (len(types) - 2)])
    return (like(types[0], number(attrs, "bits")),)


def _evaluate_moved(
    ctx: EvalContext, attrs: Attrs, u: Tensor, source: Tensor, shift: Tensor
) -> tuple[Tensor, ...]:
    return (_membrane(ctx, attrs, u + arithmetic.shift_round(source, shift)),)


def _moved(stage: str, what: str) -> OpDef:
    """A stage that adds another state, moved by the one parameter of that which it reads."""
    (by,) = STAGES[stage].others
    return OpDef(
        stage.replace(".", "_"),
        f"Add {what} of the same neurons, moved right by its own `{by}`, to membranes, saturated. "
        "Vectors [n].",
        INTEGER,
        ("u", "source", f"{by}_source"),
        ("charged",),
        _infer_added,
        _evaluate_moved,
        INTEGRATE_STATE.attrs,
        parameters=(f"{by}_source",),
    )


ADAPT = register(_moved("adapt", "another state"))
INTEGRATE_CURRENT = register(_moved("integrate.current", "one more current"))


def _evaluate_couple(
    ctx: EvalContext, attrs: Attrs, u: Tensor, source: Tensor, coupling: Tensor, exponent: Tensor
) -> tuple[Tensor, ...]:
    return (_membrane(ctx, attrs, u + arithmetic.coupled(source, coupling, exponent)),)


COUPLE = register(
    OpDef(
        "couple",
        "Add another state of the same neurons, times a coupling and moved right by `exponent`, "
        "saturated. Vectors [n].",
        INTEGER,
        ("u", "source", "coupling", "exponent"),
        ("charged",),
        _infer_added,
        _evaluate_couple,
        INTEGRATE_STATE.attrs,
        parameters=("coupling", "exponent"),
    )
)


def _infer_jump(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = same_vectors((types[0], types[2]), ("u", "jump"))
    if types[1] != TensorType("event", (size,)):
        raise ValueError(f"spikes must be event[{size}], not {types[1]}")
    return (like(types[0], number(attrs, "bits")),)


def _evaluate_jump(
    ctx: EvalContext, attrs: Attrs, u: Tensor, spikes: Tensor, jump: Tensor
) -> tuple[Tensor, ...]:
    return (_membrane(ctx, attrs, u + jump * spikes.astype(np.int64)),)


JUMP = register(
    OpDef(
        "jump",
        "Add `jump` to a state of the neurons that spike, saturated. Vectors [n].",
        INTEGER,
        ("u", "spikes", "jump"),
        ("after",),
        _infer_jump,
        _evaluate_jump,
        INTEGRATE_STATE.attrs,
        parameters=("jump",),
    )
)


# -- models: all stages of all states -------------------------------------------------------------


def slots(model: Model) -> dict[str, tuple[str, ...]]:
    """The names of an op's operands that are parameters, by the ending that a state gives them."""
    found: dict[str, dict[str, None]] = {ending(state.name): {} for state in model.states}
    for state in model.states:
        for stage in state.stages:
            for end, names in needed(state, stage).items():
                found.setdefault(end, {}).update(dict.fromkeys(name + end for name in names))
    return {end: tuple(names) for end, names in found.items()}


def needed(state: State, stage: str) -> dict[str, tuple[str, ...]]:
    """The parameters that a stage reads: its state's, another's, or limits, by their endings."""
    own, others = {ending(state.name): PARAMETERS[stage]}, STAGES[stage].others
    if STAGES[stage].limits:
        own |= {ending(LIMITS): STAGES[stage].limits}
    return own | ({ending(state.reads[stage].state): others} if others else {})


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
    by_state = slots(model)
    parameters = tuple(name for names in by_state.values() for name in names)

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
        before = dict(value)
        spikes: tuple[Tensor, ...] = ()
        split, shifted = number(attrs, "events"), {**attrs, "shift": attrs["event_shift"]}

        def read(of: Read) -> Tensor:
            return (before if of.late else value)[of.state]

        for state in model.states:
            for stage in state.stages:
                own = [given[n + e] for e, ns in needed(state, stage).items() for n in ns]
                taken = taken_by(state, stage, sums, split, read)
                if stage == "integrate.events" and not taken:
                    continue
                taken = list(spikes) if stage == "jump" else taken
                op = op_def(stage.replace(".", "_"))
                *spikes_now, u = op.evaluate(ctx, shifted, value[state.name], *taken, *own)
                spikes, value[state.name] = (*spikes, *spikes_now), u
        return (*spikes, *(value[name] for name in changed))

    return OpDef(
        step_name(model),
        f"One timestep of neurons in registers. {described(model.states)} The first `events` sums "
        "are event sums. Vectors [n].",
        FUSED,
        (first, "sums*", *others, *parameters),
        (*(("spikes",) if model.fires else ()), *(f"{name}_next" for name in changed)),
        infer,
        evaluate,
        {
            "layer": LAYER,
            "events": AttrSpec(int, "how many of the sums are event sums"),
            "event_shift": AttrSpec(
                int, "right shift of the event total; negative: left", limits=SHIFTS
            ),
            "fraction": AttrSpec(int, "fractional bits of beta", limits=BITS),
            "sum_bits": SUM_BITS,
            "bits": AttrSpec(int, "width of the membrane", limits=BITS),
            **({"reset_mode": RESET_MODE, "times": TIMES} if model.fires else {}),
        },
        parameters=parameters,
    )


for _model in MODELS:
    register(_step(_model))
