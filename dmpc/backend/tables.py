"""Memory contents: a placed graph's constants in the layout that the instructions read."""

import numpy as np
from numpy.typing import NDArray

from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import op_def
from isa.parameters import Parameters
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
    if op.kind == "matvec":
        name = op.operands[1]
        tables = [(name, columns_by_group(graph.constants[name], target.lanes))]
    elif op.kind == "scalar_drive":
        name = op.operands[1]
        tables = [(name, graph.constants[name][:, None])]
    elif op.kind == "state_update":
        a, b = (graph.constants[name] for name in op.operands[2:4])
        both = np.concatenate([a, b[:, None]], axis=1)
        tables = [(op.operands[2], columns_by_group(both, target.update.lanes))]
    else:
        name = next(name for name in op.operands if name in graph.constants)
        tables = [(name, _parameters(graph, op, target.lanes))]
    return [(graph.placement[n].memory, graph.placement[n].row, table) for n, table in tables]


def columns_by_group(matrix: Table, lanes: int) -> Table:
    """Rows for a matrix [n, m]: for each group of `lanes` of its n, one row per column.

    The last group is filled up with zeros.
    """
    n, m = matrix.shape
    groups = -(-n // lanes)
    padded = np.zeros((groups * lanes, m), np.int64)
    padded[:n] = matrix
    return padded.reshape(groups, lanes, m).transpose(0, 2, 1).reshape(groups * m, lanes)


def _parameters(graph: Graph, op: Op, lanes: int) -> Table:
    """Packed parameters [groups, lanes]; neurons that only fill a group can never fire."""
    bound = op_def(op.kind).bind(op.operands, op.attrs)
    size = graph.types[op.operands[0]].shape[0]
    padded = -(-size // lanes) * lanes

    def column(slot: str, filler: int) -> Table:
        values = np.full(padded, filler, np.int64)
        for name in bound.get(slot, ()):
            values[:size] = graph.constants[name]
        return values

    packed = Parameters(
        threshold=column("threshold", (1 << 15) - 1),
        bias=column("bias", 0),
        reset=column("reset", 0),
        leak=column("beta", 0),
        shift=column("shift", 0),
    ).pack()
    return packed.reshape(-1, lanes)
