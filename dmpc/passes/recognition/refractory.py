"""Neurons that rest for some timesteps after a spike: found, woken, and told of it again.

What tells whether a neuron rests is a comparison that looks at a counter of its own, which its
spikes set and nothing else drives, or at its own membrane as the timestep before left it. Where it
rests its membrane stays at what a spike leaves, whatever comes in, and it does not spike, or does
each time if what is left reaches the threshold. How a counter is spelled does not show: it is
followed from a spike on until neurons are awake again. Then the comparison is given as it is for
neurons that are awake, and the rest is found as ever.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.prune import prune
from dmpc.ir.types import boolean, f32
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.network import Kept, Kind, Network, Neurons
from dmpc.passes.recognition.neuron_rules import REFRACTORY
from dmpc.passes.recognition.neurons import heeds_own_spikes, threshold_of
from dmpc.passes.recognition.terms import Affine, Matrix, near
from dmpc.passes.recognition.truths import COMPARISONS

LONGEST = 1024  # timesteps for which a counter is followed

Rows = NDArray[np.bool_]
Truths = dict[str, Matrix]
"""What comparisons say, by their names."""


@dataclass(frozen=True)
class Rest:
    """Neurons of which `spikes` is the comparison rest for `steps` [n] timesteps after a spike.

    `awake` is what the comparisons that tell of it say where they are awake; `counter` the state
    that is not needed without them, `state` the membrane if they keep one, which a spike leaves at
    `value`. With `late` that is to be done with the spike, of which it was told a timestep late.
    At the start they still rest for `left` [n] timesteps. `spiking` [n] are those whose resting
    membrane spikes, which makes them rest again.
    """

    spikes: str
    steps: Matrix
    awake: Truths
    left: Matrix
    spiking: Rows
    state: State | None = None
    value: Matrix | None = None
    counter: State | None = None
    late: bool = False

    @property
    def rows(self) -> Rows:
        """The neurons that rest at all."""
        return _any(self.steps, self.left)


def woken(graph: Graph) -> tuple[Graph, Mapping[str, Rest]]:
    """The graph with neurons that never rest, and how those that did were found to, by spikes."""
    forms = Forms(graph)
    held = [state for state in graph.states if state.name in forms.truths]
    apart, of = _apart(graph, forms, held)
    if of:
        used = {rest.counter.name for rest in _found(apart) if rest.counter is not None}
        graph, _ = _apart(graph, forms, [one for one in held if of.get(one.name, "") in used])
        forms = Forms(graph)
    found = list(_found(graph, forms))
    for rest in found:
        graph = _awake(graph, rest)
    return graph, {rest.spikes: rest for rest in found}


def _apart(graph: Graph, forms: Forms, held: list[State]) -> tuple[Graph, Mapping[str, str]]:
    """The graph with a copy of each of some states that hold spikes, for what is multiplied with
    other values: those tell of rest, where other readers are recurrent. Names of the copies."""
    copies: dict[str, str] = {}
    made = graph.copy()
    for op, at, state, form in _products(made, forms, held):
        if state.name not in copies:
            copies[state.name] = made.fresh(f"{state.name}.told")
            made.types[copies[state.name]] = made.types[state.name]
            made.states.append(replace(state, name=copies[state.name]))
        size = made.types[op.operands[at]].size
        kept = form.parts[state.name].diagonal()
        names = [made.fresh(f"{copies[state.name]}.{part}") for part in ("as", "least", "says")]
        for name, value in zip(
            names, (np.ones(size) if kept is None else kept, -form.bias), strict=False
        ):
            made.add_constant(name, value, f32(size))
        scaled, says = made.fresh(f"{names[0]}.scaled"), names[2]
        made.add(Op("mul", (copies[state.name], names[0]), (scaled,), {}, state.loc), f32(size))
        if op.kind == "where":  # a choice is by a truth value
            made.add_constant(names[1], 0.5 - form.bias, f32(size))
            made.add(Op("gt", (scaled, names[1]), (says,), {}, state.loc), boolean(size))
        else:
            made.add(Op("sub", (scaled, names[1]), (says,), {}, state.loc), f32(size))
        op.operands = (*op.operands[:at], says, *op.operands[at + 1 :])
    made.ops = made.toposort()
    return made, copies


def _products(
    graph: Graph, forms: Forms, held: list[State]
) -> Iterator[tuple[Op, int, State, Affine]]:
    """Operands that hold nothing but a state, of ops that multiply them with other values."""
    by_name = {state.name: state for state in held}
    for op in list(graph.ops):
        if op.kind not in ("mul", "where"):
            continue
        each = [forms.form(name) for name in op.operands]
        for at in range(1 if op.kind == "where" else 2):
            others = (one for number, one in enumerate(each) if number != at)
            alone = len(each[at].parts) == 1 and by_name.keys() >= each[at].parts.keys()
            if alone and any(one.parts for one in others):
                (name,) = each[at].parts
                if each[at].parts[name].diagonal() is not None:
                    yield op, at, by_name[name], each[at]


def resting(network: Network, layer: Neurons, rests: Mapping[str, Rest]) -> Neurons:
    """Neurons that rest, if they did. Raises CompileError where the machine's cannot."""
    shared = network.forms.shared
    rest = next((rests[one] for one in rests if shared.get(one, ("",))[0] == layer.spikes), None)
    if rest is None or not rest.rows.any():
        return layer
    if layer.state is None and not layer.beta.any():  # what a spike leaves is not kept
        layer = replace(layer, reset=layer.threshold + np.where(rest.spiking, 1.0, -1.0))
    plain = layer.kind is None and not layer.subtract and layer.times == 1 and not layer.endless
    plain = plain and not (rest.state is None and layer.beta.any())  # it goes on while they rest
    reached = np.greater if layer.strict else np.greater_equal
    spiking = reached(layer.reset, layer.threshold)
    if not plain or (rest.rows & (spiking != rest.spiking)).any():
        name = network.name(layer.state or layer.spikes)
        by = "a counter" if rest.counter else "the membrane itself"
        raise network.failure(REFRACTORY, layer.state or layer.spikes, state=name, by=by)
    kept = Kept(start=rest.left if rest.left.any() else None)
    return replace(layer, kind=Kind("rlif", {"r": kept, "rest": rest.steps}))


