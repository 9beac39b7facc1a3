"""States that products of computed values make, or that spikes cut off beside a membrane.

Where membranes, currents or thresholds are multiplied with each other, or a spike resets what
charges its neuron, whatever recognition meets first says something else of it. Looked at once
recognition has failed, this says what all of it follows from.
"""

from collections.abc import Iterator, Sequence

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
from dmpc.passes.recognition.state_rules import UNKNOWN_STATE
from dmpc.passes.recognition.truths import COMPARISONS

TOLD = (NONLINEAR_MEMBRANE, INPUT_NOT_LINEAR, UNKNOWN_STATE, COUNTED_SPIKES)
"""Rules that name what is not linear, or why it is not."""


def products(network: Network, errors: Sequence[DmpcError]) -> list[NotRecognised]:
    """The first state that is made of products of computed values; nothing if errors say it."""
    if not any(one.rule in TOLD for one in errors):
        for state in network.graph.states:
            ops, _ = _bent(network, state)
            if ops:
                fields = {"ops": network.names(ops)}
                return [network.failure(NONLINEAR_STATE, state.name, culprits=ops, **fields)]
    return []


def cut_off(network: Network) -> list[NotRecognised]:
    """Spikes that cut off several states of their neurons, the first of them."""
    bent = {state.name: _bent(network, state) for state in network.graph.states}
    gated = {name: gates for name, (ops, gates) in bent.items() if gates and not ops}
    for comparison in network.comparisons():
        reset = [name for name, gates in gated.items() if comparison in gates]
        if len(reset) > 1:
            fields = {"states": network.names(reset), "spikes": network.name(comparison)}
            found = network.failure(SEVERAL_RESETS, comparison, culprits=reset, **fields)
            found.causes = found.causes | frozenset(gated)
            return [found]
    return []


def _bent(network: Network, state: State) -> tuple[list[str], set[str]]:
    """The products of two computed values in what a state becomes, and whose spikes gate it."""
    products: dict[str, None] = {}
    gates: set[str] = set()
    pending, seen = [state.next], set[str]()
    while pending:
        for leaf in network.forms.form(pending.pop()).parts:
            op = network.forms.producers.get(leaf)
            if op is None or leaf in seen or not network.forms.opaque(leaf):
                continue
            seen.add(leaf)
            factors = [name for name in op.operands if network.forms.form(name).parts]
            spiking = [found for name in factors if (found := set(_spikes(network, name)))]
            if op.kind in ("mul", "div") and len(factors) > 1 and not spiking:
                products[leaf] = None
            gates = gates.union(*spiking)
            pending += factors
    return list(products), gates


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
