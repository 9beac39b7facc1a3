"""Portable ONNX of layers: it computes what they compute, and imports as the same layers."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from dmpc.backend.onnx_writer import to_onnx
from dmpc.compiler import Options, import_model, to_layers
from dmpc.errors import CompileError
from dmpc.frontend import import_onnx
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.ir.verify import verify
from dmpc.passes.base import apply
from dmpc.passes.fold import Fold
from tests.dmpc.frontend.oracle import session
from tests.networks import Layer, Shape, network, networks, samples

WHOLE = Options(dependency_breaking=False)
EXAMPLES = ("spoken_digits/model.onnx", "spoken_digits/model_step.onnx", "grey_digits/model.onnx")


def imported(model: onnx.ModelProto) -> Graph:
    return to_layers(import_onnx(model, initial_states="keep"), WHOLE)


def described(graph: Graph) -> list[object]:
    """All of a graph but names: ops, attributes and types, with constants in float32."""
    number: dict[str, int] = {}
    for name in (*graph.inputs, *(s.name for s in graph.states)):
        number[name] = -1  # found again by what reads them
    for index, op in enumerate(graph.ops):
        number.update((result, 2 * index + k) for k, result in enumerate(op.results))
    for state in graph.states:
        number[state.name] = -2 - number[state.next]
    ops = [
        (
            op.kind,
            {key: value for key, value in op.attrs.items() if key != "window"},
            [number.get(operand, str(graph.types[operand])) for operand in op.operands],
        )
        for op in graph.ops
    ]
    return [ops, number[graph.outputs[0]], graph.attrs["readout"]]


def constants(graph: Graph) -> list[np.ndarray]:
    used = [name for op in graph.ops for name in op.operands if name in graph.constants]
    return [graph.constants[name].astype(np.float32) for name in used]


def assert_same_layers(one: Graph, other: Graph) -> None:
    assert described(one) == described(other)
    for mine, theirs in zip(constants(one), constants(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_comes_back_as_the_same_layers(path):
    layers = to_layers(import_model(f"examples/{path}", WHOLE).graph, WHOLE)
    assert_same_layers(layers, imported(to_onnx(layers)))


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    (found,) = session(model).run(None, {"x": x.astype(np.float32)})
    return found


@given(networks())
@settings(max_examples=15, deadline=None)
def test_random_networks_run_alike(shape):
    """In float32 on both sides: a spike at its threshold flips between float32 and float64."""
    graph = apply(Fold(), network(shape))
    if not {"lif"} <= {op.kind for op in graph.ops}:
        return
    x = samples(shape)
    model = to_onnx(graph)
    expected = interpret(graph, x.astype(np.float32), dtype=np.float32).logits
    error = np.abs(run(model, x) - expected) / (1 + np.abs(expected).max())
    assert np.median(error) < 1e-4


LAYERS = (
    Layer(9, states=4, dilation=3),
    Layer(7, states=3, hard=False, strict=True, dilation=2, legendre=False, heard=2),
    Layer(6, bias=False, recurrent=True, rests=3),
    Layer(5, delays=4, echo=2, recurrent=True),
)


@pytest.mark.parametrize("readout", ["mean", "sum", "last", "max"])
def test_every_op_and_readout(readout):
    shape = Shape(5, LAYERS, readout=readout, samples=4, steps=13, seed=3)
    graph = apply(Fold(), network(shape))
    model = to_onnx(graph)
    x = samples(shape)
    expected = interpret(graph, x.astype(np.float64)).logits
    np.testing.assert_allclose(run(model, x), expected, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(run(model, x[:1]), expected[:1], atol=1e-4, rtol=1e-4)
    again = imported(model)
    verify(again)
    assert_same_layers(graph, again)


@pytest.mark.parametrize("leaks", [0, 1])
@pytest.mark.parametrize(("readout", "since"), [("mean", 3), ("mean", 40), ("sum", 12)])
def test_a_readout_from_a_timestep_on_comes_back(readout, since, leaks):
    """A file's number of timesteps is open: there may be as many as are left out, and more."""
    steps = since + 6
    shape = Shape(5, (Layer(6),), readout=readout, since=since, leaks=leaks, steps=steps, seed=5)
    graph = apply(Fold(), network(shape))
    model, x = to_onnx(graph), samples(shape)
    expected = interpret(graph, x.astype(np.float64)).logits
    np.testing.assert_allclose(run(model, x), expected, atol=1e-4, rtol=1e-4)
    again = imported(model)
    assert again.attrs["since"] == since
    assert_same_layers(graph, again)