def _found(graph: Graph, forms: Forms | None = None) -> Iterator[Rest]:
    """All neurons that rest, each once."""
    forms, done = forms or Forms(graph), set[str]()
    looks = _looks(graph, forms)
    for state in graph.states:
        if state.name in looks:
            masks = looks[state.name]
            rest = _by_counter(graph, forms, state, masks) or _by_itself(graph, forms, state, masks)
            if rest is not None and rest.spikes not in done:
                done.add(rest.spikes)
                yield rest


def _looks(graph: Graph, forms: Forms) -> dict[str, list[str]]:
    """What tells of the old value of a state, and of nothing else, by the states."""
    states = {state.name: state for state in graph.states}
    found: dict[str, list[str]] = {}
    for op in graph.ops:
        if op.kind in (*COMPARISONS, "eq"):
            over = forms.form(op.operands[0]).plus(forms.form(op.operands[1]), -1.0)
            if len(over.parts) == 1 and states.keys() >= over.parts.keys():
                found.setdefault(next(iter(over.parts)), []).append(op.results[0])
    for op, at, state, _ in _products(
        graph, forms, [states[n] for n in states if n in forms.truths]
    ):
        found.setdefault(state.name, []).append(op.operands[at])
    return {name: list(dict.fromkeys(values)) for name, values in found.items()}


# -- told by a counter -----------------------------------------------------------------------------


def _by_counter(graph: Graph, forms: Forms, counter: State, masks: list[str]) -> Rest | None:
    """Neurons whose spikes alone set a state, which keeps them at rest until it has run down."""
    start = _start(graph, counter)
    if any(graph.types[mask].size != len(start) for mask in masks):
        return None  # other neurons hear of it
    spikes = _set_by(graph, forms, counter, masks, start)
    if spikes is None:
        return None
    for fired in (1.0, 0.0):  # what the comparison says of a spike
        one = _Counter(forms, counter, masks, spikes, fired)
        for at, left in one.wakings(start):
            found = one.followed(at)
            if found is None:
                continue
            steps, ever = found
            awake = {name: one.at(at).form(name).bias for name in masks}
            rest = Rest(spikes, steps, awake, left, ever, counter=counter)
            made = _of_membrane(graph, one, at, rest) if rest.rows.any() else rest
            if made is not None:
                return made
    return None


