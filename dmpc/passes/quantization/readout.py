"""The readout as integers: one step for all logits."""

import numpy as np

from dmpc.ir.graph import Attr, Op, State
from dmpc.ir.types import TensorType
from dmpc.passes.layer_rules import layer_error
from dmpc.passes.quantization.builder import Builder
from dmpc.passes.quantization.rounding import Int, compensated, to_nearest
from dmpc.passes.ranges import Real, is_event
from dmpc.passes.scales import largest
from dmpc.rules import Stage, rule

BIAS_BITS = 16  # the machine's field
MOST_BIAS_BITS = 20  # of a readout bias, in steps of a logit: sums over time need room
READOUT_SOURCE = rule(
    "readout-source",
    Stage.LAYERS,
    "the readout takes {source}, which are not spikes",
    why="""The readout unit adds weights of spikes, or multiplies weights with counts of spikes;
    graded values have no way to it.""",
    nearest="read out the last layer's spikes",
)
READOUT_MODES = {"mean": "sum", "sum": "sum", "last": "last", "max": "max"}


def add_readout(build: Builder, op: Op) -> None:
    """The last dense product, and the sum, last or largest of its results over time."""
    graph, bits = build.graph, build.widths(op).weights
    if not is_event(graph, op.operands[0], build.ranges.events):
        raise layer_error(READOUT_SOURCE, graph, op, source=f"%{op.operands[0]}")
    weight = build.weights(op)
    bias = [graph.constants[name].astype(np.float64) for name in op.operands[2:]]
    offset = bias[0] if bias else np.zeros(len(weight))
    step = float(np.abs(weight).max(initial=0)) / largest(bits)
    step = max(step, float(np.abs(offset).max()) / 2.0**MOST_BIAS_BITS) or 1.0
    reach = max(float(np.abs(offset).max()) / step, 1) / largest(BIAS_BITS)
    shift = max(0, int(np.ceil(np.log2(reach))))
    integers, offsets = _round(build, op, weight, offset, step, step * 2.0**shift, bits)
    build.product(op, integers, bits)
    build.units[op.operands[1]] = step
    for name in op.operands[2:]:
        build.meant[name] = offsets * step * 2.0**shift
    build.constant("readout.bias", offsets, BIAS_BITS, None)
    build.constant("readout.shift", np.full(len(weight), -shift), 6, None)
    mode = READOUT_MODES[str(graph.attrs["readout"])]
    logit = TensorType(f"i{build.target.readout.bits}", (len(weight),), step)
    build.out.types["logits"] = logit
    build.out.states.append(State("logits", "logits.next", _first_logits(build, mode, logit)))
    operands = ("logits", op.results[0], "readout.bias", "readout.shift")
    attrs: dict[str, Attr] = {"layer": "readout", "mode": mode, "bits": logit.bits}
    build.add(Op("accumulate_logits", operands, ("logits.next",), attrs, op.loc), logit)
    build.out.outputs = ["logits.next"]
    build.out.attrs["average"] = graph.attrs["readout"] == "mean"
    build.out.attrs["readout"] = "last"


def _round(
    build: Builder, op: Op, weight: Real, offset: Real, step: float, bias_step: float, bits: int
) -> tuple[Int, Int]:
    """Integer weights [classes, n] and biases [classes], rounded together where it is known how."""
    real = np.concatenate([weight, offset[:, None]], axis=1)
    steps = np.full_like(real, step)
    steps[:, -1] = bias_step
    limit = np.full(real.shape[1], float(largest(bits)))
    limit[-1] = largest(BIAS_BITS)
    moments = build.ranges.moments.get(op.results[0])
    if moments is None:
        made = to_nearest(real, steps, limit)
    else:
        made = compensated(real, steps, limit, moments, np.arange(real.shape[1]) < len(limit) - 1)
    return made[:, :-1], made[:, -1]


def _first_logits(build: Builder, mode: str, logit: TensorType) -> str | None:
    if mode != "max":
        return None
    least = np.full(logit.shape, -(1 << (logit.bits - 1)), np.int64)
    return build.out.add_constant("readout.least", least, logit)
