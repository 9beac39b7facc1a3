"""From layers to instructions: the passes in order, and whether a target can hold a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dmpc.errors import CompileError, DmpcError
from dmpc.ir.graph import Graph
from dmpc.ir.levels import rank
from dmpc.passes.base import Observer, Pass, apply_all
from dmpc.passes.count_readout import CountReadout
from dmpc.passes.distribute import Distribute
from dmpc.passes.fuse import Fuse
from dmpc.passes.overlap import Overlap
from dmpc.passes.partition import Partition
from dmpc.passes.place import SHORTAGES, PlaceInMemory
from dmpc.passes.quantization.widths import width_plan
from dmpc.passes.quantize import Quantize
from dmpc.passes.ranges import Ranges
from dmpc.passes.schedule import Schedule
from dmpc.passes.static_ranges import static_ranges
from isa.target import Target, load_target, target_names

if TYPE_CHECKING:
    from dmpc.compiler import Options


CONCESSIONS = ((), ("count_readout",), ("overlap",), ("count_readout", "overlap"))
TOLD = {
    "count_readout": "the readout is a product in every timestep",
    "overlap": "layers work one after the other",
}
"""Options that are given up for want of room, in this order, and what a user is told of each."""

NOTE = "note"
"""The attribute of a graph that tells a user what was done for want of room."""


def from_layers(
    graph: Graph,
    ranges: Ranges | None,
    target: Target,
    options: Options,
    observe: Observer | None = None,
) -> Graph:
    """The scheduled graph, from one at any level from layers on."""
    if rank(graph.level) < rank("integer"):
        plan = width_plan(target, options.weight_bits, options.widths)
        integer = apply_all([Quantize(target, ranges, plan)], graph, observe)
    else:
        integer = graph
    try:
        placed = _placed(integer, ranges, target, options, observe)
    except CompileError as error:
        raise _with_holder(error, graph, target, options) from error
    return apply_all([Schedule(target)] if placed.level == "placed" else [], placed, observe)


def _placed(
    graph: Graph,
    ranges: Ranges | None,
    target: Target,
    options: Options,
    observe: Observer | None = None,
    *,
    exact: bool = True,
) -> Graph:
    """The placed graph of one at any level from integer on.

    Where it has no room, first what costs least is given up, which a note says: counts of a
    readout, the overlap of layers, both. Not `exact`, nothing is timed to choose banks. Raises
    CompileError, of the network as it was asked for.
    """
    first: CompileError | None = None
    for given_up in CONCESSIONS:
        if not all(getattr(options, name) for name in given_up):
            continue
        changed: dict[str, Any] = dict.fromkeys(given_up, False)
        steps = _to_placed(ranges, target, replace(options, **changed), exact)
        rest = [step for level, step in steps if rank(level) >= rank(graph.level)]
        seen = _Seen()
        try:
            placed = apply_all(rest, graph, seen)
        except CompileError as error:
            first = first or error
            if not _shortages(error):
                break
            continue
        for name, made in seen.graphs if observe else ():
            assert observe
            observe(name, made)
        if first is None:
            return placed
        told = " and ".join(TOLD[name] for name in given_up)
        return replace(placed, attrs={**placed.attrs, NOTE: f"{told}, as {first.message}"})
    assert first
    raise first


class _Seen:
    """An observer that keeps what passes leave, until it is known whether they all go through."""

    def __init__(self) -> None:
        self.graphs: list[tuple[str, Graph]] = []

    def __call__(self, name: str, graph: Graph) -> None:
        self.graphs.append((name, graph))


def _shortages(error: CompileError) -> list[DmpcError]:
    """Those of the errors found that say that something has no room."""
    return [one for one in error.every if one.rule in SHORTAGES]


def _to_placed(
    ranges: Ranges | None, target: Target, options: Options, exact: bool
) -> list[tuple[str, Pass]]:
    """Passes from integers to placement, each with the level that it takes."""
    activity = ranges.activity if ranges else {}
    distribute = Distribute(
        target,
        activity,
        ranges.examples if ranges else None,
        objective=options.optimise,
        dedicated=not options.balance,
        exact=exact,
    )
    return [
        *([("integer", CountReadout(target))] if options.count_readout else []),
        ("integer", Partition(options.heterogeneous_stationarity, activity)),
        *([("partitioned", Overlap())] if options.overlap else []),
        ("partitioned", Fuse(options.fusion)),
        ("fused", distribute),
        ("fused", PlaceInMemory(target, activity)),
    ]


def check_size(layers: Graph, target: Target, options: Options) -> None:
    """Refuse a large network that cannot fit a target before much is computed of it.

    Sizes do not depend on the numbers: the weights' own ranges serve. What else is wrong with the
    layers is left for those who look for it. Raises CompileError.
    """
    lanes, smallest = target.lanes, min(bank.rows for bank in target.bank)
    shapes = [layers.types[op.operands[1]].shape for op in layers.ops if op.kind == "dense"]
    if sum(-(-neurons // lanes) * inputs for neurons, inputs in shapes) <= smallest:
        return  # compiled as soon as this is answered
    try:
        sketch(layers, target, options)
    except CompileError as error:
        if _shortages(error):
            raise _with_holder(error, layers, target, options) from error


def sketch(layers: Graph, target: Target, options: Options) -> Graph:
    """A network placed as if its numbers were known; raises CompileError."""
    ranges = static_ranges(layers, options.input_range, sizes=True)
    plan = width_plan(target, options.weight_bits, options.widths)
    integer = apply_all([Quantize(target, ranges, plan)], layers)
    return _placed(integer, ranges, target, options, exact=False)


def _with_holder(
    error: CompileError, graph: Graph, target: Target, options: Options
) -> CompileError:
    """The error with the name of the smallest shipped target that holds the network, if it is that
    this one does not."""
    full = _shortages(error)
    if not full or graph.level != "layers":
        return error
    others = [one for one in map(load_target, target_names()) if one != target]
    others.sort(key=lambda one: sum(m.rows * m.lanes * m.bits for m in one.memories.values()))
    holder = next((one.name for one in others if _holds(one, graph, options)), None)
    for one in full:
        one.hint += (
            f"; target '{holder}' holds this network"
            if holder
            else "; no target that ships holds this network"
        )
    return error


def _holds(target: Target, layers: Graph, options: Options) -> bool:
    try:
        sketch(layers, target, options)
    except CompileError:
        return False
    return True
