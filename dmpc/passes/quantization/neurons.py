"""Neurons as integers: membrane steps, weights, thresholds, biases, leaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dmpc.analysis.interval import Interval
from dmpc.ir.graph import Array, Attr, Graph, Op
from dmpc.ir.ops_layers import FIRING, charged, integrator
from dmpc.ir.types import TensorType
from dmpc.passes.quantization.adaptation import Adaptation, adaptation
from dmpc.passes.quantization.builder import Builder
from dmpc.passes.quantization.positions import Shared, weights_by_neuron
from dmpc.passes.quantization.rounding import Int, compensated, to_nearest
from dmpc.passes.ranges import (
    Currents,
    Real,
    currents,
    products_with_columns,
    sources,
    total_bias,
)
from dmpc.passes.scales import (
    NeuronScale,
    ValueScale,
    beside_scale,
    beyond,
    charged_scale,
    largest,
    neuron_scale,
    rounded,
    value_scale,
)
from isa.parameters import KEPT, LEAK_BITS, nearest_leak

TRIES, FURTHER = 4, 1.001  # a wider step rounds weights otherwise


def add_neurons(build: Builder, op: Op) -> None:
    """The neurons of a lif or li op, with the products that charge them."""
    if op.attrs["layer"] == "readout":
        return  # logits that others follow
    graph, ranges = build.graph, build.ranges
    roles = currents(graph, op, ranges.events)
    neuron, values = _scales(build, op, roles)
    layer = _Rounded.of(build, op, roles, neuron, values)
    widths = build.widths(op)
    build.units |= layer.units
    build.meant |= layer.meant
    build.membranes[op.results[0 if op.kind == "li" else 1]] = neuron.step
    for product in roles.events:
        build.product(product, layer.weights[product.results[0]], widths.weights)
    for product in roles.values:
        build.product(product, layer.weights[product.results[0]], widths.slow)
    _add_parameters(build, op, roles, neuron, values.shift, layer.bias)
    scale = build.scale(build.name(op, "scale"), neuron.step)
    membrane = TensorType(f"i{widths.membrane}", neuron.step.shape, scale)
    after = op.results[0 if op.kind == "li" else 1]
    build.state(op.operands[0], after, membrane, neuron.step)
    raised = adaptation(build, op, roles, neuron) if roles.adaptation else None
    charged = _add_ops(build, op, roles, neuron, membrane)
    if op.kind != "li":
        _add_fire(build, op, roles, membrane, raised, charged)


def _scales(build: Builder, op: Op, roles: Currents) -> tuple[NeuronScale, ValueScale]:
    """Steps of membranes and event weights, and of the products of values or a current."""
    ranges, widths = build.ranges, build.widths(op)
    neurons = charged(build.graph, op) if op.kind == "li" else op
    steps = _steps(build, neurons) if neurons else _Steps(_alone(build, op, roles))
    neuron = steps.currents[op.results[0]][0] if op.kind == "li" and neurons else steps.neuron
    if roles.states and not roles.charging:
        _, shift = steps.currents[sources(build.graph, roles)[0].results[0]]
        return neuron, ValueScale(shift, neuron.step * 2.0**-shift)
    values = value_scale(
        neuron,
        [(weights_by_neuron(build, p), build.step_of(p)) for p in roles.values],
        _shared(build, op, roles).interval(ranges.values[op.results[0]]),
        margin=ranges.margin,
        weight_bits=widths.slow,
        sum_bits=widths.sums,
    )
    return neuron, values


def _shared(build: Builder, op: Op, roles: Currents) -> Shared:
    """Which neurons share a scale, by the products of all that a membrane adds up; they must share
    a threshold, too."""
    graph, events = build.graph, build.ranges.events
    neurons = charged(graph, op) if op.kind == "li" else op
    size = graph.types[op.operands[0]].shape
    threshold, products = np.zeros(size), list(roles.charging)
    if neurons:
        of = currents(graph, neurons, events)
        threshold, _ = _limits(graph, of, size)
        feeding = [currents(graph, source, events) for source in sources(graph, of)]
        products = [product for one in (*feeding, of) for product in one.charging]
    return Shared.of(graph, op, products, threshold)


def _alone(build: Builder, op: Op, roles: Currents) -> NeuronScale:
    """Steps of neurons by their own weights, range and threshold."""
    graph, ranges, widths = build.graph, build.ranges, build.widths(op)
    size, shared = graph.types[op.operands[0]].shape, _shared(build, op, roles)
    bias = np.broadcast_to(total_bias(graph, roles.products), size)
    threshold, reset = _limits(graph, roles, size)
    weights = [weights_by_neuron(build, product) for product in roles.events]
    bits = {"weight_bits": widths.weights, "membrane_bits": widths.membrane}
    proved = shared.interval(ranges.charge[op.results[0]])
    beta = graph.constants[roles.beta].astype(np.float64)
    kept = beta, nearest_leak(beta, widths.leak) / (1 << LEAK_BITS)
    room = np.ones(size)
    for _ in range(TRIES):
        scale = neuron_scale(
            weights,
            Interval(proved.low * room, proved.high * room),
            threshold,
            [shared.largest(each) for each in (bias, reset, build.start(op.operands[0]))],
            margin=ranges.margin,
            **bits,
        )
        if ranges.activity or not weights:  # what was seen on samples proves nothing
            break
        further = shared.largest(beyond(weights, scale, proved, kept, **bits))
        if (further <= 1).all():
            break
        room = np.where(further > 1, room * further * FURTHER, room)
    return scale


def _limits(graph: Graph, roles: Currents, size: tuple[int, ...]) -> tuple[Real, Real]:
    """Threshold and reset [n]; zero of integrators, which have none."""
    names = (roles.threshold, roles.reset)
    threshold, reset = (
        graph.constants[name].astype(np.float64) if name else np.zeros(size) for name in names
    )
    return threshold, reset


@dataclass(frozen=True)
class _Steps:
    """Steps of membranes, and of the currents that charge them, each with the shifts [N] that move
    it to the membrane, by the names of their results."""

    neuron: NeuronScale
    currents: Mapping[str, tuple[NeuronScale, Int]] = field(default_factory=dict)


def _steps(build: Builder, op: Op) -> _Steps:
    """Steps of neurons and their currents, all powers of two of each other.

    They follow those of the membrane's own weights; if it has none, those of the first current.
    """
    graph, events = build.graph, build.ranges.events
    roles = currents(graph, op, events)
    others = sources(graph, roles)
    alone = {one.results[0]: _alone(build, one, currents(graph, one, events)) for one in others}
    if roles.charging or not others:
        neuron, found = _alone(build, op, roles), dict[str, tuple[NeuronScale, Int]]()
    else:
        size, first = graph.types[op.operands[0]].shape, others[0].results[0]
        threshold, reset = _limits(graph, roles, size)
        shared = _shared(build, op, roles)
        current, neuron, shift = charged_scale(
            alone.pop(first),
            shared.interval(build.ranges.charge[op.results[0]]),
            threshold,
            shared.largest(np.maximum(np.abs(reset), np.abs(build.start(op.operands[0])))),
            margin=build.ranges.margin,
            membrane_bits=build.widths(op).membrane,
        )
        found = {first: (current, shift)}
    return _Steps(neuron, found | {n: beside_scale(one, neuron) for n, one in alone.items()})


@dataclass(frozen=True)
class _Rounded:
    """Integer weights [n, m] of each product, by the name of its result, and the biases [n].

    `units` are the real values of their steps, `meant` the real number that the bias stands for, by
    the names of the constants; the one bias stands for the first of the products'.
    """

    weights: dict[str, Int]
    bias: Int
    units: dict[str, Array | float]
    meant: dict[str, Array]

    @classmethod
    def of(
        cls, build: Builder, op: Op, roles: Currents, neuron: NeuronScale, values: ValueScale
    ) -> "_Rounded":
        """All weights of a neuron and its bias, rounded together where inputs were measured."""
        widths, graph = build.widths(op), build.graph
        products = [product for product, _ in products_with_columns(graph, op, build.ranges.events)]
        parts: list[_Part] = []
        for product in products:
            event = product in roles.events
            unit = neuron.weight_step if event else values.step / build.step_of(product)
            bits = widths.weights if event else widths.slow
            weight = build.weights(product)
            if product.kind == "conv":  # alike in all positions
                weight, unit = weight.reshape(len(weight), -1), unit[: len(weight)]
            parts.append(_Part(weight, unit, largest(bits)))
        size = graph.types[op.operands[0]].shape
        leak = nearest_leak(graph.constants[roles.beta].astype(np.float64), widths.leak)
        bias = np.broadcast_to(total_bias(graph, roles.products), size)
        bias = bias - _mean_leak_error(leak) * neuron.step
        moments = build.ranges.moments.get(op.results[0])
        if moments is not None and parts and len(parts[0].real) < len(bias):  # a convolution
            bias, moments = _by_output(bias, len(parts[0].real), moments)
        step = neuron.step[: len(bias)]
        parts.append(_Part(bias[:, None], step, largest(widths.membrane)))
        *made, whole = _round(parts, moments)
        whole = np.tile(whole, (size[0] // len(whole), 1))
        units: dict[str, Array | float] = {
            product.operands[1]: part.unit.reshape(-1, *[1] * (build.weights(product).ndim - 1))
            for product, part in zip(products, parts[:-1], strict=True)
        }
        meant: dict[str, Array] = {}
        biases = [name for product in roles.products for name in product.operands[2:]]
        if biases:
            others = sum((graph.constants[name] for name in biases[1:]), np.zeros(len(whole)))
            meant[biases[0]] = whole[:, 0] * neuron.step - others
        names = (product.results[0] for product in products)
        shapes = (graph.constants[product.operands[1]].shape for product in products)
        made = [one.reshape(shape) for one, shape in zip(made, shapes, strict=True)]
        return cls(dict(zip(names, made, strict=True)), whole[:, 0], units, meant)


def _by_output(bias: Real, outputs: int, moments: Real) -> tuple[Real, Real | None]:
    """Biases of outputs, to be rounded with kernels; of all neurons, alone, if they differ."""
    places = bias.reshape(-1, outputs)
    return (places[0], moments) if (places == places[0]).all() else (bias, None)


@dataclass(frozen=True)
class _Part:
    """Weights [n, m] of one product, or biases [n, 1], to be rounded to multiples of `unit` [n]."""

    real: Real
    unit: Real
    limit: int


def _round(parts: list[_Part], moments: Real | None) -> list[Int]:
    """The integers of each part, rounded together where moments are known.

    Weights of zero stay zero; the biases, which come last, need not.
    """
    if moments is None:
        return [to_nearest(one.real, one.unit[:, None], np.array(one.limit)) for one in parts]
    sizes = [one.real.shape[1] for one in parts]
    limit = np.repeat(np.array([one.limit for one in parts], np.float64), sizes)
    step = np.repeat(np.stack([one.unit for one in parts], axis=1), sizes, axis=1)
    real = np.concatenate([one.real for one in parts], axis=1)
    kept = np.arange(len(limit)) < len(limit) - 1
    made = compensated(real, step, limit, moments, kept)
    return np.split(made, np.cumsum(sizes)[:-1], axis=1)


def _mean_leak_error(leak: Int) -> Real:
    """By how many steps the leak's rounding lifts a membrane on average.

    Ties go upward. `leak / 2**13` in lowest terms has a denominator D; a membrane's remainders are
    then multiples of 1 / D, of which one half rounds up and none down: 1 / (2 D) on average.
    """
    denominator = (1 << LEAK_BITS) / np.gcd(leak, 1 << LEAK_BITS)
    return np.where(denominator > 1, 0.5 / denominator, 0.0)


def _add_parameters(
    build: Builder, op: Op, roles: Currents, neuron: NeuronScale, shift: Int, bias: Int
) -> None:
    """Threshold, bias, leak, reset and shift as integers under the layer's names."""
    graph, widths = build.graph, build.widths(op)
    bits = widths.membrane
    leak = nearest_leak(graph.constants[roles.beta].astype(np.float64), widths.leak)
    build.constant(roles.beta, leak, LEAK_BITS + 2, 2.0**-LEAK_BITS)
    build.meant[roles.beta] = leak / KEPT
    if op.kind in FIRING:
        threshold = neuron.threshold + (1 if op.attrs["strict"] else 0)
        build.constant(roles.threshold, rounded(threshold, 1.0, bits), bits, None)
        build.meant[roles.threshold] = neuron.threshold * neuron.step
    build.constant(build.name(op, "bias"), bias, bits, None)
    build.constant(build.name(op, "shift"), shift, 6, None)
    if op.kind == "li":
        return
    reset = rounded(graph.constants[roles.reset], neuron.step, bits)
    build.constant(roles.reset, reset, bits, None)
    build.meant[roles.reset] = reset * neuron.step
    for name in roles.limits:
        limit = rounded(graph.constants[name], neuron.step, bits)
        build.constant(name, limit, bits, None)
        build.meant[name] = limit * neuron.step


