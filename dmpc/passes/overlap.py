"""Overlap: layers work on successive timesteps at the same time."""

from dataclasses import dataclass
from typing import ClassVar

from dmpc.ir.graph import Graph, Op
from dmpc.passes.base import Pass
from isa.limits import STAGE_BITS


@dataclass(frozen=True)
class Overlap(Pass):
    """Gives every op a stage, and each stage the spikes of the stage before through a copy.

    A layer of stage s works on timestep i - s while the first layer works on timestep i, so no unit
    waits for the last neurons of a layer before it starts on the next one. A copy keeps the spikes
    of the timestep before while the earlier layer writes new ones.
    """

    name: ClassVar[str] = "overlap"

    def run(self, graph: Graph) -> Graph:
        """The graph with attribute `stage` and `move` ops; unchanged if stages cannot be told."""
        stages = _stages(graph)
        crossing = _values_cross(graph, stages)
        if crossing or max(stages.values(), default=0) >= 1 << STAGE_BITS:
            return graph
        graph = graph.copy()
        for op in list(graph.ops):
            if op.attrs.get("when") != "end":
                op.attrs["stage"] = stages[op.results[0]]
        for op in list(graph.ops):
            op.operands = tuple(_delayed(graph, op, name, stages) for name in op.operands)
        graph.ops = graph.toposort()
        return graph


def _stages(graph: Graph) -> dict[str, int]:
    """Stage of every value computed in a timestep: how many layers of spikes lie before it.

    Products, delays and slow state go with the neurons of their layer; a count, or what spikes add
    to a state, goes with its spikes.
    """
    stages: dict[str, int] = {}
    by_layer: dict[object, int] = {}
    for op in graph.ops:
        if op.attrs.get("when") == "end":
            continue
        stage = max((stages[n] + _after(graph, op, n) for n in _spikes_read(graph, op)), default=0)
        layer = op.attrs["layer"]
        by_layer[layer] = max(by_layer.get(layer, 0), stage)
        stages.update(dict.fromkeys(op.results, by_layer[layer]))
    for op in graph.ops:
        if op.attrs.get("when") != "end":
            stages.update(dict.fromkeys(op.results, by_layer[op.attrs["layer"]]))
    # A layer's own spikes of the timestep before lie where it puts the next ones.
    stages.update({s.name: stages[s.next] for s in graph.states if _is_event(graph, s.name)})
    return stages


def _after(graph: Graph, op: Op, spikes: str) -> int:
    """How many stages an op comes after events of this timestep that it reads."""
    producer = graph.producer(spikes)
    late = producer is not None and producer.kind == "delay"
    return 0 if late or op.kind in ("count", "jump") else 1


def _is_event(graph: Graph, name: str) -> bool:
    return graph.types[name].dtype == "event"


def _spikes_read(graph: Graph, op: Op) -> list[str]:
    computed = {name for other in graph.ops for name in other.results}
    return [n for n in op.operands if n in computed and _is_event(graph, n)]


def _values_cross(graph: Graph, stages: dict[str, int]) -> bool:
    """True if a value that is no event of this timestep is read in another stage than its own."""
    for op in graph.ops:
        if op.attrs.get("when") == "end":
            continue
        for name in op.operands:
            own = stages.get(name, 0 if name in graph.inputs else None)
            copied = _is_event(graph, name) and graph.state(name) is None
            if own not in (None, stages[op.results[0]]) and not copied:
                return True
    return False


def _delayed(graph: Graph, op: Op, name: str, stages: dict[str, int]) -> str:
    """The name of a value as seen by an op, through one copy for each stage between them."""
    if op.attrs.get("when") == "end" or not _is_event(graph, name):
        return name
    own = stages.get(name, 0)
    wanted = stages[op.results[0]]
    for stage in range(own + 1, wanted + 1):
        copy = f"{name}.stage{stage}"
        if copy not in graph.types:
            attrs = {"layer": op.attrs["layer"], "path": "spike", "stage": stage}
            graph.add(Op("move", (name,), (copy,), attrs, op.loc), graph.types[name])
        name = copy
    return name
