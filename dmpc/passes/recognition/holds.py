"""Holds: states that are replaced in every so many timesteps, which is what dilation is made of.

A hold is a state whose next value is a choice between itself and another value, by a condition that
compares the remainder of a counter, however it is computed, with a constant. A counter is a state
that adds 1 in each timestep.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dmpc.ir.excerpt import depends_on
from dmpc.ir.graph import Op, State
from dmpc.passes.recognition.network import Held, Hold, Memory, Network
from dmpc.passes.recognition.state_rules import (
    COUNTER_STEP,
    HOLD_CONDITION,
    HOLD_FLOOR,
    HOLD_PERIOD,
    HOLD_PHASE,
    HOLD_REMAINDER,
    HOLD_SOURCE,
    HOLD_START,
    HOLD_SWAPPED,
    HOLD_VARIABLE_PERIOD,
)
from dmpc.passes.recognition.terms import NEGLIGIBLE, Affine, near

LONGEST = 1 << 20  # timesteps: beyond it a period is no period but a mistake


def find_hold(network: Network, state: State) -> Hold | None:
    """The hold that a state is, or None. Raises CompileError for a near miss."""
    choice = network.graph.producer(state.next)
    if choice is None or choice.kind != "where":
        return None
    condition = network.graph.producer(choice.operands[0])
    if condition is None or condition.kind != "eq":
        return None
    itself = network.forms.leaf(state.name)
    kept = [network.forms.form(name).close(itself) for name in choice.operands[1:]]
    if not any(kept):
        return None
    if kept[0]:
        raise network.failure(HOLD_SWAPPED, state.name)
    start = np.zeros(network.graph.types[state.name].size)
    if state.init is not None:
        start = np.resize(network.graph.constants[state.init], start.shape)
    return Hold(state.name, state.next, choice.operands[1], *_timing(network, condition), start)


def timing_of(network: Network, state: State) -> set[str]:
    """The states that decide when a state is replaced, if it is a choice between two values."""
    choice = network.graph.producer(state.next)
    if choice is None or choice.kind != "where":
        return set()
    behind = depends_on(network.graph, choice.operands[0])
    return {other.name for other in network.graph.states if other.name in behind} - {state.name}


def find_held(network: Network, hold: Hold, memories: Iterable[Memory]) -> Held:
    """The memory that a hold repeats. Raises CompileError where it repeats something else."""
    form = network.forms.form(hold.value)
    if hold.since and not near(hold.start, form.bias):
        raise network.failure(HOLD_START, hold.state, first=hold.since)
    by_leaf = {leaf: memory for memory in memories for leaf in (memory.next, memory.state)}
    if not form.terms:
        return Held(hold, None, late=False, matrix=np.zeros((form.size, 0)), bias=form.bias)
    leaf = next(iter(form.terms))
    if len(form.terms) != 1 or leaf not in by_leaf:
        found = network.names(form.terms)
        raise network.failure(HOLD_SOURCE, hold.state, culprits=form.terms, found=found)
    memory = by_leaf[leaf]
    return Held(hold, memory, leaf == memory.state, form.terms[leaf], form.bias)


@dataclass(frozen=True)
class _Remainder:
    """True where the remainder of `factor k + ahead` by `period` is `wanted`, k the counter.

    `kind` is that of the op, and `at` the value that an error is about.
    """

    at: str
    kind: str
    counter: State
    factor: float
    ahead: float
    period: float
    wanted: float

    def true(self, steps: int) -> NDArray[np.int64]:
        """The first `steps` timesteps in which the condition is true."""
        remainder = np.mod if self.kind == "mod" else np.fmod
        found = remainder(self.factor * np.arange(steps) + self.ahead, self.period)
        return np.flatnonzero(found == self.wanted)


def _timing(network: Network, condition: Op) -> tuple[int, str, int]:
    """Period and counter of a condition that is true in each `period`th timestep, and in which
    first."""
    at = condition.results[0]
    compared = network.forms.difference(at)
    kinds = {name: _kind(network, name) for name in compared.terms}
    if compared.size == 1 and sorted(kinds.values()) in (["fmod"], ["mod"]):
        found = _by_remainder(network, compared)
    elif compared.size == 1 and sorted(kinds.values()) == ["floor", "state"]:
        found = _by_floor(network, compared)
    else:
        raise network.failure(HOLD_CONDITION, at, found=network.names(compared.terms))
    _check_counter(network, found.counter)
    init = found.counter.init
    begun = 0.0 if init is None else float(network.graph.constants[init][0])
    found = replace(found, ahead=found.ahead + found.factor * begun)
    if found.period != int(found.period) or not 1 <= found.period <= LONGEST:
        raise network.failure(HOLD_PERIOD, found.at, period=found.period)
    return int(found.period), found.counter.name, _first(network, at, found)


def _kind(network: Network, value: str) -> str:
    """The op that computes a value, or `state`."""
    producer = network.graph.producer(value)
    if producer is not None:
        return producer.kind
    return "state" if network.graph.state(value) else "input"


def _by_remainder(network: Network, compared: Affine) -> _Remainder:
    """The condition `mod(factor k + ahead, period) == wanted`."""
    ((at, weight),) = compared.terms.items()
    remainder = network.graph.producer(at)
    assert remainder is not None
    argument, modulus = (network.forms.form(name) for name in remainder.operands)
    counter = _counter(network, at, argument)
    if modulus.terms or modulus.size != 1:
        raise network.failure(HOLD_VARIABLE_PERIOD, at)
    return _Remainder(
        at=at,
        kind=remainder.kind,
        counter=counter,
        factor=float(argument.terms[counter.name][0, 0]),
        ahead=float(argument.bias[0]),
        period=float(modulus.bias[0]),
        wanted=-float(compared.bias[0]) / float(weight[0, 0]),
    )


def _by_floor(network: Network, compared: Affine) -> _Remainder:
    """The same spelt with a floor: `k - period floor((k + ahead) / period) == wanted - ahead`."""
    at = next(name for name in compared.terms if _kind(network, name) == "floor")
    floor = network.graph.producer(at)
    assert floor is not None
    argument = network.forms.form(floor.operands[0])
    counter = _counter(network, at, argument)
    period = _whole(1.0 / float(argument.terms[counter.name][0, 0]))
    ahead = _whole(float(argument.bias[0]) * period)
    factor = compared.terms.get(counter.name, np.zeros((1, 1)))[0, 0]
    if factor == 0 or _whole(-float(compared.terms[at][0, 0] / factor)) != period:
        raise network.failure(HOLD_FLOOR, at)
    wanted = _whole(ahead - float(compared.bias[0]) / float(factor))
    return _Remainder(at, "mod", counter, 1.0, ahead, period, wanted)


def _whole(number: float) -> float:
    """The whole number that a quotient of float32 numbers stands for, if it is near one."""
    near = round(number)
    return float(near) if abs(number - near) <= NEGLIGIBLE * max(1.0, abs(number)) else number


def _counter(network: Network, at: str, argument: Affine) -> State:
    """The one state that the argument of a remainder depends on."""
    counter = network.graph.state(next(iter(argument.terms), ""))
    if counter is None or not _one(argument):
        raise network.failure(HOLD_REMAINDER, at, found=network.names(argument.terms))
    return counter


def _one(form: Affine) -> bool:
    """True for one number that depends on one number."""
    return form.size == 1 and [matrix.shape for matrix in form.terms.values()] == [(1, 1)]


def _check_counter(network: Network, counter: State) -> None:
    """The counter adds 1."""
    form = network.forms.form(counter.next)
    counts = form.terms.keys() == {counter.name} and form.terms[counter.name][0, 0] == 1.0
    if not counts or form.bias[0] != 1.0:
        raise network.failure(COUNTER_STEP, counter.name)


def _first(network: Network, condition: str, found: _Remainder) -> int:
    """The first timestep in which the condition is true, from which on it is in each `period`th."""
    period = int(found.period)
    steps = 2 * period + min(int(abs(found.ahead)), LONGEST)
    true = found.true(steps)
    begun = int(true[0]) if len(true) else period
    if begun >= period or not np.array_equal(true, np.arange(begun, steps, period)):
        first = f"first in timestep {begun}" if len(true) else "never"
        raise network.failure(HOLD_PHASE, condition, first=first, period=period)
    return begun