def _add_ops(
    build: Builder, op: Op, roles: Currents, neuron: NeuronScale, membrane: TensorType
) -> str:
    """Leak, integration of events, of values and bias, and of other states; what results."""
    layer, sums = str(op.attrs["layer"]), build.widths(op).sums
    common: dict[str, Attr] = {"layer": layer, "bits": membrane.bits}
    leaked, half, whole = (build.name(op, "u", s) for s in ("leaked", "events", "charged"))
    total = op.results[0] if op.kind == "li" else whole

    def add(kind: str, operands: Sequence[str], result: str, **attrs: Attr) -> str:
        build.add(Op(kind, tuple(operands), (result,), attrs, op.loc), membrane)
        return result

    value = add("leak", (op.operands[0], roles.beta), leaked, layer=layer, fraction=LEAK_BITS)
    if roles.events:
        operands = (value, *(product.results[0] for product in roles.events))
        shift = -neuron.fraction
        value = add("integrate_events", operands, half, **common, shift=shift, sum_bits=sums)
    own, further = (build.name(op, "shift"), build.name(op, "bias")), list(roles.states)
    if further and not roles.charging:
        value = add("integrate_state", (value, further.pop(0), *own), total, **common)
    else:
        operands = (value, *(product.results[0] for product in roles.values), *own)
        value = add("integrate_values", operands, total, **common, sum_bits=sums)
    for number, state in enumerate(further, 1):
        drop = _add_drop(build, op, state)
        result = build.name(op, "u", f"charged{number}")
        value = add("integrate_current", (value, state, drop), result, **common)
    return value


