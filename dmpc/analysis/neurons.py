"""Analyses of neurons: membranes between resets, in the machine's own arithmetic.

A timestep of a neuron is monotone in its membrane and its currents, so the ends of their ranges
bound the membrane after it; and it never moves two membranes further apart. What repeated
timesteps lead to is therefore a fixed point that bisection finds exactly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from dmpc.analysis.engine import Analysis, analyses, number
from dmpc.analysis.interval import Interval, Vector, constant, of_bits
from dmpc.ir.chains import STAGES, Chain, chain_of, stages_of
from dmpc.ir.graph import Op
from dmpc.ir.integer_types import times
from dmpc.ir.ops_neurons import MODEL_OF
from dmpc.ir.registry import EvalContext, op_def
from isa.arithmetic import Int, coupled, leak, shift_round
from isa.neurons import FIRING
from isa.neurons import STAGES as MACHINE
from isa.parameters import KEPT, LEAK_BITS

FEW = 4096  # timesteps that are followed one by one, where their number is assumed


@dataclass(frozen=True)
class _Neurons:
    """What a timestep adds to membranes [n], and what leak, threshold and reset do to them.

    `events` are added to what the leak leaves, then everything of `later`, one after the other;
    then come `moves`, as a floor and a ceiling are.
    """

    events: Interval
    later: tuple[Interval, ...]
    beta: Vector
    fraction: int
    threshold: Interval
    reset: Interval
    subtract: bool
    limits: tuple[int, int]
    fires: bool
    moves: tuple[Callable[[Interval], Interval], ...] = ()

    def half(self, u: Vector, current: Int) -> Int:
        """Membranes after leak and events, before saturation."""
        halved: Vector = leak(u, self.beta, self.fraction) + current
        return halved

    def charged(self, u: Interval) -> list[Interval]:
        """Membranes after each addition, before it saturates."""
        low, high = self.half(u.low, self.events.low), self.half(u.high, self.events.high)
        found = [Interval(low, high)]
        for added in self.later:
            found.append(found[-1].clip(*self.limits) + added)
        return found

    def charge(self, u: Interval) -> Interval:
        """Membranes before threshold."""
        return self.moved(self.charged(u)[-1].clip(*self.limits))

    def moved(self, u: Interval) -> Interval:
        """Membranes behind what moves them to exact values."""
        for move in self.moves:
            u = move(u)
        return u

    def lowest(self, u: Vector) -> Int:
        """The least that a timestep leaves of membranes at `u`, resets aside."""
        return self.charge(Interval(u, u)).low

    def highest(self, u: Vector) -> Int:
        """The most that a timestep leaves of membranes at `u`."""
        charge: Int = self.charge(Interval(u, u)).high
        if not self.fires:
            return charge
        silent: Int = np.minimum(charge, self.threshold.high - 1)
        if not self.subtract:
            return silent
        spiked: Int = np.clip(charge - self.reset.low, *self.limits)
        return np.maximum(silent, spiked)


@analyses(*STAGES)
def part(found: Analysis, op: Op) -> None:
    """Stages of a state are analysed with its last; until then their range is their width's."""
    made = op.results[-1]
    users = found.graph.users(made)
    if not any(user.kind in STAGES and user.operands[0] == made for user in users):
        _state(found, chain_of(found.graph, op))


@analyses(*MODEL_OF)
def step(found: Analysis, op: Op) -> None:
    """A fused op does what the stages of its states do, one after the other.

    States that look at no others come first: of the others more is known then than their widths.
    """
    for chain in sorted(stages_of(op), key=_looks):
        _state(found, chain)


def _looks(chain: Chain) -> bool:
    """Whether a stage takes in another state."""
    return any(op_def(op.kind).bind(op.operands).get("source") for op in chain)


def _state(found: Analysis, chain: Chain) -> None:
    """Sums, membranes half-way and before reset, and the membranes that a timestep leaves."""
    neurons, op = _neurons(found, chain), chain[-1]
    start = found.start(chain[0].operands[0])
    low = high = start
    if neurons.fires:
        resets = neurons.reset
        if neurons.subtract:
            of = neurons.threshold
            resets = Interval(of.low - resets.high, of.high - resets.low)
        resets = resets.clip(*neurons.limits)
        low, high = np.minimum(start, resets.low), np.maximum(start, resets.high)
    steps = found.assumed.steps
    u = Interval(
        settle(neurons.lowest, low, -1, steps, neurons.limits[0]),
        settle(neurons.highest, high, 1, steps, neurons.limits[1]),
    )
    bits = found.graph.types[op.results[-1]].bits
    half, *later = neurons.charged(u)
    kept = found.prove(op, "membrane", bits, half | u)
    for charge in later:
        kept = found.prove(op, "membrane", bits, charge)
    found.ranges[chain[0].operands[0]] = found.ranges[op.results[-1]] = u
    if not neurons.fires:
        return
    kept = neurons.moved(kept)
    again = np.arange(times(op.attrs))[:, None] * (neurons.reset.low if neurons.subtract else 0)
    every = (kept.high - again >= neurons.threshold.low).astype(np.int64)  # [times, n]
    if neurons.subtract:
        fires = every[0]
        least = np.maximum(kept.low, neurons.threshold.low) - neurons.reset.high
        most = kept.high - neurons.reset.low
        found.prove(op, "membrane", bits, Interval(least * fires, most * fires))
    every = every.reshape(-1)
    found.ranges[op.results[0]] = Interval(np.zeros_like(every), every)


