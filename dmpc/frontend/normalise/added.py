"""Sums that a loop adds up from a timestep on, `if k >= 10: total = total + out`: those of a list.

The first timesteps add nothing, and so compute something else than the others. Of a list, what its
values are is apart from what timesteps have in common.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from dmpc.frontend.normalise.rewriting import replace_nodes
from dmpc.frontend.normalise.shapes import Shape
from dmpc.frontend.normalise.slices import FEWEST_STEPS, find_cuts, latest_slices
from dmpc.frontend.normalise.statics import Statics
from dmpc.frontend.onnx_file import graphs
from dmpc.ir.graph import Array


@dataclass(frozen=True)
class Sum:
    """A tensor by name: `start`, if that is something, and a tensor for each of some timesteps."""

    name: str
    start: str | None
    parts: list[str]
    first: int


class Added:
    """The sums of a graph that each take in one value more."""

    def __init__(
        self, graph: GraphProto, shapes: Mapping[str, Shape], known: dict[str, Array], opset: int
    ) -> None:
        self.graph, self.shapes, self.known, self.opset = graph, shapes, known, opset

    def as_list(self) -> bool:
        """Take the sum of a list for one that some timesteps alone add up; tells if there is one.

        What a timestep adds up of those before it is no such sum: the others do so, too.
        """
        spines = [*self._spines()]
        often = Counter(map(len, spines))
        long = [one for one in spines if len(one) >= FEWEST_STEPS - 1 and often[len(one)] == 1]
        cuts = find_cuts(self.graph, self.opset, dict(self.shapes), self.known) if long else None
        if cuts is None:
            return False
        latest = latest_slices(self.graph, self.opset, self.shapes, self.known, cuts)
        statics = Statics(self.graph, self.opset)
        sums = (self._sum(spine, latest, statics) for spine in long)
        found = [one for one in sums if one and one.first]
        if len(found) != 1:
            return False
        return replace_nodes(self.graph, lambda node: self._replaced(node, found[0]))

    def _spines(self) -> Iterator[list[NodeProto]]:
        """The longest stretches of additions to what nothing else reads."""
        readers = Counter(
            n for inner in graphs(self.graph) for one in inner.node for n in one.input
        )
        readers.update(value.name for inner in graphs(self.graph) for value in inner.output)
        spines: dict[str, list[NodeProto]] = {}
        for node in self.graph.node:
            if node.op_type == "Add":
                before = [name for name in node.input if name in spines and readers[name] == 1]
                longest = max(before, key=lambda name: len(spines[name]), default="")
                spines[node.output[0]] = [*spines.pop(longest, []), node]
            elif node.op_type == "Identity" and node.input[0] in spines:
                spines[node.output[0]] = spines.pop(node.input[0])
        yield from spines.values()

    def _sum(
        self, spine: list[NodeProto], latest: Mapping[str, int], statics: Statics
    ) -> Sum | None:
        """What the end of a spine adds up that is one value of each of some timesteps."""
        name, parts = spine[-1].output[0], list[str]()
        rest, step = name, latest.get(name, 0)
        for node in reversed(spine):
            before = [one for one in node.input if latest.get(one, -1) < step]
            added = [one for one in node.input if latest.get(one) == step]
            if len(before) != 1 or len(added) != 1:
                break
            parts.insert(0, added[0])
            rest, step = before[0], step - 1
        start = statics.array(rest)
        if start is None and latest.get(rest) == step:
            parts.insert(0, rest)
        elif start is None:
            return None
        shape = self.shapes.get(name)
        if len(parts) < FEWEST_STEPS or any(self.shapes.get(part) != shape for part in parts):
            return None
        some = start is not None and start.any()
        return Sum(name, rest if some else None, parts, latest[name] + 1 - len(parts))

    @staticmethod
    def _replaced(node: NodeProto, found: Sum) -> list[NodeProto] | None:
        """The sum of a list, and what it starts from."""
        name = found.name
        if node.output[:1] != [name]:
            return None
        axes = numpy_helper.from_array(np.array([0], np.int64))
        parts = [f"{name}.{number}" for number in range(len(found.parts))]
        total = f"{name}.sum" if found.start else name
        nodes = [
            helper.make_node("Constant", [], [f"{name}.axis"], f"{name}.axis", value=axes),
            *(
                helper.make_node("Unsqueeze", [one, f"{name}.axis"], [part], part)
                for one, part in zip(found.parts, parts, strict=True)
            ),
            helper.make_node("Concat", parts, [f"{name}.all"], f"{name}.all", axis=0),
            helper.make_node(
                "ReduceSum", [f"{name}.all", f"{name}.axis"], [total], node.name, keepdims=0
            ),
        ]
        if found.start:
            nodes.append(helper.make_node("Add", [total, found.start], [name], node.name))
        return nodes
