"""`recognise`: a model's float primitives as the field's layers, by what they compute."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from dmpc.errors import CompileError, ErrorList
from dmpc.ir.endless import endless_of, spiking_up_to
from dmpc.ir.excerpt import depends_on
from dmpc.ir.graph import Graph, State
from dmpc.ir.integer_types import BEYOND
from dmpc.ir.prune import prune
from dmpc.passes.base import Pass
from dmpc.passes.recognition.adaptation import find_adapted, find_pairs, resets
from dmpc.passes.recognition.addends import with_addends
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.assemble import assemble
from dmpc.passes.recognition.composed import with_composed
from dmpc.passes.recognition.copies import from_rest, without_constants, without_copies
from dmpc.passes.recognition.coupled import heard_late, together
from dmpc.passes.recognition.currents import find_decay, is_bank
from dmpc.passes.recognition.delayed import in_front, own_windows
from dmpc.passes.recognition.extra_states import raise_causes
from dmpc.passes.recognition.holds import find_held, find_hold, timing_of
from dmpc.passes.recognition.homes import ordered
from dmpc.passes.recognition.limits import check_limits, limited, without_limits
from dmpc.passes.recognition.lines import check_start, find_lines
from dmpc.passes.recognition.logic import with_gates
from dmpc.passes.recognition.memories import find_memory
from dmpc.passes.recognition.network import (
    Held,
    Hold,
    Lines,
    Memory,
    Network,
    Neurons,
    NotRecognised,
)
from dmpc.passes.recognition.network_rules import INPUT_COUNT
from dmpc.passes.recognition.neurons import (
    find_comparison,
    find_firing,
    find_neurons,
    find_unreset,
)
from dmpc.passes.recognition.of_events import of_events
from dmpc.passes.recognition.parted import parted
from dmpc.passes.recognition.refractory import Rest, resting, woken
from dmpc.passes.recognition.repeated import holds, joined, without_counts
from dmpc.passes.recognition.resets import settled
from dmpc.passes.recognition.state_rules import HOLDS_OPPOSITE
from dmpc.passes.recognition.turned import foretold, turned, turned_and_foretold


@dataclass(frozen=True)
class Recognise(Pass):
    """From level model to layers: dense, drive, memory, hold, lif, whatever their spelling.

    Every value is brought to an affine form (`recognition.affine`). A comparison that looks at a
    state and resets it makes LIF neurons; a state that is linear in itself and in what drives it
    is a memory; one that is replaced every few timesteps holds a memory; one that holds events of
    earlier timesteps is recurrence or a delay; the output must be linear in the last spikes.
    Raises CompileError, in the user's node names, for everything else: the first error, with those
    that are independent of it.
    """

    name: ClassVar[str] = "recognise"

    def run(self, graph: Graph) -> Graph:
        """The layers-level graph."""
        if graph.level != "model":
            raise CompileError(f"needs a graph of level model, not {graph.level}", where=graph.name)
        if len(graph.inputs) != 1:
            raise CompileError.of(INPUT_COUNT, where=graph.name, number=len(graph.inputs))
        with np.errstate(all="ignore"):  # what is not finite is refused by name
            return _read(prune(graph))


def _read(graph: Graph) -> Graph:
    """The layers of a graph, however it is cut into timesteps and states."""
    windowed = own_windows(graph)
    if windowed is not None:
        with suppress(CompileError):
            return _layers(windowed)
    readings = turned, foretold, turned_and_foretold, without_constants, in_front
    return _first(graph, (parted,), lambda one: _first(one, readings, _layers))


Reading = Callable[[Graph], Graph | None]
"""Another graph that computes the same, or the same one or None if there is none."""


def _first(graph: Graph, readings: Iterable[Reading], layers: Callable[[Graph], Graph]) -> Graph:
    """The layers of a graph, else of the first of its readings that has any.

    Of none, what is wrong with the graph as it is is raised.
    """
    try:
        return layers(graph)
    except CompileError:
        for reading in readings:
            other = reading(graph)
            if other is not None and other is not graph:
                with suppress(CompileError):
                    return layers(prune(other))
        raise


def _layers(graph: Graph) -> Graph:
    """The layers of a graph whose timesteps are cut as they are."""
    graph, rests = woken(with_composed(without_copies(graph)))
    graph, counts = without_counts(from_rest(graph))
    graph, cut = without_limits(graph)
    graph, endless, uncounted = joined(graph, counts)
    graph = together(settled(with_addends(with_gates(graph))))

    def recognised(read: Graph) -> Graph:
        if uncounted and (read is graph or holds(read, counts)):
            raise uncounted
        return _first(read, OTHERWISE, lambda one: _Recognition(one, cut, endless, rests).run())

    try:
        return _first(graph, (of_events,), recognised)
    except CompileError as error:
        raise_causes(graph, error)
        raise


OTHERWISE: Sequence[Reading] = (partial(from_rest, anywhere=True), heard_late)
"""States that a constant drives taken above their rest though they start elsewhere; states that
hear alone what they charged, a timestep later."""


class _Recognition:
    """One run of the pass.

    A state that is nothing known is entered in `errors`, and is `broken` from then on: the others
    are still looked at, and of those that depend on a broken one nothing is said.
    """

    def __init__(
        self,
        graph: Graph,
        cut: frozenset[str],
        endless: frozenset[str],
        rests: Mapping[str, Rest],
    ) -> None:
        self.graph, self.cut, self.endless, self.rests = graph, cut, endless, rests
        self.errors = ErrorList()
        self.broken: set[str] = set()

    @contextmanager
    def _about(self, value: str) -> Iterator[None]:
        """Gather what is wrong with a state or comparison, and go on."""
        try:
            yield
        except NotRecognised as error:
            if error.causes.isdisjoint(self.broken):
                self.errors.add(error)
            self.broken.add(value)

    def run(self) -> Graph:
        graph = self.graph
        forms = Forms(graph)
        holds = self._holds(Network(graph, forms))
        stops = frozenset(s.next for s in graph.states if s.name in self.broken)
        stops |= {hold.next for hold in holds}
        forms = Forms(graph, stops=stops) if stops else forms
        lines = self._lines(Network(graph, forms))
        stops |= lines.values.keys() - lines.states
        known = {name for hold in holds for name in (hold.state, hold.counter)} | lines.states
        states = [state for state in graph.states if state.name not in known | self.broken]
        forms = forms if forms.stops == stops else Forms(graph, stops=stops)
        plain = Network(graph, forms, lines)
        pairs = find_pairs(plain)
        paired = {state.name for pair in pairs.values() for state in pair}
        paired |= {one.name for c, pair in pairs.items() for one in resets(plain.forms, *pair, c)}
        slow, claims = self._sorted_out(plain, [one for one in states if one.name not in paired])
        membranes, flipped = self._membranes(plain, claims)
        for comparison, (state, other) in pairs.items():
            membranes.append((state, comparison))
            made = find_adapted(plain, state, other, comparison)
            flipped |= {comparison} if made and made.firing.flipped else set()
        # From here on every comparison is true where there is a spike.
        self._check_signs(plain, flipped)
        forms = Forms(graph, flipped=flipped, stops=stops, base=plain.forms)
        memories, decaying = self._memories(Network(graph, forms, lines), slow, holds)
        stops |= {memory.next for memory in memories}
        forms = Forms(graph, flipped=flipped, stops=stops, base=plain.forms)
        network = Network(graph, forms, lines)
        # As neurons see them: what reads a memory names it, and not what it is made of.
        decays = [found for state in decaying if (found := find_decay(network, state))]
        held = self._held(network, holds, memories)
        neurons: list[Neurons] = []
        for state, comparison in membranes:
            with self._about(state.name):
                adapted = None
                if comparison in pairs:
                    adapted = find_adapted(network, *pairs[comparison], comparison)
                firing = adapted.firing if adapted else None
                layer = find_neurons(network, state, comparison, memories, held, decays, firing)
                kind, endless = adapted.kind if adapted else None, comparison in self.endless
                layer = replace(layer, kind=kind, endless=endless)
                layer = limited(network, layer, state, self.cut)
                neurons.append(resting(network, layer, self.rests))
        for comparison in self._free(network, {comparison for _, comparison in membranes}):
            with self._about(comparison):
                layer = find_unreset(network, comparison, memories, held, decays)
                neurons.append(resting(network, layer, self.rests))
        self.errors.check()
        check_limits(network, self.cut, [state for state, _ in membranes])
        layers = prune(assemble(network, *ordered(network, neurons), decays))
        return spiking_up_to(layers, dict.fromkeys(endless_of(layers), BEYOND))

    def _sorted_out(
        self, network: Network, states: list[State]
    ) -> tuple[list[State], list[tuple[State, str]]]:
        """States that no comparison resets, and the others with their comparison."""
        slow: list[State] = []
        claims: list[tuple[State, str]] = []
        for state in states:
            with self._about(state.name):
                comparison = find_comparison(network, state)
                if comparison is None:
                    slow.append(state)
                else:
                    claims.append((state, comparison))
        return slow, claims

    def _membranes(
        self, network: Network, claims: list[tuple[State, str]]
    ) -> tuple[list[tuple[State, str]], frozenset[str]]:
        """Membranes with their comparison, and the comparisons that are true without a spike."""
        found: list[tuple[State, str]] = []
        flipped: set[str] = set()
        for state, comparison in _likeliest_first(network, claims):
            with self._about(state.name):
                if find_firing(network, state, comparison).flipped:
                    flipped.add(comparison)
                found.append((state, comparison))
        return found, frozenset(flipped)

    def _memories(
        self, network: Network, slow: list[State], holds: list[Hold]
    ) -> tuple[list[Memory], list[State]]:
        """Memories, among them all that is held, and the states that decay without being one."""
        repeated = {leaf for hold in holds for leaf in network.forms.form(hold.value).parts}
        held = {hold.value for hold in holds}  # where it keeps nothing of itself
        repeated |= {state.name for state in slow if state.next in held}
        found: list[Memory] = []
        decaying: list[State] = []
        for state in slow:
            with self._about(state.name):
                if _read_out(network, state) and find_decay(network, state):
                    decaying.append(state)
                    continue
                memory, error = self._memory(network, state)
                decay = find_decay(network, state)
                # Currents keep a share of themselves, or nothing; what swings is a memory.
                swings = decay is not None and bool((decay.alpha < 0).any())
                lone = decay is None or swings or is_bank(network, decay)
                lone = lone or _feeds(network, state, slow)
                if memory is not None and (lone or not memory.linear or state.name in repeated):
                    found.append(memory)
                elif error is None or decay is not None:
                    decaying.append(state)
                else:
                    raise error
        free = [state for state in slow if state.name not in repeated]
        for state in _beside(network, found, free):
            found = [memory for memory in found if memory.state != state.name]
            decaying.append(state)
        return found, decaying

    @staticmethod
    def _memory(network: Network, state: State) -> tuple[Memory | None, NotRecognised | None]:
        """The memory that a state is, or why it is none."""
        try:
            return find_memory(network, state), None
        except NotRecognised as error:
            return None, error

    def _held(self, network: Network, holds: list[Hold], memories: list[Memory]) -> list[Held]:
        found: list[Held] = []
        for hold in holds:
            with self._about(hold.state):
                found.append(find_held(network, hold, memories))
        return found

    def _holds(self, network: Network) -> list[Hold]:
        """The states that are holds; the counter of a broken one is broken as well."""
        found: list[Hold] = []
        for state in self.graph.states:
            with self._about(state.name):
                hold = find_hold(network, state)
                found += [hold] if hold is not None else []
            if state.name in self.broken:
                self.broken |= timing_of(network, state)
        return found

    def _lines(self, network: Network) -> Lines:
        """The states that hold events of earlier timesteps."""
        lines = find_lines(network)
        for state in self.graph.states:
            with self._about(state.name):
                if state.name in lines.states:
                    check_start(network, state)
        return lines

    def _check_signs(self, network: Network, flipped: frozenset[str]) -> None:
        """What lines hold is true where there is a spike."""
        for leaf, opposite, value in network.lines.signs:
            if leaf not in network.comparisons() or opposite == (leaf in flipped):
                continue
            with self._about(value):
                raise network.failure(HOLDS_OPPOSITE, value, spikes=network.name(leaf))

    def _free(self, network: Network, spikes: set[str]) -> Iterator[str]:
        """The comparisons that are no membrane's, unless they belong to a broken state."""
        for leaf in network.comparisons():
            looks_at = depends_on(self.graph, leaf) & self.broken
            if leaf in spikes or any(
                network.reaches(leaf, state.next)
                for state in self.graph.states
                if state.name in looks_at
            ):
                continue
            yield leaf