def _neurons(found: Analysis, chain: Chain) -> _Neurons:
    """What the ops of a chain add up to."""
    zero = np.zeros(found.graph.types[chain[0].operands[0]].shape, np.int64)
    nothing = events = Interval(zero, zero)
    later: list[Interval] = []
    moves = []
    for op in chain:
        bound = found.operands(op)
        if op.kind == "integrate_events":
            sums = found.sums(op, bound["sums"], len(zero))
            sums = found.prove(op, "event sums", number(op, "sum_bits"), sums)
            events = _shifted(sums, np.array(number(op, "shift")), zero)
        elif op.kind in ("integrate_values", "integrate_state"):
            shift, bias = (found.constant(bound[name][0]) for name in ("shift", "bias"))
            if op.kind == "integrate_state":
                taken = found.range(bound["source"][0])
            else:
                taken = found.sums(op, bound["sums"], len(zero))
                if bound["sums"]:
                    taken = found.prove(op, "value sums", number(op, "sum_bits"), taken)
            later.append(_shifted(taken, shift, bias))
        elif op.kind in ("adapt", "integrate_current"):
            by = "shift" if op.kind == "adapt" else "drop"
            shift = found.constant(bound[f"{by}_source"][0])
            later.append(_shifted(found.range(bound["source"][0]), shift, zero))
        elif op.kind == "couple":
            later.append(_coupled(found, found.range(bound["source"][0]), bound, ""))
        elif op.kind != "leak" and MACHINE[STAGES[op.kind]].exact:
            moves.append(partial(_moved, found, op))
        elif op.kind == "jump":
            jump = found.constant(bound["jump"][0])
            later.append(Interval(zero, jump) | Interval(jump, zero))
    leaks, last = chain[0].kind == "leak", chain[-1]
    fires = STAGES[last.kind] in FIRING
    threshold = reset = nothing
    if fires:
        given = found.operands(last)
        threshold, reset = (constant(found.constant(given[r][0])) for r in ("threshold", "reset"))
        if last.kind == "fire_adaptive":
            a, shift = found.range(given["source"][0]), found.constant(given["shift_source"][0])
            threshold = threshold + _shifted(a, shift, zero)
            if last.attrs["reset_mode"] == "subtract":
                reset = reset + _coupled(found, a, given, "_source")
    return _Neurons(
        events,
        tuple(later),
        found.constant(chain[0].operands[1]) if leaks else np.full_like(zero, KEPT),
        number(chain[0], "fraction") if leaks else LEAK_BITS,
        threshold,
        reset,
        fires and last.attrs["reset_mode"] == "subtract",
        of_bits(found.graph.types[last.results[-1]].bits),
        fires,
        tuple(moves),
    )


def _moved(found: Analysis, op: Op, u: Interval) -> Interval:
    """What a stage that adds nothing makes of membranes: it is monotone in all that it takes."""
    ends = [(u.low, u.high)]
    for name in op.operands[1:]:
        type_ = found.graph.types[name]
        if name in found.graph.constants:
            ends.append((found.constant(name),) * 2)
        elif type_.dtype == "event":
            ends.append((np.zeros(type_.shape, np.int64), np.ones(type_.shape, np.int64)))
        else:
            other = found.range(name)
            ends.append((other.low, other.high))
    made = [
        op_def(op.kind).evaluate(EvalContext(), op.attrs, *corner)[-1] for corner in product(*ends)
    ]
    return Interval(np.minimum.reduce(made), np.maximum.reduce(made))


def _shifted(taken: Interval, shift: Vector, bias: Vector) -> Interval:
    """What sums or another state add to a membrane."""
    return Interval(shift_round(taken.low, shift) + bias, shift_round(taken.high, shift) + bias)


def _coupled(
    found: Analysis, taken: Interval, given: Mapping[str, tuple[str, ...]], mark: str
) -> Interval:
    """Another state times its coupling."""
    coupling, exponent = (found.constant(given[r + mark][0]) for r in ("coupling", "exponent"))
    ends = [coupled(end, coupling, exponent) for end in (taken.low, taken.high)]
    return Interval(np.minimum(*ends), np.maximum(*ends))


def settle(
    step: Callable[[Vector], Vector], start: Vector, way: int, steps: int | None, limit: int
) -> Vector:
    """The farthest from `start` that timesteps lead downward (`way` -1) or upward (1).

    Followed one by one for a few of them. Else the fixed point: `step(u) - u` never grows with u,
    so the farthest u that a step still reaches is found by bisection between start and limit.
    """
    if steps is not None and steps <= FEW:
        return _follow(step, start, way, steps)
    near, far = start, np.full_like(start, limit)  # a step from far never goes further
    while (near != far).any():
        middle = (near + far + (way < 0)) // 2  # always nearer to `near` than `far` is
        stays = (step(middle) - middle) * way <= 0
        far = np.where(stays, middle, far)
        near = np.where(stays, near, middle + way)
    return far


def _follow(step: Callable[[Vector], Vector], start: Vector, way: int, steps: int) -> Vector:
    u = start
    for _ in range(steps):
        further = np.maximum(step(u) * way, u * way) * way
        if (further == u).all():
            break
        u = further
    return u
