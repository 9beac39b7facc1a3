"""Sections about the machine: what bounds it, its schedule, where cycles and energy go."""

from collections.abc import Iterator
from typing import Any

from dmpc.report import charts, tables
from dmpc.report.collect import Report
from dmpc.report.network import drawing
from dmpc.report.parts import Chart, Section
from runtime.bounds import WAITS
from runtime.html import details, escape, share, table
from runtime.profile import Spent

SHARED = (
    "Units work at the same time: the busiest of those that work much for a layer bounds it, "
    "whoever else keeps it busy."
)
LEAST = 0.0005
"""A part of all energy that is too small to draw."""


def bounds_section(report: Report) -> Section:
    """Which unit bounds each layer, and what saturated."""
    items = "".join(
        f"<li><b>{escape(bound.layer)}</b><br>{escape(bound.text)}</li>"
        for bound in report.profile.bounds
    )
    saturated = "".join(
        f"<p>{escape(item)}: {escape(item.advice)}</p>" for item in report.result.saturated
    )
    return Section(
        "bounds",
        "bounds",
        "What bounds each layer",
        (
            f"<p>{SHARED}</p>",
            f'<ul class="bounds">{items}</ul>{saturated}',
        ),
    )


def network_section(report: Report) -> Section | None:
    """The network's ops by pathway; nothing of an image without a graph."""
    if report.graph is None:
        return None
    drawn = drawing(report.graph, report.program.image.target)
    at = {node.name: node for node in drawn.nodes}
    nodes = [
        {
            "name": n.name,
            "short": n.name.rpartition(".stage")[0] or n.name,
            "kind": n.kind,
            "layer": n.layer,
            "path": n.path,
            "size": n.size,
            "bank": n.bank,
            "reason": n.reason,
            "nodes": ", ".join(n.nodes),
            "x": n.column,
            "y": n.row,
        }
        for n in drawn.nodes
    ]
    edges = [
        {
            "x": at[a].column,
            "y": at[a].row,
            "x2": at[b].column,
            "y2": at[b].row,
            "kind": kind,
        }
        for kind, pairs in (("now", drawn.edges), ("next timestep", drawn.carried))
        for a, b in pairs
    ]
    chart = Chart(
        "network",
        charts.network(max(n.column for n in drawn.nodes) + 1),
        {"nodes": [tables.columns(nodes)], "edges": [tables.columns(edges)] if edges else []},
        "Ops of the network by pathway",
    )
    rows = [
        (n.name, n.kind, n.layer, n.path, n.bank, n.size, ", ".join(n.nodes)) for n in drawn.nodes
    ]
    listed = table("ops", ("op", "kind", "layer", "pathway", "bank", "size", "nodes"), rows, text=7)
    note = "<p>Ops by pathway; dashed lines carry a value to the next timestep.</p>"
    return Section("network", "network", "Network", (note, chart, details("All ops", listed)))


def schedule_section(report: Report) -> Section:
    """What every unit did in one timestep."""
    step, lines = report.timestep, report.profile.lines
    layers = [name for name, spent in report.profile.layers.items() if spent.busy]
    units = sorted({item.unit for item in step.intervals} | {span.unit for span in step.spans})
    chart = Chart(
        "timeline",
        charts.timeline(units, layers, step.last - step.first),
        {"timeline": tables.timeline(report)},
        f"What every unit did in timestep {step.number}",
    )
    rows = []
    for span in step.spans:
        line, times = lines[span.pc], (span.issued, span.start, span.end)
        cells = (line.unit, line.layer, line.text, ", ".join(line.nodes), span.pc)
        rows.append((*cells, *(time - step.first for time in times)))
    columns = ("unit", "layer", "instruction", "nodes", "pc", "issued", "start", "end")
    bars = "High bars are work, low ones waiting, with its cause."
    if tables.is_coarse(report):
        bars = "Bars are instructions from start to end; too much happens to draw every wait."
    note = (
        f"<p>Timestep {step.number} of sample {report.traced}, in cycles. {bars} Focus the chart: "
        "<b>+</b> and <b>-</b> zoom, arrows move, <b>0</b> shows all; so do the wheel, a double "
        "click and dragging.</p>"
    )
    listed = table(f"timestep {step.number}", columns, rows, text=4)
    return Section("schedule", "schedule", "Schedule", (note, chart, details("As a table", listed)))


