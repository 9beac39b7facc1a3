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
from dmpc.ir.graph import Op
from dmpc.passes.fuse import chain_of, fused
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
        silent: Int = np.minimum(charge, self.threshold - 1)
        if not self.subtract:
            return silent
        spiked: Int = np.clip(charge - self.reset, *self.limits)
        return np.maximum(silent, spiked)


@analyses("leak", "integrate_events", "integrate_values")
def part(found: Analysis, op: Op) -> None:
    """Parts of a neuron are analysed with its `fire`; until then their range is their width's."""
    del found, op


@analyses("fire")
def fire(found: Analysis, op: Op) -> None:
    """A neuron of several ops computes what the fused one does."""
    lif_step(found, fused(chain_of(found.graph, op)))


@analyses("lif_step")
def lif_step(found: Analysis, op: Op) -> None:
    """Sums, membranes half-way and before reset, and the membranes that a timestep leaves."""
    neurons = _neurons(found, op)
    start = np.zeros_like(neurons.threshold)
    resets = neurons.threshold - neurons.reset if neurons.subtract else neurons.reset
    resets = np.clip(resets, *neurons.limits)
    low, high = np.minimum(start, resets), np.maximum(start, resets)
    steps = found.assumed.steps
    u = Interval(
        _settle(neurons.lowest, low, -1, steps, neurons.limits[0]),
        _settle(neurons.highest, high, 1, steps, neurons.limits[1]),
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
    fires = (kept.high >= neurons.threshold).astype(np.int64)
    if neurons.subtract:
        least = np.maximum(kept.low, neurons.threshold) - neurons.reset
        most = kept.high - neurons.reset
        found.prove(op, "membrane", bits, Interval(least * fires, most * fires))
    found.ranges[op.operands[0]] = found.ranges[op.results[1]] = u
    found.ranges[op.results[0]] = Interval(np.zeros_like(fires), fires)


def _neurons(found: Analysis, op: Op) -> _Neurons:
    bound = found.operands(op)
    split, sum_bits = number(op, "events"), number(op, "sum_bits")
    events = found.sums(op, bound["sums"][:split])
    values = found.sums(op, bound["sums"][split:])
    if split:
        events = found.prove(op, "event sums", sum_bits, events)
    if bound["sums"][split:]:
        values = found.prove(op, "value sums", sum_bits, values)
    beta, shift, bias, threshold = (
        found.constant(bound[name][0]) for name in ("beta", "shift", "bias", "threshold")
    )
    event_shift = number(op, "event_shift")
    return _Neurons(
        Interval(shift_round(events.low, event_shift), shift_round(events.high, event_shift)),
        Interval(shift_round(values.low, shift) + bias, shift_round(values.high, shift) + bias),
        beta,
        number(op, "fraction"),
        threshold,
        found.constant(bound["reset"][0]),
        op.attrs["reset_mode"] == "subtract",
        of_bits(number(op, "bits")),
    )


def _settle(
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