def _set_by(
    graph: Graph, forms: Forms, counter: State, masks: list[str], start: Matrix
) -> str | None:
    """The one comparison of others that sets a counter; where at the start it cannot, since neurons
    rest there or never, the one between it and those that tell of it."""
    leaves = list(forms.assuming(counter.name, start).form(counter.next).parts)
    if not leaves:
        wires = graph.wires()
        between = set().union(*map(wires.below, masks)) & wires.above(counter.next)
        found = dict.fromkeys(leaf for name, (leaf, _) in forms.shared.items() if name in between)
        leaves = [leaf for leaf in found if forms.producers[leaf].kind in COMPARISONS]
    if len(leaves) != 1 or leaves[0] not in forms.shared or leaves[0] in masks:
        return None
    return leaves[0] if graph.types[leaves[0]].size == len(start) else None


@dataclass(frozen=True)
class _Counter:
    """A state that comparisons, `masks`, look at, and that those of `spikes` set which say
    `fired`."""

    forms: Forms
    state: State
    masks: list[str]
    spikes: str
    fired: float

    def at(self, value: Matrix) -> Forms:
        """The forms where the counter has a value [n]."""
        return self.forms.assuming(self.state.name, value)

    def told(self, value: Matrix) -> list[Matrix]:
        """What the masks say."""
        return [self.at(value).form(one).bias for one in self.masks]

    def next(self, value: Matrix, spikes: Matrix | float) -> Matrix:
        """What it becomes, with spikes."""
        said = np.broadcast_to(np.multiply(spikes, 1.0), value.shape)
        return self.at(value).assuming(self.spikes, said).form(self.state.next).bias

    def wakings(self, start: Matrix) -> list[tuple[Matrix, Matrix]]:
        """Values at which all neurons may be awake, with how long each rests until then, the last
        one first: the start, and where the masks say something new while no neuron spikes."""
        at, said, found = start, list[list[Matrix]](), list[tuple[Matrix, Matrix]]()
        for _ in range(LONGEST):
            now = self.told(at)
            if not said or _differ(now, said[-1]).any():
                rested = [_differ(one, now) for one in said]
                if all((a | ~b).all() for a, b in pairwise(rested)):
                    found.append((at, sum((one.astype(float) for one in rested), 0.0 * at)))
            said.append(now)
            after = self.next(at, 1.0 - self.fired)
            if not start.any() or np.array_equal(after, at):
                break
            at = after
        return found[::-1]

    def followed(self, start: Matrix) -> tuple[Matrix, Rows] | None:
        """For how many timesteps neurons rest after a spike, and which of them for ever, since they
        spike at rest; None if that is no fixed number."""
        own = self.at(start).form(self.state.next).parts.get(self.spikes)
        if own is not None and own.diagonal() is None:
            return None
        awake, begun = self.told(start), self.next(start, self.fired)
        value, first, steps = begun, self.told(begun), np.zeros(len(start))
        ever = np.zeros(len(start), bool)
        for _ in range(LONGEST):
            now = self.told(value)
            rests = _differ(now, awake) & ~ever
            if not rests.any():
                at = np.where(ever, start, value)
                again, later = (self.next(at, said) for said in (self.fired, 1.0 - self.fired))
                ended = not (_differ(self.told(later), awake) & ~ever).any()
                return (steps, ever) if ended and near(again, begun) else None
            if (_differ(now, first) & rests).any():
                return None
            at = np.where(rests, value, begun)  # all of them rest, if they ever do
            word, known = _says(self.at(at), self.spikes)
            silent, spiking = (self.next(at, said) for said in (1.0 - self.fired, self.fired))
            heard = (silent != spiking) & rests
            if (heard & ~known).any():
                return None
            going = heard & (word == self.fired)
            if not near(np.where(going, spiking, begun), begun):
                return None
            ever, steps = ever | going, steps + rests
            value = np.where(rests & ~ever, silent, value)
        return None


