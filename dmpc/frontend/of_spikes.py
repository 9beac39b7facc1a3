"""Functions of the spikes of several layers, as ops that graphs have.

What they compute is read off what they give for every value of the spikes
(`dmpc/passes/recognition/logic.py`), so any spelling will do here.
"""

import numpy as np

from dmpc.frontend.context import Context, loc_of
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.steps import is_uniform
from dmpc.frontend.tensors import Known, Tensor, Traced
from dmpc.ir.graph import Graph

EACH = (
    "add", "cast", "concat", "div", "eq", "floor", "fmod", "mod", "mul", "neg", "relu", "sub",
    "take", "where",
)  # fmt: skip
MOST_POWER = 4


def of_spikes(graph: Graph, tensor: Tensor) -> bool:
    """Whether a tensor depends on truth values alone, each element on few."""
    if not isinstance(tensor, Traced) or tensor.reduced is not None:
        return False
    left, seen = [tensor.value], set[str]()
    while left:
        value = left.pop()
        if value in seen or value in graph.constants or graph.types[value].dtype == "bool":
            continue
        seen.add(value)
        op = graph.producer(value)
        if op is None or op.kind not in EACH:
            return False
        left += op.operands
    return True


def function_of(ctx: Context, node: Node, kind: str, operands: list[Tensor]) -> list[Tensor] | None:
    """Abs, Round, Sign, or Pow of whole numbers, of spikes; None for anything else."""
    first, *others = operands
    if not of_spikes(ctx.builder.graph, first):
        return None

    def made(op: str, *tensors: Tensor) -> Traced:
        return ctx.builder.elementwise(op, tensors, node.proto.output[0], loc_of(node))

    negative = made("neg", first)
    if kind == "abs":
        return [made("add", made("relu", first), made("relu", negative))]
    if kind == "sign":
        zero = Known(np.zeros(1))
        not_above, not_below = (
            made("cast", made("eq", made("relu", one), zero)) for one in (first, negative)
        )
        return [made("sub", not_below, not_above)]
    if kind == "round":  # halves to the even neighbour
        up = made("floor", made("add", first, Known(np.array([0.5]))))
        odd = made("eq", made("mod", first, Known(np.array([2.0]))), Known(np.array([0.5])))
        return [made("sub", up, made("cast", odd))]
    if kind != "pow" or not isinstance(others[0], Known) or not is_uniform(others[0]):
        return None
    power = float(others[0].array.flat[0])
    if power not in range(1, MOST_POWER + 1):
        return None
    assert isinstance(first, Traced)
    result = first
    for _ in range(int(power) - 1):
        result = made("mul", result, first)
    return [result]
