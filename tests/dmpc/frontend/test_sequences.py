"""Slow states written for the whole sequence are imported as the recurrence that they are."""

import numpy as np
import onnx
import pytest

from dmpc.errors import ImportFailure
from dmpc.frontend import import_onnx
from dmpc.frontend.realise import TOLERANCE, realise, respond
from dmpc.ir.interpret import interpret
from dmpc.legendre import legendre_system, zero_order_hold
from tests.dmpc.frontend.oracle import assert_same_run, recognised, reference_logits
from tests.dmpc.frontend.sequences import (
    MEMORIES,
    WINDOW,
    A,
    B,
    D,
    M,
    N,
    Nodes,
    T,
    Variant,
    conv,
    dft,
    dft_circular,
    impulse_response,
    model,
    over_time,
    toeplitz,
)

X = (np.random.default_rng(7).random((6, T, M)) < 0.4).astype(np.float32)


def run(made: onnx.ModelProto, tmp_path, x=X):
    """The graphs of a model, checked against onnxruntime."""
    graphs = recognised(made, tmp_path)
    logits = reference_logits(tmp_path / "model.onnx", x)
    assert_same_run(graphs, x, logits)
    spikes = interpret(graphs[1], x.astype(np.float64), trace=["layer1.spikes", "layer2.spikes"])
    assert all(0.02 < trace.mean() < 0.98 for trace in spikes.traces.values())
    return graphs


def refused(made: onnx.ModelProto, tmp_path) -> str:
    path = tmp_path / "net.onnx"
    onnx.save(made, path)
    with pytest.raises(ImportFailure) as caught:
        import_onnx(path)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda memory: memory.__name__)
def test_a_slow_state_in_any_spelling(memory, tmp_path):
    layers = run(model(Variant(memory)), tmp_path)[2]
    memories = [op for op in layers.ops if op.kind == "memory"]
    assert [op.attrs["window"] for op in memories] == [WINDOW, WINDOW]
    for op in memories:
        np.testing.assert_allclose(layers.constants[op.operands[2]], A, rtol=0, atol=1e-12)
        np.testing.assert_allclose(layers.constants[op.operands[3]], B, rtol=0, atol=1e-12)


@pytest.mark.parametrize("opset", [13, 17, 18, 19, 21])
@pytest.mark.parametrize("memory", [conv, dft], ids=lambda memory: memory.__name__)
def test_other_opsets(memory, opset, tmp_path):
    if memory is dft and opset < 17:
        pytest.skip("DFT exists from opset 17")
    run(model(Variant(memory, opset)), tmp_path)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_makes_no_difference(batch, tmp_path):
    free = recognised(model(Variant(dft)), tmp_path)[2]
    fixed = recognised(model(Variant(dft, batch=batch)), tmp_path)[2]
    assert [op.kind for op in fixed.ops] == [op.kind for op in free.ops]
    for name, array in fixed.constants.items():
        np.testing.assert_allclose(array, free.constants[name], atol=1e-12)


def test_sequences_of_any_length(tmp_path):
    """The first taps of a kernel are looked at: enough for a Legendre memory, and no other."""
    fixed = recognised(model(Variant()), tmp_path)[2]
    free = recognised(model(Variant(response=impulse_response(24), time="time")), tmp_path)[2]
    for name, array in fixed.constants.items():
        np.testing.assert_array_equal(array, free.constants[name])
    other = respond(np.diag([0.9, 0.6, 0.2]), np.ones(3), 24).astype(np.float32)
    message = refused(model(Variant(response=other, time="time")), tmp_path)
    assert "export with fixed sizes" in message
    message = refused(model(Variant(time="time")), tmp_path)
    assert "the impulse response, which ends after 12 timesteps, is no slow state's" in message


def test_a_bias_of_the_convolution_goes_to_the_neurons(tmp_path):
    def biased(nodes: Nodes, drive: str, h: np.ndarray) -> str:
        m = conv(nodes, drive, h)
        nodes.protos[-2].input.append(nodes.constant(np.array([0.5, -1.0, 0.25], np.float32)))
        return m

    run(model(Variant(biased)), tmp_path)


def test_a_gate_on_the_slow_current(tmp_path):
    for gate in (np.float32(0.5), np.array([[0.5]], np.float32), np.float32(1)):
        run(model(Variant(after=lambda nodes, m, g=gate: nodes("Mul", g, m))), tmp_path)


