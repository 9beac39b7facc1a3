"""Damage to graphs at level layers: operands, attributes, constants, states, whole ops."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import op_def

WHOLE = (0, 1, 2, 3, 5, 16, 17, 63, 64, -1, 1 << 20, 1 << 40)
REAL = (0.0, 1.0, -1.0, 0.5, 0.999999, 1e-300, 1e-30, 1e10, 1e30)


def damaged_graph(random: Random, graph: Graph) -> Graph:
    """A graph of which one to three things are others; operands keep their types."""
    graph = graph.copy()
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(DAMAGE)(random, graph, random.choice(graph.ops))
    return graph


def _alike(random: Random, graph: Graph, name: str) -> str:
    """Another value of the same type, if there is one."""
    wanted = graph.types.get(name)  # none where the op that made it is gone
    others = [one for one, type_ in graph.types.items() if type_ == wanted]
    return random.choice(others or [name])


def _operand(random: Random, graph: Graph, op: Op) -> None:
    operands = list(op.operands)
    at = random.randrange(len(operands))
    operands[at] = _alike(random, graph, operands[at])
    graph.ops[graph.ops.index(op)] = replace(op, operands=tuple(operands))


def _attribute(random: Random, graph: Graph, op: Op) -> None:
    del graph
    name, spec = random.choice(list(op_def(op.kind).attrs.items()))
    values: tuple[Any, ...] = {
        int: WHOLE, float: REAL, bool: (False, True), tuple: ((), (1,), (2, 2)),
        str: spec.choices or ("layer1", "layer2", "readout", ""),
    }[spec.type]  # fmt: skip
    op.attrs[name] = random.choice(values)


def _number(random: Random, graph: Graph, op: Op) -> None:
    names = [name for name in op.operands if name in graph.constants]
    if names:
        name = random.choice(names)
        value = np.array(graph.constants[name])
        drawn = random.choice(REAL if value.dtype.kind == "f" else WHOLE[:6])
        value.reshape(-1)[slice(None) if random.random() < 0.5 else 0] = drawn
        graph.constants[name] = value


def _state(random: Random, graph: Graph, op: Op) -> None:
    del op
    if graph.states:
        state = random.choice(graph.states)
        other = _alike(random, graph, state.name)
        if other in graph.constants:
            state.init = other
        else:
            state.next = other


def _drop(random: Random, graph: Graph, op: Op) -> None:
    """Without an op: whoever read it reads another value."""
    graph.ops.remove(op)
    others = {name: _alike(random, graph, name) for name in op.results}
    for at, one in enumerate(graph.ops):
        operands = tuple(others.get(name, name) for name in one.operands)
        graph.ops[at] = replace(one, operands=operands)
    graph.outputs = [others.get(name, name) for name in graph.outputs]
    for name in op.results:
        if all(state.next != name for state in graph.states):
            del graph.types[name]


def _output(random: Random, graph: Graph, op: Op) -> None:
    graph.outputs = [random.choice(op.results)]
    graph.attrs["readout"] = random.choice(("mean", "sum", "last", "max", "max0"))


DAMAGE: tuple[Callable[[Random, Graph, Op], None], ...] = (
    _operand, _operand, _operand, _attribute, _attribute, _number, _number, _state, _drop, _output,
)  # fmt: skip
