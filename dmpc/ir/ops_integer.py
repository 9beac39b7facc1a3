"""Ops of the integer levels: what the machine computes, in its own integers.

The arithmetic is `isa.arithmetic`, the same functions that the simulator executes; here it is
composed the way the equations of the paper are written, one timestep of whole vectors at a time.
Weights are exact integers, sums are exact until their consumer saturates them.

    sums = matvec(x, weight)                         W_f s, P m, nu x
    x    = scalar_drive(s, weight)                   relu(W_x s + b_x)
    m'   = state_update(m, x, A, B)                  Abar m + Bbar x
    h'   = hold(h, m') {period}                      as at level layers: a copy is exact
    u    = leak(u); integrate_events; integrate_values; s, u' = fire(u)
    s, u' = lif_step(u, sums...)                     the four above, fused
    l'   = accumulate_logits(l, sums...)             readout over time
"""

from collections.abc import Sequence

import numpy as np

from dmpc.ir.registry import Attrs, AttrSpec, EvalContext, OpDef, Tensor, register
from dmpc.ir.types import TensorType
from isa import arithmetic

INTEGER = ("integer", "partitioned", "fused", "placed", "scheduled")
FUSED = ("fused", "placed", "scheduled")
LAYER = AttrSpec(str, "name of the layer: layer1, layer2, ..., readout")
SUM_BITS = AttrSpec(int, "width to which the consumer saturates the total of its sums")


def integers(type_: TensorType, what: str, *shape: int) -> None:
    """Require an integer type of a shape; raises ValueError with a text for the user."""
    if not type_.is_integer or type_.shape != shape:
        raise ValueError(f"{what} must be integers of shape {list(shape)}, not {type_}")


def _number(attrs: Attrs, name: str) -> int:
    value = attrs[name]
    assert isinstance(value, int)
    return value


def _like(type_: TensorType, bits: int) -> TensorType:
    return TensorType(f"i{bits}", type_.shape, type_.scale)


# -- products -------------------------------------------------------------------------------------