@pytest.mark.parametrize("spelling", ["pad", "concat"])
def test_a_memory_read_one_step_late(spelling, tmp_path):
    """Another network, which must not be taken for the usual one."""

    def late(nodes: Nodes, m: str) -> str:
        if spelling == "pad":
            return nodes.cut(nodes("Pad", m, [0, 1, 0, 0, 0, 0]), 0, T, 1)
        shape = nodes("Concat", nodes.cut(nodes("Shape", m), 0, 1, 0), [1, D], axis=0)
        zeros = nodes("ConstantOfShape", shape)
        return nodes("Concat", zeros, nodes.cut(m, 0, T - 1, 1), axis=1)

    layers = run(model(Variant(after=late)), tmp_path)[1]
    assert layers.producer("layer1.slow").operands[0] == "layer1.m"


def test_a_kernel_that_reads_one_step_late(tmp_path):
    h = impulse_response()
    late = np.concatenate([np.zeros((1, D), np.float32), h[:-1]])
    layers = run(model(Variant(response=late)), tmp_path)[1]
    assert layers.producer("layer1.slow").operands[0] == "layer1.m"


def test_spikes_one_step_late_make_a_state(tmp_path):
    def late(nodes: Nodes, spikes: str) -> str:
        shifted = nodes.cut(nodes("Pad", spikes, [0, 1, 0, 0, 0, 0]), 0, T, 1)
        linear = nodes("Add", nodes("MatMul", shifted, "wo"), "bo")
        return over_time(nodes, "ReduceMean", linear, [1])

    path = tmp_path / "late.onnx"
    onnx.save(model(Variant(readout=late)), path)
    graph = import_onnx(path)
    assert len(graph.states) == 5
    assert_same_run([graph], X, reference_logits(path, X))


# -- readouts over time ----------------------------------------------------------------------------


def mean_of_spikes(nodes: Nodes, spikes: str) -> str:
    mean = over_time(nodes, "ReduceMean", spikes, [1])
    return nodes("Gemm", mean, "wo", "bo")


def pooled(nodes: Nodes, spikes: str) -> str:
    linear = nodes("Add", nodes("MatMul", spikes, "wo"), "bo")
    channels = nodes("Transpose", linear, perm=[0, 2, 1])
    return nodes("Squeeze", nodes("GlobalAveragePool", channels), [2])


def product_with_ones(nodes: Nodes, spikes: str) -> str:
    linear = nodes("Add", nodes("MatMul", spikes, "wo"), "bo")
    return nodes("Einsum", linear, np.full(T, 1 / T, np.float32), equation="btc,t->bc")


def summed(nodes: Nodes, spikes: str) -> str:
    linear = nodes("MatMul", spikes, "wo")
    channels = nodes("Transpose", linear, perm=[0, 2, 1])
    return nodes("MatMul", channels, np.ones(T, np.float32))


@pytest.mark.parametrize(
    ("readout", "kind"),
    [(mean_of_spikes, "mean"), (pooled, "mean"), (product_with_ones, "mean"), (summed, "sum")],
)
def test_a_readout_over_time(readout, kind, tmp_path):
    assert run(model(Variant(readout=readout)), tmp_path)[2].attrs["readout"] == kind


# -- what is no slow state -------------------------------------------------------------------------


def test_a_circular_convolution_is_explained(tmp_path):
    message = refused(model(Variant(dft_circular)), tmp_path)
    assert "timesteps depend on later ones, before Add: the response is circular" in message
    assert "pad the sequence with as many zeros" in message
    assert message.startswith("/dft")


def test_a_filter_that_is_no_recurrence(tmp_path):
    noise = np.random.default_rng(0).normal(size=(T, D)).astype(np.float32)
    noise[9:] = 0
    message = refused(model(Variant(response=noise)), tmp_path)
    assert message.startswith("/conv")
    assert "the impulse response, which ends after 9 timesteps, is no slow state's" in message
    assert " % of its largest value" in message


def test_a_response_that_changes_over_time(tmp_path):
    def changing(nodes: Nodes, drive: str, h: np.ndarray) -> str:
        kernel = toeplitz(h)
        kernel[5:] *= 2
        return nodes("Einsum", nodes("Squeeze", drive, [2]), kernel, equation="bs,tsd->btd")

    message = refused(model(Variant(changing)), tmp_path)
    assert "is not the same at every timestep, first in timestep 5" in message


