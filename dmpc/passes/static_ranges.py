"""Ranges that no input can leave, from the weights alone: interval analysis of the float graph.

The slow state is bounded by its whole impulse response, membranes by the geometric series of the
most negative current. `dmpc.analysis` does the same, exactly, for the integers of the machine.
"""

from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from dmpc.analysis.interval import Interval, constant
from dmpc.analysis.response import LONGEST, System
from dmpc.errors import CompileError, ErrorList
from dmpc.ir.drives import driven, others_of
from dmpc.ir.graph import Graph, Op
from dmpc.ir.integer_types import times
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.ops_layers import FIRING, NEURONS, NO_LIMIT, REST
from dmpc.ir.registry import op_def
from dmpc.passes.layer_rules import layer_error
from dmpc.passes.ranges import (
    Currents,
    Ranges,
    Real,
    check_events,
    currents,
    start_of,
    total_bias,
)
from dmpc.rules import Stage, rule

LASTING_MEMORY = rule(
    "lasting-memory",
    Stage.LAYERS,
    "the memory of {layer} does not decay within {steps} timesteps",
    why="""A slow state that keeps what it once took in for ever has no largest value, so no scale
    fits it. Eigenvalues of A must lie inside the unit circle; a window that is too long for
    float32, or an A that was not discretised, puts them outside.""",
    nearest="a window that fits float32; or a calibration set, which gives ranges in their place",
)
COUPLED_MEMBRANE = rule(
    "coupled-membrane",
    Stage.LAYERS,
    "membranes of {layer} and the current that follows them drive each other, so that the weights "
    "alone give no largest value",
    why="""What a membrane adds to its current comes back to it. That ends where both are linear and
    decay together; a hard reset, or a loop that does not decay, gives no bound, and no scale.""",
    nearest="a calibration set, which gives ranges in their place",
)
EXACT = 1e-9  # of a whole number of thresholds: sums of weights that lie on a grid
TINY = 1e-9  # of a response: what is left of it when it has died away
NOTHING = float(np.finfo(np.float32).tiny)
ENDLESS_MEMBRANE = rule(
    "endless-membrane",
    Stage.LAYERS,
    "membranes of {layer} do not leak and can {how} without bound",
    why="""A membrane with a leak factor of 1 keeps every current that it ever took in, so the
    weights alone give no largest value, and no scale.""",
    nearest="a leak below 1; or a calibration set, which gives ranges in their place",
)

MANY_SPIKES = rule(
    "many-spikes",
    Stage.LAYERS,
    "{what} may make neurons of {layer} spike {needed} times in a timestep; they have {times}",
    why="""The model lets neurons spike as often as their membranes hold the threshold. The machine
    lets them fire again in a timestep up to 16 times, as often as a program says; what they hold
    back is in their membranes in the next timestep, which is another network.""",
    nearest="a calibration set, which shows how often they do; or a limit of the model's own: "
    "Sinabs' spike_fn=MaxSpike(3), Rockpool's max_spikes_per_dt=3",
)


def many_spikes(graph: Graph, spikes: str, what: str, needed: str, number: int) -> CompileError:
    """The error of neurons that may have to spike more often than they can."""
    op = graph.producer(spikes)
    assert op is not None
    fields = {"layer": op.attrs["layer"], "what": what, "needed": needed, "times": number}
    return layer_error(MANY_SPIKES, graph, op, **fields)


Flags = NDArray[np.bool_]
ROUNDING = 1.02  # headroom: rounded weights and states go a little further than real ones


