"""Shapes and constants of a model whose input sizes are known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)
from onnx.shape_inference import InferenceError, infer_shapes

from dmpc.errors import ImportFailure
from dmpc.frontend.boundary import at, one_line
from dmpc.frontend.normalise.rewriting import subgraphs
from dmpc.frontend.onnx_file import DOMAINS, SECONDS, Node, evaluate
from dmpc.ir.graph import Array
from isa.files.apart import Ended, apart

Shape = tuple[int, ...]
INTEGERS = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
LARGEST = 64  # elements of a constant that steers shapes


@dataclass(frozen=True)
class Types:
    """Element types, and shapes where they are known, of the tensors of a graph by name."""

    dtypes: dict[str, int]
    shapes: dict[str, Shape]


def with_sizes(model: ModelProto, sizes: Mapping[str, Shape]) -> ModelProto:
    """A copy of the model with inputs of the given shapes, and none stated for other values."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name in sizes:
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, sizes[value.name], strict=True):
                dim.dim_value = size
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy


def infer(model: ModelProto, *, trusted: bool = True) -> tuple[ModelProto, Types, dict[str, Array]]:
    """The model with its shapes as constants, its tensors' types, and the small integers in it.

    Unless it is `trusted`, the library works in a process of its own: it ends the process on
    attributes that it does not expect. Raises ImportFailure if types contradict each other.
    """
    opset = next(i.version for i in model.opset_import if i.domain in ("", "ai.onnx"))
    while True:
        try:
            model = _inferred(model) if trusted else _inferred_apart(model)
        except Ended as ended:
            raise ImportFailure(
                f"its shapes cannot be worked out: the ONNX library {ended}"
            ) from None
        except (InferenceError, RuntimeError, ValueError) as error:
            raise ImportFailure(f"its shapes contradict each other: {one_line(error)}") from None
        folded = _Folding(opset)
        known = folded.graph(model.graph, {}, {})
        if not folded.changed:
            return model, types_of(model.graph), known


def _inferred(model: ModelProto) -> ModelProto:
    return infer_shapes(model, data_prop=True)


def _inferred_apart(model: ModelProto) -> ModelProto:
    made: ModelProto = ModelProto.FromString(
        apart(lambda: _inferred(model).SerializeToString(), SECONDS, model.ByteSize())
    )
    return made


def types_of(graph: GraphProto) -> Types:
    """What a graph says of its own tensors."""
    types = Types({}, {})
    for value in (*graph.input, *graph.output, *graph.value_info):
        types.dtypes[value.name] = value.type.tensor_type.elem_type
        shape = known_shape(value)
        if shape is not None:
            types.shapes[value.name] = shape
    for tensor in graph.initializer:
        types.dtypes[tensor.name] = tensor.data_type
        types.shapes[tensor.name] = tuple(tensor.dims)
    return types


def known_shape(value: ValueInfoProto) -> Shape | None:
    """A tensor's shape, if all of it is known."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    return None if any(size < 0 for size in dims) else tuple(dims)


class _Folding:
    """Replaces what computes small integers out of shapes and constants."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.changed = False
        self.results: dict[tuple[object, ...], Array | None] = {}

    def graph(
        self, graph: GraphProto, shapes: dict[str, Shape], known: dict[str, Array]
    ) -> dict[str, Array]:
        """Fold in a graph and its subgraphs, which see `shapes` and `known` from outside.

        Returns the small integers that are known in it.
        """
        shapes = {**shapes, **types_of(graph).shapes}
        known = {**known, **constants(graph)}
        for node in graph.node:
            for inner in subgraphs(node):
                self.graph(inner, shapes, known)
            with at(node):
                array = self._fold(node, shapes, known)
            if array is None:
                continue
            known[node.output[0]] = array
            if node.op_type != "Constant":
                self.changed = True
                make_constant(node, array)
        return known

    def _fold(
        self, node: NodeProto, shapes: dict[str, Shape], known: dict[str, Array]
    ) -> Array | None:
        if node.domain not in DOMAINS or len(node.output) != 1 or node.output[0] in known:
            return None
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            return None
        if node.op_type == "Shape" and node.input[0] in shapes:
            sizes = np.array(shapes[node.input[0]], np.int64)
            attributes = Node(node, self.opset)
            end = attributes.integer("end", len(sizes))
            return sizes[attributes.integer("start", 0) : end]
        if all(name in known for name in node.input) and not any(subgraphs(node)):
            return self._evaluated(node, [known[name] for name in node.input])
        return None

    def _evaluated(self, node: NodeProto, arrays: list[Array]) -> Array | None:
        contents = tuple((a.dtype.str, a.shape, a.tobytes()) for a in arrays)
        key = (node.op_type, attributes_key(node), contents)
        if key not in self.results:
            result = evaluate(Node(node, self.opset), list(arrays))[0]
            small = result.size <= LARGEST and result.dtype.kind in "iub"
            self.results[key] = result if small else None
        return self.results[key]


def constants(graph: GraphProto) -> dict[str, Array]:
    """The small integers and truth values that a graph itself holds, by tensor."""
    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    tensors += [
        (node.output[0], node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    ]
    return {
        name: numpy_helper.to_array(tensor)
        for name, tensor in tensors
        if tensor.data_type in INTEGERS and math.prod(tensor.dims) <= LARGEST
    }


def make_constant(node: NodeProto, array: Array) -> None:
    """Turn a node into a Constant of the same name and result."""
    node.op_type, node.domain = "Constant", ""
    del node.input[:], node.attribute[:]
    node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(array)))


def attributes_key(node: NodeProto) -> bytes:
    """The attributes of a node as bytes, whatever their order."""
    return b"".join(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
