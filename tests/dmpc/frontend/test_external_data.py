"""Weights beside an ONNX file are read from its own folder and from nowhere else."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dmpc.errors import ImportFailure
from dmpc.frontend.onnx_file import read_model

VALUES = np.arange(6, dtype=np.float32)


def external(location):
    """A weight that is stored in a file of its own."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def as_initializer(location):
    return [], [external(location)]


def as_constant(location):
    return [helper.make_node("Constant", [], ["w"], value=external(location))], []


def as_constant_of_a_branch(location):
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["v"], value=external(location))],
        "branch",
        [],
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, [2, 3])],
    )
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    choice = helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch)
    return [helper.make_node("Constant", [], ["c"], value=true), choice], []


@pytest.fixture
def folder(tmp_path):
    """A model's folder with weights in it, and others outside."""
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "inside.bin").write_bytes(VALUES.tobytes())
    (tmp_path / "outside.bin").write_bytes(VALUES.tobytes())
    (inside / "link.bin").symlink_to("../outside.bin")
    (inside / "up").symlink_to("..")
    os.mkfifo(inside / "pipe")
    return inside


def read(folder, made, location):
    nodes, weights = made(location)
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        weights,
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "m.onnx")
    return read_model(folder / "m.onnx", "m.onnx")


PLACES = (as_initializer, as_constant, as_constant_of_a_branch)


@pytest.mark.parametrize("made", PLACES)
def test_weights_in_the_models_folder_are_read(made, folder):
    read(folder, made, "inside.bin")


@pytest.mark.parametrize("made", PLACES)
@pytest.mark.parametrize(
    "location", ["../outside.bin", "up/outside.bin", "link.bin", "/dev/zero", "pipe", "none", ""]
)
def test_weights_elsewhere_are_refused(made, location, folder):
    with pytest.raises(ImportFailure) as info:
        read(folder, made, location)
    assert str(info.value).startswith("m.onnx: ")
    assert "\n" not in str(info.value)
