"""Memory contents: a placed graph's constants in the layout that the instructions read."""

import numpy as np
from numpy.typing import NDArray

from dmpc.backend.places import PARAMETERS, PARAMETRIC, parameters_of, share_of
from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import op_def
from isa.parameters import Parameters
from isa.sharing import PERIOD, row_table, rows_per_group
from isa.target import Target

Table = NDArray[np.int64]


def memory_tables(graph: Graph, target: Target) -> dict[str, NDArray[np.signedinteger]]:
    """The loaded rows [rows, lanes] of each memory that holds constants of the graph."""
    parts: dict[str, dict[int, Table]] = {}
    for op in graph.ops:
        for memory, row, table in _tables(graph, op, target):
            parts.setdefault(memory, {})[row] = table
    return {
        memory: np.concatenate([tables[row] for row in sorted(tables)]).astype(
            target.memories[memory].dtype
        )
        for memory, tables in parts.items()
    }


def _tables(graph: Graph, op: Op, target: Target) -> list[tuple[str, int, Table]]:
    """Tables of an op with the place of each: (memory, first row, rows [rows, lanes])."""
    tables: list[tuple[str, Table]] = []
    if op.kind == "matvec":
        name = op.operands[1]
        tables = [(name, product_rows(graph.constants[name], target.lanes, *share_of(op)))]
    elif op.kind == "scalar_drive":
        name = op.operands[1]
        tables = [(name, graph.constants[name][:, None])]
    elif op.kind == "delay":
        name = op.operands[2]
        tables = [(name, graph.constants[name][:, None].astype(np.int64))]
    elif op.kind == "state_update":
        a, b = (graph.constants[name] for name in op.operands[2:4])
        both = np.concatenate([a, b[:, None]], axis=1)
        tables = [(op.operands[2], product_rows(both, target.update.lanes))]
    elif op.kind in PARAMETRIC:
        name = parameters_of(graph, op)[0]
        tables = [(name, _parameters(graph, op, target.lanes))]
    return [(graph.placement[n].memory, graph.placement[n].row, table) for n, table in tables]


def product_rows(matrix: Table, lanes: int, first: int = 0, share: int = PERIOD) -> Table:
    """Rows of a bank for a matrix [n, m], or for a share of it; see `isa.sharing`.

    For each group of `lanes` of its n, one row per column that lies here; the rest are zeros.
    """
    n, m = matrix.shape
    groups = -(-n // lanes)
    padded = np.zeros((groups * lanes, m), np.int64)
    padded[:n] = matrix
    columns = padded.reshape(groups, lanes, m).transpose(0, 2, 1)
    where = row_table(m, groups, first, share)
    rows = np.zeros((groups * rows_per_group(m, share), lanes), np.int64)
    rows[where[where >= 0]] = columns[where >= 0]
    return rows


def _parameters(graph: Graph, op: Op, lanes: int) -> Table:
    """Packed parameters [groups, lanes] of a layer; neurons that only fill a group never fire."""
    size = graph.types[op.results[-1]].shape[0]
    padded = -(-size // lanes) * lanes
    columns = {
        name: np.full(padded, filler, np.int64)
        for name, filler in {**dict.fromkeys(PARAMETERS, 0), "threshold": (1 << 15) - 1}.items()
    }
    for other in graph.ops:
        if other.attrs["layer"] == op.attrs["layer"] and other.kind in PARAMETRIC:
            bound = op_def(other.kind).bind(other.operands)
            for slot in PARAMETERS:
                for name in bound.get(slot, ()):
                    columns[slot][:size] = graph.constants[name]
    columns["leak"] = columns.pop("beta")
    return Parameters(**columns).pack().reshape(-1, lanes)
