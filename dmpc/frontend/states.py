"""Which input of a one-timestep model is a state, and which output is its next value."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from dmpc.errors import ImportFailure
from dmpc.frontend.chosen import options
from dmpc.frontend.model_rules import ALL_STATES, NO_SUCH_STATE, OUTPUTS_LEFT, UNPAIRED
from dmpc.ir.graph import Graph, Op
from dmpc.ir.registry import did_you_mean

# A state reaches its own next value by the straightest way: what a path costs, by op.
CROSSING = {
    **dict.fromkeys(("ge", "gt", "eq"), 300_000),
    **dict.fromkeys(("relu", "where", "floor", "mod", "fmod"), 100_000),
    "matmul": 1_000,
}
PRODUCT = 100_000  # of two computed values
ANSWER = 100_000_000  # for what is asked for as the network's answer
NAMES = 900  # for names that have nothing in common


@dataclass(frozen=True)
class Pairing:
    """State input -> output that holds its next value, the network's input, its output."""

    states: dict[str, str]
    input: str
    output: str


def pair(
    graph: Graph,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    given: Mapping[str, str],
    answer: str | None = None,
) -> Pairing:
    """Pair the inputs and outputs of one timestep.

    `inputs` and `outputs` map the model's names to graph values; `given` holds pairs that the user
    has named. In a delay line the next value of a state is another input, or spikes, and says
    nothing of the state: there an output `s_next` belongs to `s`. Any other has its state's shape
    and depends on it through the fewest non-linear ops; where that leaves a choice, the most
    similar name wins. The one input that is no state is the network's. `answer` is the output
    that is the network's where several are left; it is a state's next value, too, only if that
    state has no other. Raises ImportFailure, with the candidates, where no pairing covers all
    states.
    """
    _check_given(inputs, outputs, given)
    given = {**_named(graph, inputs, outputs, given), **given}
    free = [name for name in inputs if name not in given]
    targets = [name for name in outputs if name not in given.values()]
    costs = {
        (state, target): cost
        for state in free
        for target, cost in _candidates(graph, state, inputs, outputs, targets).items()
    }
    for state, target in costs:
        costs[state, target] += ANSWER if target == answer else 0
    chosen = {**given, **_assign(free, costs)}
    found = {name: chosen[name] for name in inputs if name in chosen}
    left = [name for name in inputs if name not in found]
    rest = [name for name in outputs if name not in found.values()]
    if len(left) != 1:
        raise _unpaired(graph, left, rest, inputs, outputs)
    if answer is None and len(rest) != 1:
        raise _no_single_output(found, rest, costs)
    return Pairing(found, left[0], answer or rest[0])


def _named(
    graph: Graph, inputs: Mapping[str, str], outputs: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """States of delay lines, beside those given, whose next value bears their name."""
    found = {}
    free = outputs.keys() - set(given.values())
    for state, value in inputs.items():
        target = f"{state}_next"
        if target not in free or state in given:
            continue
        source = outputs[target]
        producer = graph.producer(source)
        copied = source in inputs.values() or (producer is not None and producer.kind == "cast")
        if copied and source != value and graph.types[source] == graph.types[value]:
            found[state] = target
    return found


def _check_given(
    inputs: Mapping[str, str], outputs: Mapping[str, str], given: Mapping[str, str]
) -> None:
    for state, target in given.items():
        if state not in inputs:
            near = did_you_mean(state, inputs)
            raise ImportFailure.of(NO_SUCH_STATE, kind="input", name=state, nearest=near)
        if target not in outputs:
            near = did_you_mean(target, outputs)
            raise ImportFailure.of(NO_SUCH_STATE, kind="output", name=target, nearest=near)


def _candidates(
    graph: Graph,
    state: str,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    targets: list[str],
) -> dict[str, int]:
    """Outputs that could be a state's next value, with the cost of taking them for it."""
    distances = graph.wires().distances(inputs[state], lambda node: _cost(graph, node))
    found = {}
    for target in targets:
        value = outputs[target]
        if value in distances and graph.types[value] == graph.types[inputs[state]]:
            likeness = difflib.SequenceMatcher(None, state, target).ratio()
            found[target] = distances[value] + round(NAMES * (1 - likeness))
    return found


def _cost(graph: Graph, node: str | int) -> int:
    if isinstance(node, str):
        return 0
    op: Op = graph.ops[node]
    computed = [name for name in op.operands if name not in graph.constants]
    if op.kind in ("mul", "div") and len(computed) > 1:
        return PRODUCT
    return CROSSING.get(op.kind, 0)


def _assign(states: list[str], costs: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """The cheapest pairing of all states but one, the network's input."""
    import networkx as nx

    everything = 1 + sum(costs.values())
    problem: nx.Graph[tuple[str, str]] = nx.Graph()
    for state in states:
        problem.add_edge(("in", state), ("rest", ""), weight=everything)
    for (state, target), cost in costs.items():
        problem.add_edge(("in", state), ("out", target), weight=everything - cost)
    matched = nx.max_weight_matching(problem, maxcardinality=True)
    pairs = [sorted(edge) for edge in matched]
    found = {a[1]: b[1] for a, b in pairs if b[0] == "out"}
    return {state: found[state] for state in states if state in found}


def _unpaired(
    graph: Graph,
    left: list[str],
    rest: list[str],
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
) -> ImportFailure:
    if not left:
        return ImportFailure.of(ALL_STATES)
    wanted = ", ".join(f"'{name}' {graph.types[inputs[name]]}" for name in left)
    offered = ", ".join(f"'{name}' {graph.types[outputs[name]]}" for name in rest) or "none"
    return ImportFailure.of(UNPAIRED, inputs=wanted, outputs=offered)


def _no_single_output(
    found: Mapping[str, str], rest: list[str], costs: Mapping[tuple[str, str], int]
) -> ImportFailure:
    least = max(found.items(), key=lambda pair: costs.get(pair, 0))
    if rest:
        what = f"outputs {', '.join(rest)} are no state's next value"
        near = f"say which is the answer: {options(rest)}; or name pairs with --state"
    else:
        what = "no output is left for the network's answer"
        near = (
            "output every state's next value and one output more; if a state's is the answer, say "
            f"so: {options(found.values())}"
        )
    return ImportFailure.of(
        OUTPUTS_LEFT, what=what, pairs=_listed(found), least=_listed(dict([least])), nearest=near
    )


def _listed(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{state} -> {target}" for state, target in pairs.items())
