"""Partition: every op goes to one of the machine's pathways."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.chains import STAGES
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import PRODUCTS
from dmpc.passes.base import Pass
from dmpc.passes.ranges import Real, unheld

DENSITY = 0.05  # of events whose rate nobody has measured

_BY_KIND = {
    "scalar_drive": "update",
    "state_update": "update",
    "hold": "update",
    "delay": "delay",
    **dict.fromkeys(STAGES, "neuron"),
    "accumulate_logits": "readout",
    "total_logits": "readout",
    "leaky_logits": "readout",
    "following_logits": "readout",
    "collect_logits": "readout",
    "count": "readout",
    "tick": "readout",
}


@dataclass(frozen=True)
class Partition(Pass):
    """Products of events go to the spike path, which adds the weight rows of active inputs.

    Products of memory states go to memory path A; those of scalar drives and graded inputs, which
    need multipliers as well, to memory path B. `activity` holds quantiles of the number of events
    in a timestep, by name of the events.

    With `heterogeneous` stationarity (Sun et al. 2026) events are input-stationary, only the rows
    of active inputs are touched, and values are output-stationary, partial sums stay beside the
    neuron. Without, it is the other way round.
    """

    name: ClassVar[str] = "partition"
    heterogeneous: bool = True
    activity: Mapping[str, Real] = field(default_factory=dict)

    def run(self, graph: Graph) -> Graph:
        """The graph with attribute `path` on every op, and a `reason` on every product."""
        graph = graph.copy()
        graph.level = "partitioned"
        for op in graph.ops:
            if op.kind in PRODUCTS:
                self._product(graph, op)
            elif op.kind in _BY_KIND:
                op.attrs["path"] = _BY_KIND[op.kind]
            else:
                raise CompileError(f"no pathway takes {op.kind}", where=", ".join(op.loc))
        return graph

    def _product(self, graph: Graph, op: Op) -> None:
        source = graph.types[op.operands[0]]
        if source.dtype == "event":
            op.attrs["path"] = "spike"
            active = float(active_inputs(graph, op, self.activity).mean())
            op.attrs["reason"] = f"{active:.1f} of {source.shape[0]} inputs active: their rows only"
        elif _is_state(graph, op.operands[0]):
            op.attrs["path"] = "memory_a"
            op.attrs["reason"] = "a dense product of a state"
        else:
            op.attrs["path"] = "memory_b"
            op.attrs["reason"] = "a dense product of values of this timestep"
        if op.attrs.get("when") != "end":
            events = op.attrs["path"] == "spike"
            op.attrs["stationary"] = "input" if events == self.heterogeneous else "output"


def active_inputs(graph: Graph, op: Op, activity: Mapping[str, Real]) -> Real:
    """Active inputs of a product of events in a timestep: quantiles, or a guess if not measured."""
    source = op.operands[0].split(".stage")[0]
    guess = np.full(1, DENSITY * graph.types[op.operands[0]].shape[0])
    return activity.get(source, guess)


def _is_state(graph: Graph, name: str) -> bool:
    name = unheld(graph, name)
    producer = graph.producer(name)
    return graph.state(name) is not None or (
        producer is not None and producer.kind in ("state_update", "count")
    )
