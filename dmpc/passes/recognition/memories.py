"""Memories: states that are linear in themselves and in a rectified scalar drive."""

import numpy as np

from dmpc.ir.graph import State
from dmpc.passes.recognition.affine import Affine
from dmpc.passes.recognition.network import Memory, Network
from dmpc.passes.recognition.synapses import find_synapses

LINEAR_HINT = "a slow state is m' = A m + B relu(W_x s + b_x)"


def find_memory(network: Network, state: State) -> Memory:
    """The memory that a state is. Raises CompileError where it is something else."""
    form = network.forms.form(state.next)
    _check_state(network, state, form)
    rectified = [leaf for leaf in form.terms if _kind(network, leaf) == "relu"]
    others = [leaf for leaf in form.terms if leaf not in (*rectified, state.name)]
    if others:
        raise network.error(
            state.name,
            f"the state is linear in {network.names(others)} without a relu between",
            LINEAR_HINT,
        )
    if len(rectified) != 1:
        found = network.names(rectified)
        raise network.error(state.name, f"the state has {len(rectified)} drives: {found}")
    if form.bias.any():
        raise network.error(state.name, "a constant is added to the slow state", LINEAR_HINT)
    b = form.terms[rectified[0]]
    if b.shape[1] != 1:
        raise network.error(
            rectified[0],
            f"the drive of {network.name(state.name)} has {b.shape[1]} elements, expected a scalar",
            LINEAR_HINT,
        )
    return _driven(network, state, form, rectified[0])


def _driven(network: Network, state: State, form: Affine, relu: str) -> Memory:
    producer = network.graph.producer(relu)
    assert producer is not None
    argument = network.forms.form(producer.operands[0])
    strange = [leaf for leaf in argument.terms if not network.holds_events(leaf)]
    synapses = [] if strange else find_synapses(network, relu, argument.terms)
    if len(synapses) != 1:
        raise network.error(
            relu,
            f"the drive depends on {network.names(argument.terms)}, expected the layer's input",
            LINEAR_HINT,
        )
    return Memory(
        state=state.name,
        next=state.next,
        a=form.terms[state.name],
        b=form.terms[relu][:, 0],
        relu=relu,
        drive=synapses[0],
        drive_bias=float(argument.bias[0]),
    )


def _check_state(network: Network, state: State, form: Affine) -> None:
    """A state that keeps nothing of itself, or is not linear, is no memory."""
    opaque = [leaf for leaf in form.terms if network.forms.opaque(leaf)]
    if opaque:
        raise network.error(
            state.name,
            f"the state is neither a membrane nor a memory: its next value is not linear at "
            f"{network.names(opaque)}, and no comparison of its charge with a threshold resets it",
        )
    if state.name in form.terms:
        return
    raise network.error(
        state.name,
        f"the state keeps nothing of itself, only {network.names(form.terms)} of the previous "
        "timestep",
        "a delay line holds events as they are: delay the spikes, and weight them afterwards",
    )


def _kind(network: Network, leaf: str) -> str:
    producer = network.graph.producer(leaf)
    return producer.kind if producer is not None else ""


def weight_of_product(memory: Memory, product: np.ndarray, nu: np.ndarray) -> np.ndarray | None:
    """`W_m` from `P = W_m A` [n, d] and `nu = W_m B` [n, 1]; None if no such matrix exists."""
    weight, *_ = np.linalg.lstsq(memory.a.T, product.T, rcond=None)
    weight = weight.T
    agrees = np.allclose(weight @ memory.a, product, rtol=0, atol=1e-5 * np.abs(product).max())
    expected = weight @ memory.b[:, None]
    scale = max(np.abs(nu).max(), np.abs(expected).max())
    return weight if agrees and np.allclose(expected, nu, rtol=0, atol=1e-4 * scale) else None
