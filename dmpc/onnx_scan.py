"""What the ONNX files that this project writes have in common: a Scan over time."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET: Final = 17
IR_VERSION: Final = 8  # the oldest that holds opset 17, so that any runtime of it loads the file
TIME: Final = 1  # axis of x [batch, time, inputs] and of the outputs
ZEROS: Final[Mapping[str, str]] = MappingProxyType({})


def value(name: str, *shape: str | int) -> ValueInfoProto:
    """A float32 input or output; a word in its shape is a size known at run time."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def initial_states(
    sizes: Mapping[str, int], x: str = "x", given: Mapping[str, str] = ZEROS
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes, with their constants, that make `<state>_0` [batch, size] of each state.

    They are zeros, or what an initialiser [size] named in `given` holds; the batch is that of `x`.
    """
    nodes = [helper.make_node("Shape", [x], ["batch_size"], name="batch_size", start=0, end=1)]
    constants = []
    for state, size in sizes.items():
        count, shape, start = f"{state}_size", f"{state}_shape", f"{state}_0"
        constants.append(numpy_helper.from_array(np.array([size], np.int64), count))
        nodes.append(helper.make_node("Concat", ["batch_size", count], [shape], shape, axis=0))
        if state in given:
            nodes.append(helper.make_node("Expand", [given[state], shape], [start], start))
        else:
            nodes.append(helper.make_node("ConstantOfShape", [shape], [start], start))
    return nodes, constants


def scan(body: GraphProto, states: Mapping[str, int], x: str, y: str) -> NodeProto:
    """The loop over the timesteps of `x`, from `<state>_0`, that collects `y` of each."""
    return helper.make_node(
        "Scan",
        [*(f"{state}_0" for state in states), x],
        [*(f"{state}_end" for state in states), y],
        name="time",
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[TIME],
        scan_output_axes=[TIME],
    )
