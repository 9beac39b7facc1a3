"""Analyses of products, slow states, readouts and copies."""

import numpy as np

from dmpc.analysis.engine import Analysis, analyses, number
from dmpc.analysis.forms import Form, total
from dmpc.analysis.interval import Interval, of_bits
from dmpc.analysis.neurons import settle
from dmpc.analysis.response import System
from dmpc.ir.drives import columns, split
from dmpc.ir.graph import Op
from dmpc.ir.ops_readout import largest_from_zero
from isa.arithmetic import Int, leak, shift_round


@analyses("matvec")
def matvec(found: Analysis, op: Op) -> None:
    """A product is exact: its consumer saturates the total of its sums."""
    form = found.form(op.operands[0], found.constant(op.operands[1]))
    found.forms[op.results[0]] = form
    found.ranges[op.results[0]] = found.bound(form)


@analyses("convolve")
def convolve(found: Analysis, op: Op) -> None:
    """As matvec, of events or inputs, each of which may be anything."""
    bounds = found.product_range(op, found.range(op.operands[0]))
    found.forms[op.results[0]] = Form(other=bounds)
    found.ranges[op.results[0]] = bounds


@analyses("scalar_drive")
def scalar_drive(found: Analysis, op: Op) -> None:
    """A sum, rectified or not: its ends are the ends of the sum."""
    weight = found.constant(op.operands[1])[None, :]
    sums = found.bound(found.form(op.operands[0], weight))
    shifted = _shifted(sums, number(op, "shift")) + np.array([number(op, "bias")])
    added, before = split([found.range(name) for name in op.operands[2:]], op.attrs)
    total = sum(added, shifted)
    if not op.attrs.get("linear"):
        total = Interval(np.maximum(total.low, 0), np.maximum(total.high, 0))
    made = [*before, found.prove(op, "drive", number(op, "bits"), total)]
    low, high = np.concatenate([m.low for m in made]), np.concatenate([m.high for m in made])
    found.ranges[op.results[0]] = Interval(low, high)


@analyses("state_update")
def state_update(found: Analysis, op: Op) -> None:
    """A slow state, by its whole impulse response unless that leaves its width or does not end."""
    a, b = found.constant(op.operands[2]), columns(found.constant(op.operands[3]))
    unit, bits = 2.0 ** -number(op, "shift"), number(op, "bits")
    system = System(a * unit, b * unit, found.assumed.steps)
    identity = np.eye(len(b), dtype=np.int64)
    linear = found.driven(op, system, identity) if system.decays else None
    drive = found.range(op.operands[1])
    if not drive.magnitude.any():  # from zero, nothing ever comes, and nothing is rounded
        bound = Interval(np.zeros(len(b), np.int64), np.zeros(len(b), np.int64))
    elif linear is not None and linear.clip(*of_bits(bits)) == linear:
        found.systems[op.results[0]] = system
        bound = linear
    else:  # saturation makes it another system: one timestep, from anywhere in its width
        widest = Interval(*(np.full(len(b), end, np.int64) for end in of_bits(bits)))
        sums = widest.through(a) + drive.through(b)
        bound = _shifted(sums, number(op, "shift")).with_zero()
    kept = found.prove(op, "memory state", bits, bound)
    found.ranges[op.operands[0]] = found.ranges[op.results[0]] = kept.with_zero()


@analyses("hold")
def hold(found: Analysis, op: Op) -> None:
    """A copy of every few timesteps; before the first it is zero."""
    held, value = op.operands
    found.ranges[held] = found.ranges[op.results[0]] = found.range(value).with_zero()
    if "since" not in op.attrs:  # nothing older than a copy is read
        found.forms[op.results[0]] = found.form(value).held(number(op, "period"))
        found.ranges[op.results[0]] = found.range(value)


@analyses("move")
def move(found: Analysis, op: Op) -> None:
    """A copy of events for a later stage is those events."""
    found.forms[op.results[0]] = found.form(op.operands[0])
    found.ranges[op.results[0]] = found.range(op.operands[0])


@analyses("delay")
def delay(found: Analysis, op: Op) -> None:
    """Events that arrive together set out in different timesteps: any of them may be there."""
    del found, op


@analyses("accumulate_logits")
def accumulate_logits(found: Analysis, op: Op) -> None:
    """Logits grow with the number of timesteps, or are those of one."""
    bound_to = found.operands(op)
    bias, shift = (found.constant(bound_to[name][0]) for name in ("bias", "shift"))
    now = found.sums(op, bound_to["sums"], len(bias)) + shift_round(bias, shift)
    bits = number(op, "bits")
    if op.attrs["mode"] != "sum":
        found.ranges[op.results[0]] = found.prove(op, "logit", bits, _kept(found, op, now))
        return
    found.ranges[op.results[0]] = _grown(found, op, "logit", bits, now)


