"""Readout by counts: a linear readout summed over time is one product with the spike counts."""

from dataclasses import dataclass, field
from typing import ClassVar

from dmpc.ir.graph import Attr, Graph, Op, State
from dmpc.ir.types import TensorType
from dmpc.passes.base import Pass
from isa.target import Target, load_target


@dataclass(frozen=True)
class CountReadout(Pass):
    """`sum over k of (W_o s[k] + b_o) = W_o (sum over k of s[k]) + T b_o`, in exact integers.

    Instead of a product every timestep, the machine counts the last layer's spikes and makes one
    product at the end of a sample. It needs value registers as wide as the layer, and rows of
    memory path A as wide as the weights; a readout that is no sum, or does not fit, stays.
    """

    name: ClassVar[str] = "count-readout"
    target: Target = field(default_factory=lambda: load_target("paper"))

    def run(self, graph: Graph) -> Graph:
        """The graph with `count`, `tick` and `total_logits` for `accumulate_logits`, if it can."""
        graph = graph.copy()
        for op in [op for op in graph.ops if op.kind == "accumulate_logits"]:
            product = graph.producer(op.operands[1])
            if op.attrs["mode"] == "sum" and product and self._fits(graph, op, product):
                _rewrite(graph, op, product, self.target)
        return graph

    def _fits(self, graph: Graph, op: Op, product: Op) -> bool:
        spikes = graph.types[product.operands[0]]
        only = len(op.operands) == 4 and len(graph.users(product.results[0])) == 1
        row = self.target.bank[self.target.bank_for("memory_a")].weight_bits
        narrow = graph.types[product.operands[1]].bits <= row
        values = self.target.values
        counted = spikes.dtype == "event" and values.span(spikes.shape[0]) < values.count
        return only and narrow and counted


def _rewrite(graph: Graph, op: Op, product: Op, target: Target) -> None:
    layer = op.attrs["layer"]
    spikes, weight = product.operands
    bits = target.values.bits
    counts = TensorType(f"i{bits}", graph.types[spikes].shape)
    steps = TensorType("u32", (1,))
    count = Op(
        "count", ("counts", spikes), ("counts.next",), {"layer": layer, "bits": bits}, op.loc
    )
    tick = Op("tick", ("steps",), ("steps.next",), {"layer": layer}, op.loc)
    at = graph.ops.index(product)
    graph.ops[at:at] = [count, tick]
    product.operands = ("counts.next", weight)
    product.attrs["when"] = "end"
    total = Op(
        "total_logits",
        (product.results[0], *op.operands[2:], "steps.next"),
        op.results,
        {**_result(graph.types[op.results[0]]), "layer": layer, "when": "end"},
        op.loc,
    )
    graph.ops[graph.ops.index(op)] = total
    logits = op.operands[0]
    graph.states = [state for state in graph.states if state.name != logits]
    del graph.types[logits]
    for name, type_ in (("counts", counts), ("steps", steps)):
        graph.types[name] = graph.types[f"{name}.next"] = type_
        graph.states.append(State(name, f"{name}.next"))


def _result(logits: TensorType) -> dict[str, Attr]:
    assert isinstance(logits.scale, float)
    return {"bits": logits.bits, "scale": logits.scale}