def static_ranges(
    graph: Graph, input_range: tuple[float, float] | None, *, sizes: bool = False
) -> Ranges:
    """Ranges that no input can leave. `input_range` is None for a binary input.

    Raises CompileError for a memory that does not decay, and for membranes that can grow forever,
    unless `sizes` alone are asked for: then any range will do for them.
    """
    errors = ErrorList()
    ranges = Ranges("static ranges", input_range is None, ROUNDING)
    check_events(graph, ranges.events)
    low, high = input_range or (0.0, 1.0)
    for name in graph.inputs:
        shape = graph.types[name].shape
        ranges.bounds[name] = Interval(np.full(shape, low), np.full(shape, high))
    for state in graph.states:
        if graph.types[state.name].dtype == "event":
            size = graph.types[state.name].shape
            ranges.bounds[state.name] = Interval(np.zeros(size), np.ones(size))
    writers = {op.operands[0]: op for op in graph.ops if op.kind in ("memory", "hold", "li")}

    def visit(name: str) -> None:
        op = writers.get(name) or graph.producer(name)
        if op is None or name in ranges.bounds:
            return
        for result in op.results:
            if graph.types[result].dtype == "event":  # so much for what hears it around a loop
                size = graph.types[result].shape
                ranges.bounds[result] = Interval(np.zeros(size), np.ones(size))
        own_state = op.operands[:1] if op.kind in ("memory", "hold", *NEURONS) else ()
        for operand in op.operands:
            if operand not in own_state:
                visit(operand)
        try:
            _STATIC[op.kind](graph, op, ranges)
        except CompileError as error:
            if not sizes:
                errors.add(error)
            _silence(graph, op, ranges)

    with np.errstate(over="ignore", invalid="ignore"):  # a bound may lie beyond all numbers
        for op in graph.ops:
            for result in op.results:
                visit(result)
    errors.check()
    return ranges


def _silence(graph: Graph, op: Op, ranges: Ranges) -> None:
    """Take what has no bounds for zero, so that the rest can be looked at."""
    for name in (op.operands[0], *op.results):
        zero = np.zeros(graph.types[name].shape)
        ranges.bounds.setdefault(name, Interval(zero, zero))


def _static_dense(graph: Graph, op: Op, ranges: Ranges) -> None:
    weight, *bias = (graph.constants[name] for name in op.operands[1:])
    product = ranges.bounds[op.operands[0]].through(weight)
    ranges.bounds[op.results[0]] = product + bias[0] if bias else product


def _static_sum(graph: Graph, op: Op, ranges: Ranges) -> None:
    zero = np.zeros(graph.types[op.results[0]].shape)
    added = (ranges.bounds[name] for name in op.operands)
    ranges.bounds[op.results[0]] = sum(added, Interval(zero, zero))


def _static_conv(graph: Graph, op: Op, ranges: Ranges) -> None:
    weight, *bias = (graph.constants[name] for name in op.operands[1:])
    given = ranges.bounds[op.operands[0]]
    made = Convolution.of(op.attrs, weight.shape)
    product = Interval(*made.bounds(given.low, given.high, weight.astype(np.float64)))
    ranges.bounds[op.results[0]] = product + bias[0] if bias else product


def _static_drive(graph: Graph, op: Op, ranges: Ranges) -> None:
    weight, *bias = (graph.constants[n] for n in op.operands[1:] if n in graph.constants)
    product = ranges.bounds[op.operands[0]].through(weight[None, :])
    sums = product + bias[0] if bias else product
    others = [ranges.bounds[name] for name in others_of(graph, op)]
    low, high = (
        driven(end(sums), [end(one) for one in others], op.attrs, lambda made: made)
        for end in (attrgetter("low"), attrgetter("high"))
    )
    ranges.bounds[op.results[0]] = Interval(low, high)


def _static_memory(graph: Graph, op: Op, ranges: Ranges) -> None:
    system = System(graph.constants[op.operands[2]], graph.constants[op.operands[3]])
    if not system.decays:
        raise layer_error(LASTING_MEMORY, graph, op, layer=op.attrs["layer"], steps=LONGEST)
    found = system.driven(np.eye(len(system.b)), ranges.bounds[op.operands[1]], 0.0)
    ranges.bounds[op.operands[0]] = ranges.bounds[op.results[0]] = found


