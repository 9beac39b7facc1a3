"""Overlap: layers work on successive timesteps at the same time."""

from dataclasses import dataclass
from typing import ClassVar

from dmpc.ir.chains import takes_spikes
from dmpc.ir.graph import Graph, Op
from dmpc.ir.wires import Wires
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
        copies: dict[str, str] = {}
        for op in list(graph.ops):
            op.operands = tuple(_delayed(graph, op, name, stages, copies) for name in op.operands)
        graph.ops = graph.toposort()
        return graph


def _stages(graph: Graph) -> dict[str, int]:
    """Stage of every value computed in a timestep: how many layers of spikes lie before it.

    Products, delays and slow state go with the neurons of their layer; a count, or what spikes add
    to a state, goes with its spikes. Layers that hear of each other in the next timestep work on
    the same one.
    """
    circle = _circles(graph)
    ops = [op for op in graph.ops if op.attrs.get("when") != "end"]
    made = {name: op for op in ops for name in op.results}
    by_circle = dict.fromkeys(circle.values(), 0)
    settled = False
    while not settled:
        settled = True
        for op in ops:
            own = circle[op.attrs["layer"]]
            for name in _spikes_read(graph, op):
                theirs = circle[made[name].attrs["layer"]]
                least = by_circle[theirs] + (_after(graph, op, name) if theirs != own else 0)
                if least > by_circle[own]:
                    by_circle[own], settled = least, False
    stages = {name: by_circle[circle[op.attrs["layer"]]] for name, op in made.items()}
    # What a layer keeps of the timestep before lies where it puts the next.
    stages.update({s.name: stages[s.next] for s in graph.states if s.next in stages})
    return stages


def _circles(graph: Graph) -> dict[object, int]:
    """The number of each layer's circle: layers of which each hears of the others in time."""
    made = {name: op.attrs["layer"] for op in graph.ops for name in op.results}
    made |= {state.name: made[state.next] for state in graph.states if state.next in made}
    flow = Wires[object](dict.fromkeys(made.values()))
    for op in graph.ops:
        for name in op.operands:
            if made.get(name, op.attrs["layer"]) != op.attrs["layer"]:
                flow.wire(made[name], op.attrs["layer"])
    return {layer: number for number, cell in enumerate(flow.cells(list(flow))) for layer in cell}


def _after(graph: Graph, op: Op, spikes: str) -> int:
    """How many stages an op comes after events of this timestep that it reads."""
    producer = graph.producer(spikes)
    late = producer is not None and producer.kind == "delay"
    return 0 if late or op.kind == "count" or takes_spikes(op) else 1


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


def _delayed(
    graph: Graph, op: Op, name: str, stages: dict[str, int], copies: dict[str, str]
) -> str:
    """The name of a value as seen by an op, through one copy for each stage between them."""
    if op.attrs.get("when") == "end" or not _is_event(graph, name):
        return name
    own = stages.get(name, 0)
    wanted = stages[op.results[0]]
    for stage in range(own + 1, wanted + 1):
        if name not in copies:
            copies[name] = graph.fresh(f"{name}.stage{stage}")
            attrs = {"layer": op.attrs["layer"], "path": "spike", "stage": stage}
            graph.add(Op("move", (name,), (copies[name],), attrs, op.loc), graph.types[name])
        name = copies[name]
    return name
