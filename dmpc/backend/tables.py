"""Memory contents: a placed graph's constants in the layout that the instructions read."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dmpc.backend.places import START, layer_blocks, layout_of, records_of, section_of, starts_of
from dmpc.backend.windows import Pages, is_external, tiles_of, windows_of
from dmpc.ir.chains import NEURONS
from dmpc.ir.drives import columns
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_neurons import FIELD_OF
from isa.layout import Layout, coefficients
from isa.parameters import FIELDS, Parameters, as_bias
from isa.target import EXTERNAL, Memory, Target

Table = NDArray[np.int64]


def memory_tables(graph: Graph, target: Target) -> dict[str, NDArray[np.signedinteger]]:
    """The loaded rows [rows, lanes] of each memory that holds constants of the graph."""
    parts: dict[str, dict[int, Table]] = {}
    for op in graph.ops:
        for memory, row, table in _tables(graph, op, target):
            section, first = section_of(target, memory, row)
            parts.setdefault(section, {})[row - first] = table
    least = {EXTERNAL + "parameter": max(map(_end_of_pages(graph, target), graph.ops), default=0)}
    return {
        name: _laid_out(tables, target.loadable[name], least.get(name, 0))
        for name, tables in sorted(parts.items())
    }


def _end_of_pages(graph: Graph, target: Target) -> Callable[[Op], int]:
    """The row in which the pages of an op's external neurons end; 0 if it has none."""

    pages = windows_of(graph, target)

    def end(op: Op) -> int:
        place = graph.placement.get(op.results[-1])
        if place is None or place.memory != "neuron" or place.row < target.neuron.rows:
            return 0
        return Pages.far(graph, op, pages["neuron", 0].rows).end - target.neuron.rows

    return end


def _laid_out(tables: dict[int, Table], memory: Memory, least: int) -> NDArray[np.signedinteger]:
    """Tables by first row as one of at least so many rows, zero between them."""
    rows = max(least, *(row + len(table) for row, table in tables.items()))
    made = np.zeros((rows, memory.lanes), memory.dtype)
    for row, table in tables.items():
        made[row : row + len(table)] = table
    return made


def _tables(graph: Graph, op: Op, target: Target) -> list[tuple[str, int, Table]]:
    """Tables of an op with the place of each: (memory, first row, rows [rows, lanes])."""
    tables: list[tuple[str, Table]] = []
    if op.kind == "matvec":
        name = op.operands[1]
        layout = layout_of(graph, op, target)
        tables = [(name, product_rows(graph.constants[name], target.lanes, layout))]
    elif op.kind == "convolve":
        name = op.operands[1]
        tables = [(name, kernel_rows(graph.constants[name], target.lanes))]
    elif op.kind == "scalar_drive":
        name = op.operands[1]
        tables = [(name, graph.constants[name][:, None])]
    elif op.kind == "delay":
        name = op.operands[2]
        tables = [(name, graph.constants[name][:, None].astype(np.int64))]
    elif op.kind == "state_update":
        a, b = (graph.constants[name] for name in op.operands[2:4])
        both = np.concatenate([a, columns(b)], axis=1)
        layout = coefficients(len(a), target.update.lanes, columns(b).shape[1])
        tables = [(op.operands[2], product_rows(both, target.update.lanes, layout))]
    elif op.kind in NEURONS and is_external(graph, target, op.results[-1]):
        return [_far_records(graph, op, target)]
    elif records := [record for record in records_of(graph, op) if record]:
        states = [_parameters(graph, op, record, target.lanes) for record in records]
        pieces = [
            one[tile.start : tile.start + tile.groups]
            for tile in tiles_of(graph, op)
            for one in states
        ]
        tables = [(next(iter(records[0].values())), np.concatenate(pieces))]
        for init in starts_of(graph, op).values():
            tables.append((init, _parameters(graph, op, {START: init}, target.lanes)))
    return [(graph.placement[n].memory, graph.placement[n].row, table) for n, table in tables]


def _far_records(graph: Graph, op: Op, target: Target) -> tuple[str, int, Table]:
    """The parameters of a layer outside the chip, page by page."""
    far = Pages.far(graph, op, windows_of(graph, target)["neuron", 0].rows)
    blocks = layer_blocks(graph, op.attrs["layer"])
    every = [_parameters(graph, op, record, target.lanes) for _, record in blocks]
    made = np.zeros((far.end - far.base, target.lanes), np.int64)
    for tile in tiles_of(graph, op):
        for number, table in enumerate(every):
            row = far.row(tile, far.base + number * far.groups) - far.base
            made[row : row + tile.groups] = table[tile.start : tile.start + tile.groups]
    return "parameter", far.base, made


def product_rows(matrix: Table, lanes: int, layout: Layout) -> Table:
    """Rows of a bank for a matrix [n, m], as its layout has them.

    For each group of `lanes` of its n, one row per column that lies here; the rest are zeros.
    """
    n, m = matrix.shape
    padded = np.zeros((layout.groups * lanes, m), np.int64)
    padded[:n] = matrix
    columns = padded.reshape(layout.groups, lanes, m).transpose(0, 2, 1)
    if layout.whole:
        return columns.reshape(-1, lanes)
    where = layout.table()
    rows = np.zeros((layout.rows, lanes), np.int64)
    rows[where[where >= 0]] = columns[where >= 0]
    return rows


def kernel_rows(weight: Table, lanes: int) -> Table:
    """Rows of a bank for a kernel [outputs, y, x, channels], by `lanes` outputs and tap."""
    outputs = weight.shape[0]
    blocks = weight.astype(np.int64).reshape(outputs // lanes, lanes, -1)
    return blocks.transpose(0, 2, 1).reshape(-1, lanes)


def _parameters(graph: Graph, op: Op, record: dict[str, str], lanes: int) -> Table:
    """Packed parameters [groups, lanes] of a state; neurons that only fill a group never fire."""
    size = graph.types[op.results[-1]].shape[0]
    padded = -(-size // lanes) * lanes
    columns = {name: np.zeros(padded, np.int64) for name, _ in FIELDS}
    if "coupling" not in record:
        columns["threshold"][:] = (1 << 15) - 1
    for slot, name in record.items():
        value, field = graph.constants[name], FIELD_OF.get(slot, slot)
        if slot == START:
            value, columns["shift"][:size] = as_bias(value)
            field = "bias"
        columns[field][:size] = value
    return Parameters(**columns).pack().reshape(-1, lanes)