def _static_hold(graph: Graph, op: Op, ranges: Ranges) -> None:
    del graph
    held, value = op.operands
    bounds, zero = ranges.bounds[value], np.zeros_like(ranges.bounds[value].low)
    ranges.bounds[held] = bounds | Interval(zero, zero)  # before the first timestep that copies
    ranges.bounds[op.results[0]] = ranges.bounds[held] if "since" in op.attrs else bounds


def _static_delay(graph: Graph, op: Op, ranges: Ranges) -> None:
    shape = graph.types[op.results[0]].shape
    ranges.bounds[op.results[0]] = Interval(np.zeros(shape), np.ones(shape))


def _static_lif(graph: Graph, op: Op, ranges: Ranges) -> None:
    roles = currents(graph, op, ranges.events)
    beta = graph.constants[roles.beta]
    zero = Interval(np.zeros_like(beta), np.zeros_like(beta))
    events = sum((_static_products(graph, c, ranges) for c in roles.events), zero)
    values = sum((_static_products(graph, c, ranges) for c in roles.values), zero)
    values = sum((ranges.bounds[name] for name in roles.first), values)
    parts = [events + values + total_bias(graph, roles.products)]
    for name in roles.further:
        parts.append(parts[-1] + ranges.bounds[name])
    *parts, total = parts
    ranges.values[op.results[0]] = values
    room = 1 - beta
    if op.kind == "li":
        _static_integrator(graph, op, ranges, total, events)
        return
    limits = [constant(graph.constants[name]) for name in (roles.threshold, roles.reset)]
    if op.attrs.get("adapts") == "current":
        _static_coupled(graph, op, roles, ranges, total, [events, *parts])
        return
    threshold, reset = _static_adapted(graph, op, roles, ranges, limits)
    start, several = start_of(graph, op.operands[0]), times(op.attrs)
    often = _needed(graph, op, roles, total, start)
    needed = float(often.max(initial=1))
    ranges.spikes[op.results[0]] = int(min(needed, np.iinfo(np.int32).max))
    whole = needed <= several and ("times" in op.attrs or "endless" in op.attrs)
    pushed = total.high - np.minimum(reset.low, 0)  # subtracting less than zero adds
    falls = (room == 0) & (total.low < 0)  # a leak above 1 is an error of its own
    rises = (room == 0) & (pushed > several * np.maximum(reset.low, 0)) & ~whole
    low = np.minimum(total.low, 0) / np.where(room > 0, room, 1)
    most = pushed / np.where(room > 0, room, 1)
    if roles.limits:
        floor, ceiling = (graph.constants[name] for name in roles.limits)
        low = np.minimum(np.where(falls, floor, np.maximum(low, floor)), 0)
        most = np.where(rises, ceiling - reset.low, np.minimum(most, ceiling - reset.low))
        falls, rises = falls & (floor <= -NO_LIMIT), rises & (ceiling >= NO_LIMIT)
    low, before = np.minimum(low, start), np.maximum(np.maximum(threshold.high, 0), start)
    if not roles.subtract:
        low, before = np.minimum(low, reset.low), np.maximum(before, reset.high)
    else:
        low = np.minimum(low, threshold.low - reset.high)
        before = before if whole else np.maximum(before, most)
    charge = Interval(np.minimum(low, beta * low + total.low), beta * before + total.high)
    for part in (events, *parts):
        charge = charge | (Interval(beta * low, beta * before) + part)
    ranges.charge[op.results[0]] = charge
    fires = np.arange(several)[:, None] < (often if whole else np.inf)
    most = np.broadcast_to(fires, (several, len(beta))).reshape(-1).astype(np.float64)
    ranges.bounds[op.results[0]] = Interval(np.zeros_like(most), most)
    ranges.bounds[op.results[1]] = Interval(low, before)
    if op.kind == "rlif":  # for how long neurons rest
        (r,), (rest,) = (op_def(op.kind).bind(op.operands)[role] for role in REST)
        begun = start_of(graph, r)
        found = Interval(np.minimum(begun, 0), np.maximum(graph.constants[rest], begun))
        ranges.bounds[r] = ranges.bounds[op.results[2]] = found
    if op.attrs.get("endless") and not whole:
        said = f"up to {needed:.0f}" if np.isfinite(needed) else "any number of"
        raise many_spikes(graph, op.results[0], "an input", said, several)
    _check_ends(graph, op, falls, rises & roles.subtract)


