"""Convolutions in a charge: which events each reads, and the kernel with all factors around it."""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.passes.recognition.network import Network, NotRecognised, Source, Synapses
from dmpc.passes.recognition.terms import Affine, Matrix, Term
from dmpc.rules import Stage, rule

CONVOLVED_INPUT = rule(
    "convolved-input",
    Stage.NETWORK,
    "the convolution reads {found}, which is neither the network's input nor spikes",
    why="""A bank adds rows of weights for spikes, or multiplies them with the input. What is
    convolved, pooled or biased before has no place on the machine.""",
    nearest="let each convolution read the input or spikes; leave sums over neighbours before it",
)
UNEVEN_CONVOLUTION = rule(
    "uneven-convolution",
    Stage.NETWORK,
    "the convolution is scaled differently in one position than in another",
    why="All positions of a convolution share its weights.",
    nearest="one factor for each channel",
)


def find_convolutions(network: Network, charge: Affine) -> tuple[list[Synapses], Affine]:
    """The convolutions that a charge adds, and what is left of it without them.

    Raises CompileError for one that reads what is no input, or that is not alike everywhere.
    """
    found = {leaf: term for leaf, term in charge.parts.items() if network.is_convolution(leaf)}
    rest = {leaf: term for leaf, term in charge.parts.items() if leaf not in found}
    made = [_convolution(network, leaf, term) for leaf, term in found.items()]
    return made, replace(charge, parts=rest)


def _convolution(network: Network, leaf: str, term: Term) -> Synapses:
    op = network.graph.producer(leaf)
    assert op is not None
    weight = network.graph.constants[op.operands[1]].astype(np.float64)
    made = Convolution.of(op.attrs, weight.shape)
    after = _by_output(made, term)
    source, before = _source(network, op, made)
    if after is None or before is None:
        raise network.failure(UNEVEN_CONVOLUTION, leaf, culprits=[leaf])
    channels = before.reshape(made.parts, 1, 1, 1, -1)
    parts = weight.reshape(made.parts, -1, *weight.shape[1:]) * channels
    scaled = parts.reshape(weight.shape) * after[:, None, None, None]
    delays = (0,) * made.inputs
    return Synapses(Source(source, delays), scaled, (leaf,), made)


def _by_output(made: Convolution, term: Term) -> Matrix | None:
    """The factor of each output, if the term is a diagonal matrix of those."""
    scale = term.diagonal()
    if scale is None:
        return None
    first: Matrix = made.by_output(scale)[0]
    return first if np.array_equal(made.spread(first), scale) else None


def _source(network: Network, op: Op, made: Convolution) -> tuple[str, Matrix | None]:
    """The leaf that a convolution reads, and the factor of each of its channels."""
    form = network.forms.form(op.operands[0])
    sources = [leaf for leaf in form.parts if network.is_source(leaf)]
    if len(sources) != 1 or len(form.parts) != 1 or form.bias.any():
        raise _not_convolved(network, op, form)
    scale = form.parts[sources[0]].diagonal()
    if scale is None:
        raise _not_convolved(network, op, form)
    places = scale.reshape(made.channels, -1).T if made.planar else scale.reshape(-1, made.channels)
    return sources[0], places[0] if (places == places[0]).all() else None


def _not_convolved(network: Network, op: Op, form: Affine) -> NotRecognised:
    found = network.names(form.parts) if form.parts else "a constant"
    if form.bias.any() and form.parts:
        found += " and a bias"
    return network.failure(CONVOLVED_INPUT, op.results[0], culprits=form.parts, found=found)
