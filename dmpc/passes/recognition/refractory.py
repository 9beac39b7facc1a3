"""Neurons that rest for some timesteps after a spike: found, woken, and told of it again.

What tells whether a neuron rests is a comparison that looks at a counter of its own, which its
spikes set and nothing else drives, or at its own membrane as the timestep before left it. Where it
rests its membrane stays at what a spike leaves, whatever comes in, and it does not spike. How a
counter is spelled does not show: it is followed from a spike on until neurons are awake again. Then
the comparison is given as it is for neurons that are awake, and the rest is found as ever.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

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

Truths = dict[str, Matrix]
"""What comparisons say, by their names."""


@dataclass(frozen=True)
class Rest:
    """Neurons of which `spikes` is the comparison rest for `steps` [n] timesteps after a spike.

    `awake` is what the comparisons that tell of it say where they are awake; `counter` the state
    that is not needed without them, `state` the membrane, which a spike leaves at `value`. With
    `late` that is to be done with the spike, of which it was told a timestep late.
    """

    spikes: str
    state: State
    value: Matrix
    steps: Matrix
    awake: Truths
    counter: State | None = None
    late: bool = False


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
    if rest is None:
        return layer
    plain = layer.kind is None and not layer.subtract and layer.times == 1 and not layer.endless
    if not plain or not (layer.reset < layer.threshold).all():
        name = network.name(layer.state or layer.spikes)
        by = "a counter" if rest.counter else "the membrane itself"
        raise network.failure(REFRACTORY, layer.state or layer.spikes, state=name, by=by)
    return replace(layer, kind=Kind("rlif", {"r": Kept(), "rest": rest.steps}))


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
    begun = forms.assuming(counter.name, start)
    leaves = list(begun.form(counter.next).parts)
    if len(leaves) != 1 or leaves[0] not in forms.shared or leaves[0] in masks:
        return None
    (spikes,) = leaves
    if begun.form(counter.next).parts[spikes].diagonal() is None:
        return None
    for fired in (1.0, 0.0):  # what the comparison says of a spike
        steps = _followed(forms, counter, masks, spikes, fired, start)
        if steps is None:
            continue
        asleep = forms.assuming(counter.name, _set(forms, counter, spikes, fired, start))
        silent = begun.assuming(spikes, np.full(len(start), 1.0 - fired))
        for state in graph.states:
            of_spikes = state is not counter and state.name in begun.difference(spikes).parts
            if not of_spikes or graph.types[state.name] != graph.types[counter.name]:
                continue
            after = begun.assuming(spikes, np.full(len(start), fired)).form(state.next)
            apart = {state.next, counter.next}
            late = bool(after.parts) and after.close(silent.form(state.next))
            if late and not fired:
                continue
            after = asleep.form(state.next) if late else after
            if after.parts or not _stays(asleep, state, spikes, after.bias, fired):
                continue
            if _same(graph, silent, asleep, spikes, {*masks}, apart):
                awake = {one: begun.form(one).bias for one in masks}
                return Rest(spikes, state, after.bias, steps, awake, counter, late)
    return None


def _set(forms: Forms, counter: State, spikes: str, value: float, at: Matrix) -> Matrix:
    """What a counter becomes, with spikes of one value."""
    whole = np.full(forms.graph.types[spikes].size, value)
    return forms.assuming(counter.name, at).assuming(spikes, whole).form(counter.next).bias


def _followed(
    forms: Forms, counter: State, masks: list[str], spikes: str, fired: float, start: Matrix
) -> Matrix | None:
    """For how many timesteps neurons rest after a spike; None if that is no fixed number."""

    def told(at: Matrix) -> list[Matrix]:
        return [forms.assuming(counter.name, at).form(one).bias for one in masks]

    awake, begun = told(start), _set(forms, counter, spikes, fired, start)
    value, first, steps = begun, told(begun), np.zeros(len(start))
    for _ in range(LONGEST):
        now = told(value)
        rests = _differ(now, awake)
        if not rests.any():
            again = _set(forms, counter, spikes, fired, value)
            later = _set(forms, counter, spikes, 1.0 - fired, value)
            ended = not _differ(told(later), awake).any()
            same = near(again, begun)
            return steps if ended and same and steps.all() else None
        if (_differ(now, first) & rests).any():
            return None
        at = np.where(rests, value, begun)  # all of them rest
        asleep = forms.assuming(counter.name, at).form(counter.next)
        one, other = (_set(forms, counter, spikes, said, at) for said in (0.0, 1.0))
        if not asleep.parts:  # they cannot spike there
            one = other = asleep.bias
        if np.any((one != other) & rests):
            return None
        steps = steps + rests
        value = np.where(rests, one, value)
    return None


def _differ(one: list[Matrix], other: list[Matrix]) -> NDArray[np.bool_]:
    """Where comparisons say something else."""
    found: NDArray[np.bool_] = np.any([a != b for a, b in zip(one, other, strict=True)], axis=0)
    return found


def _stays(asleep: Forms, state: State, spikes: str, value: Matrix, fired: float) -> bool:
    """Whether a membrane that rests stays at a value, whatever comes in."""
    for said in (0.0, 1.0):
        kept = asleep.assuming(spikes, np.full(len(value), said)).form(state.next)
        if not kept.parts.keys() <= {state.name}:
            return False
        own = kept.parts[state.name].diagonal() if kept.parts else np.zeros(len(value))
        if own is None or not near(own * value + kept.bias, value):
            return False
    over = asleep.difference(spikes)
    if over.parts:
        return True  # what it says is not heard: `_same` looks at who reads it
    return bool((asleep.form(spikes).bias != fired).all())


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
        if _same(graph, quiet, asleep, spikes, {*masks}, {state.next}):
            awake = {one: silent.form(one).bias for one in masks}
            return Rest(spikes, state, value.bias, np.ones(len(start)), awake, late=True)
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
    graph: Graph, silent: Forms, asleep: Forms, spikes: str, masks: set[str], apart: set[str]
) -> bool:
    """Whether everything but some values takes neurons that rest for neurons that do not spike."""
    wires, size = graph.wires(), graph.types[spikes].size
    below = set().union(*map(wires.below, masks))
    said = [asleep]
    if asleep.difference(spikes).parts:
        said = [asleep.assuming(spikes, np.full(size, one)) for one in (0.0, 1.0)]
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
    if rest.late:
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
