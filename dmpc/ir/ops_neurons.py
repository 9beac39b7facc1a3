"""Ops of the integer levels on neurons: leak, integration, fire, and the four fused."""

from collections.abc import Sequence

from dmpc.ir.integer_types import (
    FUSED,
    INTEGER,
    LAYER,
    SUM_BITS,
    like,
    number,
    same_vectors,
)
from dmpc.ir.registry import BITS, SHIFTS, Attrs, AttrSpec, EvalContext, OpDef, Tensor, register
from dmpc.ir.types import TensorType
from isa import arithmetic


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


def _infer_fire(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = same_vectors(types, ("u", "threshold", "reset"))
    return (TensorType("event", (size,)), like(types[0], number(attrs, "bits")))


def _evaluate_fire(
    ctx: EvalContext, attrs: Attrs, u: Tensor, threshold: Tensor, reset: Tensor
) -> tuple[Tensor, ...]:
    subtract = attrs["reset_mode"] == "subtract"
    spikes, after = arithmetic.fire(u, threshold, reset, subtract)
    return (spikes, _membrane(ctx, attrs, after))


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
        },
        parameters=("threshold", "reset"),
    )
)


LIF_PARAMETERS = ("beta", "shift", "bias", "threshold", "reset")


def _infer_lif(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    sums = len(types) - 1 - len(LIF_PARAMETERS)
    events = number(attrs, "events")
    if not 0 <= events <= sums or sums == 0:
        raise ValueError(f"{events} event sums among {sums} sums")
    size = same_vectors(types, ["u", *["sums"] * sums, *LIF_PARAMETERS])
    return (TensorType("event", (size,)), types[0])


def _evaluate_lif(ctx: EvalContext, attrs: Attrs, u: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    *sums, beta, shift, bias, threshold, reset = rest
    split = number(attrs, "events")
    (u,) = _evaluate_leak(ctx, attrs, u, beta)
    if split:
        shifted = {**attrs, "shift": attrs["event_shift"]}
        (u,) = _evaluate_integrate_events(ctx, shifted, u, *sums[:split])
    (u,) = _evaluate_integrate_values(ctx, attrs, u, *sums[split:], shift, bias)
    return _evaluate_fire(ctx, attrs, u, threshold, reset)


LIF_STEP = register(
    OpDef(
        "lif_step",
        "One timestep of neurons in registers: leak, integrate_events, integrate_values, fire. "
        "The first `events` sums are event sums. Vectors [n].",
        FUSED,
        ("u", "sums*", *LIF_PARAMETERS),
        ("spikes", "u_next"),
        _infer_lif,
        _evaluate_lif,
        {
            "layer": LAYER,
            "events": AttrSpec(int, "how many of the sums are event sums"),
            "event_shift": AttrSpec(
                int, "right shift of the event total; negative: left", limits=SHIFTS
            ),
            "fraction": AttrSpec(int, "fractional bits of beta", limits=BITS),
            "sum_bits": SUM_BITS,
            "bits": AttrSpec(int, "width of the membrane", limits=BITS),
            "reset_mode": RESET_MODE,
        },
        parameters=LIF_PARAMETERS,
    )
)