def units_section(report: Report) -> Section:
    """What units spent all cycles on."""
    found = report.profile
    parts, rows = [], []
    for unit, spent in found.units.items():
        told = {"busy": spent.busy, **{cause: spent.stalls.get(cause, 0) for cause in WAITS}}
        told["idle"] = found.cycles - sum(told.values())
        rows.append((unit, *(share(number, found.cycles) for number in told.values())))
        parts += [
            {
                "unit": unit,
                "part": part,
                "amount": number,
                "order": order,
                "most": 100,
                "share": round(100 * number / found.cycles, 3),
            }
            for order, (part, number) in enumerate(told.items())
            if number
        ]
    order = ["busy", *WAITS, "idle"]
    spec = charts.shares("units", "unit", "part", order, "per cent of all cycles")
    chart = Chart("units", spec, {"units": [tables.columns(parts)]}, "What units spent cycles on")
    causes = "".join(f"<li><b>{cause}</b>: waits {words}</li>" for cause, words in WAITS.items())
    listed = table("units", ("unit", *order), rows)
    return Section("units", "units", "Units", (chart, f"<ul>{causes}</ul>", listed))


def where_section(report: Report) -> Section:
    """Cycles, accesses and energy by layer, op, memory and instruction."""
    found = report.profile
    whole = found.spent.energy + found.idle
    by_layer = []
    for layer in found.layers:
        ops: dict[str, float] = {}
        for line in found.lines:
            if line.layer == layer and line.spent.energy:
                ops[line.op] = ops.get(line.op, 0.0) + line.spent.energy
        for order, (op, spent) in enumerate(sorted(ops.items(), key=lambda item: -item[1])):
            if spent > LEAST * whole:
                by_layer.append(_energy(layer, op, spent, whole, order))
    by_layer.append(_energy("clock", "clock", found.idle, whole, 0))
    most = max(
        sum(row["share"] for row in by_layer if row["of"] == name)
        for name in {row["of"] for row in by_layer}
    )
    rows = [{**row, "most": most} for row in by_layer]
    spec = charts.shares("energy", "of", "part", [], "per cent of the energy, by op")
    spec["layer"][0]["encoding"]["color"]["legend"] = None
    chart = Chart("energy", spec, {"energy": [tables.columns(rows)]}, "Energy by layer and op")
    return Section(
        "energy", "energy", "Cycles, accesses and energy", (chart, *_where_tables(report))
    )


def _energy(of: str, part: str, spent: float, whole: float, order: int) -> dict[str, Any]:
    return {
        "of": of,
        "part": part,
        "share": round(100 * spent / whole, 3),
        "order": order,
        "amount": f"{spent / 1000:.4g} nJ",
    }


def _where_tables(report: Report) -> Iterator[str]:
    found, steps = report.profile, report.profile.timesteps
    whole = found.spent.energy + found.idle

    def row(name: str, spent: Spent) -> tuple[str, ...]:
        numbers = (spent.busy / steps, spent.rows / steps, spent.operations / steps)
        return (name, *(f"{n:,.1f}" for n in numbers), share(spent.energy, whole))

    columns = ("busy", "rows", "operations", "energy")
    for title, what, parts in (("by layer", "layer", found.layers), ("by op", "op", found.ops)):
        told = [row(name, spent) for name, spent in parts.items() if spent.busy]
        yield table(f"{title}, of a timestep", (what, *columns), told)
    waits = [
        (layer, *(f"{spent.stalls.get(cause, 0) / steps:,.1f}" for cause in WAITS))
        for layer, spent in found.layers.items()
        if spent.stalls
    ]
    yield table("waiting of its units by cause, cycles of a timestep", ("layer", *WAITS), waits)
    memories = report.result.energy.by_memory
    by_memory = [
        (
            name,
            f"{of['reads'] / steps:,.1f}",
            f"{of['writes'] / steps:,.1f}",
            share(memories.get(name, 0), whole),
        )
        for name, of in found.spent.accesses.items()
    ]
    yield table("by memory, of a timestep", ("memory", "reads", "writes", "energy"), by_memory)
    listed = [
        (line.text, line.layer, line.op, ", ".join(line.nodes), line.pc, *row("", line.spent)[1:])
        for line in found.lines
    ]
    named = ("instruction", "layer", "op", "nodes", "pc", *columns)
    yield details("By instruction", table("of a timestep", named, listed, text=4))