def _needed(graph: Graph, op: Op, roles: Currents, total: Interval, start: Real) -> Real:
    """How often neurons spike in a timestep at most, if they always spike as often as they can."""
    if not roles.subtract or roles.adaptation:
        return np.ones_like(start)
    beta, threshold, reset = (
        graph.constants[name].astype(np.float64)
        for name in (roles.beta, roles.threshold, roles.reset)
    )
    charge = beta * np.maximum(threshold, start) + total.high
    if roles.limits:
        charge = np.minimum(charge, graph.constants[roles.limits[1]])
    over = charge - threshold
    # What spikes leave is below the threshold, but for `strict`: a charge stays below its bound.
    below = op.attrs["strict"] or ((beta > 0) & (start < threshold) & (threshold > 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        further = np.where(reset > 0, over / reset, np.where(over > 0, np.inf, 0))
    more = np.where(below, np.ceil(further - EXACT), np.floor(further + EXACT) + 1)
    found: Real = np.where(over >= 0, more, 0)
    return found


def _static_adapted(
    graph: Graph, op: Op, roles: Currents, ranges: Ranges, limits: list[Interval]
) -> list[Interval]:
    """Thresholds and resets, which adaptation moves: that of a spike in every timestep at most."""
    if not roles.adaptation:
        return limits
    rho, jump, coupling = (graph.constants[name] for name in roles.adaptation[1:])
    for grows, how in ((jump < 0, "fall"), (jump > 0, "rise")):
        if (grows & (rho == 1)).any():
            raise layer_error(ENDLESS_MEMBRANE, graph, op, layer=op.attrs["layer"], how=how)
    most = jump / np.where(rho < 1, 1 - rho, 1)
    a = Interval(np.minimum(most, 0), np.maximum(most, 0))
    a = a | constant(start_of(graph, roles.adaptation[0]))
    ranges.bounds[roles.adaptation[0]] = ranges.bounds[op.results[2]] = a
    taken = constant(coupling * a.low) | constant(coupling * a.high)
    return [limits[0] + a, limits[1] + taken if roles.subtract else limits[1]]


def _static_coupled(
    graph: Graph, op: Op, roles: Currents, ranges: Ranges, total: Interval, parts: list[Interval]
) -> None:
    """Membranes, and a current of theirs that follows them and their spikes.

    They take in `total`, and on the way to it, `parts`.
    """
    beta, reset = graph.constants[roles.beta], graph.constants[roles.reset]
    coupled = (graph.constants[name] for name in roles.adaptation[1:])
    starts = np.stack([start_of(graph, name) for name in (op.operands[0], roles.adaptation[0])])
    found = (_linear if roles.subtract else _cut_off)(total, starts, beta, reset, *coupled)
    if found is None:
        raise layer_error(COUPLED_MEMBRANE, graph, op, layer=op.attrs["layer"])
    u, a = found
    leaked = Interval(beta * u.low, beta * u.high)
    charge = (leaked + total + a) | u
    for part in parts:
        charge = charge | (leaked + part)
    ranges.charge[op.results[0]] = charge
    ranges.bounds[op.results[0]] = Interval(np.zeros_like(beta), np.ones_like(beta))
    ranges.bounds |= dict(zip(op.results[1:], found, strict=True))
    ranges.bounds[roles.adaptation[0]] = a


def _linear(
    total: Interval, start: Real, beta: Real, reset: Real, rho: Real, jump: Real, coupling: Real
) -> tuple[Interval, Interval] | None:
    """Both by their response to what they take in, of which a spike is a part; None: endless."""
    one, zero = np.ones_like(beta), np.zeros_like(beta)
    into = np.array([[one, -reset], [coupling, jump - coupling * reset]])
    step = np.array([[beta, one], [coupling * beta, rho + coupling]])
    if (np.abs(np.linalg.eigvals(step.transpose(2, 0, 1))) >= 1).any():
        return None
    # From rest on, where nothing had come in yet.
    least, most = (
        np.stack([np.minimum(total.low, 0), zero]),
        np.stack([np.maximum(total.high, 0), one]),
    )
    low, high = np.zeros((2, len(beta))), np.zeros((2, len(beta)))
    left, fallen, risen = start, np.minimum(start, 0), np.maximum(start, 0)  # of the start alone
    for _ in range(LONGEST):
        ends = into * least, into * most
        low, high = low + np.minimum(*ends).sum(1), high + np.maximum(*ends).sum(1)
        into, left = (np.einsum("abn,b...n->a...n", step, each) for each in (into, left))
        fallen, risen = np.minimum(fallen, left), np.maximum(risen, left)
        faded = TINY * np.maximum(-low, high).max(axis=0) + NOTHING  # of what never moves, too
        rest = np.maximum(np.abs(ends).max(axis=(0, 1, 2)), np.abs(left).max(axis=0))
        if (rest <= faded).all():
            low, high = low + fallen, high + risen
            return Interval(low[0], high[0]), Interval(low[1], high[1])
    return None


def _cut_off(
    total: Interval, start: Real, beta: Real, reset: Real, rho: Real, jump: Real, coupling: Real
) -> tuple[Interval, Interval] | None:
    """Both where spikes cut membranes off, which no response follows: if they decay faster than
    they feed each other."""
    room = (1 - beta) * (1 - rho) - np.abs(coupling)
    if (room <= 0).any():
        return None
    u = (total.magnitude * (1 - rho) + np.abs(jump)) / room
    u = np.maximum(u, np.abs(reset))
    a = (np.abs(coupling) * u + np.abs(jump)) / (1 - rho)
    wider = np.maximum(1, np.abs(start) / np.maximum(np.stack([u, a]), np.finfo(float).tiny)).max(0)
    u, a = wider * u, wider * a
    return Interval(-u, u), Interval(-a, a)


def _static_integrator(
    graph: Graph, op: Op, ranges: Ranges, total: Interval, events: Interval
) -> None:
    """What `total` in every timestep adds up to without a reset."""
    beta = graph.constants[op.operands[-1]]
    endless = beta == 1
    room = np.where(endless, 1, 1 - beta)
    u = Interval(np.minimum(total.low, 0) / room, np.maximum(total.high, 0) / room)
    u = u | constant(start_of(graph, op.operands[0]))
    half = Interval(beta * u.low, beta * u.high) + events
    ranges.charge[op.results[0]] = half | u
    ranges.bounds[op.operands[0]] = ranges.bounds[op.results[0]] = u
    _check_ends(graph, op, endless & (total.low < 0), endless & (total.high > 0))


def _check_ends(graph: Graph, op: Op, falls: Flags, rises: Flags) -> None:
    """Raise CompileError if neurons can go on for ever."""
    for grows, how in ((falls, "fall"), (rises, "rise")):
        if grows.any():
            raise layer_error(ENDLESS_MEMBRANE, graph, op, layer=op.attrs["layer"], how=how)


def _static_products(graph: Graph, op: Op, ranges: Ranges) -> Interval:
    return ranges.bounds[op.results[0]] + -total_bias(graph, [op])


_STATIC = {
    "dense": _static_dense,
    "conv": _static_conv,
    "sum": _static_sum,
    "drive": _static_drive,
    "memory": _static_memory,
    "hold": _static_hold,
    "delay": _static_delay,
    "li": _static_lif,
    **dict.fromkeys(FIRING, _static_lif),
}
