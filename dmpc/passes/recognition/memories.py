"""Memories: states that are linear in themselves and in what drives them, rectified or not."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dmpc.ir.graph import State
from dmpc.ir.recorded import recorded, told
from dmpc.passes.recognition.convolutions import flattened
from dmpc.passes.recognition.network import Drive, Memory, Network, Synapses
from dmpc.passes.recognition.state_rules import STRANGE_DRIVE, UNKNOWN_STATE
from dmpc.passes.recognition.synapses import find_synapses
from dmpc.passes.recognition.terms import Affine, Matrix, near

RANK = 1e-5  # of a row of weights: what is left of float32 once rows that it depends on are gone


def find_memory(network: Network, state: State) -> Memory:
    """The memory that a state is. Raises CompileError where it is something else."""
    form = network.forms.form(state.next)
    rectified = [leaf for leaf in form.terms if _kind(network, leaf) == "relu"]
    others = [leaf for leaf in form.terms if leaf not in (*rectified, state.name)]
    switched = _switched(network, state, form, others) if others and not rectified else None
    if switched is not None:
        return switched
    _check_state(network, state, form)
    if not rectified and not others:  # a constant drives it, or nothing
        drive = Drive(state.next, 0, (), float(form.bias.any()))
        return Memory(state.name, state.next, _kept(state, form), form.bias[:, None], (drive,))
    found: list[tuple[Drive, Matrix]] = []
    for leaf in rectified:
        columns = form.terms[leaf]
        for element in np.flatnonzero(told(columns.any(axis=0))):
            drive = _rectified(network, leaf, int(element))
            found.append((drive, columns[:, element]))
    if others or form.bias.any():
        parts = {leaf: form.parts[leaf] for leaf in others}
        found += _linear(network, state, Affine(form.bias, parts))
    if not found:  # what drives it is always zero
        found = [(Drive(state.next, 0, (), 0.0), form.bias)]
    if len(found) > 1:
        found = [_of_one_size(*one) for one in found]
    drives, b = zip(*found, strict=True)
    return Memory(state.name, state.next, _kept(state, form), np.stack(b, axis=1), drives)


def _rectified(network: Network, relu: str, element: int) -> Drive:
    """A drive that is an element of a rectifier."""
    producer = network.graph.producer(relu)
    assert producer is not None
    argument = network.forms.form(producer.operands[0]).taken(np.array([element]))
    parts = _products(network, relu, argument)
    return Drive(relu, element, parts, argument.bias[0])


def _linear(network: Network, state: State, form: Affine) -> Iterator[tuple[Drive, Matrix]]:
    """Drives without a rectifier, each with its column of B: as few as make up a form.

    They are what some of the states take in, and what all others do is made of that.
    """
    parts = _products(network, state.name, form)
    whole = np.hstack([*(part.weight for part in parts), form.bias[:, None]])
    rows = _independent(whole)
    b, *_ = np.linalg.lstsq(whole[rows].T, whole.T, rcond=None)
    b = _with_own(b, rows)
    for row, column in zip(rows, b, strict=True):
        own = (replace(part, weight=part.weight[row : row + 1]) for part in parts)
        kept = tuple(part for part in own if part.weight.any())
        yield Drive(state.next, row, kept, form.bias[row], linear=True), column


@recorded
def _with_own(b: Matrix, rows: list[int]) -> Matrix:
    """Columns of B whose own rows are exactly themselves."""
    b = b.copy()
    b[:, rows] = np.eye(len(rows))
    return b


def _independent(matrix: Matrix) -> list[int]:
    """Rows of a matrix of which all others are made, the first of those that do as well."""
    sizes = np.linalg.norm(matrix, axis=1)
    left, found = matrix / np.where(sizes > 0, sizes, 1)[:, None], []
    while (most := (sizes := np.linalg.norm(left, axis=1)).max(initial=0)) > RANK:
        found.append(int(np.argmax(sizes > 0.9 * most)))
        direction = left[found[-1]] / sizes[found[-1]]
        left = left - np.outer(left @ direction, direction)
    return sorted(found)


def _of_one_size(drive: Drive, column: Matrix) -> tuple[Drive, Matrix]:
    """A drive as large as any other of its vector, all of which share a step, and its column."""
    factor = _power(sum(np.abs(part.weight).sum() for part in drive.parts) + abs(drive.bias))
    return drive.scaled(factor), column / factor


@recorded
def _power(size: float) -> np.float64:
    """The power of two nearest to one over a size."""
    return np.float64(2.0 ** -round(math.log2(size)) if size else 1.0)


def _products(network: Network, at: str, form: Affine) -> tuple[Synapses, ...]:
    """The products of events that a drive adds up. Raises CompileError where it reads others."""
    strange = [leaf for leaf in form.terms if not network.holds_events(leaf)]
    if strange:
        names = network.names(strange)
        raise network.failure(STRANGE_DRIVE, at, culprits=strange, sources=names)
    return tuple(find_synapses(network, flattened(network, form)))


def _switched(network: Network, state: State, form: Affine, others: list[str]) -> Memory | None:
    """A memory that one event drives: a rectifier of one 0/1 number is affine in it.

    `beta + gamma s` is `b relu(w s + x)`, where gamma is a multiple of beta, or beta is zero.
    """
    leaf = others[0]
    inputs = np.flatnonzero(told(form.terms[leaf].any(axis=0)))
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
    drive = Drive(state.next, 0, tuple(synapses), bias)
    return Memory(state.name, state.next, _kept(state, form), b[:, None], (drive,))


def _zero_or_one(network: Network, leaf: str, element: int) -> bool:
    """Whether an element is an event: a spike, or what comes late. Others may be graded."""
    past = network.lines.values.get(leaf)
    if past is None:
        return leaf in network.comparisons()
    return bool(past.age[element]) or past.sources[element] in network.comparisons()


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
    """`W_m` from `P = W_m A` [n, d] and `nu = W_m B` [n, q]; None if no such matrix exists."""
    system, wanted = memory.a, product
    if np.linalg.matrix_rank(memory.a) < len(memory.a):  # A alone does not tell
        system = np.hstack([memory.a, memory.b])
        wanted = np.hstack([product, nu])
    weight, *_ = np.linalg.lstsq(system.T, wanted.T, rcond=None)
    weight = weight.T
    agrees = np.allclose(weight @ memory.a, product, rtol=0, atol=1e-5 * np.abs(product).max())
    expected = weight @ memory.b
    scale = max(np.abs(nu).max(), np.abs(expected).max())
    return weight if agrees and np.allclose(expected, nu, rtol=0, atol=1e-4 * scale) else None