def test_initial_states_are_kept():
    shape = Shape(5, (Layer(6),), samples=3, steps=9, seed=5)
    graph = apply(Fold(), network(shape))
    graph.add_constant("start", np.linspace(-1, 1, 6), graph.types["layer1.u"])
    graph.states[0].init = "start"
    model = to_onnx(graph)
    x = samples(shape)
    expected = interpret(graph, x.astype(np.float64)).logits
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5, rtol=1e-5)
    assert imported(model).states[0].init is not None


def test_the_file_says_who_wrote_it_and_takes_any_batch():
    graph = apply(Fold(), network(Shape(5, (Layer(6),))))
    model = to_onnx(graph)
    assert [(p.key, bool(p.value)) for p in model.metadata_props] == [("dmpc.version", True)]
    assert [opset.domain for opset in model.opset_import] == [""]
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", "time", 5]
    again = to_onnx(graph)
    assert model.SerializeToString(deterministic=True) == again.SerializeToString(
        deterministic=True
    )


def test_what_cannot_be_written_is_refused():
    graph = apply(Fold(), network(Shape(5, (Layer(6),))))
    graph.constants["layer1.fast.weight"] = graph.constants["layer1.fast.weight"] * 1e300
    with pytest.raises(CompileError, match=r"'layer1.fast.weight' holds .*, beyond float32"):
        to_onnx(graph)
    graph.level = "integer"
    with pytest.raises(CompileError, match="at level integer"):
        to_onnx(graph)


@pytest.mark.parametrize("flavour", ["normal", "positive", "sparse"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_memory_that_one_event_drives(flavour, bias, seed):
    """A rectifier of one 0/1 number is affine in it: there is none to be seen."""
    shape = Shape(
        inputs=3, layers=(Layer(1), Layer(3, 3, bias=bias, flavour=flavour)), samples=4, seed=seed
    )
    found = imported(to_onnx(network(shape)))
    x = samples(shape).astype(np.float64)
    np.testing.assert_allclose(
        interpret(found, x).logits, interpret(network(shape), x).logits, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("current", ["", "now", "late"])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("legendre", [True, False])
def test_a_memory_of_one_state_that_decays(current, dilation, legendre):
    """It looks like a leaky readout where only a later timestep's neurons are charged by it."""
    layer = Layer(6, states=1, dilation=dilation, legendre=legendre, current=current)
    graph = apply(Fold(), network(Shape(4, (layer,), seed=3)))
    assert_same_layers(graph, imported(to_onnx(graph)))


def test_one_graded_input_feeds_a_current():
    """One event would be a memory's drive as well: its rectifier is affine in 0 and 1 alone."""
    graph = apply(Fold(), network(Shape(1, (Layer(6, bias=False, current="now"),), seed=3)))
    assert_same_layers(graph, imported(to_onnx(graph)))


def test_one_graded_input_that_could_be_late_feeds_a_current():
    shape = Shape(1, (Layer(6, bias=False, current="now", delays=4),), seed=11)
    graph = network(shape)
    assert not graph.constants["layer1.late.delays"].any()
    found = imported(to_onnx(graph))
    assert not any(op.kind == "memory" for op in found.ops)


@pytest.mark.parametrize("current", ["now", "late"])
@pytest.mark.parametrize("gone", ["alpha", "beta", "alpha beta", "beta fast.weight"])
def test_leaks_of_zero_beside_a_current(current, gone):
    """Without weights a current is a constant's alone: what it becomes is not what it was."""
    shape = Shape(4, (Layer(6, current=current),), samples=4, steps=9, seed=3)
    graph = network(shape)
    for name in gone.split():
        graph.constants[f"layer1.{name}"] = np.zeros_like(graph.constants[f"layer1.{name}"])
    x = samples(shape).astype(np.float64)
    wanted = interpret(graph, x).logits
    found = interpret(imported(to_onnx(apply(Fold(), graph))), x).logits
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_a_graph_without_a_name_gets_one():
    graph = network(Shape(3, (Layer(2),)))
    graph.name = ""
    assert to_onnx(graph).graph.name == "network"
