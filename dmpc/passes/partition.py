"""Partition: every op goes to one of the machine's pathways."""

from dataclasses import dataclass
from typing import ClassVar

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.passes.base import Pass

PATHS = ("spike", "memory_a", "memory_b", "update", "neuron", "readout")

_BY_KIND = {
    "scalar_drive": "update",
    "state_update": "update",
    "leak": "neuron",
    "integrate_events": "neuron",
    "integrate_values": "neuron",
    "fire": "neuron",
    "accumulate_logits": "readout",
}


@dataclass(frozen=True)
class Partition(Pass):
    """Products of events go to the spike path, which adds the weight rows of active inputs.

    Products of memory states go to memory path A; those of scalar drives and graded inputs, which
    need multipliers as well, to memory path B.
    """

    name: ClassVar[str] = "partition"

    def run(self, graph: Graph) -> Graph:
        """The graph with attribute `path` on every op."""
        graph = graph.copy()
        graph.level = "partitioned"
        for op in graph.ops:
            op.attrs["path"] = _product_path(graph, op) if op.kind == "matvec" else _other(op)
        return graph


def _other(op: Op) -> str:
    if op.kind not in _BY_KIND:
        raise CompileError(f"no pathway takes {op.kind}", where=", ".join(op.loc))
    return _BY_KIND[op.kind]


def _product_path(graph: Graph, op: Op) -> str:
    source = op.operands[0]
    if graph.types[source].dtype == "event":
        return "spike"
    producer = graph.producer(source)
    held = graph.state(source) is not None or (producer and producer.kind == "state_update")
    return "memory_a" if held else "memory_b"
