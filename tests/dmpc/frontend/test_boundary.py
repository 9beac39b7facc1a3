"""Files and nodes that nothing expects: refused at their place, in one line, before memory is asked
for; and the odd forms of ONNX that are sound."""

import resource

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from dmpc.compiler import Options, to_layers
from dmpc.errors import DmpcError, ImportFailure
from dmpc.frontend import import_onnx, open_model
from dmpc.frontend.normalise.slices import pieces
from dmpc.frontend.onnx_file import Node, evaluate
from dmpc.ir.interpret import interpret
from tests.dmpc.frontend.sequences import D, T, Variant
from tests.dmpc.frontend.sequences import model as sequence
from tests.dmpc.frontend.spellings import Form, Spelling, scan_model, step_model
from tests.dmpc.frontend.test_import_errors import refused
from tests.dmpc.rules.operators import node_of, store, with_constant, with_step
from tests.dmpc.rules.unrolled import network


def before_all(model, *nodes, **constants):
    """A model with more nodes at its start."""
    for name, array in constants.items():
        store(model.graph, name, array)
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    return model


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: step_model(Spelling()), lambda: scan_model(Form())])
def test_names_that_are_not_utf_8(make, tmp_path):
    data = make().SerializeToString()
    for name in (b"v0_", b"/x0_", b"wf0_"):
        assert name in data
        damaged = data.replace(name, b"\xc0" + name[1:])
        said = refused(damaged, tmp_path)
        assert said.startswith("this is not an ONNX file, or it holds a name that is not UTF-8")


def external(model, tmp_path, size=None, location="net.data"):
    """A file whose weights are in another one, which is cut or elsewhere."""
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    data = tmp_path / "net.data"
    if size is not None:
        data.write_bytes(data.read_bytes()[:size])
    return path.read_bytes().replace(b"net.data", location.encode())


@pytest.mark.parametrize("location", ["/etc/pas", "../a.dat", "net.none"])
def test_weights_outside_of_the_folder_and_missing_ones(location, tmp_path):
    said = refused(external(step_model(Spelling()), tmp_path, location=location), tmp_path)
    assert said.startswith("cannot be read: ")


@pytest.mark.parametrize("size", [0, 3, 20])
def test_truncated_weights_beside_the_file(size, tmp_path):
    said = refused(external(step_model(Spelling()), tmp_path, size), tmp_path)
    assert said.startswith(("cannot be read: ", "breaks the ONNX standard", "weight '"))


def test_weights_beside_the_file(tmp_path):
    external(step_model(Spelling()), tmp_path)
    whole = import_onnx(step_model(Spelling()))
    assert import_onnx(tmp_path / "net.onnx").constants.keys() == whole.constants.keys()


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_weights(linear, tmp_path):
    model = step_model(Spelling())
    weight = next(t for t in model.graph.initializer if t.name == "wf0_")
    array = numpy_helper.to_array(weight).copy()
    array[0] = 0
    dense = step_model(Spelling())
    store(dense.graph, "wf0_", array)
    model.graph.initializer.remove(weight)
    places = np.flatnonzero(array) if linear else np.argwhere(array)
    values = numpy_helper.from_array(array[array != 0], "wf0_")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(places), array.shape)
    model.graph.sparse_initializer.append(sparse)
    assert import_onnx(model) == import_onnx(dense)
    onnx.save(model, tmp_path / "net.onnx")
    made = open_model(tmp_path / "net.onnx")
    x = (np.random.default_rng(1).random((3, 7, 5)) < 0.4).astype(np.float32)
    error = np.abs(made.reference.logits(x) - interpret(made.graph, x).logits)
    assert error.max() < 1e-4


def test_a_sparse_weight_of_a_vast_shape(tmp_path):
    model = step_model(Spelling())
    values = numpy_helper.from_array(np.ones(1, np.float32), "vast")
    indices = numpy_helper.from_array(np.array([5]))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**9, 9]))
    assert refused(model, tmp_path).startswith("vast: a tensor of shape [1000000000, 9] is larger")


# -- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "operands", "attributes"),
    [
        ("Expand", [np.zeros(3), np.array([10**9, 3])], {}),
        ("Tile", [np.zeros(3), np.array([10**9])], {}),
        ("ConstantOfShape", [np.array([10**6, 10**6])], {}),
        ("ConstantOfShape", [np.array([11, 8_388_611])], {}),  # of a file with one damaged byte
        ("Range", [np.array(0), np.array(10**12), np.array(1)], {}),
        ("Pad", [np.zeros(3), np.array([10**9, 0])], {}),
        ("OneHot", [np.array([1]), np.array(10**9), np.array([0.0, 1.0])], {}),
        ("MatMul", [np.zeros((20000, 1)), np.zeros((1, 20000))], {}),
        ("Add", [np.zeros((20000, 1)), np.zeros((1, 20000))], {}),
    ],
)
def test_no_memory_is_asked_for_a_vast_result(op, operands, attributes):
    names = [f"in{number}" for number in range(len(operands))]
    node = Node(helper.make_node(op, names, ["out"], name="/odd", **attributes), 17)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImportFailure, match=r"^/odd: a tensor of shape .* is larger than any"):
        evaluate(node, operands)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18  # KB


