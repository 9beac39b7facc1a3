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
from dmpc.ir.graph import Graph, Op
from dmpc.ir.integer_types import times
from dmpc.ir.ops_convolution import MAPS, PRODUCTS
from dmpc.ir.ops_layers import FIRING, integrator
from dmpc.ir.ops_output import readout_of
from dmpc.lowering import NOTE as FALLBACK
from dmpc.passes.distribute import NOTE as BANKS
from dmpc.passes.spill import Spiller, spilled
from isa.limits import PERIOD
from isa.target import EXTERNAL


def print_summary(compiled: Compiled, cycles: Cycles, path: str, out: Output) -> None:
    """Layers, memories used, cycles per timestep, and what a user should know."""
    for item in _tables(compiled):
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


def summary(compiled: Compiled, cycles: Cycles, path: str) -> dict[str, Any]:
    """The same as plain data."""
    notes = (compiled.graph.attrs.get(name) for name in (BANKS, FALLBACK))
    return {
        "name": compiled.layers.name,
        "target": compiled.image.target.name,
        "image": path,
        "layers": _layers(compiled),
        "products": _products(compiled),
        "memories": _memories(compiled),
        "outside": _outside(compiled),
        "rows_to_stay_on_chip": _rows_to_stay(compiled),
        "cycles": {
            "per_timestep": cycles.per_timestep,
            "measured": cycles.measured,
            "on": cycles.origin,
        },
        "scales": compiled.ranges.origin,
        "notes": [str(note) for note in notes if note],
        "warnings": list(_warnings(compiled, cycles)),
    }


def _layers(compiled: Compiled) -> list[dict[str, Any]]:
    graph = compiled.layers
    found = []
    for op in graph.ops:
        layer = str(op.attrs["layer"])
        if op.kind in FIRING:
            found.append({"layer": layer, **_layer(compiled, op.results[0], layer)})
        elif op.results[0] in graph.outputs:
            read = [product.operands[0] for product in readout_of(graph)]
            classes, inputs = (
                graph.types[op.results[0]].size,
                sum(graph.types[name].size for name in read),
            )
            rates = [rate for name in read if (rate := _rate(compiled, name)) is not None]
            rate = sum(rates) if len(rates) == len(read) else None
            row = {"layer": "readout", "inputs": inputs, "neurons": classes}
            found.append({**row, "d": None, "window": None, "reset": None, "events_in": rate})
    return found


def _charging(graph: Graph, neurons: Op) -> Op:
    """The first product that charges neurons; graph text may call its layer otherwise."""
    made = [integrator(graph, name) or graph.producer(name) for name in neurons.operands[1:]]
    first = next(op for op in made if op is not None and op.kind in (*MAPS, "li"))
    return _charging(graph, first) if first.kind == "li" else first


def _layer(compiled: Compiled, spikes: str, layer: str) -> dict[str, Any]:
    graph = compiled.layers
    lif = graph.producer(spikes)
    memories = [o for o in graph.ops if o.kind == "memory" and o.attrs["layer"] == layer]
    own = (o for o in graph.ops if o.kind in MAPS and o.attrs["layer"] == layer)
    assert lif is not None
    drive = next(own, None) or _charging(graph, lif)
    window = memories[0].attrs.get("window") if len(memories) == 1 else None
    number = times(lif.attrs)
    return {
        "inputs": graph.types[drive.operands[0]].shape[0],
        "neurons": graph.types[lif.results[1]].shape[0],
        "d": sum(graph.types[op.operands[0]].size for op in memories) or None,
        "window": window if isinstance(window, float) else None,
        "reset": f"{lif.attrs['reset_mode']}{f' {number}x' if number > 1 else ''}",
        "events_in": _rate(compiled, drive.operands[0]),
    }


def _rate(compiled: Compiled, source: str) -> float | None:
    """Mean events per timestep of a vector, where a calibration set showed them."""
    active = compiled.ranges.activity.get(source)
    return None if active is None else float(active.mean())


def _products(compiled: Compiled) -> list[dict[str, Any]]:
    """Where each product runs, and why."""
    target, found = compiled.image.target, []
    for op in compiled.graph.ops:
        if op.kind in PRODUCTS:
            row = {"product": op.results[0], "pathway": str(op.attrs["path"])}
            bank, share = target.bank[bank_of(op, target)].name, share_of(op)[1]
            reason = str(op.attrs.get("reason", ""))
            found.append({**row, "bank": bank, "share": share / PERIOD, "reason": reason})
    return found


