"""The interpreter against the equations, written out in a loop."""

import numpy as np
import pytest

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.interpret import interpret
from dmpc.ir.registry import EvalContext, op_def
from dmpc.ir.rings import parts
from dmpc.ir.types import TensorType, event, f32
from dmpc.ir.verify import verify
from tests.networks import Layer, Shape, network, samples

RNG = np.random.default_rng(7)
M, N, D, C = 4, 3, 2, 2


def layer(reset_mode="hard", strict=False, readout="mean"):
    """One DMP layer and a readout, with random weights."""
    graph = Graph("g", "layers", inputs=["x"], outputs=["readout"], attrs={"readout": readout})
    graph.types["x"] = f32(M)
    sizes = {"wf": (N, M), "bf": (N,), "wx": (M,), "bx": (1,), "A": (D, D), "B": (D,)}
    sizes |= {"wm": (N, D), "beta": (N,), "theta": (N,), "reset": (N,), "wo": (C, N), "bo": (C,)}
    for name, shape in sizes.items():
        graph.add_constant(name, RNG.uniform(0.1, 0.9, shape), f32(*shape))
    for name, size in (("u", N), ("m", D)):
        graph.states.append(State(name, f"{name}.next"))
        graph.types[name] = f32(size)
    at = {"layer": "layer1"}
    graph.add(Op("drive", ("x", "wx", "bx"), ("d",), at), f32(1))
    graph.add(Op("memory", ("m", "d", "A", "B"), ("m.next",), at), f32(D))
    graph.add(Op("dense", ("x", "wf", "bf"), ("fast",), at), f32(N))
    graph.add(Op("dense", ("m.next", "wm"), ("slow",), at), f32(N))
    attrs = {**at, "reset_mode": reset_mode, "strict": strict}
    lif = Op("lif", ("u", "fast", "slow", "beta", "theta", "reset"), ("s", "u.next"), attrs)
    graph.add(lif, event(N), f32(N))
    graph.add(Op("dense", ("s", "wo", "bo"), ("readout",), {"layer": "readout"}), f32(C))
    verify(graph)
    return graph


def reference(graph, x, reset_mode, strict):
    c = graph.constants
    u, m, outputs, spikes = np.zeros(N), np.zeros(D), [], []
    for s in x:
        d = max(0.0, float(c["wx"] @ s + c["bx"][0]))
        m = c["A"] @ m + c["B"] * d
        h = c["beta"] * u + c["wf"] @ s + c["bf"] + c["wm"] @ m
        fired = h > c["theta"] if strict else h >= c["theta"]
        u = np.where(fired, c["reset"] if reset_mode == "hard" else h - c["reset"], h)
        spikes.append(fired)
        outputs.append(c["wo"] @ fired + c["bo"])
    return np.array(outputs), np.array(spikes)


