"""Models that show one input at every timestep, rewritten as models of a sequence.

Nothing in such a file is a sequence: an image is repeated along a new axis, or a loop reads the
same vector again and again, and what it makes of it is one value that every timestep reads. Here
each timestep gets a slice of a sequence of its own in place of it. On a sequence that repeats its
first timestep the new model computes what the old one does; nothing else is changed. Which reader
belongs to which timestep is guessed from their order. A wrong guess makes timesteps that differ,
which rolling them up refuses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from dmpc.frontend.answers import sample_axis
from dmpc.frontend.normalise.shapes import Shape, Types
from dmpc.frontend.normalise.slices import FEWEST_STEPS, same_tensors
from dmpc.ir.graph import Array

SPREADING = ("Concat", "Expand", "Tile")
VIEWS = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
MOST_GUESSES = 8
MOST_READS = 4  # of a value in one timestep
MOST_EXTRA = 3  # reads in the first timestep, of which exporters compute ahead


@dataclass(frozen=True)
class Sequence:
    """A model that takes a sequence, `steps` long, in place of one input."""

    model: ModelProto
    steps: int


def as_sequences(
    model: ModelProto, types: Types, known: Mapping[str, Array], source: str
) -> Iterator[Sequence]:
    """What a model of one input may be as a model of a sequence [batch, time, ..], if anything.

    The likeliest first. The model has known sizes, without Loops; the input's first axis holds the
    samples, or its second if the first has size 1.
    """
    shape = types.shapes.get(source, ())
    if len(shape) == 3 and 1 not in shape[:2]:
        return  # a sequence, of which something is read
    graph = _Graph(model, types.shapes, known, source)
    spread = graph.spread()
    if spread:
        for steps in sorted({steps for _, _, steps in spread}):
            yield Sequence(graph.with_stacks(spread, steps), steps)
        return
    fronts = graph.fronts()
    for steps in _guesses([len(graph.readers[name]) for name in fronts]):
        yield Sequence(graph.with_slices(fronts, steps), steps)


def _guesses(counts: list[int]) -> list[int]:
    """Numbers of timesteps that explain how often values are read, the likeliest first."""
    found = {}
    for steps in range(FEWEST_STEPS, max(counts, default=0) + 1):
        extras = [_extra(count, steps) for count in counts]
        if all(extra is not None for extra in extras):
            found[steps] = sum(abs(extra) for extra in extras if extra is not None)
    return sorted(found, key=lambda steps: (found[steps], -steps))[:MOST_GUESSES]


def _extra(count: int, steps: int) -> int | None:
    """How many reads more the first timestep has than each other; None if that is no guess."""
    each = max(1, round(count / steps))
    extra = count - each * steps
    return extra if each <= MOST_READS and -each < extra <= MOST_EXTRA else None


@dataclass
class _Graph:
    """A graph without what is computed twice, and who reads what depends on its input."""

    model: ModelProto
    shapes: Mapping[str, Shape]
    known: Mapping[str, Array]
    source: str
    same: Mapping[str, str] = field(init=False)
    nodes: list[NodeProto] = field(init=False)
    makers: dict[str, NodeProto] = field(init=False)
    readers: dict[str, list[NodeProto]] = field(init=False)

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.same = same_tensors(graph, self.known, self.shapes)
        self.readers, self.makers, self.nodes = {self.source: []}, {}, []
        for node in graph.node:
            read = dict.fromkeys(self.first(name) for name in node.input)
            depends = [name for name in read if name in self.readers]
            if depends and all(self.first(name) != name for name in node.output):
                continue
            for name in depends:
                self.readers[name].append(node)
            if depends:
                self.readers.update((name, []) for name in node.output)
            self.makers.update((name, node) for name in node.output)
            self.nodes.append(node)

    def first(self, name: str) -> str:
        """The tensor that holds what a tensor holds and is computed first."""
        return self.same.get(name, name)

    def _reached(self, most: float) -> Iterator[str]:
        """Values made of the input and of constants, not past those that are read more often."""
        left, seen = [self.source], {self.source}
        while left:
            name = left.pop(0)
            yield name
            if len(self.readers[name]) > most:
                continue
            for node in self.readers[name]:
                read = {self.first(one) for one in node.input} & self.readers.keys()
                if read <= seen and self._spreads(node, name) is None:
                    fresh = [one for one in node.output if one and one not in seen]
                    seen.update(fresh)
                    left += fresh

    def spread(self) -> list[tuple[NodeProto, int, int]]:
        """Nodes that repeat a value along an axis of their own: node, axis, how often."""
        most = max(map(len, self.readers.values()))
        found = []
        for name in self._reached(most):
            for node in self.readers[name]:
                place = self._spreads(node, name)
                if place is not None:
                    found.append((node, *place))
        return found

    def _spreads(self, node: NodeProto, name: str) -> tuple[int, int] | None:
        """The axis along which a node repeats a value, and how often; None if it does not."""
        before, after = self.shapes.get(name), self.shapes.get(node.output[0])
        if node.op_type not in SPREADING or before is None or after is None:
            return None
        if node.op_type == "Concat" and any(self.first(one) != name for one in node.input):
            return None
        before = (1,) * (len(after) - len(before)) + before
        grown = [axis for axis, size in enumerate(after) if size != before[axis]]
        if len(grown) != 1 or before[grown[0]] != 1 or after[grown[0]] < FEWEST_STEPS:
            return None
        return grown[0], after[grown[0]]

    def fronts(self) -> list[str]:
        """The values that timesteps read: none behind another one, each read about as often."""
        most = max(map(len, self.readers.values()))
        often = max(FEWEST_STEPS, most // 2 - MOST_EXTRA)
        reached = self._reached(often - 1)
        return [name for name in reached if len(self.readers[name]) >= often]

    def with_slices(self, fronts: list[str], steps: int) -> ModelProto:
        """The graph with each timestep's own value in place of the one that all of them read."""
        changed: dict[int, dict[str, str]] = {}
        for name in fronts:
            readers = self.readers[name]
            each = max(1, round(len(readers) / steps))
            extra = len(readers) - each * steps
            for number, node in enumerate(readers):
                step = max(0, (number - extra) // each)
                changed.setdefault(id(node), {})[name] = _at(name, step)
        return self._written(fronts, steps, changed, {})

    def with_stacks(self, spread: list[tuple[NodeProto, int, int]], steps: int) -> ModelProto:
        """The graph with a stack of each timestep's own value in place of a repeated one."""
        replaced: dict[int, list[NodeProto]] = {}
        fronts = []
        for node, axis, count in spread:
            if count != steps:
                continue
            name, after = self.first(node.input[0]), self.shapes[node.output[0]]
            viewed = self._view(name, axis, after, node)
            if viewed is None:
                fronts.append(name)
                viewed = self._stack(name, axis, after, node, steps)
            replaced[id(node)] = viewed
        return self._written(fronts, steps, {}, replaced)

    def _view(self, name: str, axis: int, after: Shape, node: NodeProto) -> list[NodeProto] | None:
        """The sequence itself, of the shape of a repeated value that is the input and no more."""
        samples = self.shapes[self.source][self.batch]
        before = prod(after[:axis])
        if not self._viewed(name) or before not in (1, samples):
            return None
        rank = len(self.shapes[self.source]) - (1 if self.batch else 0) + 1
        turn = [0, 1, *range(2, rank)] if before == samples else [1, 0, *range(2, rank)]
        output = node.output[0]
        shape = numpy_helper.from_array(np.array(after, np.int64))
        turned, sizes = f"{output}@turned", f"{output}@shape"
        return [
            helper.make_node("Transpose", [self.source], [turned], perm=turn),
            helper.make_node("Constant", [], [sizes], value=shape),
            helper.make_node("Reshape", [turned, sizes], [output], node.name),
        ]

    def _viewed(self, name: str) -> bool:
        """Whether a value is the input, of whatever shape."""
        while name != self.source:
            maker = self.makers[name]
            source = self.first(maker.input[0])
            sizes = [prod(self.shapes.get(one, ())) for one in (name, source)]
            if maker.op_type not in (*VIEWS, *SPREADING) or sizes[0] != sizes[1]:
                return False
            name = source
        return True

    def _stack(
        self, name: str, axis: int, after: Shape, node: NodeProto, steps: int
    ) -> list[NodeProto]:
        one = numpy_helper.from_array(np.array([*after[:axis], 1, *after[axis + 1 :]], np.int64))
        output = node.output[0]
        parts = [f"{output}@{step}" for step in range(steps)]
        shape = f"{output}@shape"
        return [
            helper.make_node("Constant", [], [shape], value=one),
            *(
                helper.make_node("Reshape", [_at(name, step), shape], [part])
                for step, part in enumerate(parts)
            ),
            helper.make_node("Concat", parts, [output], node.name, axis=axis),
        ]

    @property
    def batch(self) -> int:
        """The axis of the input that holds samples."""
        return sample_axis(self.shapes[self.source])

    def _written(
        self,
        fronts: list[str],
        steps: int,
        changed: Mapping[int, Mapping[str, str]],
        replaced: Mapping[int, list[NodeProto]],
    ) -> ModelProto:
        """The model of a sequence: `fronts` once for each timestep, nodes changed or replaced."""
        needed = self._needed(fronts)
        nodes = list(self._slices(steps)) if fronts else []
        for node in self.nodes:
            if id(node) in replaced:
                nodes += replaced[id(node)]
                continue
            nodes.append(self._copy(node, changed.get(id(node), {}), ""))
            if id(node) in needed:
                nodes += (
                    self._copy(node, self._own(node, step), f"@{step}") for step in range(steps)
                )
        return self._model(nodes, steps)

    def _own(self, node: NodeProto, step: int) -> dict[str, str]:
        """What a timestep's own copy of a node reads."""
        names = {self.first(name) for name in node.input} & self.readers.keys()
        return {name: _at(name, step) for name in names}

    def _copy(self, node: NodeProto, renamed: Mapping[str, str], suffix: str) -> NodeProto:
        copy = NodeProto()
        copy.CopyFrom(node)
        for number, name in enumerate(copy.input):
            first = self.first(name)
            if first in self.readers:
                copy.input[number] = renamed.get(first, first)
        if suffix:
            copy.output[:] = [name and name + suffix for name in copy.output]
        return copy

    def _needed(self, fronts: list[str]) -> set[int]:
        """The nodes between the input and some values."""
        found: set[int] = set()
        left = list(fronts)
        while left:
            name = left.pop()
            if name != self.source and id(self.makers[name]) not in found:
                found.add(id(self.makers[name]))
                read = {self.first(one) for one in self.makers[name].input}
                left += read & self.readers.keys()
        return found

    def _slices(self, steps: int) -> Iterator[NodeProto]:
        """The timesteps of the sequence, each of the old input's shape."""
        shape = numpy_helper.from_array(np.array(self.shapes[self.source], np.int64))
        yield helper.make_node("Constant", [], [f"{self.source}@shape"], value=shape)
        for step in range(steps):
            place = numpy_helper.from_array(np.array(step, np.int64))
            at = _at(self.source, step)
            yield helper.make_node("Constant", [], [f"{at}@place"], value=place)
            yield helper.make_node("Gather", [self.source, f"{at}@place"], [f"{at}@cut"], axis=1)
            yield helper.make_node("Reshape", [f"{at}@cut", f"{self.source}@shape"], [at])

    def _model(self, nodes: list[NodeProto], steps: int) -> ModelProto:
        copy = ModelProto()
        copy.CopyFrom(self.model)
        graph = copy.graph
        for value in graph.output:
            first = self.first(value.name)
            if first != value.name:
                nodes.append(helper.make_node("Identity", [first], [value.name]))
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)
        (given,) = [value for value in graph.input if value.name == self.source]
        shape = list(self.shapes[self.source])
        samples = shape.pop(self.batch)
        rest = shape[1:] if self.batch else shape
        type_ = given.type.tensor_type.elem_type or TensorProto.FLOAT
        given.CopyFrom(helper.make_tensor_value_info(self.source, type_, [samples, steps, *rest]))
        return copy


def _at(name: str, step: int) -> str:
    return f"{name}@{step}"
