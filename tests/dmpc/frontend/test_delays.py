"""Axonal delays in any spelling, one whole number of timesteps for each input; votes by pooling."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dmpc.errors import DmpcError
from dmpc.frontend import import_onnx
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.fold import Fold
from dmpc.passes.recognise import Recognise
from tests.dmpc.frontend.oracle import session
from tests.dmpc.frontend.sequences import (
    C,
    M,
    N,
    Nodes,
    T,
    Variant,
    lif,
    mean_of_linear,
    over_time,
    toeplitz,
    weights,
)
from tests.dmpc.frontend.spellings import value

LATE = np.array([0, 3, 1, 4, 2])
LONGEST = int(LATE.max())
GAIN = np.array([1, 0.5, 2, 1, -1], np.float32)
PLACES = LONGEST + np.arange(T)[:, None] - LATE  # in the padded sequence
NOW = np.arange(T)[:, None] >= LATE


def padded(nodes: Nodes) -> str:
    return nodes("Pad", "seq", [0, LONGEST, 0, 0, 0, 0], np.float32(0))


def columns(nodes: Nodes) -> str:
    """Each input padded and cut by itself."""
    parts = []
    for k, late in enumerate(LATE):
        column = nodes("Pad", nodes.cut("seq", k, k + 1, 2), [0, late, 0, 0, 0, 0], np.float32(0))
        parts.append(nodes.cut(column, 0, T, 1))
    return nodes("Concat", *parts, axis=2)


def gathered(nodes: Nodes) -> str:
    first = nodes("Transpose", padded(nodes), perm=[1, 2, 0])
    places = np.stack([PLACES, np.broadcast_to(np.arange(M), PLACES.shape)], -1)
    return nodes("Transpose", nodes("GatherND", first, places), perm=[2, 0, 1])


def flat(nodes: Nodes) -> str:
    rows = nodes("Reshape", padded(nodes), [0, -1])
    return nodes("Reshape", nodes("Gather", rows, PLACES * M + np.arange(M), axis=1), [-1, T, M])


def masked(nodes: Nodes) -> str:
    """The first timestep in place of those before it, and then nothing."""
    first = nodes("Transpose", "seq", perm=[1, 2, 0])
    steps = (PLACES - LONGEST).clip(0)
    places = np.stack([steps, np.broadcast_to(np.arange(M), steps.shape)], -1)
    found = nodes("Transpose", nodes("GatherND", first, places), perm=[2, 0, 1])
    return nodes("Where", NOW, found, np.float32(0))


def turned(nodes: Nodes) -> str:
    """Rolled, with the end that comes in front cleared."""
    parts = []
    for k, late in enumerate(LATE):
        order = (np.arange(T) - late) % T
        parts.append(nodes("Gather", nodes.cut("seq", k, k + 1, 2), order, axis=1))
    return nodes("Mul", nodes("Concat", *parts, axis=2), NOW.astype(np.float32))


def depthwise(nodes: Nodes) -> str:
    kernel = np.zeros((M, 1, LONGEST + 1), np.float32)
    kernel[np.arange(M), 0, LONGEST - LATE] = 1
    channels = nodes("Transpose", "seq", perm=[0, 2, 1])
    wide = nodes("Conv", channels, kernel, group=M, pads=[LONGEST, LONGEST])
    return nodes("Transpose", nodes.cut(wide, 0, T, 2), perm=[0, 2, 1])


def windows(nodes: Nodes) -> str:
    """All windows of the padded sequence, times one-hot numbers."""
    places = np.arange(T)[:, None] + np.arange(LONGEST + 1)
    chosen = np.zeros((LONGEST + 1, M), np.float32)
    chosen[LONGEST - LATE, np.arange(M)] = 1
    found = nodes("Mul", nodes("Gather", padded(nodes), places, axis=1), chosen)
    return nodes("ReduceSum", found, [2], keepdims=0)


def shifted(nodes: Nodes) -> str:
    """A shifted identity for each input."""
    response = np.zeros((T, M), np.float32)
    response[LATE, np.arange(M)] = 1
    return nodes("Einsum", "seq", toeplitz(response), equation="bsm,tsm->btm")


SPELLINGS = (columns, gathered, flat, masked, turned, depthwise, windows, shifted)


def model(
    late: Callable[[Nodes], str],
    weight: str = "wf0",
    readout: Callable[[Nodes, str], str] = mean_of_linear,
    classes: int = C,
) -> onnx.ModelProto:
    """A layer of neurons and a readout behind delayed inputs."""
    nodes = Nodes(18)
    nodes.constants |= weights()
    current = late(nodes)
    if weight:
        current = nodes("Add", nodes("MatMul", current, weight), "bf0")
    readout(nodes, lif(nodes, current, Variant()))
    return finished(nodes, classes)


def unrolled(padding: Callable[[Nodes], str]) -> onnx.ModelProto:
    """Timesteps of the padded sequence, one input after the other, read in a loop written out."""
    nodes = Nodes(18)
    nodes.constants |= weights()
    ahead, v, sums = padding(nodes), "", ""
    for step in range(T):
        parts = []
        for k, late in enumerate(LATE):
            now = nodes("Gather", ahead, np.int64(LONGEST + step - late), axis=1)
            parts.append(nodes("Gather", now, [k], axis=1))
        current = nodes("Add", nodes("MatMul", nodes("Concat", *parts, axis=1), "wf0"), "bf0")
        charge = nodes("Add", nodes("Mul", v, np.float32(0.5)), current) if v else current
        fired = nodes("Cast", nodes("GreaterOrEqual", charge, np.float32(1)), to=1)
        v = nodes("Mul", charge, nodes("Sub", np.float32(1), fired))
        sums = nodes("Add", sums, fired) if sums else fired
    nodes("MatMul", sums, "wo")
    return finished(nodes, C)


def finished(nodes: Nodes, classes: int) -> onnx.ModelProto:
    nodes.protos[-1].output[0] = "logits"
    constants = [numpy_helper.from_array(array, name) for name, array in nodes.constants.items()]
    ends = [value("seq", "B", T, M)], [value("logits", "B", classes)]
    graph = helper.make_graph(nodes.protos, "g", *ends, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def layers(made: onnx.ModelProto) -> Graph:
    return apply(Fold(), apply(Recognise(), import_onnx(made)))


def delays(graph: Graph) -> list[object]:
    return [op.attrs for op in graph.ops if op.kind == "delay"]


@pytest.mark.parametrize("late", SPELLINGS[1:], ids=lambda late: late.__name__)
def test_each_input_comes_late_by_its_own_time(late):
    expected, found = layers(model(columns)), layers(model(late))
    assert [op.kind for op in found.ops] == ["delay", "dense", "lif", "dense"]
    assert delays(found) == delays(expected)
    for one, other in zip(found.constants.values(), expected.constants.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def joined(nodes: Nodes) -> str:
    shape = nodes("Concat", nodes.cut(nodes("Shape", "seq"), 0, 1, 0), [LONGEST, M], axis=0)
    zeros = nodes("Expand", np.float32(0), shape)
    return nodes("Concat", zeros, "seq", nodes("ConstantOfShape", shape), axis=1)


@pytest.mark.parametrize("padding", [padded, joined])
def test_timesteps_of_a_padded_sequence_in_a_loop_written_out(padding):
    found = layers(unrolled(padding))
    assert [op.kind for op in found.ops] == ["delay", "dense", "lif", "dense"]
    assert delays(found) == delays(layers(model(columns)))


def pooled(nodes: Nodes, spikes: str) -> str:
    votes = nodes("AveragePool", spikes, kernel_shape=[2], strides=[2])
    return over_time(nodes, "ReduceMean", votes, [1])


def pooled_counts(nodes: Nodes, spikes: str) -> str:
    groups = nodes("Reshape", over_time(nodes, "ReduceMean", spikes, [1]), [-1, 2, N // 2])
    return nodes("Squeeze", nodes("GlobalAveragePool", groups), [2])


@pytest.mark.parametrize("vote", [pooled, pooled_counts])
def test_a_vote_of_neighbours_by_pooling_is_a_readout(vote):
    found = layers(model(columns, readout=vote, classes=2))
    assert [op.kind for op in found.ops] == ["delay", "dense", "lif", "dense"]
    matrix = found.constants[found.ops[-1].operands[1]]
    np.testing.assert_allclose(matrix, np.kron(np.eye(2), [0.5, 0.5]))


def test_taps_may_weigh():
    def weighing(nodes: Nodes) -> str:
        kernel = np.zeros((M, 1, LONGEST + 1), np.float32)
        kernel[np.arange(M), 0, LONGEST - LATE] = GAIN
        channels = nodes("Transpose", "seq", perm=[0, 2, 1])
        deep = nodes("Conv", channels, kernel, group=M, pads=[LONGEST, 0])
        return nodes("Transpose", deep, perm=[0, 2, 1])

    found, plain = layers(model(weighing)), layers(model(columns))
    assert delays(found) == delays(plain)
    dense = next(op.operands[1] for op in found.ops if op.kind == "dense")
    np.testing.assert_allclose(found.constants[dense], plain.constants[dense] * GAIN, rtol=1e-6)


def test_a_convolution_with_one_tap_for_each_input_is_delays_and_a_product():
    kernel = np.zeros((N, M, LONGEST + 1), np.float32)
    kernel[:, np.arange(M), LONGEST - LATE] = weights()["wf0"].T

    def dense(nodes: Nodes) -> str:
        channels = nodes("Transpose", "seq", perm=[0, 2, 1])
        wide = nodes("Conv", channels, kernel, weights()["bf0"], pads=[LONGEST, LONGEST])
        return nodes("Transpose", nodes.cut(wide, 0, T, 2), perm=[0, 2, 1])

    found, plain = layers(model(dense, weight="")), layers(model(columns))
    assert delays(found) == delays(plain)
    for one, other in zip(found.constants.values(), plain.constants.values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def later(nodes: Nodes) -> str:
    return nodes("Pad", nodes.cut("seq", 1, T, 1), [0, 0, 0, 0, 1, 0], np.float32(0))


def repeated(nodes: Nodes) -> str:
    return nodes("Gather", "seq", (np.arange(T) - 2).clip(0), axis=1)


def circular(nodes: Nodes) -> str:
    return nodes("Gather", "seq", (np.arange(T) - 2) % T, axis=1)


def twice(nodes: Nodes) -> str:
    once = nodes.cut(nodes("Pad", "seq", [0, 1, 0, 0, 0, 0], np.float32(0)), 0, T, 1)
    return nodes("Add", "seq", once)


def kernel(nodes: Nodes) -> str:
    """Every synapse has a delay of its own, as networks that learn them have: a dilated kernel."""
    random = np.random.default_rng(3)
    taps = np.zeros((M, M, 3), np.float32)
    np.put_along_axis(taps, random.integers(0, 3, (M, M, 1)), random.normal(size=(M, M, 1)), axis=2)
    channels = nodes("Transpose", "seq", perm=[0, 2, 1])
    wide = nodes("Conv", channels, taps, dilations=[2], pads=[4, 0])
    return nodes("Transpose", wide, perm=[0, 2, 1])


@pytest.mark.parametrize("late", [twice, kernel])
def test_synapses_may_have_delays_of_their_own(late):
    made = model(late)
    found = layers(made)
    kinds = [op.kind for op in found.ops]
    assert kinds.count("dense") == 1 + (2 if late is twice else 3)
    x = (np.random.default_rng(1).random((6, T, M)) < 0.5).astype(np.float32)
    (wanted,) = session(made).run(None, {"seq": x})
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(interpret(found, x.astype(float)).logits, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (later, "element 0 at timestep 0 is that of timestep 1, which is still to come"),
        (repeated, "element 0 at timestep 0 is that of timestep 0, but comes 2 timesteps late at"),
        (circular, "from the first timestep to the last"),
    ],
)
def test_what_is_no_delay_is_refused_with_the_reason(late, message):
    with pytest.raises(DmpcError, match=message):
        layers(model(late))
