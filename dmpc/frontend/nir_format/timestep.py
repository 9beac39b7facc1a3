"""Whether a timestep fits a file: neurons that hardly charge, or forget everything at once."""

from dataclasses import dataclass, field

import numpy as np

from dmpc.findings import finding, tell
from dmpc.frontend.nir_format.network import Node
from dmpc.frontend.nir_format.neurons import Neuron, Timing
from dmpc.frontend.nir_format.rules import TIMESTEP
from dmpc.ir.graph import Array, Graph
from dmpc.ir.ops_convolution import Convolution

LONGEST, SHORTEST = 1e4, 0.1  # time constants that networks are trained with, in timesteps
SLOWEST = 1e3  # timesteps from rest to the threshold, every input active
FASTEST = 1e-3  # thresholds that one input event may overcome at once


@dataclass
class Pace:
    """Gathers what is odd about the pace of a file's neurons, to be told once."""

    timing: Timing
    where: str
    odd: dict[str, str] = field(default_factory=dict)  # by node

    def look(self, node: Node, made: Neuron, graph: Graph, current: str) -> None:
        """Look at neurons that are charged by a value of the graph."""
        name = "tau_mem" if "tau_mem" in node.parameters else "tau"
        if name in node.parameters:
            steps = node.parameters[name] / self.timing.dt
            if steps.min() > LONGEST or steps.max() < SHORTEST:
                self.odd[node.name] = f"{name} is {steps.flat[0]:.4g} timesteps"
                return
        most, one = _strongest(graph, current)
        charge, jump = (made.gain * value for value in (most, one))
        wanted = np.maximum(made.threshold, 0)
        if np.all(wanted > SLOWEST * charge) and wanted.any():
            need = np.min(wanted / np.maximum(charge, np.finfo(float).tiny))
            self.odd[node.name] = f"even with all inputs active, no neuron fires within {need:.3g}"
            self.odd[node.name] += " timesteps"
        elif np.all(jump * FASTEST > wanted) and wanted.any():
            times = np.min(jump / np.maximum(wanted, np.finfo(float).tiny))
            self.odd[node.name] = f"one input event overcomes the threshold {times:.3g} times over"

    def tell(self) -> None:
        """Tell of the first odd node, and of how many there are."""
        if not self.odd:
            return
        (first, what), *rest = self.odd.items()
        others = f", and {len(rest)} more" if rest else ""
        tell(
            finding(
                TIMESTEP,
                where=f"{self.where}: node '{first}'{others}",
                nodes=tuple(self.odd),
                what=what,
                dt=self.timing.dt,
            )
        )


def _strongest(graph: Graph, value: str) -> tuple[Array, Array]:
    """The largest that a value can be, and the largest that one event adds to it.

    Values are linear maps of events, 0 or 1: of the input, of spikes, of delayed events.
    """
    op, types = graph.producer(value), graph.types
    if value in graph.constants:
        constant = graph.constants[value].reshape(-1)
        return constant, np.zeros_like(constant)
    if op is None or op.kind == "cast":
        return np.ones(types[value].size), np.ones(types[value].size)
    weight = next((graph.constants[name] for name in op.operands if name in graph.constants), None)
    if op.kind == "matmul" and weight is not None:
        most, one = _strongest(graph, op.operands[0])
        positive = np.maximum(weight, 0)
        return positive @ np.maximum(most, 0), (positive * one).max(axis=1)
    if op.kind == "conv" and weight is not None:
        most, one = _strongest(graph, op.operands[0])
        made, positive = Convolution.of(op.attrs, weight.shape), np.maximum(weight, 0)
        each = positive.reshape(len(positive), -1).max(axis=1) * one.max()
        return made.apply(np.maximum(most, 0), positive), made.spread(each)
    found = [_strongest(graph, name) for name in op.operands]
    if op.kind == "add":
        (most, one), (more, other) = found
        return most + more, np.maximum(one, other)
    if op.kind == "mul":
        factor = next(f for f, o in zip(found, op.operands, strict=True) if o in graph.constants)
        (rest,) = (f for f in found if f is not factor)
        return np.abs(factor[0]) * rest[0], np.abs(factor[0]) * rest[1]
    return np.ones(types[value].size), np.ones(types[value].size)