def _beside(network: Network, memories: list[Memory], slow: list[State]) -> list[State]:
    """Memories that no rectifier drives, and that decay, where neurons read others: they are
    currents as well, of which neurons may have several, unless they charge currents themselves."""
    found: list[State] = []
    feeding = {state.name for state in slow if _feeds(network, state, slow)}
    for comparison in network.comparisons():
        read_by = set(network.forms.difference(comparison).parts)
        for state in slow:  # what feeds currents
            read_by |= {*network.forms.form(state.next).parts} if state.name in read_by else set()
        read = [memory for memory in memories if memory.state in read_by]
        plain = {one.state for one in read if not one.rectifiers} - feeding
        if len(read) > 1:
            found += [state for state in slow if state.name in plain and state not in found]
    decays = {state.name: find_decay(network, state) for state in found}
    return [s for s in found if (decay := decays[s.name]) and not is_bank(network, decay)]


def _feeds(network: Network, state: State, slow: list[State]) -> bool:
    """Whether a current takes the state in: only a memory charges currents."""
    return any(
        state.name in network.forms.form(other.next).parts and find_decay(network, other)
        for other in slow
        if other is not state
    )


def _read_out(network: Network, state: State) -> bool:
    """True for a state that never charges a neuron: only the output can be made of it."""
    return network.charging.isdisjoint((state.name, state.next))


def _likeliest_first(network: Network, claims: list[tuple[State, str]]) -> list[tuple[State, str]]:
    """Of several states that one comparison looks at, the one with most inputs comes first.

    It is the membrane; the others, such as an adaptive threshold, are what is wrong with it.
    """
    rank = {comparison: number for number, (_, comparison) in enumerate(reversed(claims))}

    def key(claim: tuple[State, str]) -> tuple[int, int]:
        state, comparison = claim
        silent = network.forms.assuming(
            comparison, np.zeros(network.graph.types[comparison].size)
        ).form(state.next)
        return -rank[comparison], -len(silent.terms)

    return sorted(claims, key=key)
