"""Convolutions in a charge: which events each reads, and the kernel with all factors around it."""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.passes.recognition.network import Network, NotRecognised, Source, Synapses
from dmpc.passes.recognition.planes import MOST, by_channel, order_of_planes, reordered, standing
from dmpc.passes.recognition.synapses import find_synapses
from dmpc.passes.recognition.terms import Affine, Matrix, Term
from dmpc.rules import Stage, rule

CONVOLVED_INPUT = rule(
    "convolved-input",
    Stage.NETWORK,
    "the convolution reads {found}, which is neither the network's input nor spikes",
    why="""A bank adds rows of weights for spikes, or multiplies them with the input. What is
    convolved before is one convolution with it where that adds no zeros around sums that are none;
    other linear maps are multiplied out with it, if together they are small. What is rectified
    before has no place on the machine.""",
    nearest="let each convolution read the input or spikes; of larger planes put linear maps "
    "behind it",
)
UNEVEN_CONVOLUTION = rule(
    "uneven-convolution",
    Stage.NETWORK,
    "the convolution is scaled or mapped differently in one position than in another",
    why="""All positions of a convolution share its weights. A linear map right behind one is
    multiplied out with it, if together they are small.""",
    nearest="one factor for each channel; spikes between a convolution and a linear map",
)


def find_convolutions(
    network: Network, charge: Affine, own: str | None = None
) -> tuple[list[Synapses], Affine]:
    """The convolutions that a charge adds, and what is left of it without them.

    `own` is the leaf of the spikes of the layer that reads them. Raises CompileError for one that
    reads what is no input, or that is not alike everywhere.
    """
    found = {leaf: term for leaf, term in charge.parts.items() if network.is_convolution(leaf)}
    rest = {leaf: term for leaf, term in charge.parts.items() if leaf not in found}
    made = [one for leaf, term in found.items() for one in _convolution(network, leaf, term, own)]
    return made, replace(charge, parts=rest)


def _convolution(network: Network, leaf: str, term: Term, own: str | None) -> list[Synapses]:
    op = network.graph.producer(leaf)
    assert op is not None
    weight = network.graph.constants[op.operands[1]].astype(np.float64)
    made = Convolution.of(op.attrs, weight.shape)
    turned = _turned(made, term)
    if turned is not None:  # from planes to positions
        made, term = replace(made, planar_result=False), turned
    if term.diagonal() is None and not made.sums_alone:
        name, dense = multiplied_out(network, leaf, term)
        return [replace(one, via=(leaf,)) for one in find_synapses(network, {name: dense}, own)]
    if term.diagonal() is None:
        made, weight = _whole(made, weight, term)
        after: Matrix | None = np.ones(made.outputs)
    else:
        after = by_output(made, term)
    source, before, made = _source(network, op, made)
    if after is None or before is None:
        raise network.failure(UNEVEN_CONVOLUTION, leaf, culprits=[leaf])
    channels = before.reshape(made.parts, 1, 1, 1, -1)
    parts = weight.reshape(made.parts, -1, *weight.shape[1:]) * channels
    scaled = parts.reshape(weight.shape) * after[:, None, None, None]
    set_out, made = _set_out(network, op, source, made, own)
    return [Synapses(set_out, scaled, (leaf,), made)]


def _set_out(
    network: Network, op: Op, leaf: str, made: Convolution, own: str | None
) -> tuple[Source, Convolution]:
    """The events that a convolution reads, which may be of timesteps before, and the convolution
    that reads them as their layer has them."""
    past = network.lines.values.get(leaf)
    if past is None:
        return Source(leaf, (0,) * made.inputs), made
    source, index, ages = past.sources[0], past.index, past.age
    every = np.arange(network.graph.types[source].size) if source else index
    if made.planar and np.array_equal(
        np.argsort(index), order_of_planes(made.channels, made.inputs)
    ):
        made, ages, index = replace(made, planar=False), ages[np.argsort(index)], np.sort(index)
    if source is None or set(past.sources) != {source} or not np.array_equal(index, every):
        raise _not_convolved(network, op, network.forms.form(op.operands[0]))
    delays = tuple(map(int, ages - int(source == own)))
    return Source(source, delays, past=source == own), made


