"""Dependency breaking: the slow current no longer waits for the memory update."""

from dataclasses import dataclass, replace
from typing import ClassVar

from dmpc.ir.drives import columns
from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.ops_layers import NEURONS
from dmpc.ir.types import TensorType
from dmpc.passes.base import Pass


@dataclass(frozen=True)
class BreakDependency(Pass):
    """`W_m m[k] = P m[k-1] + nu x[k]` with `P = W_m A` and `nu = W_m B` computed ahead.

    Sun et al. 2026, "dependency breaking". Runs on real numbers, before quantization, so that P and
    nu are rounded once instead of W_m, A and B. Where the slow current reads a held memory, the
    memory's old value and the drive are held instead.
    """

    name: ClassVar[str] = "break-dependency"

    def run(self, graph: Graph) -> Graph:
        """Split each dense product of a memory's next value into two that are ready earlier."""
        graph = graph.copy()
        memories = {op.results[0]: op for op in graph.ops if op.kind == "memory"}
        for op in list(graph.ops):
            if op.kind != "dense" or not _feeds_neurons(graph, op):
                continue
            producer = graph.producer(op.operands[0])
            hold = producer if producer is not None and producer.kind == "hold" else None
            value = op.operands[0] if hold is None else hold.operands[1]
            if value in memories:
                _split(graph, op, memories[value], hold)
        _drop_unread(graph)
        return graph


def _feeds_neurons(graph: Graph, op: Op) -> bool:
    users = graph.users(op.results[0])
    return bool(users) and all(user.kind in NEURONS for user in users)


def _split(graph: Graph, slow: Op, memory: Op, hold: Op | None) -> None:
    state, x, a, b = memory.operands
    _, weight, *bias = slow.operands
    w_m, loc = graph.constants[weight], graph.locs.get(weight, ())
    layer = str(slow.attrs["layer"])
    neurons, size = w_m.shape
    p = graph.add_constant(
        graph.fresh(f"{layer}.P"), w_m @ graph.constants[a], TensorType("f32", (neurons, size)), loc
    )
    nu = graph.add_constant(
        graph.fresh(f"{layer}.nu"),
        w_m @ columns(graph.constants[b]),
        TensorType("f32", (neurons, graph.types[x].size)),
        loc,
    )
    direct = graph.fresh(f"{layer}.direct")
    if hold is not None:
        state, x = (_held(graph, name, hold) for name in (state, x))
    at = graph.ops.index(slow)
    graph.ops[at] = replace(slow, operands=(state, p, *bias))
    graph.ops.insert(at + 1, Op("dense", (x, nu), (direct,), dict(slow.attrs), slow.loc))
    graph.types[direct] = graph.types[slow.results[0]]
    for user in graph.users(slow.results[0]):
        place = user.operands.index(slow.results[0]) + 1
        user.operands = (*user.operands[:place], direct, *user.operands[place:])
    if not graph.users(weight):
        del graph.constants[weight], graph.types[weight]
        graph.locs.pop(weight, None)


def _held(graph: Graph, value: str, hold: Op) -> str:
    """The name under which `value` is held as `hold` holds the memory; the op comes before it."""
    alike = (op for op in graph.users(value) if op.kind == "hold" and op.attrs == hold.attrs)
    found = next(alike, None)
    if found is None:
        name = graph.fresh(f"{value}.held{hold.attrs['period']}")
        after = graph.fresh(f"{name}.next")
        found = Op("hold", (name, value), (after,), dict(hold.attrs), hold.loc)
        graph.ops.insert(graph.ops.index(hold), found)
        graph.types[name] = graph.types[after] = graph.types[value]
        old = graph.state(hold.operands[0])
        graph.states.append(State(name, after, None, old.loc if old else ()))
    return found.results[0]


def _drop_unread(graph: Graph) -> None:
    """Drop held memories whose products have all been split."""
    for op in [op for op in graph.ops if op.kind == "hold"]:
        held, result = op.operands[0], op.results[0]
        if not graph.users(result) and graph.users(held) == [op]:
            graph.ops.remove(op)
            graph.states = [state for state in graph.states if state.name != held]
            del graph.types[held], graph.types[result]
