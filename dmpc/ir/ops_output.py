"""The output at level layers: a dense product of spikes, or what several of them come to.

A readout may read several layers. With s1, s2, ... their spikes,

    y     = sum(dense(s1, ...), dense(s2, ...), ...)

or, where it leaks, an `li` of these products: `y = li(v, dense(s1, ...), dense(s2, ...), beta)`,
which further ones may follow.
"""

from collections.abc import Sequence

from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_layers import LAYER, LAYERS
from dmpc.ir.ops_model import vector
from dmpc.ir.registry import Attrs, EvalContext, OpDef, Tensor, op_def, register
from dmpc.ir.types import TensorType


def _infer_sum(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    if not types:
        raise ValueError("there is nothing to add")
    vector(types[0], "current", "f32")
    for type_ in types[1:]:
        if type_ != types[0]:
            raise ValueError(f"current must be {types[0]}, not {type_}")
    return (types[0],)


def _evaluate_sum(ctx: EvalContext, attrs: Attrs, *currents: Tensor) -> tuple[Tensor, ...]:
    del ctx, attrs
    return (sum(currents[1:], currents[0]),)


SUM = register(
    OpDef(
        "sum",
        "The output of a network whose readout reads several layers: the sum of their dense "
        "products. All vectors [n].",
        LAYERS,
        ("currents*",),
        ("y",),
        _infer_sum,
        _evaluate_sum,
        {"layer": LAYER},
    )
)


def readout_of(graph: Graph) -> list[Op]:
    """The dense products that the output adds up, or the first of the integrators that make it.

    Of a graph that `check_layers` has not refused.
    """
    made = graph.producer(graph.outputs[0])
    assert made is not None
    while made.kind in ("li", "sum"):
        bound = op_def(made.kind).bind(made.operands)
        found = [op for op in map(graph.producer, bound["currents"]) if op is not None]
        before = [op for op in found if op.kind == "li"]
        if not before:
            return found
        made = before[0]
    return [made]
