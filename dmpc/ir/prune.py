"""Liveness: keep what the outputs depend on, through time."""

from dmpc.ir.graph import Graph


def live_values(graph: Graph) -> set[str]:
    """Values that the outputs depend on, within a timestep or through states."""
    producers = {result: op for op in graph.ops for result in op.results}
    states = {state.name: state for state in graph.states}
    live: set[str] = set()
    work = list(graph.outputs)
    while work:
        name = work.pop()
        if name in live:
            continue
        live.add(name)
        if name in producers:
            work.extend(producers[name].operands)
        elif name in states:
            work.append(states[name].next)
            work.extend(init for init in [states[name].init] if init is not None)
        scale = graph.types[name].scale if name in graph.types else None
        if isinstance(scale, str):
            work.append(scale)
    return live


def prune(graph: Graph) -> Graph:
    """The graph without ops, states and constants that the outputs do not depend on.

    Inputs stay. Types and provenance of what goes, go too.
    """
    live = live_values(graph) | set(graph.inputs)
    pruned = graph.copy()
    pruned.ops = [op for op in pruned.ops if live.intersection(op.results)]
    pruned.states = [state for state in pruned.states if state.name in live]
    pruned.constants = {name: a for name, a in pruned.constants.items() if name in live}
    kept = {*pruned.sources(), *(result for op in pruned.ops for result in op.results)}
    pruned.types = {name: type_ for name, type_ in pruned.types.items() if name in kept}
    pruned.locs = {name: loc for name, loc in pruned.locs.items() if name in kept}
    pruned.placement = {name: p for name, p in pruned.placement.items() if name in kept}
    return pruned
