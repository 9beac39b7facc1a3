"""Memories: states that are linear in themselves and in a rectified scalar drive."""

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.graph import State
from dmpc.passes.recognition.convolutions import flattened
from dmpc.passes.recognition.network import Memory, Network, Source, Synapses
from dmpc.passes.recognition.state_rules import (
    MANY_DRIVES,
    MEMORY_BIAS,
    NO_RELU,
    STRANGE_DRIVE,
    TWO_DELAYS,
    UNKNOWN_STATE,
    VECTOR_DRIVE,
)
from dmpc.passes.recognition.synapses import find_synapses
from dmpc.passes.recognition.terms import Affine, Matrix, near


def find_memory(network: Network, state: State) -> Memory:
    """The memory that a state is. Raises CompileError where it is something else."""
    form = network.forms.form(state.next)
    rectified = [leaf for leaf in form.terms if _kind(network, leaf) == "relu"]
    others = [leaf for leaf in form.terms if leaf not in (*rectified, state.name)]
    switched = _switched(network, state, form, others) if others and not rectified else None
    if switched is not None:
        return switched
    _check_state(network, state, form)
    if others:
        names = network.names(others)
        raise network.failure(NO_RELU, state.name, culprits=others, sources=names)
    if not rectified:
        return _idle(network, state, form)
    if len(rectified) > 1:
        found, number = network.names(rectified), len(rectified)
        raise network.failure(
            MANY_DRIVES, state.name, culprits=rectified, number=number, drives=found
        )
    if form.bias.any():
        raise network.failure(MEMORY_BIAS, state.name, culprits=())
    b = form.terms[rectified[0]]
    if b.shape[1] != 1:
        name = network.name(state.name)
        raise network.failure(
            VECTOR_DRIVE, rectified[0], culprits=(), state=name, elements=b.shape[1]
        )
    return _driven(network, state, form, rectified[0])


def _driven(network: Network, state: State, form: Affine, relu: str) -> Memory:
    producer = network.graph.producer(relu)
    assert producer is not None
    argument = network.forms.form(producer.operands[0])
    strange = [leaf for leaf in argument.terms if not network.holds_events(leaf)]
    synapses = [] if strange else find_synapses(network, flattened(network, argument))
    if len({found.source.leaf for found in synapses}) == 1 < len(synapses):
        raise _twice(network, relu, *synapses[:2])
    if len(synapses) != 1:
        names = network.names(argument.terms)
        raise network.failure(STRANGE_DRIVE, relu, culprits=argument.terms, sources=names)
    return Memory(
        state=state.name,
        next=state.next,
        a=_kept(state, form),
        b=form.terms[relu][:, 0],
        relu=relu,
        drive=synapses[0],
        drive_bias=float(argument.bias[0]),
    )


def _twice(network: Network, at: str, one: Synapses, other: Synapses) -> CompileError:
    """The error for a drive that reads an element twice."""
    element = int(np.flatnonzero(other.weight.any(axis=0))[0])
    delays = [found.source.delays[element] for found in (one, other)]
    name = network.name(one.source.leaf)
    return network.failure(
        TWO_DELAYS,
        at,
        culprits=one.via,
        element=element,
        source=name,
        one=delays[0],
        other=delays[1],
    )


def _switched(network: Network, state: State, form: Affine, others: list[str]) -> Memory | None:
    """A memory that one event drives: a rectifier of one 0/1 number is affine in it.

    `beta + gamma s` is `b relu(w s + x)`, where gamma is a multiple of beta, or beta is zero.
    """
    leaf = others[0]
    inputs = np.flatnonzero(form.terms[leaf].any(axis=0))
    events = all(_zero_or_one(network, leaf, int(element)) for element in inputs)
    if len(others) > 1 or len(inputs) > 1 or not events:
        return None
    gamma, b, bias = form.terms[leaf][:, inputs[0]], form.bias, 1.0
    if not b.any():
        b, bias = gamma, 0.0
    weight = float(gamma @ b / (b @ b))
    if not near(weight * b, gamma) or weight + bias < 0:
        return None
    row = np.zeros((1, form.terms[leaf].shape[1]))
    row[0, inputs] = weight
    synapses = find_synapses(network, {leaf: row})
    if len(synapses) != 1:
        return None
    a = _kept(state, form)
    return Memory(state.name, state.next, a, b, state.next, synapses[0], bias)


def _zero_or_one(network: Network, leaf: str, element: int) -> bool:
    """Whether an element is an event: a spike, or what comes late. Others may be graded."""
    past = network.lines.values.get(leaf)
    if past is None:
        return leaf in network.comparisons()
    return bool(past.age[element]) or past.sources[element] in network.comparisons()


def _idle(network: Network, state: State, form: Affine) -> Memory:
    """A memory whose drive is a constant: weights of zero leave the bias alone, or nothing."""
    (source,) = network.graph.inputs
    size = network.graph.types[source].size
    drive = Synapses(Source(source, (0,) * size), np.zeros((1, size)), ())
    driven = float(form.bias.any())
    return Memory(
        state=state.name,
        next=state.next,
        a=_kept(state, form),
        b=form.bias,
        relu=state.next,
        drive=drive,
        drive_bias=driven,
    )


def _kept(state: State, form: Affine) -> Matrix:
    """What a state keeps of itself; coefficients that are all zero are not in the form."""
    return form.terms.get(state.name, np.zeros((form.size, form.size)))


def _check_state(network: Network, state: State, form: Affine) -> None:
    """A state that is not linear is no memory."""
    opaque = [leaf for leaf in form.terms if network.forms.opaque(leaf)]
    if opaque:
        raise network.failure(UNKNOWN_STATE, state.name, culprits=opaque, ops=network.names(opaque))


def _kind(network: Network, leaf: str) -> str:
    producer = network.graph.producer(leaf)
    return producer.kind if producer is not None else ""


def weight_of_product(memory: Memory, product: np.ndarray, nu: np.ndarray) -> np.ndarray | None:
    """`W_m` from `P = W_m A` [n, d] and `nu = W_m B` [n, 1]; None if no such matrix exists."""
    system, wanted = memory.a, product
    if np.linalg.matrix_rank(memory.a) < len(memory.a):  # A alone does not tell
        system = np.hstack([memory.a, memory.b[:, None]])
        wanted = np.hstack([product, nu])
    weight, *_ = np.linalg.lstsq(system.T, wanted.T, rcond=None)
    weight = weight.T
    agrees = np.allclose(weight @ memory.a, product, rtol=0, atol=1e-5 * np.abs(product).max())
    expected = weight @ memory.b[:, None]
    scale = max(np.abs(nu).max(), np.abs(expected).max())
    return weight if agrees and np.allclose(expected, nu, rtol=0, atol=1e-4 * scale) else None