def test_what_its_size_cannot_be_told_of_is_not_computed():
    node = Node(helper.make_node("ConstantOfShape", ["in"], ["out"], name="/odd"), 17)
    with pytest.raises(ImportFailure, match=r"^/odd: ConstantOfShape of constants cannot"):
        evaluate(node, [np.array([None], object)])


@pytest.mark.parametrize("size", [10**9, 2**31 - 1, 2**62])
def test_an_axis_of_an_input_without_end(size, tmp_path):
    model = step_model(Spelling())
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = size
    said = refused(model, tmp_path)
    assert f"{size}] is larger than any network that the machine holds" in said


# -- nodes ----------------------------------------------------------------------------------------


def unrolled():
    return network(lambda _, texts: texts)


def test_an_operator_of_another_domain_is_named_and_not_what_follows_it():
    model = unrolled()
    multiplied = [node for node in model.graph.node if node.op_type == "MatMul"]
    for node in multiplied:
        node.op_type, node.domain = "FusedMatMul", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ImportFailure) as caught:
        import_onnx(model)
    first = caught.value
    assert first.message == "operator com.microsoft::FusedMatMul is not supported"
    assert first.where == f"model: {multiplied[0].name}"
    assert {one.message for one in first.every} == {first.message}


def test_an_operator_of_another_domain_on_constants(tmp_path):
    model = with_step("Fused", "three")()
    model.graph.node[-1].domain = "my.ops"
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    assert "/odd: operator my.ops::Fused is not supported" in refused(model, tmp_path)


@pytest.mark.parametrize("axis", [3, -4, 10**9])
def test_axes_that_a_tensor_does_not_have(axis, tmp_path):
    model = unrolled()
    for node in model.graph.node:
        if node.op_type == "Gather":
            node.attribute[0].i = axis
    said = refused(model, tmp_path)
    assert "over axes" in said or "shapes contradict each other" in said


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (with_constant(np.ones((4, 2), np.float32), "Mul", "x", "odd.constant"), "[4, 2]"),
        (with_constant(np.zeros((7, 3), np.float32), "Mul", "x", "odd.constant"), "[7, 3]"),
        (with_step("Concat", "x", "v0", axis=0), "[11, 5], [11, 4]"),
        (with_step("Concat", "x", "v0", axis=2), "over axes [2]"),
    ],
)
def test_operands_that_do_not_fit_are_named_with_their_shapes(make, said, tmp_path):
    told = refused(make(), tmp_path)
    assert told.startswith("/odd: ")
    assert said in told


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Acos", ["five"], ["odd"], name="/odd"),
        helper.make_node("ReduceMean", ["none"], ["odd"], name="/odd"),
    ],
    ids=lambda node: node.op_type,
)
def test_constants_are_computed_without_a_warning(node, tmp_path):
    model = before_all(
        step_model(Spelling()),
        node,
        helper.make_node("Add", ["x", "odd"], ["odder"], name="/odder"),
        five=np.array([5.0], np.float32),
        none=np.zeros(0, np.float32),
    )
    node_of(model.graph, "x0_").input[0] = "odder"
    said = refused(model, tmp_path)
    assert "nan" in said


def test_a_signalling_nan_is_no_warning(tmp_path):
    model = step_model(Spelling())
    weight = next(one for one in model.graph.initializer if len(one.dims) == 2)
    array = np.full(tuple(weight.dims), 0x7FA00000, np.uint32)
    weight.CopyFrom(numpy_helper.from_array(array.view(np.float32), weight.name))
    assert "holds nan" in refused(model, tmp_path)


def test_what_onnxruntime_says_is_one_line_and_no_log(tmp_path, capfd):
    onnx.save(unrolled(), tmp_path / "net.onnx")
    reference = open_model(tmp_path / "net.onnx").reference
    with pytest.raises(DmpcError, match=r"net\.onnx: onnxruntime cannot run the model: ") as caught:
        reference.logits(np.zeros((2, 3, 5)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert capfd.readouterr().err == ""


def test_a_kernel_that_was_pruned_away_leaves_a_constant():
    model = sequence(Variant(response=np.zeros((T, D), np.float32)))
    graph = to_layers(import_onnx(model), Options())
    assert not [op for op in graph.ops if op.kind == "memory"]


@pytest.mark.parametrize("starts", [np.array(0), np.array([0, 1])], ids=["number", "too many"])
def test_a_slice_that_the_standard_does_not_know_cuts_nothing_up(starts):
    node = helper.make_node("Slice", ["x", "starts", "ends"], ["y"])
    assert pieces(node, 17, (2, 5), {"starts": starts, "ends": np.array([1])}) == []
    (piece,) = pieces(node, 17, (2, 5), {"starts": np.array([0]), "ends": np.array([1])})
    assert (piece.axis, piece.step) == (0, 0)