def _infer_matvec(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = len(types[0].shape) == 1 and types[0].shape[0]
    if types[0].dtype != "event":
        integers(types[0], "x", *types[0].shape[:1])
    if len(types[1].shape) != 2:
        raise ValueError(f"weight must be a matrix, not {types[1]}")
    integers(types[1], "weight", types[1].shape[0], size)
    return (TensorType(f"i{_number(attrs, 'bits')}", types[1].shape[:1]),)


def _evaluate_matvec(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    del ctx, attrs
    return (x.astype(np.int64) @ weight.T,)


MATVEC = register(
    OpDef(
        "matvec",
        "Sums of weight [n, m] times x [m], events or values, exact: no rounding, no saturation.",
        INTEGER,
        ("x", "weight"),
        ("sums",),
        _infer_matvec,
        _evaluate_matvec,
        {
            "layer": LAYER,
            "bits": AttrSpec(int, "width of the exact sums"),
            "stationary": AttrSpec(
                str,
                "input: rows of active inputs, sums of all neurons; output: all rows, sums of one "
                "group (see the pass `partition`)",
                required=False,
                choices=("input", "output"),
            ),
            "share": AttrSpec(
                tuple,
                "first phase and sixteenths of the rows that a bank holds; other weights are 0",
                required=False,
            ),
        },
        parameters=("weight",),
    )
)


# -- slow state -----------------------------------------------------------------------------------


def _infer_drive(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    integers(types[1], "weight", *types[0].shape)
    scale = attrs["scale"]
    assert isinstance(scale, float)
    return (TensorType(f"i{_number(attrs, 'bits')}", (1,), scale),)


def _evaluate_drive(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    sums = x.astype(np.int64) @ weight[:, None]
    shifted = arithmetic.shift_round(sums, _number(attrs, "shift"))
    driven = np.maximum(shifted + _number(attrs, "bias"), 0)
    return (ctx.saturate(driven, _number(attrs, "bits"), f"{attrs['layer']}: drive"),)


SCALAR_DRIVE = register(
    OpDef(
        "scalar_drive",
        "Scalar drive y [1] = relu((weight [m] · x [m] >> shift) + bias), rounded, saturated.",
        INTEGER,
        ("x", "weight"),
        ("y",),
        _infer_drive,
        _evaluate_drive,
        {
            "layer": LAYER,
            "shift": AttrSpec(int, "right shift of the sum, rounded to nearest; negative: left"),
            "bias": AttrSpec(int, "bias in steps of y"),
            "bits": AttrSpec(int, "width of y"),
            "scale": AttrSpec(float, "real value of one step of y"),
        },
        parameters=("weight",),
    )
)


def _infer_update(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = len(types[0].shape) == 1 and types[0].shape[0]
    integers(types[0], "m", size)
    integers(types[1], "x", 1)
    integers(types[2], "A", size, size)
    integers(types[3], "B", size)
    return (_like(types[0], _number(attrs, "bits")),)


def _evaluate_update(
    ctx: EvalContext, attrs: Attrs, m: Tensor, x: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, ...]:
    updated = arithmetic.shift_round(m @ a.T + x * b, _number(attrs, "shift"))
    return (ctx.saturate(updated, _number(attrs, "bits"), f"{attrs['layer']}: memory state"),)


STATE_UPDATE = register(
    OpDef(
        "state_update",
        "Slow state m_next [d] = (A [d, d] · m [d] + B [d] · x [1]) >> shift, rounded, saturated.",
        INTEGER,
        ("m", "x", "A", "B"),
        ("m_next",),
        _infer_update,
        _evaluate_update,
        {
            "layer": LAYER,
            "shift": AttrSpec(int, "right shift of the sum, rounded to nearest"),
            "bits": AttrSpec(int, "width of m"),
        },
        parameters=("A", "B"),
    )
)


# -- neurons --------------------------------------------------------------------------------------


def _same_vectors(types: Sequence[TensorType], names: Sequence[str]) -> int:
    size = types[0].shape[0] if len(types[0].shape) == 1 else -1
    for type_, name in zip(types, names, strict=True):
        integers(type_, name, size)
    return size


def _infer_leak(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    _same_vectors(types, ("u", "beta"))
    return (types[0],)


def _evaluate_leak(ctx: EvalContext, attrs: Attrs, u: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
    del ctx
    return (arithmetic.leak(u, beta, _number(attrs, "fraction")),)


LEAK_OP = register(
    OpDef(
        "leak",
        "Membranes after a timestep's leak: beta · u >> fraction, rounded to nearest. Vectors [n].",
        INTEGER,
        ("u", "beta"),
        ("leaked",),
        _infer_leak,
        _evaluate_leak,
        {"layer": LAYER, "fraction": AttrSpec(int, "fractional bits of beta")},
        parameters=("beta",),
    )
)


def _total(ctx: EvalContext, attrs: Attrs, sums: Sequence[Tensor]) -> Tensor:
    total = sum(sums[1:], sums[0])
    return ctx.saturate(total, _number(attrs, "sum_bits"), f"{attrs['layer']}: accumulator")


def _membrane(ctx: EvalContext, attrs: Attrs, u: Tensor) -> Tensor:
    return ctx.saturate(u, _number(attrs, "bits"), f"{attrs['layer']}: membrane")


def _infer_integrate(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    _same_vectors(types, ["u", *["sums, shift, bias"] * (len(types) - 1)])
    return (_like(types[0], _number(attrs, "bits")),)


def _evaluate_integrate_events(
    ctx: EvalContext, attrs: Attrs, u: Tensor, *sums: Tensor
) -> tuple[Tensor, ...]:
    shifted = arithmetic.shift_round(_total(ctx, attrs, sums), _number(attrs, "shift"))
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
            "shift": AttrSpec(int, "right shift of the total; negative: left"),
            "sum_bits": SUM_BITS,
            "bits": AttrSpec(int, "width of the membrane"),
        },
    )
)


def _evaluate_integrate_values(
    ctx: EvalContext, attrs: Attrs, u: Tensor, *rest: Tensor
) -> tuple[Tensor, ...]:
    *sums, shift, bias = rest
    charge = u + bias
    if sums:
        charge = charge + arithmetic.shift_round(_total(ctx, attrs, sums), shift)
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
            "bits": AttrSpec(int, "width of the membrane"),
        },
        parameters=("shift", "bias"),
    )
)


def _infer_fire(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = _same_vectors(types, ("u", "threshold", "reset")[: len(types)])
    return (TensorType("event", (size,)), _like(types[0], _number(attrs, "bits")))


def _evaluate_fire(
    ctx: EvalContext, attrs: Attrs, u: Tensor, threshold: Tensor, *reset: Tensor
) -> tuple[Tensor, ...]:
    subtract = attrs["reset_mode"] == "subtract"
    spikes, after = arithmetic.fire(u, threshold, reset[0] if reset else threshold, subtract)
    return (spikes, _membrane(ctx, attrs, after))


RESET_MODE = AttrSpec(str, "what a spike does to u", choices=("hard", "subtract"))

FIRE = register(
    OpDef(
        "fire",
        "Spikes of membranes at or above threshold, and the membranes after reset. Vectors [n].",
        INTEGER,
        ("u", "threshold", "reset?"),
        ("spikes", "u_next"),
        _infer_fire,
        _evaluate_fire,
        {
            "layer": LAYER,
            "reset_mode": RESET_MODE,
            "bits": AttrSpec(int, "width of the membrane"),
        },
        parameters=("threshold", "reset"),
        present_if={"reset": ("reset_mode", "hard")},
    )
)


LIF_PARAMETERS = ("beta", "shift", "bias", "threshold", "reset")


def _infer_lif(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    sums = len(types) - 1 - len(_lif_parameters(attrs))
    events = _number(attrs, "events")
    if not 0 <= events <= sums or sums == 0:
        raise ValueError(f"{events} event sums among {sums} sums")
    size = _same_vectors(types, ["u", *["sums"] * sums, *_lif_parameters(attrs)])
    return (TensorType("event", (size,)), types[0])


def _lif_parameters(attrs: Attrs) -> tuple[str, ...]:
    return LIF_PARAMETERS if attrs["reset_mode"] == "hard" else LIF_PARAMETERS[:-1]


def _evaluate_lif(ctx: EvalContext, attrs: Attrs, u: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    count = len(_lif_parameters(attrs))
    sums, (beta, shift, bias, threshold, *reset) = rest[:-count], rest[-count:]
    split = _number(attrs, "events")
    (u,) = _evaluate_leak(ctx, attrs, u, beta)
    if split:
        shifted = {**attrs, "shift": attrs["event_shift"]}
        (u,) = _evaluate_integrate_events(ctx, shifted, u, *sums[:split])
    (u,) = _evaluate_integrate_values(ctx, attrs, u, *sums[split:], shift, bias)
    return _evaluate_fire(ctx, attrs, u, threshold, *reset)


LIF_STEP = register(
    OpDef(
        "lif_step",
        "One timestep of neurons in registers: leak, integrate_events, integrate_values, fire. "
        "The first `events` sums are event sums. Vectors [n].",
        FUSED,
        ("u", "sums*", "beta", "shift", "bias", "threshold", "reset?"),
        ("spikes", "u_next"),
        _infer_lif,
        _evaluate_lif,
        {
            "layer": LAYER,
            "events": AttrSpec(int, "how many of the sums are event sums"),
            "event_shift": AttrSpec(int, "right shift of the event total; negative: left"),
            "fraction": AttrSpec(int, "fractional bits of beta"),
            "sum_bits": SUM_BITS,
            "bits": AttrSpec(int, "width of the membrane"),
            "reset_mode": RESET_MODE,
        },
        parameters=LIF_PARAMETERS,
        present_if={"reset": ("reset_mode", "hard")},
    )
)


# -- readout --------------------------------------------------------------------------------------


def _infer_logits(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    _same_vectors(types, ["logits", *["sums"] * (len(types) - 3), "bias", "shift"])
    return (types[0],)


def _evaluate_logits(
    ctx: EvalContext, attrs: Attrs, logits: Tensor, *rest: Tensor
) -> tuple[Tensor, ...]:
    *sums, bias, shift = rest
    now = sum(sums[1:], sums[0]) + arithmetic.shift_round(bias, shift)
    after = {"sum": logits + now, "last": now, "max": np.maximum(logits, now)}[str(attrs["mode"])]
    bits = _number(attrs, "bits")
    return (ctx.saturate(after, bits, f"{attrs['layer']}: logit"),)


ACCUMULATE_LOGITS = register(
    OpDef(
        "accumulate_logits",
        "Readout over time: this timestep's total of sums plus (bias >> shift) is added to the "
        "logits, replaces them, or is kept where it is larger. Vectors [classes].",
        INTEGER,
        ("logits", "sums*", "bias", "shift"),
        ("logits_next",),
        _infer_logits,
        _evaluate_logits,
        {
            "layer": LAYER,
            "mode": AttrSpec(str, "how timesteps combine", choices=("sum", "last", "max")),
            "bits": AttrSpec(int, "width of a logit"),
        },
        parameters=("bias", "shift"),
    )
)


# -- readout by counts ----------------------------------------------------------------------------


def _infer_count(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    integers(types[0], "counts", *types[1].shape)
    if types[1].dtype != "event":
        raise ValueError(f"only events can be counted, not {types[1]}")
    return (_like(types[0], _number(attrs, "bits")),)


def _evaluate_count(
    ctx: EvalContext, attrs: Attrs, counts: Tensor, events: Tensor
) -> tuple[Tensor, ...]:
    counted = counts + events
    return (ctx.saturate(counted, _number(attrs, "bits"), f"{attrs['layer']}: count"),)


COUNT = register(
    OpDef(
        "count",
        "Counts of events so far: counts_next = counts + events. Vectors [n].",
        INTEGER,
        ("counts", "events"),
        ("counts_next",),
        _infer_count,
        _evaluate_count,
        {"layer": LAYER, "bits": AttrSpec(int, "width of a count")},
    )
)


def _infer_tick(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    integers(types[0], "steps", 1)
    return (types[0],)


TICK = register(
    OpDef(
        "tick",
        "Timesteps so far: steps_next [1] = steps [1] + 1. The sequencer's own loop counter.",
        INTEGER,
        ("steps",),
        ("steps_next",),
        _infer_tick,
        lambda ctx, attrs, steps: (steps + 1,),  # noqa: ARG005
        {"layer": LAYER},
    )
)


def _infer_total(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    *vectors, steps = types
    integers(steps, "steps", 1)
    _same_vectors(vectors, [*["sums"] * (len(vectors) - 2), "bias", "shift"])
    scale = attrs.get("scale")
    assert scale is None or isinstance(scale, float)
    return (TensorType(f"i{_number(attrs, 'bits')}", vectors[-1].shape, scale),)


def _evaluate_total(ctx: EvalContext, attrs: Attrs, *operands: Tensor) -> tuple[Tensor, ...]:
    *sums, bias, shift, steps = operands
    total = sum(sums[1:], sums[0]) + arithmetic.shift_round(bias, shift) * steps
    return (ctx.saturate(total, _number(attrs, "bits"), f"{attrs['layer']}: logit"),)


TOTAL_LOGITS = register(
    OpDef(
        "total_logits",
        "Readout summed over time: total of sums plus (bias >> shift) times steps. Vectors [n].",
        INTEGER,
        ("sums*", "bias", "shift", "steps"),
        ("logits",),
        _infer_total,
        _evaluate_total,
        {
            "layer": LAYER,
            "bits": AttrSpec(int, "width of a logit"),
            "scale": AttrSpec(float, "real value of one step of a logit", required=False),
        },
        parameters=("bias", "shift"),
    )
)


def _infer_move(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    return (types[0],)


MOVE = register(
    OpDef(
        "move",
        "A copy of events for a later stage.",
        INTEGER,
        ("events",),
        ("copy",),
        _infer_move,
        lambda ctx, attrs, events: (events,),  # noqa: ARG005
        {"layer": LAYER},
    )
)
