"""Graphs as plain data."""

from typing import Any

from dmpc.ir.graph import Graph


def graph_data(graph: Graph) -> dict[str, Any]:
    """Ops, states, constants without their elements, and places of a graph."""
    types = {name: str(kind) for name, kind in graph.types.items()}
    return {
        "name": graph.name,
        "level": graph.level,
        "attrs": dict(graph.attrs),
        "inputs": {name: types[name] for name in graph.inputs},
        "outputs": {name: types[name] for name in graph.outputs},
        "states": {s.name: {"type": types[s.name], "next": s.next} for s in graph.states},
        "constants": {name: types[name] for name in graph.constants},
        "ops": [
            {
                "kind": op.kind,
                "operands": list(op.operands),
                "results": {name: types[name] for name in op.results},
                "attrs": dict(op.attrs),
                "nodes": list(op.loc),
            }
            for op in graph.ops
        ],
        "places": {name: vars(place) for name, place in graph.placement.items()},
    }