@pytest.mark.parametrize("reset_mode", ["hard", "subtract"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_layer_follows_the_equations(reset_mode, strict):
    graph = layer(reset_mode, strict)
    x = RNG.uniform(-1, 1, (5, 9, M))
    result = interpret(graph, x, trace=["s", "u"])
    for sample in range(5):
        outputs, spikes = reference(graph, x[sample], reset_mode, strict)
        np.testing.assert_allclose(result.outputs[sample], outputs, rtol=1e-12)
        np.testing.assert_array_equal(result.traces["s"][sample], spikes)
    assert result.traces["s"].dtype == np.bool_
    assert not result.traces["u"][:, 0].any()


@pytest.mark.parametrize("readout", ["mean", "sum", "last", "max"])
def test_readouts(readout):
    x = RNG.uniform(-1, 1, (2, 6, M))
    result = interpret(layer(readout=readout), x)
    pick = {"last": lambda y: y[:, -1], "mean": lambda y: y.mean(1), "sum": lambda y: y.sum(1)}
    expected = pick.get(readout, lambda y: y.max(1))(result.outputs)
    np.testing.assert_array_equal(result.logits, expected)


@pytest.mark.parametrize("since", [1, 4, 6, 9])
@pytest.mark.parametrize("readout", ["mean", "sum"])
def test_readouts_from_a_timestep_on(readout, since):
    """Of a sample that ends before, they are zero."""
    graph = layer(readout=readout)
    graph.attrs["since"] = since
    result = interpret(graph, RNG.uniform(-1, 1, (2, 6, M)))
    late = [result.outputs[:, k] for k in range(since, 6)]
    expected = sum(late, np.zeros((2, C))) / (max(len(late), 1) if readout == "mean" else 1)
    np.testing.assert_allclose(result.logits, expected, atol=1e-12)


def test_a_tie_spikes_unless_strict():
    """Input 2 from membrane 0, beta 0.5, gain 0.5: the charge is exactly the threshold."""
    for strict, spike in ((False, True), (True, False)):
        lif = op_def("lif").evaluate
        attrs = {"reset_mode": "hard", "strict": strict}
        zero, half, one = (np.full(1, value) for value in (0.0, 0.5, 1.0))
        fired, u = lif(EvalContext(), attrs, zero[None], half[None] * 2, half, one, zero)
        assert bool(fired[0, 0]) is spike
        assert u[0, 0] == (0.0 if spike else 1.0)


def test_states_start_from_their_initial_value():
    graph = layer()
    start = graph.add_constant("u.init", np.array([0.3, 0.2, 0.1]), f32(N))
    graph.states[0].init = start
    verify(graph)
    result = interpret(graph, np.zeros((2, 3, M)), trace=["u"])
    np.testing.assert_array_equal(result.traces["u"][:, 0], [[0.3, 0.2, 0.1]] * 2)


def test_single_precision_on_request():
    x = RNG.uniform(-1, 1, (2, 3, M))
    assert interpret(layer(), x, dtype=np.float32).outputs.dtype == np.float32


def test_integer_graphs_are_exact_and_sum_instead_of_mean():
    graph = Graph("g", "integer", ["x"], ["x"], attrs={"readout": "mean"})
    graph.types["x"] = TensorType("i32", (2,), 1.0)
    verify(graph)
    result = interpret(graph, np.full((1, 3, 2), 2**60, np.int64))
    assert result.logits.dtype == np.int64
    np.testing.assert_array_equal(result.logits, [[3 * 2**60] * 2])
    with pytest.raises(CompileError, match=r"input is float64, the network takes integers \(i32"):
        interpret(graph, np.zeros((1, 3, 2)))


def test_saturations_are_counted_by_place():
    ctx = EvalContext()
    clipped = ctx.saturate(np.array([-130, 5, 127, 128]), 8, "layer1.u")
    np.testing.assert_array_equal(clipped, [-128, 5, 127, 127])
    ctx.saturate(np.array([300]), 8, "layer1.u")
    assert ctx.saturations == {"layer1.u": 3}


def test_inputs_of_the_wrong_shape_are_refused():
    with pytest.raises(
        CompileError,
        match=r"input has shape \[2, 3, 5\], the network takes \[samples, timesteps, 4\]",
    ):
        interpret(layer(), np.zeros((2, 3, 5)))
    with pytest.raises(CompileError, match="no value %nothing in graph 'g' to trace"):
        interpret(layer(), np.zeros((2, 3, M)), trace=["nothing"])


def test_misspelt_ops_get_a_suggestion():
    with pytest.raises(CompileError, match=r"unknown op 'memry' \(did you mean memory"):
        op_def("memry")


def test_operands_bind_to_their_names():
    bound = op_def("lif").bind(("u", "a", "b", "be", "th", "re"))
    assert (bound["currents"], bound["beta"], bound["reset"]) == (("a", "b"), ("be",), ("re",))
    assert op_def("dense").bind(("x", "w"))["bias"] == ()
    with pytest.raises(ValueError, match=r"takes \(x, weight, bias\?\), but 4 operands are given"):
        op_def("dense").bind(("x", "w", "b", "c"))


def test_what_is_fed_is_read_in_place_of_a_value_and_the_trace_is_what_was_computed():
    shape = Shape(inputs=4, layers=(Layer(5), Layer(3)), samples=3, steps=6)
    graph, x = network(shape), samples(shape).astype(np.float64)
    names = ["layer1.spikes", "layer2.spikes", "layer2.fast"]
    plain = interpret(graph, x, trace=names).traces
    silent = np.zeros_like(plain["layer1.spikes"])
    found = interpret(graph, x, trace=names, fed={"layer1.spikes": silent}).traces
    np.testing.assert_array_equal(found["layer1.spikes"], plain["layer1.spikes"])
    assert plain["layer1.spikes"].any()
    bias = graph.constants["layer2.fast.bias"]
    np.testing.assert_array_equal(found["layer2.fast"], np.broadcast_to(bias, (3, 6, 3)))


def test_rounded_values_are_whole_steps():
    shape = Shape(inputs=4, layers=(Layer(5, states=3),), samples=3, steps=6)
    graph, x = network(shape), samples(shape).astype(np.float64)
    name = "layer1.m.next"
    plain = interpret(graph, x, trace=[name]).traces[name]
    found = interpret(graph, x, trace=[name], rounded={name: 0.25}).traces[name]
    assert (found % 0.25 == 0).all()
    assert (found != plain).any()
    np.testing.assert_array_equal(found[:, 0], np.floor(plain[:, 0] / 0.25 + 0.5) * 0.25)
    with pytest.raises(CompileError, match="no value %nowhere"):
        interpret(graph, x, rounded={"nowhere": 1.0})


@pytest.mark.parametrize("rows", [1, 7, 20])
@pytest.mark.parametrize(
    "layer",
    [
        Layer(5, states=3),
        Layer(5, recurrent=True),
        Layer(5, states=2, dilation=3),
        Layer(5, delays=4),
    ],
    ids=["memory", "recurrent", "dilated", "delayed"],
)
def test_how_many_timesteps_are_computed_at_once_changes_nothing(monkeypatch, layer, rows):
    shape = Shape(inputs=4, layers=(layer, Layer(3)), samples=3, steps=17)
    graph, x = network(shape), samples(shape).astype(np.float64)
    names = [name for name in graph.types if len(graph.types[name].shape) == 1]
    plain = interpret(graph, x, trace=names)
    monkeypatch.setattr("dmpc.ir.interpret.ROWS", rows)
    found = interpret(graph, x, trace=names)
    np.testing.assert_allclose(found.outputs, plain.outputs, rtol=1e-12)
    for name in names:
        np.testing.assert_allclose(found.traces[name], plain.traces[name], rtol=1e-12, atol=1e-12)


def test_what_nobody_asks_for_is_not_computed():
    shape = Shape(inputs=4, layers=(Layer(5), Layer(3)), samples=2, steps=4)
    graph = network(shape)
    fed = {"layer2.spikes": np.zeros((2, 4, 3), np.bool_)}
    kinds = {op.kind for part in parts(graph, graph.outputs, fed) for op in part.ops}
    assert kinds == {"dense"}


def test_a_state_outside_of_any_ring_is_the_value_of_the_timestep_before(monkeypatch):
    monkeypatch.setattr("dmpc.ir.interpret.ROWS", 4)
    states = [State("last", "x"), State("old", "last", "i")]
    graph = Graph("g", "model", ["x"], ["old"], states, attrs={"readout": "last"})
    graph.types |= {name: f32(1) for name in ("x", "last", "old")}
    graph.add_constant("i", np.array([9.0]), f32(1))
    verify(graph)
    found = interpret(graph, np.arange(10.0).reshape(2, 5, 1)).outputs
    np.testing.assert_array_equal(found[..., 0], [[9, 0, 0, 1, 2], [9, 0, 5, 6, 7]])
