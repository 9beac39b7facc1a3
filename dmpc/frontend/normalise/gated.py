"""Sums that a Scan begins later, `total = total + where(k >= 10, y, 0)`: those of a list's end.

What says when they begin is a clock: it follows from states that hear of nothing but themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import GraphProto, NodeProto

from dmpc.frontend.normalise.statics import Statics
from dmpc.frontend.onnx_file import Node, evaluate, initializers, scan_states
from dmpc.ir.graph import Array

Step = dict[str, Array]


@dataclass(frozen=True)
class Gate:
    """`value`, which a total takes in where what a clock makes, `switch`, is true, or, `closed`,
    where it is not; `nodes` are those that nothing else reads."""

    value: str
    switch: str
    closed: bool
    nodes: list[NodeProto]


class Body:
    """The timestep of a Scan: what its values follow from."""

    def __init__(self, graph: GraphProto, node: NodeProto, opset: int) -> None:
        self.opset, self.outside = opset, Statics(graph, opset)
        scan = Node(node, opset)
        self.graph, self.states = scan.subgraph("body"), scan_states(scan) or 0
        self.makers = {name: one for one in self.graph.node for name in one.output}
        self.stored = initializers(self.graph)
        self.starts = dict(zip((one.name for one in self.graph.input), node.input, strict=False))
        inner = [name for one in self.graph.node for name in one.input]
        self.read = [*inner, *(value.name for value in self.graph.output)]

    def gate(self, number: int) -> Gate | None:
        """How the state of this number adds up what a clock lets through; None if it does not."""
        total, made = self.graph.input[number].name, self._own(self.graph.output[number].name)
        passing = list[NodeProto]()
        while made is not None and made.op_type == "Identity":
            passing.append(made)
            made = self._own(made.input[0])
        gate = None if made is None else self._let_in(total, made)
        return None if gate is None else replace(gate, nodes=[*passing, *gate.nodes])

    def _let_in(self, total: str, made: NodeProto) -> Gate | None:
        if made.op_type == "Where" and total in made.input[1:]:
            closed = made.input[1] == total
            more = self._own(made.input[2 if closed else 1])
            if more is None or more.op_type != "Add" or self.read.count(total) != 2:
                return None
            return self._taken(more, total, made.input[0], [made, more], closed=closed)
        if made.op_type != "Add" or total not in made.input or self.read.count(total) != 1:
            return None
        some = self._own(next((one for one in made.input if one != total), ""))
        if some is not None and some.op_type == "Mul":
            return self._factor(some, [made, some])
        if some is None or some.op_type != "Where":
            return None
        zeros = [self._zeros(one) for one in some.input[1:]]
        if zeros.count(True) != 1:
            return None
        value = some.input[1 + zeros.index(False)]
        return Gate(value, some.input[0], zeros[0], [made, some])

    def since(self, gate: Gate, steps: int) -> int | None:
        """The timestep from which on a gate is open; None if it is no such one."""
        clock = self._clock(gate.switch)
        if not clock:  # nor is a constant one
            return None
        open_ = [self._open(switch, gate) for switch in self._told(clock, gate.switch, steps)]
        if None in open_ or True not in open_:
            return None
        first = open_.index(True)
        return first if all(open_[first:]) else None

    def _own(self, name: str) -> NodeProto | None:
        """What makes a value that nothing else reads."""
        return self.makers.get(name) if self.read.count(name) == 1 else None

    @staticmethod
    def _taken(
        more: NodeProto, total: str, switch: str, nodes: list[NodeProto], *, closed: bool
    ) -> Gate | None:
        others = [one for one in more.input if one != total]
        return Gate(others[0], switch, closed, nodes) if len(others) == 1 else None

    def _factor(self, product: NodeProto, nodes: list[NodeProto]) -> Gate | None:
        clocks = [self._clock(one) is not None for one in product.input]
        if clocks.count(True) != 1:
            return None
        at = clocks.index(True)
        return Gate(product.input[1 - at], product.input[at], False, nodes)

    def _zeros(self, name: str) -> bool:
        array = self.stored.get(name)
        if array is None and name in self.makers:
            told = self._clock(name)
            array = None if told is None else next(self._told(told, name, 1))
        if array is None and name not in self.starts:
            array = self.outside.array(name)
        return array is not None and not array.any()

    def _clock(self, name: str) -> list[NodeProto] | None:
        """The nodes of which a value follows from constants and states like itself, in order."""
        numbers = {one.name: k for k, one in enumerate(self.graph.input)}
        needed, stack, seen = set[int](), [name], set[str]()
        while stack:
            at = stack.pop()
            if at in seen or at in self.stored or not at:
                continue
            seen.add(at)
            if at in self.makers:
                needed.add(id(self.makers[at]))
                stack += self.makers[at].input
            elif at in numbers:
                number = numbers[at]
                if number >= self.states or self.outside.array(self.starts[at]) is None:
                    return None
                stack.append(self.graph.output[number].name)
            elif self.outside.array(at) is None:
                return None
        return [node for node in self.graph.node if id(node) in needed]

    def _told(self, nodes: Sequence[NodeProto], name: str, steps: int) -> Iterator[Array]:
        """What a clock says in each timestep."""
        pairs = zip(self.graph.input[: self.states], self.graph.output, strict=False)
        after = {before.name: one.name for before, one in pairs}
        held = {one: self.outside.array(self.starts[one]) for one in after}
        for _ in range(steps):
            known: Step = {key: array for key, array in held.items() if array is not None}
            for node in nodes:
                arrays = [self._array(one, known) for one in node.input]
                known |= zip(node.output, evaluate(Node(node, self.opset), arrays), strict=True)
            told = self._array(name, known)
            assert told is not None  # see _clock
            yield told
            held = {key: self._array(one, known) for key, one in after.items()}

    def _array(self, name: str, known: Step) -> Array | None:
        if name in known:
            return known[name]
        return self.stored[name] if name in self.stored else self.outside.array(name)

    @staticmethod
    def _open(switch: Array, gate: Gate) -> bool | None:
        """Whether a gate is open, for all that it lets through alike."""
        if not np.isin(switch, (0, 1)).all() or np.unique(switch).size != 1:
            return None
        return bool(switch.reshape(-1)[0]) != gate.closed
