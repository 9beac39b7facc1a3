"""Where a graph cuts a tensor up along an axis, one piece for each timestep."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from onnx import GraphProto, NodeProto

from dmpc.frontend.boundary import at
from dmpc.frontend.normalise.shapes import Shape, attributes_key
from dmpc.frontend.onnx_file import Node
from dmpc.ir.graph import Array

FEWEST_STEPS = 3
"""Of two timesteps neither the first nor the last is like the others."""


@dataclass(frozen=True)
class Piece:
    """One output of a node that is its first input at one place of an axis.

    `kept` tells whether the axis stays, with size 1.
    """

    output: str
    axis: int
    step: int
    kept: bool


def pieces(node: NodeProto, opset: int, shape: Shape, known: dict[str, Array]) -> list[Piece]:
    """How a node cuts up its first input of the given shape; nothing if it does something else."""
    if node.op_type not in CUTTERS or not shape:
        return []
    return list(CUTTERS[node.op_type](Node(node, opset), shape, known))


def _gather(node: Node, shape: Shape, known: dict[str, Array]) -> Iterator[Piece]:
    places = known.get(node.proto.input[1])
    axis = node.axis("axis", 0, len(shape))
    if places is not None and places.ndim < 2 and places.size == 1:
        step = int(places.reshape(-1)[0])
        yield Piece(node.proto.output[0], axis, step % shape[axis], bool(places.ndim))


def cut_ranges(node: Node, shape: Shape, known: dict[str, Array]) -> list[tuple[int, range]]:
    """The axes of which a Slice does not take all, each with the places that it takes."""
    if any(name not in known for name in node.proto.input[1:] if name):
        return []
    starts, ends, *rest = (known[name] if name else None for name in node.proto.input[1:])
    given = [array for array in (starts, ends, *rest) if array is not None]
    if starts is None or ends is None or {array.shape for array in given} != {(starts.size,)}:
        return []  # no slice that the standard knows, which the import of the node tells
    axes = rest[0] if rest and rest[0] is not None else range(len(starts))
    strides = rest[1] if len(rest) > 1 and rest[1] is not None else [1] * len(starts)
    along = node.axes([int(axis) for axis in axes], len(shape))
    each = zip(starts, ends, along, strides, strict=True)
    taken = [
        (axis, range(shape[axis])[int(start) : int(end) : int(stride)])
        for start, end, axis, stride in each
    ]
    return [(axis, places) for axis, places in taken if places != range(shape[axis])]


def _slice(node: Node, shape: Shape, known: dict[str, Array]) -> Iterator[Piece]:
    cut = cut_ranges(node, shape, known)
    if len(cut) == 1 and len(cut[0][1]) == 1:
        yield Piece(node.proto.output[0], cut[0][0], cut[0][1][0], True)


def _split(node: Node, shape: Shape, known: dict[str, Array]) -> Iterator[Piece]:
    del known
    axis = node.axis("axis", 0, len(shape))
    if len(node.proto.output) == shape[axis]:
        for step, output in enumerate(node.proto.output):
            yield Piece(output, axis, step, True)


CUTTERS: Mapping[str, Callable[[Node, Shape, dict[str, Array]], Iterator[Piece]]] = {
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
}


@dataclass(frozen=True)
class Cuts:
    """What is cut up into timesteps: how many there are, and the axes of tensors.

    `same` maps a tensor to the first one that holds the same.
    """

    steps: int
    axes: frozenset[tuple[str, int]]
    same: Mapping[str, str]

    def at(self, name: str, axis: int) -> bool:
        """Whether a tensor is cut up along an axis."""
        return (self.same.get(name, name), axis) in self.axes


def find_cuts(
    graph: GraphProto, opset: int, shapes: dict[str, Shape], known: dict[str, Array]
) -> Cuts | None:
    """How a graph cuts tensors up into timesteps; None if it does not.

    The number of timesteps is the size of the first axis that is cut up in at least half of its
    places: what only the first or last timesteps would read is gone where nothing depends on it.
    The last axis of an input holds features.
    """
    places: dict[tuple[str, int], set[int]] = {}
    same = same_tensors(graph, known, shapes)
    for node in graph.node:
        if node.input and node.input[0] in shapes:
            source = same.get(node.input[0], node.input[0])
            with at(node):
                for piece in pieces(node, opset, shapes[node.input[0]], known):
                    places.setdefault((source, piece.axis), set()).add(piece.step)
    features = {(value.name, len(shapes.get(value.name, ())) - 1) for value in graph.input}
    sizes = {
        (name, axis): shapes[name][axis]
        for (name, axis), steps in places.items()
        if 2 * len(steps) >= shapes[name][axis] >= FEWEST_STEPS and (name, axis) not in features
    }
    if not sizes:
        return None
    steps = next(iter(sizes.values()))
    return Cuts(steps, frozenset(cut for cut, size in sizes.items() if size == steps), same)


def latest_slices(
    graph: GraphProto,
    opset: int,
    shapes: Mapping[str, Shape],
    known: dict[str, Array],
    cuts: Cuts,
) -> dict[str, int]:
    """The timestep of the latest slice that each tensor hangs on, if it hangs on any."""
    latest: dict[str, int] = {}
    for node in graph.node:
        source = next(iter(node.input), "")
        with at(node):
            found = pieces(node, opset, shapes.get(source, ()), known)
        own = {piece.output: piece.step for piece in found if cuts.at(source, piece.axis)}
        steps = [latest[name] for name in node.input if name in latest]
        for name in node.output if own or steps else ():
            latest[name] = own.get(name, max(steps, default=0))
    return latest


def same_tensors(
    graph: GraphProto, known: Mapping[str, Array], shapes: Mapping[str, Shape]
) -> dict[str, str]:
    """The first tensor that is computed like a tensor, for those that are not themselves first."""
    same: dict[str, str] = {}
    first: dict[object, list[str]] = {}
    for name, array in known.items():
        same[name] = first.setdefault((array.dtype.str, array.shape, array.tobytes()), [name])[0]
    for node in graph.node:
        if node.op_type == "Identity" or (
            node.op_type in ("Flatten", "Reshape")
            and shapes.get(node.input[0], 0) == shapes.get(node.output[0])
        ):
            same[node.output[0]] = same.get(node.input[0], node.input[0])
        elif node.op_type != "Constant":
            inputs = tuple(same.get(name, name) for name in node.input)
            key = (node.op_type, node.domain, attributes_key(node), inputs)
            same.update(zip(node.output, first.setdefault(key, list(node.output)), strict=False))
    return same
