"""Maxima that the body of a Scan keeps up in a state, in files written by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dmpc
from dmpc.errors import ImportFailure
from dmpc.verification import verify

STEPS, INPUTS, NEURONS, CLASSES = 12, 6, 10, 3
RANDOM = np.random.default_rng(0)
X = (RANDOM.random((8, STEPS, INPUTS)) < 0.4).astype(np.float32)
SIZES = {"v": NEURONS, "z": NEURONS, "o": CLASSES, "best": CLASSES}
WEIGHTS = {
    "w": RANDOM.normal(size=(INPUTS, NEURONS)).astype(np.float32),
    "q": RANDOM.normal(size=(NEURONS, CLASSES)).astype(np.float32),
    "b": np.array([1.0, -2.0, 0.5], np.float32),
    "keep": np.float32(0.9),
    "one": np.float32(1.0),
}


def body(late: bool) -> onnx.GraphProto:
    """Neurons, a leaky readout of their spikes or, if `late`, those before, and its maximum."""
    lines = [
        ("MatMul", "x_t w", "c"), ("Mul", "v keep", "left"), ("Add", "left c", "charge"),
        ("Greater", "charge one", "fired"), ("Cast", "fired", "z_next"),
        ("Sub", "charge z_next", "v_next"), ("MatMul", f"{'z' if late else 'z_next'} q", "p"),
        ("Add", "p b", "biased"), ("Mul", "o keep", "o_left"), ("Add", "o_left biased", "o_next"),
        ("Max", "best o_next", "larger"), ("Identity", "larger", "best_next"),
    ]  # fmt: skip
    nodes = [helper.make_node(op, ins.split(), [out], out) for op, ins, out in lines]
    nodes[4].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    given = [value(name, size) for name, size in SIZES.items()]
    after = [value(f"{name}_next", size) for name, size in SIZES.items()]
    return helper.make_graph(nodes, "timestep", [*given, value("x_t", INPUTS)], after)


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])


def model(start: float, *, late: bool = False, opset: int = 17) -> onnx.ModelProto:
    """A file whose Scan ends with the largest output, or `start`."""
    sizes = {f"{name}_0": np.zeros((1, size), np.float32) for name, size in SIZES.items()}
    sizes["best_0"] = np.full((1, CLASSES), start, np.float32)
    stored = [numpy_helper.from_array(array, name) for name, array in (WEIGHTS | sizes).items()]
    ends = [f"{name}_end" for name in SIZES]
    scan = helper.make_node(
        "Scan",
        [*(f"{name}_0" for name in SIZES), "x"],
        ends,
        "time",
        body=body(late),
        num_scan_inputs=1,
        scan_input_axes=[1],
    )
    shapes = [value("x", STEPS, INPUTS)], [value(ends[-1], CLASSES)]
    graph = helper.make_graph([scan], "kept", *shapes, initializer=stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made)
    return made


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("start", "readout"), [(-np.inf, "max"), (-1e9, "max"), (0.0, "max0")])
def test_the_largest_output_of_a_scan(start, readout, late, opset, tmp_path):
    path = str(tmp_path / "kept.onnx")
    onnx.save(model(start, late=late, opset=opset), path)
    compiled = dmpc.compile(path, calibration=X)
    assert compiled.layers.attrs["readout"] == readout
    assert [rung.ok for rung in verify(path, compiled.image, X, max_drop=100).rungs] == [True] * 4


def test_one_that_starts_elsewhere_shows_its_start(tmp_path):
    path = str(tmp_path / "kept.onnx")
    onnx.save(model(0.5), path)
    with pytest.raises(ImportFailure, match="larger: Max of two computed values"):
        dmpc.compile(path, calibration=X)


def test_one_that_neurons_hear_of_is_no_answer(tmp_path):
    path, made = str(tmp_path / "kept.onnx"), model(0.0)
    timestep = made.graph.node[0].attribute[0].g
    sums = next(node for node in timestep.node if node.name == "o_left")
    sums.input[0] = "best"
    onnx.save(made, path)
    with pytest.raises(ImportFailure, match="larger: Max of two computed values"):
        dmpc.compile(path, calibration=X)
