"""The readout as integers: one step for all logits."""

from collections.abc import Sequence

import numpy as np

from dmpc.ir.graph import Attr, Graph, Op, State
from dmpc.ir.interpret import since_in
from dmpc.ir.ops_output import readout_of
from dmpc.ir.types import TensorType
from dmpc.passes.layer_rules import layer_error
from dmpc.passes.quantization.builder import Builder
from dmpc.passes.quantization.rounding import Int, compensated, to_nearest
from dmpc.passes.ranges import Real, is_event, total_bias
from dmpc.passes.scales import largest, rounded
from dmpc.rules import Stage, rule
from isa.arithmetic import shift_round
from isa.parameters import KEPT, LEAK_BITS, as_bias, nearest_leak
from isa.target import smallest_integer

BIAS_BITS = 16  # the machine's field
MOST_BIAS_BITS = 20  # of a readout bias, in steps of a logit: sums over time need room
READOUT_SOURCE = rule(
    "readout-source",
    Stage.LAYERS,
    "the readout takes {source}, which are not spikes",
    why="""The readout unit adds weights of spikes, or multiplies weights with counts of spikes;
    graded values have no way to it.""",
    nearest="read out the spikes of layers",
)
READOUT_MODES = {"mean": "sum", "sum": "sum", "last": "last", "max": "max", "max0": "max"}


def add_readout(build: Builder, output: Op) -> None:
    """The dense products of the output, or what integrates them, and the sum, last or largest over
    time."""
    graph, bits, products = build.graph, build.widths(output).weights, readout_of(build.graph)
    for op in products:
        if not is_event(graph, op.operands[0], build.ranges.events):
            raise layer_error(READOUT_SOURCE, graph, op, source=f"%{op.operands[0]}")
    weight = np.concatenate([build.weights(op) for op in products], axis=1)
    offset = total_bias(graph, products)
    step = float(np.abs(weight).max(initial=0)) / largest(bits)
    most = np.abs([offset, *(build.start(op.operands[0]) for op in _chain(graph, output))]).max()
    step = max(step, float(most) / 2.0**MOST_BIAS_BITS) or 1.0
    reach = max(float(np.abs(offset).max()) / step, 1) / largest(BIAS_BITS)
    shift = max(0, int(np.ceil(np.log2(reach))))
    integers, offsets = _round(build, weight, offset, step, step * 2.0**shift, bits)
    _add_products(build, products, integers, bits, step)
    biases = [name for op in products for name in op.operands[2:]]
    build.meant |= {name: np.zeros(len(weight)) for name in biases[1:]}
    build.meant |= dict.fromkeys(biases[:1], offsets * step * 2.0**shift)
    bias, shifts = (build.fresh(f"readout.{word}") for word in ("bias", "shift"))
    build.constant(bias, offsets, BIAS_BITS, None)
    build.constant(shifts, np.full(len(weight), -shift), 6, None)
    mode = READOUT_MODES[str(graph.attrs["readout"])]
    logit = TensorType(f"i{build.target.readout.bits}", (len(weight),), step)
    kept, after = build.fresh("logits"), build.fresh("logits.next")
    build.out.types[kept] = logit
    begin = _first_logits(build, logit)
    if mode == "last" and output.kind == "li":
        begin = _start(build, output, logit)
    logits = State(kept, after, begin)
    build.out.states.append(logits)
    operands = (*(op.results[0] for op in products), bias, shifts)
    if output.kind == "li":
        _integrate(build, output, logits, operands, mode)
    elif since_in(graph):
        _from_a_timestep(build, output, logits, operands)
    else:
        attrs: dict[str, Attr] = {"layer": "readout", "mode": mode, "bits": logit.bits}
        accumulated = (kept, *operands)
        build.add(Op("accumulate_logits", accumulated, (after,), attrs, output.loc), logit)
    build.out.outputs = [after]
    build.out.attrs["average"] = graph.attrs["readout"] == "mean"
    build.out.attrs["readout"] = "last"


def _add_products(
    build: Builder, products: Sequence[Op], integers: Int, bits: int, step: float
) -> None:
    """A product of each layer, with its columns of the integers [classes, n]."""
    at = 0
    for op in products:
        size = build.graph.types[op.operands[0]].size
        build.product(op, integers[:, at : at + size], bits)
        build.units[op.operands[1]] = step
        at += size


