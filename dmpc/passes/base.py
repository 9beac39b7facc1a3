"""What a pass is: a frozen dataclass that turns one sound graph into another."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from dmpc.ir.graph import Graph
from dmpc.ir.verify import verify


@dataclass(frozen=True)
class Pass(ABC):
    """A graph transformation.

    `name` is the pass's kebab-case name on the command line, its fields are its options.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, graph: Graph) -> Graph:
        """A new graph; the argument is never changed. Raises CompileError where it cannot."""


Observer = Callable[[str, Graph], None]
"""Called after each pass with its name and the graph that it left."""


def apply(step: Pass, graph: Graph) -> Graph:
    """Run a pass between two verifications; raises VerifyError or what the pass raises."""
    return apply_all([step], graph)


def apply_all(steps: Iterable[Pass], graph: Graph, observe: Observer | None = None) -> Graph:
    """Run passes one after the other; the graph is verified before the first and after each."""
    verify(graph)
    for step in steps:
        graph = step.run(graph)
        verify(graph)
        if observe:
            observe(step.name, graph)
    return graph
