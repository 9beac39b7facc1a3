"""Vector registers over a timestep: which values lie in them, from which op to which."""

from dataclasses import dataclass

from dmpc.backend.order import execution_order
from dmpc.backend.places import REGISTERS
from dmpc.ir.graph import Graph

INPUT = "input"


@dataclass(frozen=True)
class Stay:
    """A value in a register, from before the op at `since` is done until after that at `until`."""

    register: str
    value: str
    since: int
    until: int
    lives: str


def registers(graph: Graph) -> tuple[list[str], list[Stay]]:
    """The ops of a timestep in their order, by their first results, and what lies where meanwhile.

    What a timestep leaves to the next one lies there for all of it.
    """
    order = [op.results[0] if op else INPUT for op in execution_order(graph)]
    at = {INPUT: order.index(INPUT)} | {name: order.index(INPUT) for name in graph.inputs}
    for op in graph.ops:
        for name in op.results:
            if op.results[0] in order:
                at[name] = order.index(op.results[0])
    nexts = {state.next: state.name for state in graph.states}
    found = []
    for name, place in graph.placement.items():
        old = nexts.get(name)
        if place.memory not in REGISTERS or (old and graph.placement.get(old) == place):
            continue
        since, until, lives = 0, len(order), "sample"
        if place.lives:
            first, last = place.lives
            since, until, lives = at[first], at[last] + 1, f"{first} to {last}"
        found += [
            Stay(f"{place.memory[0]}{register}", name, since, until, lives)
            for register in range(place.row, place.row + place.rows)
        ]
    return order, sorted(found, key=lambda one: (one.register[0], int(one.register[1:]), one.since))