def by_output(made: Convolution, term: Term) -> Matrix | None:
    """The factor of each output, if the term is a diagonal matrix of those."""
    scale = term.diagonal()
    if scale is None:
        return None
    first: Matrix = made.by_output(scale)[0]
    return first if np.array_equal(made.spread(first), scale) else None


def _turned(made: Convolution, term: Term) -> Term | None:
    """The factors of a term that lets the planes of a convolution stand position by position."""
    found = reordered(term) if made.planar_result and term.diagonal() is None else None
    if found is None or not np.array_equal(found[0], order_of_planes(made.outputs, len(found[0]))):
        return None
    return Term(found[1])


def flattened(network: Network, form: Affine) -> dict[str, Matrix]:
    """The matrices of a form by leaf, convolutions multiplied out.

    Raises CompileError where that would be large.
    """
    terms = dict(form.terms)
    for leaf in [leaf for leaf in terms if network.is_convolution(leaf)]:
        del terms[leaf]
        source, matrix = multiplied_out(network, leaf, form.parts[leaf])
        terms[source] = terms[source] + matrix if source in terms else matrix
    return terms


def multiplied_out(network: Network, leaf: str, term: Term) -> tuple[str, Matrix]:
    """`term · leaf` of a convolution as the leaf that it reads, and one matrix on that.

    Raises CompileError where that would be large.
    """
    op = network.graph.producer(leaf)
    assert op is not None
    weight = network.graph.constants[op.operands[1]].astype(np.float64)
    source, before, made = _source(network, op, Convolution.of(op.attrs, weight.shape))
    if before is None or made.inputs * made.places * made.outputs > MOST:
        raise network.failure(UNEVEN_CONVOLUTION, leaf, culprits=[leaf])
    times = made.inputs // made.channels
    each = np.repeat(before, times) if made.planar else np.tile(before, times)
    return source, term.matrix @ made.apply(np.diag(each), weight).T


def _whole(made: Convolution, weight: Matrix, term: Term) -> tuple[Convolution, Matrix]:
    """A linear map of sums over neighbours: a convolution whose one position sees them all."""
    outputs = len(term.scale)
    shape = (made.channels, *made.positions)
    if not made.planar_result:
        shape = (*made.positions, made.channels)
    kernel = term.matrix.reshape(outputs, *shape)
    kernel = kernel.transpose(0, 2, 3, 1) if made.planar_result else kernel
    sums = Convolution(
        made.size, made.channels, (1, 1), outputs, made.positions,
        pool=made.pool, planar=made.planar,
    )  # fmt: skip
    return sums, kernel * weight.reshape(-1)


def _source(network: Network, op: Op, made: Convolution) -> tuple[str, Matrix | None, Convolution]:
    """The leaf that a convolution reads, the factor of each of its channels, and the convolution
    with all sums over neighbours that stand before it."""
    form = network.forms.form(op.operands[0])
    if len(form.parts) != 1 or form.bias.any():
        raise _not_convolved(network, op, form)
    (leaf,) = form.parts
    found = standing(made, form.parts[leaf])
    if found is None:
        raise _not_convolved(network, op, form)
    made, factor = found[0], by_channel(*found)
    if network.is_source(leaf) or leaf in network.lines.values:
        return leaf, factor, made
    inner = network.graph.producer(leaf)
    if inner is None or inner.kind != "conv":
        raise _not_convolved(network, op, form)
    weight = network.graph.constants[inner.operands[1]].astype(np.float64)
    sums = Convolution.of(inner.attrs, weight.shape)
    if not sums.sums_for(made):
        raise _not_convolved(network, op, form)
    pool = sums.pool[0] * made.pool[0], sums.pool[1] * made.pool[1]
    made = replace(made, size=sums.size, pool=pool, planar=sums.planar)
    source, before, made = _source(network, inner, made)
    if factor is None or before is None:
        return source, None, made
    return source, factor * weight.reshape(-1) * before, made


def _not_convolved(network: Network, op: Op, form: Affine) -> NotRecognised:
    found = network.names(form.parts) if form.parts else "a constant"
    if form.bias.any() and form.parts:
        found += " and a bias"
    return network.failure(CONVOLVED_INPUT, op.results[0], culprits=form.parts, found=found)