def _add_drop(build: Builder, op: Op, state: str) -> str:
    """How far a current moves before the membrane takes it in, a constant of the current's."""
    source = integrator(build.graph, state)
    assert source is not None
    _, shift = _steps(build, op).currents[source.results[0]]
    name = build.name(source, "drop")
    build.constant(name, shift, 6, None)
    return name


def _add_fire(
    build: Builder,
    op: Op,
    roles: Currents,
    membrane: TensorType,
    raised: Adaptation | None,
    charged: str,
) -> None:
    """Threshold and reset, and what neurons adapt by."""
    common: dict[str, Attr] = {"layer": op.attrs["layer"], "bits": membrane.bits}
    fire: dict[str, Attr] = {**common, "reset_mode": op.attrs["reset_mode"]}
    fire |= {name: op.attrs[name] for name in ("times", "endless") if name in op.attrs}
    limits = (roles.threshold, roles.reset)
    operands: tuple[str, ...] = (charged, *limits)
    kind = "fire"
    if roles.limits:
        within = build.fresh(f"{charged}.clamped")
        build.add(
            Op("clamp", (charged, *roles.limits), (within,), {"layer": op.attrs["layer"]}, op.loc),
            membrane,
        )
        operands = (within, *limits)
    if raised and op.attrs["adapts"] == "threshold":
        operands, kind = (charged, raised.state, *limits, *raised.read), "fire_adaptive"
    elif raised:
        whole = build.fresh(f"{charged}.adapted")
        added = Op("adapt", (charged, raised.state, raised.read[0]), (whole,), common, op.loc)
        build.add(added, membrane)
        operands = (whole, *limits)
    if "r" in roles.own:
        rested = build.fresh(f"{charged}.rested")
        made = Op(
            "rest",
            (charged, roles.own["r"], roles.reset),
            (rested,),
            {"layer": op.attrs["layer"]},
            op.loc,
        )
        build.add(made, membrane)
        operands = (rested, *limits)
    spikes = build.graph.types[op.results[0]]
    build.add(Op(kind, operands, op.results[:2], fire, op.loc), spikes, membrane)
    if raised:
        raised.add(build, op)
    if "r" in roles.own:
        _add_rest(build, op, roles.own["r"], roles.own["rest"])


def _add_rest(build: Builder, op: Op, state: str, rest: str) -> None:
    """For how many timesteps neurons rest, which is counted as it is."""
    bits, (spikes, _, after) = build.widths(op).membrane, op.results
    steps = rounded(build.graph.constants[rest], 1.0, bits)
    build.constant(rest, steps, bits, None)
    build.meant[rest] = steps.astype(np.float64)
    ones = np.ones(len(steps))
    scale = build.scale(build.name(op, "rest", "scale"), ones)
    type_ = TensorType(f"i{bits}", ones.shape, scale)
    build.membranes[after] = ones
    build.state(state, after, type_, ones)
    attrs: dict[str, Attr] = {"layer": op.attrs["layer"]}
    build.add(Op("recover", (state, spikes, rest), (after,), attrs, op.loc), type_)
