"""States that products of computed values make, or that spikes cut off beside a membrane.

Where membranes, currents or thresholds are multiplied with each other, or a spike resets what
charges its neuron, whatever recognition meets first says something else of it. Looked at once
recognition has failed, this says what all of it follows from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dmpc.errors import DmpcError
from dmpc.ir.graph import State
from dmpc.passes.recognition.network import Network, NotRecognised
from dmpc.passes.recognition.neuron_rules import (
    COUNTED_SPIKES,
    INPUT_NOT_LINEAR,
    NONLINEAR_MEMBRANE,
    NONLINEAR_STATE,
    SEVERAL_RESETS,
)
from dmpc.passes.recognition.neurons import full_leak
from dmpc.passes.recognition.state_rules import UNKNOWN_STATE
from dmpc.passes.recognition.truths import COMPARISONS

TOLD = (NONLINEAR_MEMBRANE, INPUT_NOT_LINEAR, UNKNOWN_STATE, COUNTED_SPIKES)
"""Rules that name what is not linear, or why it is not."""


def products(network: Network, errors: Sequence[DmpcError]) -> list[NotRecognised]:
    """The first state that is made of products of computed values; nothing if errors say it."""
    if not any(one.rule in TOLD for one in errors):
        for state in network.graph.states:
            ops = _bends(network, state).products
            if ops:
                fields = {"state": "this state", "ops": network.names(ops), "what": "a product"}
                return [network.failure(NONLINEAR_STATE, state.name, culprits=ops, **fields)]
    return []


def cut_off(network: Network) -> list[NotRecognised]:
    """Spikes that cut off several states of their neurons, the first of them; of neurons that leak
    into each other, that."""
    bent = {state.name: _bends(network, state) for state in network.graph.states}
    gated = {name: one.gates for name, one in bent.items() if one.gates and not one.products}
    for comparison in network.comparisons():
        reset = [name for name, gates in gated.items() if comparison in gates]
        if len(reset) > 1:
            fields = {"states": network.names(reset), "spikes": network.name(comparison)}
            found = _coupled(network, reset) or network.failure(
                SEVERAL_RESETS, comparison, culprits=reset, **fields
            )
            found.causes = found.causes | frozenset(gated)
            return [found]
    return []


def _coupled(network: Network, reset: Sequence[str]) -> NotRecognised | None:
    """The first of some states that are cut off whose neurons leak into each other."""
    for state in (one for one in network.graph.states if one.name in reset):
        for value in _bends(network, state).cut:
            kept = network.forms.form(value).parts.get(state.name)
            if kept is not None and kept.diagonal() is None:
                return full_leak(network, state, kept.matrix)
    return None


@dataclass(frozen=True)
class _Bends:
    """The `products` of two computed values in what a state becomes, or of one and other neurons'
    spikes; the comparisons whose spikes gate it, and the values that they `cut` off."""

    products: list[str]
    gates: set[str]
    cut: list[str]


def _bends(network: Network, state: State) -> _Bends:
    found, own = _Bends([], set(), []), _hearing(network, state)
    pending, seen = [state.next], set[str]()
    while pending:
        for leaf in network.forms.form(pending.pop()).parts:
            op = network.forms.producers.get(leaf)
            if op is None or leaf in seen or not network.forms.opaque(leaf):
                continue
            seen.add(leaf)
            factors = [name for name in op.operands if network.forms.form(name).parts]
            spiking = {name: own & set(_spikes(network, name)) for name in factors}
            spiking = {name: gates for name, gates in spiking.items() if gates}
            if op.kind in ("mul", "div") and len(factors) > 1 and not spiking:
                found.products.append(leaf)
            found.gates.update(*spiking.values())
            found.cut.extend(name for name in factors if spiking and name not in spiking)
            pending += factors
    return found


def _hearing(network: Network, state: State) -> set[str]:
    """The comparisons that hear of a state, through time."""
    shared, below = network.forms.shared, network.graph.wires(carried=True).below(state.name)
    return {shared[str(value)][0] for value in below if str(value) in shared}


def _spikes(network: Network, value: str) -> Iterator[str]:
    """The comparisons that a value tells of, now or of earlier timesteps, and of nothing else."""
    parts = network.forms.form(value).parts
    found = []
    for leaf in parts:
        past = network.lines.values.get(leaf)
        sources = [leaf] if past is None else [one for one in past.sources if one is not None]
        producers = network.forms.producers
        if not all(one in producers and producers[one].kind in COMPARISONS for one in sources):
            return
        found += sources
    yield from found
