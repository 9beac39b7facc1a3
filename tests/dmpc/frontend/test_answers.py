"""Where a model's answer holds its samples and timesteps, and in which type it takes its input."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dmpc.compiler import Options, to_layers
from dmpc.errors import ImportFailure
from dmpc.frontend import import_onnx, open_model
from dmpc.frontend.models import held
from dmpc.frontend.proof import prove
from dmpc.ir.interpret import interpret
from tests.dmpc.frontend.spellings import C, Form, M, Spelling, scan_model, step_model, value

RNG = np.random.default_rng(3)
X = (RNG.random((5, 9, M)) < 0.4).astype(np.float64)


def proven(model: onnx.ModelProto, tmp_path) -> np.ndarray:
    """The logits of X by the file itself, of which the layers are shown to be the model."""
    onnx.checker.check_model(model, full_check=True)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    opened = open_model(path)
    layers = to_layers(opened.graph, Options())
    assert prove(opened, layers, X).holds
    logits = opened.reference.logits(X)
    np.testing.assert_allclose(interpret(layers, X).logits, logits, atol=1e-4)
    return logits


def stacked(time_first: bool, axes: tuple[str, ...]) -> onnx.ModelProto:
    """Outputs of every timestep, their axes in an order of choice."""
    model = scan_model(Form(time_first=time_first))
    (at,) = [i for i, node in enumerate(model.graph.node) if node.op_type == "Scan"]
    del model.graph.node[at + 1 :], model.graph.output[:]
    order = ["time", "batch", C]  # as the Scan stacks them
    turned = [order.index(C if axis == "classes" else axis) for axis in axes]
    model.graph.node.append(helper.make_node("Transpose", ["ys"], ["out"], perm=turned))
    model.graph.output.append(value("out", *(order[place] for place in turned)))
    return model


ORDERS = list(itertools.permutations(["time", "batch", "classes"]))


@pytest.mark.parametrize("axes", ORDERS, ids="-".join)
@pytest.mark.parametrize("time_first", [False, True])
def test_the_axes_of_an_answer(tmp_path, time_first: bool, axes: tuple[str, ...]) -> None:
    wanted = proven(scan_model(Form()), tmp_path)
    np.testing.assert_allclose(proven(stacked(time_first, axes), tmp_path), wanted, atol=1e-5)


@pytest.mark.parametrize("squeezed", [False, True])
@pytest.mark.parametrize("time_first", [False, True])
def test_an_answer_of_one_sample(tmp_path, time_first: bool, squeezed: bool) -> None:
    wanted = proven(scan_model(Form()), tmp_path)
    model = stacked(time_first, ("batch", "time", "classes"))
    shape = model.graph.input[0].type.tensor_type.shape
    shape.dim[int(time_first)].dim_value = 1
    shape.dim[int(not time_first)].dim_value = X.shape[1]
    if squeezed:
        model.graph.node.append(helper.make_node("Squeeze", ["out"], ["less"]))
        del model.graph.output[:]
        model.graph.output.append(value("less", X.shape[1], C))
    else:
        model.graph.output[0].CopyFrom(value("out", 1, X.shape[1], C))
    np.testing.assert_allclose(proven(model, tmp_path), wanted, atol=1e-5)


def test_an_answer_of_a_timestep_with_more_axes(tmp_path) -> None:
    model = step_model(Spelling())
    wanted = proven(model, tmp_path)
    (answer,) = [one for one in model.graph.output if one.name == "y"]
    axes = numpy_helper.from_array(np.array([1, 3]), "axes")
    model.graph.initializer.append(axes)
    model.graph.node.append(helper.make_node("Unsqueeze", ["y", "axes"], ["wide"]))
    answer.CopyFrom(value("wide", "batch", 1, C, 1))
    np.testing.assert_allclose(proven(model, tmp_path), wanted, atol=1e-5)


TYPES = ("BOOL", "UINT8", "INT8", "INT32", "INT64", "FLOAT16", "DOUBLE")


@pytest.mark.parametrize("type_", TYPES)
def test_an_input_is_fed_in_its_own_type(tmp_path, type_: str) -> None:
    wanted = proven(scan_model(Form()), tmp_path)
    model = scan_model(Form())
    (source,) = model.graph.input
    source.type.tensor_type.elem_type = TensorProto.DataType.Value(type_)
    for node in model.graph.node:
        node.input[:] = ["number" if name == source.name else name for name in node.input]
    cast = helper.make_node("Cast", [source.name], ["number"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    np.testing.assert_allclose(proven(model, tmp_path), wanted, atol=1e-5)


EYE = np.eye(5)
CONDITIONS = {
    "a choice": [("Where", ["x", "one_", "zero_"], "number")],
    "the opposite": [("Not", ["x"], "no"), ("Where", ["no", "zero_", "one_"], "number")],
    "between values": [("Where", ["x", "ones_", "zeros_"], "number")],
}


def conditioned(nodes, **stored):
    """The model with truth values for its input, of which nodes make numbers."""
    model = scan_model(Form())
    (source,) = model.graph.input
    source.type.tensor_type.elem_type = TensorProto.BOOL
    for node in model.graph.node:
        node.input[:] = ["number" if name == source.name else name for name in node.input]
    for at, (op, inputs, output) in enumerate(nodes):
        named = [source.name if name == "x" else name for name in inputs]
        model.graph.node.insert(at, helper.make_node(op, named, [output]))
    for name, array in stored.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return model


@pytest.mark.parametrize("nodes", CONDITIONS.values(), ids=CONDITIONS)
def test_an_input_of_truth_values_is_a_condition(tmp_path, nodes) -> None:
    wanted = proven(scan_model(Form()), tmp_path)
    model = conditioned(
        nodes, one_=np.ones(()), zero_=np.zeros(()), ones_=np.ones(M), zeros_=np.zeros(M)
    )
    np.testing.assert_allclose(proven(model, tmp_path), wanted, atol=1e-5)


def test_choices_that_do_not_fit_together() -> None:
    model = conditioned([("Where", ["x", "two", "table"], "number")], two=np.ones(2), table=EYE)
    with pytest.raises(ImportFailure, match=r"shapes \[2\], \[5, 5\] do not fit together"):
        import_onnx(model)


def test_what_a_type_holds() -> None:
    x = np.array([-3.4, 0.0, 0.3, 1.0, 300.0])
    assert held(x, np.bool_).tolist() == [1, 0, 1, 1, 1]
    assert held(x, np.uint8).tolist() == [0, 0, 0, 1, 255]
    assert held(x, np.int64).tolist() == [-3, 0, 0, 1, 300]
    assert held(x, np.float32).tolist() == [float(np.float32(one)) for one in x]