def _memories(compiled: Compiled) -> list[dict[str, Any]]:
    used: dict[str, int] = {}
    target = compiled.image.target
    for place in compiled.graph.placement.values():
        if place.memory in target.memories and place.row < target.memories[place.memory].rows:
            used[place.memory] = max(used.get(place.memory, 0), place.row + place.rows)
    for (memory, _), window in windows_of(compiled.graph, target).items():
        for near in NEURON if memory == "neuron" else (memory,):
            used[near] = max(used.get(near, 0), window.at + 2 * window.rows)
    return [
        {"memory": name, "used": used.get(name, 0), "rows": m.rows, "bits_a_row": m.row_bits}
        for name, m in target.memories.items()
    ]


def _outside(compiled: Compiled) -> list[dict[str, Any]]:
    """What lives outside the chip, and what it costs."""
    graph, target = compiled.graph, compiled.image.target
    spill = spilled(graph, target)
    if not (spill.constants or spill.layers):
        return []
    found = []
    transfers = Spiller(graph, target, compiled.ranges.activity, {}).transfers(spill)
    for name, cycles in transfers.items():
        op = next(op for op in graph.ops if name in (*op.operands, *op.results))
        takers = [other for other in graph.ops if op.results[0] in other.operands]
        pieces = (spill.pieces.get(one.results[-1]) for one in (op, *takers))
        size = next((size for size in pieces if size), None)
        where = graph.placement[name]
        found.append(
            {
                "what": name,
                "memory": where.memory,
                "rows": where.rows,
                "neurons_a_piece": size * target.lanes if size else None,
                "cycles_a_timestep": cycles,
            }
        )
    return found


def _rows_to_stay(compiled: Compiled) -> dict[str, int]:
    """Rows of each memory with which everything would stay on the chip."""
    graph, target = compiled.graph, compiled.image.target
    wanted: dict[str, int] = {}
    for place in graph.placement.values():
        if place.memory in target.memories:
            section, first = section_of(target, place.memory, place.row)
            end = place.row - first + place.rows
            wanted[section] = max(wanted.get(section, 0), end)
    return {
        name: wanted.get(name, 0) + wanted[EXTERNAL + name]
        for name in target.memories
        if EXTERNAL + name in wanted
    }


# -- tables ---------------------------------------------------------------------------------------


def _tables(compiled: Compiled) -> Iterator[Any]:
    """What is printed of all that."""
    title = f"{compiled.layers.name} on target {compiled.image.target.name}"
    columns = ("layer", "inputs", "neurons", "d", "window", "reset", "events in")
    made = table(title, *columns)
    for row in _layers(compiled):
        *cells, rate = row.values()
        made.add_row(*map(_cell, cells), "" if rate is None else f"{rate:.1f}")
    yield made
    made = table("products", "product", "pathway", "bank", "reason", text=4)
    for row in _products(compiled):
        share = round(row["share"] * PERIOD)
        part = "" if share == PERIOD else f", {share}/{PERIOD} of the rows"
        reason = row["reason"].removesuffix(": their rows only").removesuffix(" of this timestep")
        made.add_row(row["product"], row["pathway"], row["bank"] + part, reason)
    yield made
    made = table("memories", "memory", "rows used", "rows", "used", "bits a row")
    for row in _memories(compiled):
        name, used, rows, bits = row.values()
        share = f"{math.ceil(1000 * used / rows) / 10:.1f} %"
        made.add_row(name, str(used), str(rows), share, str(bits))
    yield made
    outside = _outside(compiled)
    if not outside:
        return
    made = table("outside the chip", "what", "memory", "rows", "in pieces of", "cycles a timestep")
    for row in outside:
        name, memory, rows, piece, cycles = row.values()
        size = f"{piece} neurons" if piece else "all"
        made.add_row(name, memory, str(rows), size, f"{cycles:.1f}")
    yield made
    rows_ = ", ".join(f"{rows} rows of {name}" for name, rows in _rows_to_stay(compiled).items())
    yield f"with {rows_} everything would stay on the chip"


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _warnings(compiled: Compiled, cycles: Cycles) -> Iterator[str]:
    if compiled.trained is not None and not compiled.trained.agrees:
        yield compiled.trained.text
    for layer, number in coarse_thresholds(compiled.layers, compiled.graph).items():
        yield (
            f"{number} thresholds of {layer} are less than one step of their membranes, "
            "which reach too far for 16 bits; a calibration set would show how far they really go"
        )
    yield from (f"on {cycles.origin}, {item}" for item in cycles.saturated)
