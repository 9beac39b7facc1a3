"""From layers to instructions: the passes in order, and whether a target can hold a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph
from dmpc.ir.levels import rank
from dmpc.passes.base import Observer, Pass, apply_all
from dmpc.passes.count_readout import CountReadout
from dmpc.passes.fuse import Fuse
from dmpc.passes.overlap import Overlap
from dmpc.passes.partition import Partition
from dmpc.passes.place import SHORTAGES, PlaceInMemory
from dmpc.passes.pool import Pool
from dmpc.passes.quantization.widths import width_plan
from dmpc.passes.quantize import Quantize
from dmpc.passes.ranges import Ranges
from dmpc.passes.schedule import Schedule
from dmpc.passes.static_ranges import static_ranges
from isa.target import Target, load_target, target_names

if TYPE_CHECKING:
    from dmpc.compiler import Options


def from_layers(
    graph: Graph,
    ranges: Ranges | None,
    target: Target,
    options: Options,
    observe: Observer | None = None,
) -> Graph:
    """The scheduled graph, from one at any level from layers on."""
    steps = [*_before_placement(ranges, target, options), ("fused", PlaceInMemory(target))]
    steps.append(("placed", Schedule(target)))
    rest = [step for level, step in steps if rank(level) >= rank(graph.level)]
    try:
        return apply_all(rest, graph, observe)
    except CompileError as error:
        raise _with_holder(error, graph, target, options) from error


def _before_placement(
    ranges: Ranges | None, target: Target, options: Options
) -> list[tuple[str, Pass]]:
    """Passes from layers to what is placed, each with the level that it takes."""
    activity = ranges.activity if ranges else {}
    stationarity, balance = options.heterogeneous_stationarity, options.balance
    partition = Partition(stationarity, balance, target, activity)
    plan = width_plan(target, options.weight_bits, options.widths)
    steps: list[tuple[str, Pass]] = [("layers", Quantize(target, ranges, plan))]
    if options.count_readout:
        steps.append(("integer", CountReadout(target)))
    steps += [
        ("integer", partition),
        ("partitioned", Pool(target, activity)),
    ]
    if options.overlap:
        steps.append(("partitioned", Overlap()))
    return [*steps, ("partitioned", Fuse(options.fusion))]


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
        fused = _sketch(layers, target, options)
    except CompileError:
        return
    try:
        PlaceInMemory(target).shortage(fused)
    except CompileError as error:
        raise _with_holder(error, layers, target, options) from error


def _sketch(layers: Graph, target: Target, options: Options) -> Graph:
    """A network that is ready to be placed, but for its numbers."""
    ranges = static_ranges(layers, options.input_range)
    steps = _before_placement(ranges, target, replace(options, balance=False))
    return apply_all([step for _, step in steps], layers)


def _with_holder(
    error: CompileError, graph: Graph, target: Target, options: Options
) -> CompileError:
    """The error with the name of the smallest shipped target that holds the network, if it is that
    this one does not."""
    full = [one for one in error.every if one.rule in SHORTAGES]
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
        PlaceInMemory(target).run(_sketch(layers, target, options))
    except CompileError:
        return False
    return True