def _of_membrane(graph: Graph, counter: _Counter, at: Matrix, rest: Rest) -> Rest | None:
    """Neurons that rest as a counter says, with their membrane; None if that does not stay where a
    spike leaves it, or others hear of their rest."""
    spikes, rows, fired = counter.spikes, rest.rows, counter.fired
    begun = counter.at(at)
    resting = np.where(rest.steps > 0, counter.next(at, fired), _start(graph, counter.state))
    asleep = counter.at(resting)
    word, known = _says(asleep, spikes)
    at_first = (rest.steps == 0) & (rest.left > 0) & known & (word == fired)
    rest = replace(rest, spiking=rest.spiking | at_first)
    quiet = np.where(rest.spiking, fired, 1.0 - fired)
    silent, fires = (begun.assuming(spikes, one) for one in (quiet, np.full(len(rows), fired)))

    def same(apart: set[str]) -> bool:
        own = {counter.state.next, *apart}
        return _same(graph, silent, asleep, spikes, {*counter.masks}, own, rows, quiet)

    above, type_ = graph.wires().above(spikes), graph.types[counter.state.name]
    seen = [one for one in graph.states if one.name in above and one is not counter.state]
    membranes = [one for one in seen if graph.types[one.name] == type_]
    for state in membranes:
        after = fires.form(state.next)
        late = bool(after.parts) and after.close(silent.form(state.next))
        if late and not (fired and rows.all()):
            continue
        after = asleep.form(state.next) if late else after
        if after.parts or not _stays(asleep, state, spikes, after.bias, rest):
            continue
        if same({state.next}):
            return replace(rest, state=state, value=after.bias, late=late)
    return rest if same(set()) else None  # nothing of a membrane is kept, or it never rests


def _says(forms: Forms, spikes: str) -> tuple[Matrix, Rows]:
    """What elements of a comparison say whatever comes in, and which ones do."""
    over = forms.difference(spikes)
    moved = [term.used() for term in over.parts.values()]
    known = ~_any(np.zeros(over.size, bool), *moved)
    strict = forms.producers[spikes].kind == "gt"
    return (over.bias > 0 if strict else over.bias >= 0).astype(float), known


def _any(*numbers: Matrix | Rows) -> Rows:
    """Where any of some vectors is not zero."""
    found = np.array(False)
    for one in numbers:
        found = found | (one != 0)
    return found


def _differ(one: list[Matrix], other: list[Matrix]) -> Rows:
    """Where comparisons say something else."""
    found = np.array(False)
    for a, b in zip(one, other, strict=True):
        found = found | (a != b)
    return found


def _stays(asleep: Forms, state: State, spikes: str, value: Matrix, rest: Rest) -> bool:
    """Whether the membrane of neurons that rest stays at a value, whatever comes in; and goes there
    from where it starts, if they rest then."""
    begins = np.where(rest.left > 0, _start(asleep.graph, state), value)
    for said in (0.0, 1.0):
        kept = asleep.assuming(spikes, np.full(len(value), said)).form(state.next)
        moved = (term for leaf, term in kept.parts.items() if leaf != state.name)
        if any((term.used() & rest.rows).any() for term in moved):
            return False
        own = kept.parts[state.name].diagonal() if state.name in kept.parts else 0 * value
        if own is None:
            return False
        for at in (value, begins):
            if not near(np.where(rest.rows, own * at + kept.bias, value), value):
                return False
    return True


# -- told by the membrane itself -------------------------------------------------------------------


def _by_itself(graph: Graph, forms: Forms, state: State, masks: list[str]) -> Rest | None:
    """Neurons that lose all of the timestep after a spike, which their old membrane tells of."""
    leaves = {forms.shared[one][0] if one in forms.shared else "" for one in masks}
    start = _start(graph, state)
    (leaf, *others) = sorted(leaves)
    if others or not leaf or forms.difference(leaf).size != len(start):
        return None
    for slept in (1.0, 0.0):
        asleep, silent = (
            forms.assuming(leaf, np.full(len(start), said)) for said in (slept, 1.0 - slept)
        )
        value, charge = asleep.form(state.next), silent.form(state.next)
        begun = forms.assuming(state.name, start).form(leaf).bias == slept
        if value.parts or not charge.parts.keys() - {state.name} or begun.any():
            continue
        ends = (charge, value) if slept else (value, charge)
        if not heeds_own_spikes(forms, leaf, state.next, ends):
            continue
        spikes = _spikes_of(forms, state, leaf, silent, asleep, slept)
        if spikes is None:
            continue
        quiet = silent.assuming(spikes, np.zeros(len(start)))
        none = np.zeros(len(start))
        if _same(graph, quiet, asleep, spikes, {*masks}, {state.next}, none == 0, none):
            awake = {one: silent.form(one).bias for one in masks}
            return Rest(spikes, none + 1, awake, none, none > 0, state, value.bias, late=True)
    return None


