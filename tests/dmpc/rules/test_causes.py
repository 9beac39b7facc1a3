"""What a model's errors follow from is said first and once, whatever the form of the file."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dmpc.compiler import Options, to_layers
from dmpc.errors import DmpcError
from dmpc.frontend import import_onnx
from dmpc.passes.recognise import Recognise
from tests.dmpc.frontend.spellings import Form, Spelling, scan_model, step_model
from tests.dmpc.rules.unrolled import network, other_weight
from tests.dmpc.rules.wholes import body_of

FORMS: dict[str, Callable[[], onnx.ModelProto]] = {
    "unrolled": lambda: network(lambda _, texts: texts),
    "one step": lambda: step_model(Spelling()),
    "scan": lambda: scan_model(Form()),
}


def made(form: str) -> tuple[onnx.ModelProto, onnx.GraphProto]:
    """A model, and the graph in it that computes a timestep."""
    model = FORMS[form]()
    return model, body_of(model) if form == "scan" else model.graph


def rules_of(model: onnx.ModelProto) -> list[str]:
    """The rules that a model breaks, as one line says them."""
    with pytest.raises(DmpcError) as caught:
        Recognise().run(import_onnx(model))
    assert "\n" not in str(caught.value)
    return [one.rule.name if one.rule else str(one) for one in caught.value.every]


def products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]


def not_finite(graph: onnx.GraphProto, whole: onnx.GraphProto, value: float) -> None:
    """A weight of the first product holds something that is no number."""
    wanted = set(products(graph)[0].input)
    tensor = next(t for g in (graph, whole) for t in g.initializer if t.name in wanted)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def before_products(graph: onnx.GraphProto, make: Callable[[str, str], onnx.NodeProto]) -> None:
    """Another node in front of every product."""
    for number, node in enumerate(products(graph)):
        at = list(graph.node).index(node)
        graph.node.insert(at, make(node.input[0], f"odd{number}"))
        graph.node[at + 1].input[0] = f"odd{number}"


def custom(source: str, name: str) -> onnx.NodeProto:
    return helper.make_node("Surrogate", [source], [name], f"/{name}", domain="my.ops")


def random(source: str, name: str) -> onnx.NodeProto:
    return helper.make_node("RandomUniformLike", [source], [name], f"/{name}")


def dropout(source: str, name: str) -> onnx.NodeProto:
    return helper.make_node("Dropout", [source, "", "training"], [name], f"/{name}")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("form", FORMS)
def test_weights_that_are_no_numbers(form, value):
    model, graph = made(form)
    not_finite(graph, model.graph, value)
    assert rules_of(model) == ["not-finite"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("make", "rule"),
    [(custom, "unknown-operator"), (random, "random-numbers"), (dropout, "training-mode")],
    ids=["custom operator", "random numbers", "training mode"],
)
def test_nodes_that_no_file_should_hold(form, make, rule):
    model, graph = made(form)
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))
    before_products(graph, make)
    assert set(rules_of(model)) == {rule}


def test_each_is_said_once_and_not_for_every_timestep():
    model, graph = made("unrolled")
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    before_products(graph, custom)
    with pytest.raises(DmpcError) as caught:
        import_onnx(model)
    assert caught.value.others == ()
    assert "odd0: operator my.ops::Surrogate is not supported" in str(caught.value)


def test_weights_that_nothing_reads_are_no_cause():
    model = network(other_weight)
    dead = numpy_helper.from_array(np.full((3, 3), np.nan, np.float32), "dead")
    model.graph.initializer.append(dead)
    model.graph.node.append(helper.make_node("MatMul", ["dead", "dead"], ["nothing"], "/dead"))
    assert rules_of(model) == ["unlike-constants"]


def adapting(step: int, texts: list[str]) -> list[str]:
    """A threshold that grows with each spike by a part of itself, and does not start from zero."""
    old, spikes = f"b{step - 1}", f"s{step - 1}"
    texts[4] = f"o{step} = GreaterOrEqual(u{step}, b{step})"
    moved = [
        f"d{step} = Mul({old}, beta)",
        f"a{step} = Mul({spikes}, {old})",
        f"b{step} = Add(d{step}, a{step})",
    ]
    if not step:  # as torch computes ahead what starts from numbers
        moved = ["b0 = Constant<value = float {0.7}>()"]
    return [*texts[:4], *moved, *texts[4:]]


def test_what_every_timestep_gets_wrong_comes_before_the_first():
    assert rules_of(network(adapting)) == ["adaptive-threshold"]


def convolved(step: int, texts: list[str]) -> list[str]:
    """A convolution over the inputs of a timestep."""
    texts[1] = f"c{step} = MatMul(r{step}, w)"
    wide = [
        f"e{step} = Unsqueeze(x{step}, axis)",
        f"q{step} = Conv<pads=[1, 1]>(e{step}, taps)",
        f"r{step} = Squeeze(q{step}, axis)",
    ]
    taps = ["taps = Constant<value = float[1, 1, 3] {0.25, 0.5, 0.25}>()"] if not step else []
    return [texts[0], *taps, *wide, *texts[1:]]


def test_a_convolution_of_one_timestep_is_not_over_time():
    """It is one linear map with the one behind it."""
    layers = to_layers(import_onnx(network(convolved)), Options())
    assert [op.kind for op in layers.ops] == ["dense", "lif", "dense"]