def filtered(kernel: np.ndarray) -> onnx.ModelProto:
    """A network whose last spikes are each filtered over time before the readout, by [T]."""

    def readout(nodes: Nodes, spikes: str) -> str:
        channels = nodes("Transpose", spikes, perm=[0, 2, 1])
        tiled = np.tile(kernel[::-1], (N, 1, 1)).astype(np.float32)
        smooth = nodes("Conv", channels, tiled, pads=[T - 1, 0], group=N)
        linear = nodes("MatMul", nodes("Transpose", smooth, perm=[0, 2, 1]), "wo")
        return over_time(nodes, "ReduceMean", linear, [1])

    return model(Variant(readout=readout))


def test_every_neuron_filtered_on_its_own(tmp_path):
    layers = run(filtered(0.5 ** np.arange(T)), tmp_path)[2]
    assert "li" in {op.kind for op in layers.ops}


def test_every_neuron_filtered_by_two_rates(tmp_path):
    message = refused(filtered(0.5 ** np.arange(T) + 0.9 ** np.arange(T)), tmp_path)
    assert f"{N} values are filtered over time, before output 'logits'" in message


# -- realisation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "window", "steps"), [(3, 9, 16), (10, 40, 100), (5, 39.7, 64), (40, 300, 784)]
)
def test_the_window_is_recovered(states, window, steps):
    a, b = zero_order_hold(*legendre_system(states, window))
    system = realise(respond(a, b, steps).astype(np.float32).astype(np.float64))
    assert system.c is None
    np.testing.assert_allclose(system.a, a, rtol=0, atol=1e-6)
    np.testing.assert_allclose(system.b, b, rtol=0, atol=1e-6)
    assert system.error < 1e-6


def in_float32(a, b, steps):
    """The response as code in float32 computes it: rounded again at every timestep."""
    a, m, found = a.astype(np.float32), b.astype(np.float32), []
    for _ in range(steps):
        found.append(m)
        m = a @ m
    return np.array(found).astype(np.float64)


@pytest.mark.parametrize("gain", [1.0, -2.5])
@pytest.mark.parametrize("noise", [0.0, 5e-6])
@pytest.mark.parametrize(
    ("states", "window", "steps"),
    [(100, 300, 784), (100, 300, 100), (40, 300, 784), (12, 500, 60), (5, 4, 20), (2, 10, 3)],
)
def test_a_whole_window_is_found_exactly(states, window, steps, noise, gain):
    """States that decay within a timestep, windows longer than the response, noise of transforms.

    With noise a fit of 100 states has fewer, or a determinant below zero.
    """
    a, b = zero_order_hold(*legendre_system(states, window))
    h = gain * in_float32(a, b, steps)
    h += noise * np.abs(h).max() * np.random.default_rng(4).uniform(-1, 1, h.shape)
    system = realise(h)
    assert system.c is None
    assert np.array_equal(system.a, a)
    np.testing.assert_allclose(system.b, gain * b, rtol=1e-4)


def test_outputs_that_are_always_zero_hide_no_window():
    a, b = zero_order_hold(*legendre_system(100, 300))
    h = in_float32(a, b, 120)
    noise = 1e-7 * np.random.default_rng(0).uniform(-1, 1, h.shape)
    system = realise(np.stack([h, noise], axis=-1).reshape(120, 200))  # real, imaginary
    assert np.array_equal(system.a, a)
    assert np.array_equal(system.c, np.kron(np.eye(100), [[1], [0]]))


def test_windows_need_not_be_whole():
    for states, window, steps in ((24, 30.5, 100), (60, 280.3, 300), (12, 500.25, 60)):
        a, b = zero_order_hold(*legendre_system(states, window))
        system = realise(respond(a, b, steps).astype(np.float32).astype(np.float64))
        assert system.c is None
        np.testing.assert_allclose(system.a, a, rtol=0, atol=1e-6)


def test_a_kernel_with_the_readout_folded_in():
    """W H of as many, fewer or more outputs than states."""
    a, b = zero_order_hold(*legendre_system(6, 20))
    rng = np.random.default_rng(3)
    for outputs in (1, 6, 15):
        h = respond(a, b, 100) @ rng.normal(size=(6, outputs))
        system = realise(h.astype(np.float32).astype(np.float64))
        assert len(system.b) == 6
        assert system.error < 1e-5


def test_a_memory_of_another_kind():
    rng = np.random.default_rng(5)
    a = np.diag([0.9, 0.5, -0.3]) + 0.05 * rng.normal(size=(3, 3))
    b = rng.normal(size=3)
    system = realise(respond(a, b, 50).astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(system.a, a, atol=1e-5)
    np.testing.assert_allclose(system.b, b, atol=1e-6)


def test_noise_is_no_recurrence():
    assert realise(np.random.default_rng(0).normal(size=(50, 3))).error > TOLERANCE
