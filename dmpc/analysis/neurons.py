"""Analyses of neurons: membranes between resets, in the machine's own arithmetic.

A timestep of a neuron is monotone in its membrane and its currents, so the ends of their ranges
bound the membrane after it; and it never moves two membranes further apart. What repeated
timesteps lead to is therefore a fixed point that bisection finds exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dmpc.analysis.engine import Analysis, analyses, number
from dmpc.analysis.interval import Interval, Vector, of_bits
from dmpc.ir.chains import STAGES, Chain, chain_of, stages_of
from dmpc.ir.graph import Op
from dmpc.ir.ops_neurons import MODEL_OF
from isa.arithmetic import Int, leak, shift_round

FEW = 4096  # timesteps that are followed one by one, where their number is assumed


@dataclass(frozen=True)
class _Neurons:
    """What a timestep adds to membranes [n], and what leak, threshold and reset do to them."""

    events: Interval
    values: Interval
    beta: Vector
    fraction: int
    threshold: Vector
    reset: Vector
    subtract: bool
    limits: tuple[int, int]
    fires: bool

    def half(self, u: Vector, current: Int) -> Int:
        """Membranes after leak and events, before saturation."""
        halved: Vector = leak(u, self.beta, self.fraction) + current
        return halved

    def charge(self, u: Vector, events: Int, values: Int) -> Int:
        """Membranes before threshold and before their last saturation."""
        return np.clip(self.half(u, events), *self.limits) + values

    def lowest(self, u: Vector) -> Int:
        """The least that a timestep leaves of membranes at `u`, resets aside."""
        return np.clip(self.charge(u, self.events.low, self.values.low), *self.limits)

    def highest(self, u: Vector) -> Int:
        """The most that a timestep leaves of membranes at `u`."""
        charge: Int = np.clip(self.charge(u, self.events.high, self.values.high), *self.limits)
        if not self.fires:
            return charge
        silent: Int = np.minimum(charge, self.threshold - 1)
        if not self.subtract:
            return silent
        spiked: Int = np.clip(charge - self.reset, *self.limits)
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
    """A fused op does what the stages of its states do, one after the other."""
    for chain in stages_of(op):
        _state(found, chain)


def _state(found: Analysis, chain: Chain) -> None:
    """Sums, membranes half-way and before reset, and the membranes that a timestep leaves."""
    neurons, op = _neurons(found, chain), chain[-1]
    size = found.graph.types[chain[0].operands[0]].shape
    start = np.zeros(size, np.int64)
    low = high = start
    if neurons.fires:
        resets = neurons.threshold - neurons.reset if neurons.subtract else neurons.reset
        resets = np.clip(resets, *neurons.limits)
        low, high = np.minimum(start, resets), np.maximum(start, resets)
    steps = found.assumed.steps
    u = Interval(
        settle(neurons.lowest, low, -1, steps, neurons.limits[0]),
        settle(neurons.highest, high, 1, steps, neurons.limits[1]),
    )
    bits = number(op, "bits")
    half = Interval(
        neurons.half(u.low, neurons.events.low), neurons.half(u.high, neurons.events.high)
    )
    charge = Interval(
        neurons.charge(u.low, neurons.events.low, neurons.values.low),
        neurons.charge(u.high, neurons.events.high, neurons.values.high),
    )
    found.prove(op, "membrane", bits, half | u)
    kept = found.prove(op, "membrane", bits, charge)
    found.ranges[chain[0].operands[0]] = found.ranges[op.results[-1]] = u
    if not neurons.fires:
        return
    fires = (kept.high >= neurons.threshold).astype(np.int64)
    if neurons.subtract:
        least = np.maximum(kept.low, neurons.threshold) - neurons.reset
        most = kept.high - neurons.reset
        found.prove(op, "membrane", bits, Interval(least * fires, most * fires))
    found.ranges[op.results[0]] = Interval(np.zeros_like(fires), fires)


def _neurons(found: Analysis, chain: Chain) -> _Neurons:
    """What the ops of a chain add up to."""
    zero = np.zeros(found.graph.types[chain[0].operands[0]].shape, np.int64)
    events = values = Interval(zero, zero)
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
            values = values + _shifted(taken, shift, bias)
    leak, last = found.operands(chain[0]), chain[-1]
    fires = last.kind == "fire"
    given = found.operands(last) if fires else {}
    return _Neurons(
        events,
        values,
        found.constant(leak["beta"][0]),
        number(chain[0], "fraction"),
        found.constant(given["threshold"][0]) if fires else zero,
        found.constant(given["reset"][0]) if fires else zero,
        fires and last.attrs["reset_mode"] == "subtract",
        of_bits(number(last, "bits")),
        fires,
    )


def _shifted(taken: Interval, shift: Vector, bias: Vector) -> Interval:
    """What sums or another state add to a membrane."""
    return Interval(shift_round(taken.low, shift) + bias, shift_round(taken.high, shift) + bias)


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
