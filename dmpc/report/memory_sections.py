"""Sections about a machine's limits and memories."""

from collections.abc import Iterator

import numpy as np

from dmpc.ir.graph import Graph
from dmpc.report import machine_charts, tables
from dmpc.report.collect import Report
from dmpc.report.parts import Chart, Section
from dmpc.report.registers import registers
from runtime.html import details, share, table
from runtime.roofline import lanes_of


def roofline_section(report: Report) -> Section | None:
    """Layers under the roofs of their lanes and ports."""
    if not report.roofline:
        return None
    lanes = lanes_of(report.program.image.target)
    layers = list(dict.fromkeys(point.layer for point in report.roofline))
    points = [
        {
            "layer": p.layer,
            "unit": p.unit,
            "roof": round(p.roof, 4),
            "lanes": p.lanes,
            "intensity": round(p.intensity, 4),
            "reached": p.reached,
            "working": round(p.working, 4),
            "side": "left" if layers.index(p.layer) % 2 else "right",
        }
        for p in report.roofline
    ]
    roofs = [
        {"unit": f"{number} lanes", "lanes": number, "intensity": x, "reached": min(x, number)}
        for number in sorted({lanes[point.unit] for point in report.roofline})
        for x in (0.5, number, 32)
    ]
    chart = Chart(
        "roofline",
        machine_charts.roofline(10 ** np.floor(np.log10(min(p.reached for p in report.roofline)))),
        {"roofline": [tables.columns(points)], "roofs": [tables.columns(roofs)]},
        "Layers under the roofs of their lanes and ports",
    )
    note = (
        "<p>A unit serves a row a cycle and has so many lanes: what a layer reaches on it lies "
        "under both. Slanted, the port bounds; level, the lanes. The distance to the roof is "
        "waiting, and work for other layers.</p>"
    )
    listed = [
        (
            p.layer,
            p.unit,
            f"{p.intensity:.2f}",
            f"{p.reached:.3f}",
            f"{p.working:.2f}",
            f"{p.roof:.2f}",
            share(p.reached, p.roof),
        )
        for p in report.roofline
    ]
    columns = (
        "layer",
        "unit",
        "operations a row",
        "a cycle",
        "while it works",
        "roof",
        "of the roof",
    )
    return Section(
        "roofline",
        "roofline",
        "Roofline",
        (note, chart, table("operations", columns, listed, text=2)),
    )


def memory_section(report: Report) -> Section | None:
    """Rows of each memory by symbol."""
    memories = report.program.image.target.memories
    stretches: dict[tuple[str, int, int], list[str]] = {}
    for stretch in report.memory:  # parameters of neurons share rows
        key = (stretch.memory, stretch.first, stretch.rows)
        stretches.setdefault(key, []).append(stretch.symbol)
    rows = []
    for (memory, first, count), symbols in stretches.items():
        number = memories[memory].rows
        rows.append(
            {
                "memory": memory,
                "symbol": ", ".join(symbols),
                "count": count,
                "layer": symbols[0].partition(".")[0],
                "rows": f"{first} .. {first + count - 1}",
                "all": number,
                "bits": memories[memory].row_bits,
                "since": round(100 * first / number, 3),
                "until": round(100 * (first + count) / number, 3),
            }
        )
    if not rows:
        return None
    chart = Chart(
        "memory", machine_charts.memory(), {"memory": [tables.columns(rows)]}, "Rows by symbol"
    )
    listed = table(
        "memory map",
        ("memory", "symbol", "rows", "count", "of", "bits a row"),
        [(r["memory"], r["symbol"], r["rows"], r["count"], r["all"], r["bits"]) for r in rows],
        text=2,
    )
    over_time = _registers(report.graph) if report.graph else ()
    parts = (chart, details("As a table", listed), *over_time)
    return Section("memory", "memory", "Memory maps", parts)


def _registers(graph: Graph) -> Iterator[str | Chart]:
    """Registers over the ops of a timestep."""
    order, stays = registers(graph)
    if not stays:
        return
    rows = [
        {**vars(stay), "layer": stay.value.partition(".")[0] if "." in stay.value else "network"}
        for stay in stays
    ]
    spec, sets = machine_charts.registers(order), {"registers": [tables.columns(rows)]}
    yield "<h3>Vector registers over a timestep</h3>"
    yield Chart("registers", spec, sets, "Vector registers over a timestep")
    named = ("register", "value", "lives")
    listed = [(stay.register, stay.value, stay.lives) for stay in stays]
    yield details("As a table", table("vector registers", named, listed, text=3))
