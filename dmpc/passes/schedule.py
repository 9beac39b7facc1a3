"""Scheduling: the instructions of a timestep in order, as assembly lines of the graph."""

from dataclasses import dataclass, field
from typing import ClassVar

from dmpc.backend.lower import lower
from dmpc.ir.graph import Graph
from dmpc.passes.base import Pass
from isa.disassembler import assembly
from isa.target import Target, load_target


@dataclass(frozen=True)
class Schedule(Pass):
    """Orders the ops so that states stay in place, and lists the instructions for `target`."""

    name: ClassVar[str] = "schedule"
    target: Target = field(default_factory=lambda: load_target("paper"))

    def run(self, graph: Graph) -> Graph:
        """The graph with its `listing`."""
        graph = graph.copy()
        graph.level = "scheduled"
        graph.listing = [assembly(item.instruction) for item in lower(graph, self.target)]
        return graph