def _round(
    build: Builder, weight: Real, offset: Real, step: float, bias_step: float, bits: int
) -> tuple[Int, Int]:
    """Integer weights [classes, n] and biases [classes], rounded together where it is known how."""
    real = np.concatenate([weight, offset[:, None]], axis=1)
    steps = np.full_like(real, step)
    steps[:, -1] = bias_step
    limit = np.full(real.shape[1], float(largest(bits)))
    limit[-1] = largest(BIAS_BITS)
    moments = build.ranges.moments.get(_measured(build.graph))
    if moments is None:
        made = to_nearest(real, steps, limit)
    else:
        made = compensated(real, steps, limit, moments, np.arange(real.shape[1]) < len(limit) - 1)
    return made[:, :-1], made[:, -1]


def _integrate(
    build: Builder, output: Op, logits: State, operands: tuple[str, ...], mode: str
) -> None:
    """Logits that leak: the last of them are the answer, or their sum or largest.

    Integrators of integrators, such as a membrane of a synaptic current, leak one after the other.
    """
    graph, chain, logit = build.graph, _chain(build.graph, output), build.out.types[logits.name]
    for op in chain:
        state, beta = op.operands[0], op.operands[-1]
        leaks = nearest_leak(graph.constants[beta].astype(np.float64))
        build.constant(beta, leaks, LEAK_BITS + 2, 2.0**-LEAK_BITS)
        build.meant[beta] = leaks / KEPT
        ends = op is output and mode == "last"
        before, after = (logits.name, logits.next) if ends else (state, op.results[0])
        if not ends:
            build.state(before, after, logit)
            build.out.states[-1].init = _start(build, op, logit)
        attrs: dict[str, Attr] = {"layer": "readout", "fraction": LEAK_BITS, "bits": logit.bits}
        kind = "leaky_logits" if op is chain[0] else "following_logits"
        build.add(Op(kind, (before, *operands, beta), (after,), attrs, op.loc), logit)
        operands = (after,)
    if mode != "last":
        _collect(build, output, logits, operands, mode)


def _from_a_timestep(build: Builder, output: Op, logits: State, operands: tuple[str, ...]) -> None:
    """Logits of each timestep alone, and their sum from one on."""
    logit = build.out.types[logits.name]
    now = build.fresh("logits.now")
    after = build.fresh(f"{now}.next")
    build.state(now, after, logit)
    attrs: dict[str, Attr] = {"layer": "readout", "mode": "last", "bits": logit.bits}
    build.add(Op("accumulate_logits", (now, *operands), (after,), attrs, output.loc), logit)
    _collect(build, output, logits, (after,), "sum")


def _collect(
    build: Builder, output: Op, logits: State, operands: tuple[str, ...], mode: str
) -> None:
    """The sum or the largest over time of other logits."""
    logit, since = build.out.types[logits.name], since_in(build.graph)
    attrs: dict[str, Attr] = {"layer": "readout", "mode": mode, "bits": logit.bits}
    attrs |= {"since": since} if since else {}
    collected = (logits.name, *operands)
    build.add(Op("collect_logits", collected, (logits.next,), attrs, output.loc), logit)


def _chain(graph: Graph, output: Op) -> list[Op]:
    """Integrators that the output is, each of what the one before keeps; none if it is a sum."""
    chain, at = list[Op](), graph.producer(output.results[0])
    while at is not None and at.kind == "li":
        chain.insert(0, at)
        at = graph.producer(at.operands[1])
    return chain


def _start(build: Builder, op: Op, logit: TensorType) -> str | None:
    """What logits that leak start from, if that is not zero: as many bits of it as a bias has."""
    assert isinstance(logit.scale, float)
    init = next(state.init for state in build.graph.states if state.name == op.operands[0])
    start = rounded(build.start(op.operands[0]), logit.scale, logit.bits)
    start = shift_round(*as_bias(start))
    if init is None or not start.any():
        return None
    integers = start.astype(smallest_integer(logit.bits))
    return build.out.add_constant(init, integers, logit, build.graph.locs.get(init, ()))


def _measured(graph: Graph) -> str:
    """The value whose second moments are those of what the readout's products read."""
    product = readout_of(graph)[0].results[0]
    users = graph.users(product)
    return users[0].results[0] if users else product


def _first_logits(build: Builder, logit: TensorType) -> str | None:
    """What logits start from, if that is not zero."""
    if build.graph.attrs["readout"] != "max":
        return None
    least = np.full(logit.shape, -(1 << (logit.bits - 1)), np.int64)
    return build.out.add_constant(build.fresh("readout.least"), least, logit)
