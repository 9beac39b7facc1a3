"""Convolutions in two parts, whose sums are added: what two banks can work on side by side.

Where inputs come position by position, each part reads half of the channels of every position: of
an axis of twice as many places every other one. Otherwise the taps are shared out, as evenly as the
padding lets a part begin later. Both are convolutions as others are.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from dmpc.ir.graph import Array, Graph, Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.ops_neurons import MODEL_OF

Part = tuple[Convolution, Array]
MOST = {"stride": 31, "padding": 31, "dilation": 15, "size": 4095}
"""What the description of a kernel has room for, along an axis."""
NAMES = "first", "second"


@dataclass(frozen=True)
class Halves:
    """A graph with convolutions in two parts, and the names of the parts by that of the whole."""

    graph: Graph
    parts: Mapping[str, tuple[str, str]]


def halved(graph: Graph, whole: Collection[str] = ()) -> Halves:
    """A fused graph with all convolutions of events in parts that can be; but for some, `whole`."""
    graph = graph.copy()
    ops: list[Op] = []
    parts: dict[str, tuple[str, str]] = {}
    for op in graph.ops:
        found = [] if op.results[0] in whole else _found(graph, op)
        ops += _apart(graph, op, found) if found else [op]
        if found:
            parts[op.results[0]] = (ops[-2].results[0], ops[-1].results[0])
    graph.ops = ops
    for op in graph.ops if parts else ():
        more = len([name for name in op.operands if name in parts])
        if more and op.kind in MODEL_OF:
            events = op.attrs.get("events", 0)
            assert isinstance(events, int)
            op.attrs["events"] = events + more
        op.operands = tuple(part for name in op.operands for part in parts.get(name, (name,)))
    for name in parts:
        del graph.types[name]
    return Halves(graph, parts)


def halves_of(made: Convolution, weight: Array) -> list[Part]:
    """Two convolutions whose sums are those of one; none if there are no such two."""
    if made.parts > 1:
        return []
    return _by_channels(made, weight) or _by_taps(made, weight)


def _found(graph: Graph, op: Op) -> list[Part]:
    if op.kind != "convolve" or graph.types[op.operands[0]].dtype != "event":
        return []
    if op.attrs.get("stationary") == "output" or len(graph.users(op.results[0])) != 1:
        return []
    weight = graph.constants[op.operands[1]]
    return halves_of(Convolution.of(op.attrs, weight.shape), weight)


def _apart(graph: Graph, op: Op, found: list[Part]) -> list[Op]:
    weight, made = op.operands[1], []
    type_, sums = graph.types[weight], graph.types[op.results[0]]
    for number, (half, rows) in zip(NAMES, found, strict=True):
        constant = graph.fresh(f"{weight}.{number}")
        kept = replace(type_, shape=rows.shape)
        graph.add_constant(constant, rows, kept, graph.locs.get(weight, ()))
        name = graph.fresh(f"{op.results[0]}.{number}")
        operands, attrs = (op.operands[0], constant), {**op.attrs, **half.attrs}
        made.append(replace(op, operands=operands, results=(name,), attrs=attrs))
        graph.types[name] = sums
    if not [user for user in graph.users(weight) if user is not op]:
        del graph.constants[weight], graph.types[weight]
        graph.locs.pop(weight, None)
    return made


def _by_channels(made: Convolution, weight: Array) -> list[Part]:
    """Each half of the channels of a position, as a place of its own."""
    if made.planar or made.channels % 2 or made.pool[1] > 1 or not made.padding[1]:
        return []
    half = made.channels // 2
    (height, width), (down, along) = made.size, made.stride
    found = []
    for number in range(2):
        part = replace(
            made,
            size=(height, 2 * width),
            channels=half,
            stride=(down, 2 * along),
            padding=(made.padding[0], 2 * made.padding[1] - number),
            dilation=(made.dilation[0], 2 * made.dilation[1]),
        )
        found.append((part, weight[..., number * half : (number + 1) * half]))
    return found if _describable(found) else []


def _by_taps(made: Convolution, weight: Array) -> list[Part]:
    """The first taps along an axis, and those behind them."""
    for axis in range(2):
        taps, most = made.taps[axis], made.padding[axis] // made.dilation[axis]
        first = min(taps // 2, most)
        if first < 1:
            continue
        later = list(made.padding)
        later[axis] -= first * made.dilation[axis]
        cut = [slice(None)] * 4
        found = []
        for begin, end, padding in ((0, first, made.padding), (first, taps, (later[0], later[1]))):
            cut[1 + axis] = slice(begin, end)
            rows = weight[tuple(cut)]
            kept = (rows.shape[1], rows.shape[2])
            found.append((replace(made, taps=kept, padding=padding), np.ascontiguousarray(rows)))
        return found if _describable(found) else []
    return []


def _describable(found: list[Part]) -> bool:
    return all(max(getattr(part, what)) <= most for part, _ in found for what, most in MOST.items())
