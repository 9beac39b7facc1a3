"""From layers to instructions: the passes in order, and whether a target can hold a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

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

    A readout is counted where that has room, and else a product in every timestep, which a note
    says. Not `exact`, nothing is timed to choose banks. Raises CompileError.
    """
    seen: list[tuple[str, Graph]] = []
    steps = _to_placed(ranges, target, options, exact)
    rest = [step for level, step in steps if rank(level) >= rank(graph.level)]
    try:
        placed = apply_all(rest, graph, lambda name, made: seen.append((name, made)))
    except CompileError as error:
        counted = any(op.kind == "count" for _, made in seen[:1] for op in made.ops)
        if not (counted and options.count_readout and _shortages(error)):
            raise
        try:
            options = replace(options, count_readout=False)
            placed = _placed(graph, ranges, target, options, observe, exact=exact)
        except CompileError:
            raise error from None
        note = f"the readout is a product in every timestep, as {error.message}"
        return replace(placed, attrs={**placed.attrs, NOTE: note})
    if observe:
        for name, made in seen:
            observe(name, made)
    return placed


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
        ("fused", PlaceInMemory(target)),
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
        _sketch(layers, target, options)
    except CompileError as error:
        if _shortages(error):
            raise _with_holder(error, layers, target, options) from error


def _sketch(layers: Graph, target: Target, options: Options) -> None:
    """Place a network as if its numbers were known; raises CompileError."""
    ranges = static_ranges(layers, options.input_range)
    plan = width_plan(target, options.weight_bits, options.widths)
    integer = apply_all([Quantize(target, ranges, plan)], layers)
    _placed(integer, ranges, target, options, exact=False)


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
        _sketch(layers, target, options)
    except CompileError:
        return False
    return True