def _spikes_of(
    forms: Forms, state: State, leaf: str, silent: Forms, asleep: Forms, slept: float
) -> str | None:
    """The comparison that holds a membrane's charge against the threshold that tells of its last
    spike, which `leaf` does; it is false where neurons rest."""
    over = forms.difference(leaf)
    own = over.parts[state.name].diagonal()
    if own is None or not (own * (1.0 if slept else -1.0) > 0).all():
        return None
    strict = (forms.producers[leaf].kind == "gt") == bool(slept)
    for name in dict.fromkeys(name for name, _ in forms.shared.values()):
        kind = forms.producers[name].kind
        if name == leaf or kind not in COMPARISONS or (kind == "gt") != strict:
            continue
        threshold = threshold_of(silent.difference(name), silent.form(state.next), state.name)
        if threshold is None or not near(threshold, -over.bias / own):
            continue
        if not asleep.difference(name).parts and not asleep.form(name).bias.any():
            return name
    return None


# -- what rests must say to all others -------------------------------------------------------------


def _same(
    graph: Graph,
    silent: Forms,
    asleep: Forms,
    spikes: str,
    masks: set[str],
    apart: set[str],
    rows: Rows,
    quiet: Matrix,
) -> bool:
    """Whether everything but some values takes neurons that rest for neurons that say `quiet`."""
    wires = graph.wires()
    below = set().union(*map(wires.below, masks))
    word, known = _says(asleep, spikes)
    said = [
        asleep.assuming(spikes, np.where(rows, np.where(known, word, one), quiet))
        for one in ((0.0,) if (known | ~rows).all() else (0.0, 1.0))
    ]
    values = [*graph.outputs, *(state.next for state in graph.states)]
    pending = [value for value in values if value in below and value not in apart]
    for value in pending:  # what bends on the way to it follows from what it is made of
        mine = silent.form(value)
        if not all(mine.close(other.form(value)) for other in said):
            return False
        for leaf in mine.parts.keys() & below:
            op = graph.producer(leaf)
            if leaf != spikes and op is not None:
                pending += [name for name in op.operands if name not in pending]
    return True


# -- the graph -------------------------------------------------------------------------------------


def _awake(graph: Graph, rest: Rest) -> Graph:
    """The graph with neurons that are always awake, and reset by their spikes at once."""
    graph = graph.copy()
    for name, value in rest.awake.items():
        graph.ops = [op for op in graph.ops if name not in op.results]
        type_ = graph.types.pop(name)
        is_truth = type_.dtype == "bool"
        graph.add_constant(name, value != 0 if is_truth else value, type_)
    if rest.counter is not None:
        counter = rest.counter.name
        graph.states = [one for one in graph.states if one.name != counter]
    if rest.late and rest.state is not None and rest.value is not None:
        state = next(one for one in graph.states if one.name == rest.state.name)
        type_, after = f32(len(rest.value)), graph.fresh(f"{state.name}.settled")
        reset = graph.add_constant(graph.fresh(f"{state.name}.reset"), rest.value, type_)
        producer = graph.producer(state.next)
        loc = producer.loc if producer is not None else ()
        graph.add(Op("where", (rest.spikes, reset, state.next), (after,), {}, loc), type_)
        state.next = after
    return prune(graph)


def _start(graph: Graph, state: State) -> Matrix:
    size = graph.types[state.name].size
    init = graph.constants[state.init] if state.init else np.zeros(size)
    return np.resize(init.astype(np.float64), size)