def _kept(found: Analysis, op: Op, now: Interval) -> Interval:
    """Logits that are those of one timestep, or what they start from if none is larger."""
    return now.with_zero() if largest_from_zero(found.graph, op) else now


@analyses("leaky_logits", "following_logits")
def leaky_logits(found: Analysis, op: Op) -> None:
    """A leak and a sum, as neurons that never fire have them."""
    bound = found.operands(op)
    beta = found.constant(bound["beta"][0])
    if op.kind == "following_logits":
        now = found.range(bound["other"][0])
    else:
        bias, shift = (found.constant(bound[name][0]) for name in ("bias", "shift"))
        now = found.sums(op, bound["sums"], len(bias)) + shift_round(bias, shift)
    bits, fraction = number(op, "bits"), number(op, "fraction")
    low, high = of_bits(bits)

    def end(each: Int, way: int, limit: int) -> Int:
        def step(u: Int) -> Int:
            after: Int = np.clip(leak(u, beta, fraction) + each, low, high)
            return after

        return settle(step, start, way, found.assumed.steps, limit)

    start = found.start(op.operands[0])
    u = Interval(end(now.low, -1, low), end(now.high, 1, high))
    reached = Interval(leak(u.low, beta, fraction), leak(u.high, beta, fraction)) + now
    found.prove(op, "logit", bits, reached | now)
    found.ranges[op.operands[0]] = found.ranges[op.results[0]] = u


@analyses("collect_logits")
def collect_logits(found: Analysis, op: Op) -> None:
    """A sum of leaky logits grows with the number of timesteps; their largest is one of them."""
    now, bits = found.range(op.operands[1]), number(op, "bits")
    if op.attrs["mode"] == "max":
        found.ranges[op.results[0]] = found.prove(op, "logit", bits, _kept(found, op, now))
    else:
        found.ranges[op.results[0]] = _grown(found, op, "logit", bits, _begun(op, now))


@analyses("count")
def count(found: Analysis, op: Op) -> None:
    """One for each timestep at most."""
    size = len(found.range(op.operands[1]).low)
    once = Interval(np.zeros(size, np.int64), np.ones(size, np.int64))
    bits = number(op, "bits")
    found.ranges[op.results[0]] = _grown(found, op, "count", bits, once)


@analyses("tick")
def tick(found: Analysis, op: Op) -> None:
    """The sequencer's own counter of timesteps: the range of its type."""
    del found, op


@analyses("total_logits")
def total_logits(found: Analysis, op: Op) -> None:
    """Products of counts grow as the products of single events that were counted do."""
    bound_to = found.operands(op)
    bias, shift = (found.constant(bound_to[name][0]) for name in ("bias", "shift"))
    found.sums(op, bound_to["sums"], len(bias))
    once = _uncounted(found, total(found.form(name) for name in bound_to["sums"]))
    growth = found.bound(once) + shift_round(bias, shift)
    found.ranges[op.results[0]] = _grown(found, op, "logit", number(op, "bits"), _begun(op, growth))


def _begun(op: Op, growth: Interval) -> Interval:
    """What a timestep adds to a sum, which before the first that counts is nothing."""
    return growth.with_zero() if "since" in op.attrs else growth


def _uncounted(found: Analysis, form: Form) -> Form:
    """The form in one timestep's events of a form in their counts."""
    counters = {op.results[0]: op.operands[1] for op in found.graph.ops if op.kind == "count"}
    return total(found.form(counters[s.name], matrix) for s, matrix in form.terms.items())


def _grown(found: Analysis, op: Op, what: str, bits: int, growth: Interval) -> Interval:
    """Prove a sum over time: over the assumed number of timesteps, or one timestep's part."""
    steps = found.assumed.steps
    if steps is not None:
        return found.prove(
            op, what, bits, growth | Interval(growth.low * steps, growth.high * steps)
        )
    found.prove(op, what, bits, growth, grows=True)
    low, high = of_bits(bits)
    return Interval(np.where(growth.low < 0, low, 0), np.where(growth.high > 0, high, 0))


def _shifted(sums: Interval, shift: int) -> Interval:
    """What a rounded shift makes of the ends."""
    return Interval(shift_round(sums.low, shift), shift_round(sums.high, shift))
