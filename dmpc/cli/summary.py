"""What `dmpc compile` prints: layers, products, memories, cycles, advice."""

import math
from collections.abc import Iterator
from typing import Any

from dmpc.analysis.coarse import coarse_thresholds
from dmpc.backend.places import bank_of, section_of, share_of
from dmpc.backend.windows import NEURON, windows_of
from dmpc.cli.activity import Cycles
from dmpc.cli.memory_table import shared_registers
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output, say
from dmpc.compiler import Compiled
from dmpc.lowering import NOTE as FALLBACK
from dmpc.passes.distribute import NOTE as BANKS
from dmpc.passes.spill import Spiller, spilled
from isa.limits import PERIOD
from isa.target import EXTERNAL


def print_summary(compiled: Compiled, cycles: Cycles, path: str, out: Output) -> None:
    """Layers, memories used, cycles per timestep, and what a user should know."""
    out.print(_layers(compiled))
    out.print(_products(compiled))
    out.print(_memories(compiled))
    for item in _external(compiled):
        out.print(item)
    frequency = compiled.image.target.frequency_mhz
    time = f"{cycles.per_timestep / frequency:.2f} us at {frequency:g} MHz"
    if cycles.measured:
        out.print(f"{cycles.per_timestep:.1f} cycles per timestep on {cycles.origin}: {time}")
    else:
        out.print(
            f"about {cycles.per_timestep:.0f} cycles per timestep, a guess: {time}; it was run on "
            f"{cycles.origin}, and data of yours (--calibration) may need more or fewer"
        )
    for line in shared_registers(compiled.graph):
        out.print(line)
    for attribute in (BANKS, FALLBACK):
        if attribute in compiled.graph.attrs:
            out.print(str(compiled.graph.attrs[attribute]))
    out.print(f"scales from {compiled.ranges.origin}")
    if compiled.trained is not None and compiled.trained.agrees:
        out.print(compiled.trained.text)
    if compiled.ranges.origin.startswith("static"):
        kind = "binary events" if compiled.ranges.events else "graded values"
        out.print(
            "note: without --calibration, scales leave room for every possible input, and the "
            f"input is taken for {kind}; a calibration set gives states and membranes precision"
        )
    out.print(f"wrote {path}")
    for warning in _warnings(compiled, cycles):
        say("warning", f"{path}: {warning}")


def _layers(compiled: Compiled) -> Any:
    graph = compiled.layers
    made = table(
        f"{graph.name} on target {compiled.image.target.name}",
        "layer", "inputs", "neurons", "d", "window", "reset", "events in",
    )  # fmt: skip
    for op in graph.ops:
        layer = str(op.attrs["layer"])
        if op.kind == "lif":
            made.add_row(layer, *_layer_row(compiled, op.results[0], layer))
        elif op.results[0] in graph.outputs:
            classes, inputs = graph.types[op.operands[1]].shape
            rate = _rate(compiled, op.operands[0])
            made.add_row("readout", str(inputs), str(classes), "", "", "", rate)
    return made


def _layer_row(compiled: Compiled, spikes: str, layer: str) -> list[str]:
    graph = compiled.layers
    lif = graph.producer(spikes)
    memory = next((o for o in graph.ops if o.kind == "memory" and o.attrs["layer"] == layer), None)
    drive = next(o for o in graph.ops if o.kind == "dense" and o.attrs["layer"] == layer)
    assert lif is not None
    inputs = graph.types[drive.operands[0]].shape[0]
    window = memory.attrs.get("window") if memory else None
    return [
        str(inputs),
        str(graph.types[spikes].shape[0]),
        str(graph.types[memory.operands[0]].shape[0]) if memory else "",
        f"{window:g}" if isinstance(window, float) else "",
        str(lif.attrs["reset_mode"]),
        _rate(compiled, drive.operands[0]),
    ]


def _rate(compiled: Compiled, source: str) -> str:
    """Mean events per timestep of a vector, where a calibration set showed them."""
    active = compiled.ranges.activity.get(source)
    return "" if active is None else f"{active.mean():.1f}"


def _products(compiled: Compiled) -> Any:
    """Where each product runs, and why."""
    made = table("products", "product", "pathway", "bank", "reason", text=4)
    target = compiled.image.target
    for op in compiled.graph.ops:
        if op.kind == "matvec":
            bank = target.bank[bank_of(op, target)].name
            _, share = share_of(op)
            part = "" if share == PERIOD else f", {share}/{PERIOD} of the rows"
            reason = str(op.attrs.get("reason", ""))
            made.add_row(op.results[0], str(op.attrs["path"]), bank + part, reason)
    return made


def _memories(compiled: Compiled) -> Any:
    made = table("memories", "memory", "rows used", "rows", "used", "bits a row")
    used: dict[str, int] = {}
    target = compiled.image.target
    for place in compiled.graph.placement.values():
        if place.memory in target.memories and place.row < target.memories[place.memory].rows:
            used[place.memory] = max(used.get(place.memory, 0), place.row + place.rows)
    for (memory, _), window in windows_of(compiled.graph, target).items():
        for near in NEURON if memory == "neuron" else (memory,):
            used[near] = max(used.get(near, 0), window.at + 2 * window.rows)
    for name, described in target.memories.items():
        rows = used.get(name, 0)
        share = f"{math.ceil(1000 * rows / described.rows) / 10:.1f} %"
        made.add_row(name, str(rows), str(described.rows), share, str(described.row_bits))
    return made


def _external(compiled: Compiled) -> Iterator[Any]:
    """What lives outside the chip, what it costs, and what would avoid that."""
    graph, target = compiled.graph, compiled.image.target
    spill = spilled(graph, target)
    if not (spill.constants or spill.layers):
        return
    made = table("outside the chip", "what", "memory", "rows", "in pieces of", "cycles a timestep")
    transfers = Spiller(graph, target, compiled.ranges.activity, {}).transfers(spill)
    for name, cycles in transfers.items():
        op = next(op for op in graph.ops if name in (*op.operands, *op.results))
        takers = [other for other in graph.ops if op.results[0] in other.operands]
        pieces = (spill.pieces.get(one.results[-1]) for one in (op, *takers))
        size = next((size for size in pieces if size), None)
        groups = f"{size * target.lanes} neurons" if size else "all"
        where = graph.placement[name]
        made.add_row(name, where.memory, str(where.rows), groups, f"{cycles:.1f}")
    yield made
    wanted: dict[str, int] = {}
    for place in graph.placement.values():
        if place.memory in target.memories:
            section, first = section_of(target, place.memory, place.row)
            end = place.row - first + place.rows
            wanted[section] = max(wanted.get(section, 0), end)
    rows = [
        f"{wanted.get(name, 0) + wanted[EXTERNAL + name]} rows of {name}"
        for name in target.memories
        if EXTERNAL + name in wanted
    ]
    yield f"with {', '.join(rows)} everything would stay on the chip"


def _warnings(compiled: Compiled, cycles: Cycles) -> Iterator[str]:
    if compiled.trained is not None and not compiled.trained.agrees:
        yield compiled.trained.text
    for layer, number in coarse_thresholds(compiled.layers, compiled.graph).items():
        yield (
            f"{number} thresholds of {layer} are less than one step of their membranes, "
            "which reach too far for 16 bits; a calibration set would show how far they really go"
        )
    yield from (f"on {cycles.origin}, {item}" for item in cycles.saturated)
