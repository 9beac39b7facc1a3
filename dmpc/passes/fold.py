"""`fold`: drops from the layers what adds nothing, and puts the rest in one canonical order."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.drives import others_of
from dmpc.ir.graph import Array, Graph, Op
from dmpc.ir.ops_convolution import MAPS
from dmpc.ir.ops_layers import NEURONS
from dmpc.ir.prune import prune
from dmpc.ir.registry import op_def
from dmpc.passes.base import Pass

ORDER = ("delay", "drive", "memory", "hold", *MAPS, *NEURONS, "sum")


@dataclass(frozen=True)
class Fold(Pass):
    """From level layers to layers, with the same spikes and logits.

    - a constant of several ops or states becomes one of each, in steps of its own;
    - a current whose weights are zero, or that reads a memory which is never driven, is dropped;
    - the biases of a neuron's currents, or of a sum's, are merged into the first of them;
    - biases that are zero are dropped;
    - ops, states and constants without influence on the output are dropped;
    - ops come layer by layer: delay, drive, memory, hold, currents, neurons; constants in order of
      use.
    """

    name: ClassVar[str] = "fold"

    def run(self, graph: Graph) -> Graph:
        """The folded graph."""
        if graph.level != "layers":
            raise CompileError(
                f"needs a graph of level layers, not {graph.level}", where=graph.name
            )
        graph = graph.copy()
        _part_constants(graph)
        silent = silent_memories(graph)
        for op in graph.ops:
            if op.kind in (*NEURONS, "sum"):
                _merge_currents(graph, op, silent)
        _drop_zero_biases(graph)
        return _in_order(prune(graph))


def _part_constants(graph: Graph) -> None:
    """Give every operand and every state's start a constant of its own."""
    taken: set[str] = set()

    def own(name: str) -> str:
        if name not in taken:
            taken.add(name)
            return name
        loc = graph.locs.get(name, ())
        return graph.add_constant(graph.fresh(name), graph.constants[name], graph.types[name], loc)

    for at, op in enumerate(graph.ops):
        parted = tuple(own(name) if name in graph.constants else name for name in op.operands)
        if parted != op.operands:
            graph.ops[at] = replace(op, operands=parted)
    for state in graph.states:
        state.init = own(state.init) if state.init is not None else None


def silent_memories(graph: Graph) -> set[str]:
    """Memory states, their next values and what holds them, that stay at zero for ever."""
    silent: set[str] = set()
    for op in graph.ops:
        if op.kind == "hold" and op.operands[1] in silent:
            silent |= set(op.results)
        if op.kind != "memory":
            continue
        m, x, _, b = op.operands
        state = graph.state(m)
        undriven = not graph.constants[b].any() or _never(graph, x)
        if undriven and state is not None and _is_zero(graph, state.init):
            silent |= {m, op.results[0]}
    return silent


def _never(graph: Graph, x: str) -> bool:
    """True for drives that are zero whatever their input."""
    drive = graph.producer(x)
    if drive is None or not all(_never(graph, name) for name in others_of(graph, drive)):
        return False
    weight, *bias = (graph.constants[n] for n in drive.operands[1:] if n in graph.constants)
    over = np.any if drive.attrs.get("linear") else _positive
    return not weight.any() and not any(over(b) for b in bias)


def _positive(bias: Array) -> bool:
    return bool((bias > 0).any())


def _is_zero(graph: Graph, constant: str | None) -> bool:
    return constant is None or not graph.constants[constant].any()


def _merge_currents(graph: Graph, lif: Op, silent: set[str]) -> None:
    """Drop a neuron's currents that carry nothing, and give the first of the others all biases."""
    bound = op_def(lif.kind).bind(lif.operands)
    currents = [(name, graph.producer(name)) for name in bound["currents"]]
    dense = [op for _, op in currents if op is not None and op.kind in MAPS]
    if len(dense) != len(currents) or any(len(graph.users(op.results[0])) > 1 for op in dense):
        return
    alive = [op for op in dense if op.operands[0] not in silent and not _weightless(graph, op)]
    kept = alive or dense[:1]
    given = [name for op in dense for name in op.operands[2:]]
    if given and len(dense) > 1:
        for op in kept:
            op.operands = op.operands[:2]
        first = kept[0]
        name = f"{first.results[0]}.bias"
        name = name if name in given else graph.fresh(name)
        merged = sum((graph.constants[bias] for bias in given[1:]), graph.constants[given[0]])
        locs = tuple(dict.fromkeys(loc for bias in given for loc in graph.locs.get(bias, ())))
        graph.add_constant(name, merged, graph.types[first.results[0]], locs)
        first.operands = (*first.operands, name)
    names = tuple(op.results[0] for op in kept)
    before = bound.get("u", ())
    lif.operands = (*before, *names, *lif.operands[len(before) + len(currents) :])


def _weightless(graph: Graph, dense: Op) -> bool:
    return not graph.constants[dense.operands[1]].any()


def _drop_zero_biases(graph: Graph) -> None:
    for op in graph.ops:
        biased = op.kind in (*MAPS, "drive") and len(op.operands) == 3
        if biased and not graph.constants[op.operands[2]].any():
            op.operands = op.operands[:2]


def _in_order(graph: Graph) -> Graph:
    """Ops layer by layer where that respects their dependencies, constants in order of use."""
    layers = list(dict.fromkeys(op.attrs["layer"] for op in graph.ops))
    graph.ops.sort(key=lambda op: (layers.index(op.attrs["layer"]), ORDER.index(op.kind)))
    graph.ops = graph.toposort()
    used = [name for op in graph.ops for name in op.operands if name in graph.constants]
    used += [state.init for state in graph.states if state.init is not None]
    graph.constants = {name: graph.constants[name] for name in dict.fromkeys(used)}
    return graph
