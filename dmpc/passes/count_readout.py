"""Readout by counts: a linear readout summed over time is one product with the spike counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from dmpc.ir.graph import Attr, Graph, Op, State
from dmpc.ir.registry import op_def
from dmpc.ir.types import TensorType
from dmpc.passes.base import Pass
from isa.target import Target, load_target


@dataclass(frozen=True)
class CountReadout(Pass):
    """`sum over k of (W_o s[k] + b_o) = W_o (sum over k of s[k]) + T b_o`, in exact integers.

    Instead of a product every timestep, the machine counts the spikes that the readout reads and
    makes one product of each layer at the end of a sample. It needs value registers as wide as the
    layers, and rows of memory path A as wide as the weights; a readout that is no sum, or does not
    fit, stays.
    """

    name: ClassVar[str] = "count-readout"
    target: Target = field(default_factory=lambda: load_target("paper"))

    def run(self, graph: Graph) -> Graph:
        """The graph with `count`, `tick` and `total_logits` for `accumulate_logits`, if it can."""
        graph = graph.copy()
        for op in [op for op in graph.ops if op.kind == "accumulate_logits"]:
            made = [graph.producer(name) for name in op_def(op.kind).bind(op.operands)["sums"]]
            products = [product for product in made if product is not None]
            whole = _sum_over_time(graph, op)
            if whole and self._fits(graph, products):
                _rewrite(graph, op, whole, products, self.target)
        return graph

    def _fits(self, graph: Graph, products: Sequence[Op]) -> bool:
        only = all(len(graph.users(product.results[0])) == 1 for product in products)
        row = self.target.bank[self.target.bank_for("memory_a")].weight_bits
        narrow = all(graph.types[product.operands[1]].bits <= row for product in products)
        values = self.target.values
        read = [graph.types[name] for name in dict.fromkeys(p.operands[0] for p in products)]
        counted = all(spikes.dtype == "event" for spikes in read)
        room = sum(values.span(spikes.shape[0]) for spikes in read) < values.count
        return bool(products) and only and narrow and counted and room


def _sum_over_time(graph: Graph, op: Op) -> Op | None:
    """The op that makes the sum of a readout over time: itself, or one that collects what it is."""
    if op.attrs["mode"] == "sum":
        return op
    readers = graph.users(op.results[0])
    whole = readers[0] if len(readers) == 1 else None
    collects = whole is not None and whole.kind == "collect_logits"
    return whole if whole and collects and whole.attrs["mode"] == "sum" else None


def _rewrite(graph: Graph, op: Op, whole: Op, products: Sequence[Op], target: Target) -> None:
    """Counts for a readout `op`, of which `whole` is the sum over time."""
    layer, bits = op.attrs["layer"], target.values.bits
    since: dict[str, Attr] = {name: whole.attrs[name] for name in whole.attrs if name == "since"}
    counts = dict[str, str]()
    for product in products:
        spikes, weight = product.operands
        if spikes not in counts:
            counted = TensorType(f"i{bits}", graph.types[spikes].shape)
            state, counts[spikes] = _add_state(graph, "counts", counted)
            attrs: dict[str, Attr] = {"layer": layer, "bits": bits, **since}
            counting = Op("count", (state, spikes), (counts[spikes],), attrs, op.loc)
            graph.ops.insert(graph.ops.index(product), counting)
        product.operands = (counts[spikes], weight)
        product.attrs["when"] = "end"
    number, after = _add_state(graph, "steps", TensorType("u32", (1,)))
    tick = Op("tick", (number,), (after,), {"layer": layer}, op.loc)
    graph.ops.insert(graph.ops.index(products[0]), tick)
    total = Op(
        "total_logits",
        (*(product.results[0] for product in products), *op.operands[-2:], after),
        whole.results,
        {**_result(graph.types[op.results[0]]), "layer": layer, "when": "end", **since},
        op.loc,
    )
    graph.ops[graph.ops.index(whole)] = total
    gone = {op.operands[0], whole.operands[0]}
    if whole is not op:
        graph.ops.remove(op)
        gone.add(op.results[0])
    graph.states = [state for state in graph.states if state.name not in gone]
    for name in gone:
        del graph.types[name]


def _add_state(graph: Graph, name: str, type_: TensorType) -> tuple[str, str]:
    """A state under a name like this one, and what it becomes."""
    before = graph.fresh(name)
    after = graph.fresh(f"{before}.next")
    graph.types[before] = graph.types[after] = type_
    graph.states.append(State(before, after))
    return before, after


def _result(logits: TensorType) -> dict[str, Attr]:
    assert isinstance(logits.scale, float)
    return {"bits": logits.bits, "scale": logits.scale}
