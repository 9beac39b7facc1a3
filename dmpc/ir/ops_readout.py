"""Ops of the integer levels on logits: every timestep, or once by counts of spikes."""

from collections.abc import Sequence

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.integer_types import (
    INTEGER,
    LAYER,
    SINCE,
    integers,
    like,
    number,
    same_vectors,
    since_of,
)
from dmpc.ir.registry import BITS, Attrs, AttrSpec, EvalContext, OpDef, Tensor, register
from dmpc.ir.types import TensorType
from isa import arithmetic


def _infer_logits(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    same_vectors(types, ["logits", *["sums"] * (len(types) - 3), "bias", "shift"])
    return (types[0],)


def _evaluate_logits(
    ctx: EvalContext, attrs: Attrs, logits: Tensor, *rest: Tensor
) -> tuple[Tensor, ...]:
    *sums, bias, shift = rest
    now = sum(sums[1:], sums[0]) + arithmetic.shift_round(bias, shift)
    after = {"sum": logits + now, "last": now, "max": np.maximum(logits, now)}[str(attrs["mode"])]
    bits = number(attrs, "bits")
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
            "bits": AttrSpec(int, "width of a logit", limits=BITS),
        },
        parameters=("bias", "shift"),
    )
)


def _infer_count(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    integers(types[0], "counts", *types[1].shape)
    if types[1].dtype != "event":
        raise ValueError(f"only events can be counted, not {types[1]}")
    return (like(types[0], number(attrs, "bits")),)


def _evaluate_count(
    ctx: EvalContext, attrs: Attrs, counts: Tensor, events: Tensor
) -> tuple[Tensor, ...]:
    counted = counts + (events & (ctx.timestep >= since_of(attrs)))
    return (ctx.saturate(counted, number(attrs, "bits"), f"{attrs['layer']}: count"),)


COUNT = register(
    OpDef(
        "count",
        "Counts of events so far: counts_next = counts + events, from timestep `since` on. Vectors "
        "[n].",
        INTEGER,
        ("counts", "events"),
        ("counts_next",),
        _infer_count,
        _evaluate_count,
        {"layer": LAYER, "bits": AttrSpec(int, "width of a count", limits=BITS), "since": SINCE},
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
    same_vectors(vectors, [*["sums"] * (len(vectors) - 2), "bias", "shift"])
    scale = attrs.get("scale")
    assert scale is None or isinstance(scale, float)
    return (TensorType(f"i{number(attrs, 'bits')}", vectors[-1].shape, scale),)


def _evaluate_total(ctx: EvalContext, attrs: Attrs, *operands: Tensor) -> tuple[Tensor, ...]:
    *sums, bias, shift, steps = operands
    often = np.maximum(steps - since_of(attrs), 0)
    total = sum(sums[1:], sums[0]) + arithmetic.shift_round(bias, shift) * often
    return (ctx.saturate(total, number(attrs, "bits"), f"{attrs['layer']}: logit"),)


TOTAL_LOGITS = register(
    OpDef(
        "total_logits",
        "Readout summed over time: total of sums plus (bias >> shift) times steps, those before "
        "`since` aside. Vectors [n].",
        INTEGER,
        ("sums*", "bias", "shift", "steps"),
        ("logits",),
        _infer_total,
        _evaluate_total,
        {
            "layer": LAYER,
            "bits": AttrSpec(int, "width of a logit", limits=BITS),
            "scale": AttrSpec(float, "real value of one step of a logit", required=False),
            "since": SINCE,
        },
        parameters=("bias", "shift"),
    )
)


LEAKY_ATTRS = {
    "layer": LAYER,
    "fraction": AttrSpec(int, "fractional bits of beta", limits=BITS),
    "bits": AttrSpec(int, "width of a logit", limits=BITS),
}


def _infer_leaky(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    same_vectors(types, ["logits", *["sums"] * (len(types) - 4), "bias", "shift", "beta"])
    return (types[0],)


def _evaluate_leaky(
    ctx: EvalContext, attrs: Attrs, logits: Tensor, *rest: Tensor
) -> tuple[Tensor, ...]:
    *others, beta = rest
    kept = arithmetic.leak(logits, beta, number(attrs, "fraction"))
    return _evaluate_logits(ctx, {**attrs, "mode": "sum"}, kept, *others)


LEAKY_LOGITS = register(
    OpDef(
        "leaky_logits",
        "Readout that leaks: what beta leaves of the logits, and this timestep's total of sums "
        "plus (bias >> shift). Vectors [classes].",
        INTEGER,
        ("logits", "sums*", "bias", "shift", "beta"),
        ("logits_next",),
        _infer_leaky,
        _evaluate_leaky,
        LEAKY_ATTRS,
        parameters=("bias", "shift", "beta"),
    )
)


def _infer_following(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    same_vectors(types, ["logits", "other", "beta"])
    return (types[0],)


def _evaluate_following(
    ctx: EvalContext, attrs: Attrs, logits: Tensor, other: Tensor, beta: Tensor
) -> tuple[Tensor, ...]:
    after = arithmetic.leak(logits, beta, number(attrs, "fraction")) + other
    return (ctx.saturate(after, number(attrs, "bits"), f"{attrs['layer']}: logit"),)


FOLLOWING_LOGITS = register(
    OpDef(
        "following_logits",
        "Logits that leak and take in others, such as a membrane its current: what beta leaves of "
        "the logits, and the others. Vectors [classes].",
        INTEGER,
        ("logits", "other", "beta"),
        ("logits_next",),
        _infer_following,
        _evaluate_following,
        LEAKY_ATTRS,
        parameters=("beta",),
    )
)


def _infer_collected(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    if "since" in attrs and attrs["mode"] != "sum":
        raise ValueError("the largest logits are those of all timesteps: leave out since")
    same_vectors(types, ["logits", "other"])
    return (types[0],)


def _evaluate_collected(
    ctx: EvalContext, attrs: Attrs, logits: Tensor, other: Tensor
) -> tuple[Tensor, ...]:
    if attrs["mode"] == "sum":
        after = logits + np.where(ctx.timestep >= since_of(attrs), other, 0)
    else:
        after = np.maximum(logits, other)
    return (ctx.saturate(after, number(attrs, "bits"), f"{attrs['layer']}: logit"),)


COLLECT_LOGITS = register(
    OpDef(
        "collect_logits",
        "Logits over time: the sum of those of all timesteps, or from timestep `since` on, or the "
        "largest. Vectors [classes].",
        INTEGER,
        ("logits", "other"),
        ("logits_next",),
        _infer_collected,
        _evaluate_collected,
        {
            "layer": LAYER,
            "mode": AttrSpec(str, "how timesteps combine", choices=("sum", "max")),
            "since": SINCE,
            "bits": AttrSpec(int, "width of a logit", limits=BITS),
        },
    )
)


def largest_from_zero(graph: Graph, op: Op) -> bool:
    """Whether an op keeps the largest logits, or zero where all are below: readout `max0`."""
    state = graph.state(op.operands[0])
    return op.attrs.get("mode") == "max" and state is not None and state.init is None
