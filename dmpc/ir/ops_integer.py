"""Ops of the integer levels: what the machine computes, in its own integers.

Here are products and slow state; `ops_neurons` and `ops_readout` hold the rest.

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

from dmpc.ir.drives import DRIVEN, check_columns, driven, elements
from dmpc.ir.integer_types import (
    INTEGER,
    LAYER,
    input_vector,
    integer_vector,
    integers,
    like,
    number,
)
from dmpc.ir.registry import BITS, SHIFTS, Attrs, AttrSpec, EvalContext, OpDef, Tensor, register
from dmpc.ir.types import TensorType
from isa import arithmetic


def _infer_matvec(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = input_vector(types[0], "x")
    if len(types[1].shape) != 2:
        raise ValueError(f"weight must be a matrix, not {types[1]}")
    integers(types[1], "weight", types[1].shape[0], size)
    return (TensorType(f"i{number(attrs, 'bits')}", types[1].shape[:1]),)


def _evaluate_matvec(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    del attrs
    return (ctx.product(x, weight),)


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
            "bits": AttrSpec(int, "width of the exact sums", limits=BITS),
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


def _infer_drive(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    integers(types[1], "weight", input_vector(types[0], "x"))
    for other in types[2:]:
        integer_vector(other, "others")
    scale = attrs["scale"]
    assert isinstance(scale, float)
    return (TensorType(f"i{number(attrs, 'bits')}", (elements(types[2:], attrs),), scale),)


def _evaluate_drive(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor, *others: Tensor
) -> tuple[Tensor, ...]:
    sums = ctx.product(x, weight)
    shifted = arithmetic.shift_round(sums, number(attrs, "shift")) + number(attrs, "bias")

    def fit(made: Tensor) -> Tensor:
        return ctx.saturate(made, number(attrs, "bits"), f"{attrs['layer']}: drive")

    return (driven(shifted, others, attrs, fit),)


SCALAR_DRIVE = register(
    OpDef(
        "scalar_drive",
        "Scalar drive y = relu((weight [m] · x [m] >> shift) + bias), rounded, saturated; `others` "
        "are as at level layers.",
        INTEGER,
        ("x", "weight", "others*"),
        ("y",),
        _infer_drive,
        _evaluate_drive,
        {
            "layer": LAYER,
            "shift": AttrSpec(
                int, "right shift of the sum, rounded to nearest; negative: left", limits=SHIFTS
            ),
            "bias": AttrSpec(int, "bias in steps of y"),
            "bits": AttrSpec(int, "width of y", limits=BITS),
            "scale": AttrSpec(float, "real value of one step of y"),
            **DRIVEN,
        },
        parameters=("weight",),
    )
)


def _infer_update(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    size = len(types[0].shape) == 1 and types[0].shape[0]
    integers(types[0], "m", size)
    drives = integer_vector(types[1], "x")
    integers(types[2], "A", size, size)
    integers(types[3], "B", *types[3].shape)
    check_columns(types[3], size, drives)
    return (like(types[0], number(attrs, "bits")),)


def _evaluate_update(
    ctx: EvalContext, attrs: Attrs, m: Tensor, x: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, ...]:
    sums = ctx.product(m, a) + (x * b if b.ndim == 1 else ctx.product(x, b))
    updated = arithmetic.shift_round(sums, number(attrs, "shift"))
    return (ctx.saturate(updated, number(attrs, "bits"), f"{attrs['layer']}: memory state"),)


STATE_UPDATE = register(
    OpDef(
        "state_update",
        "Slow state m_next [d] = (A [d, d] · m [d] + B [d, q] · x [q]) >> shift, rounded, "
        "saturated; of one drive, B [d].",
        INTEGER,
        ("m", "x", "A", "B"),
        ("m_next",),
        _infer_update,
        _evaluate_update,
        {
            "layer": LAYER,
            "shift": AttrSpec(int, "right shift of the sum, rounded to nearest", limits=SHIFTS),
            "bits": AttrSpec(int, "width of m", limits=BITS),
        },
        parameters=("A", "B"),
    )
)
