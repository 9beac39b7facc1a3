"""ONNX files: reading, and evaluating single nodes on known arrays."""

import functools
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.inliner import inline_local_functions
from onnx.shape_inference import infer_node_outputs, infer_shapes

from dmpc.errors import ImportFailure
from dmpc.frontend.boundary import MOST_ELEMENTS, boundary, check_size, one_line
from dmpc.frontend.model_rules import (
    BROKEN_STANDARD,
    BROKEN_WEIGHT,
    NO_FILE,
    NO_OPSET,
    NOT_EVALUATED,
    NOT_ONNX,
    OLD_OPSET,
    UNREADABLE,
)
from dmpc.frontend.operator_rules import RANDOM_NUMBERS, TRAINING, WRONG_AXES
from dmpc.ir.graph import Array
from isa.files.apart import Ended, apart

if TYPE_CHECKING:
    from onnx.reference import ReferenceEvaluator

MIN_OPSET = 13
DOMAINS = ("", "ai.onnx")
MOST_BYTES = 2**31 - 1  # of a protocol buffer
SECONDS = 60.0  # of processor time for the checks of a file; 10 million weights take one
# Operators whose results are as large as their operands or attributes say.
SIZED = (
    "BlackmanWindow", "CenterCropPad", "Col2Im", "ConstantOfShape", "DFT", "EyeLike", "Expand",
    "HammingWindow", "HannWindow", "MaxUnpool", "MelWeightMatrix", "OneHot", "Pad", "RandomNormal",
    "RandomUniform", "Range", "Resize", "Tile", "Upsample",
)  # fmt: skip
RANDOM = (
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
)  # fmt: skip
"""Operators that draw random numbers."""
STEERING = 64  # elements of an operand that may say how large a result is
SMALL = 1 << 12  # bytes of a node


Source = str | os.PathLike[str] | ModelProto
"""A model's file, or the model itself."""


def read_model(source: Source, name: str) -> tuple[ModelProto, int]:
    """The model in a file or in memory, local functions inlined, and the opset it is written in.

    `name` is what errors call the model. Raises ImportFailure if the file is missing, is not ONNX
    or breaks its rules, or if its opset is older than 13.
    """
    model = source if isinstance(source, ModelProto) else _load(source, name)
    if not model.HasField("graph") or not model.graph.node:
        raise ImportFailure.of(NOT_ONNX, where=name, problem="holds no graph")
    opset = next((i.version for i in model.opset_import if i.domain in DOMAINS), None)
    if opset is None:
        raise ImportFailure.of(NO_OPSET, where=name)
    if opset < MIN_OPSET:
        raise ImportFailure.of(OLD_OPSET, where=name, opset=opset, least=MIN_OPSET)
    try:
        onnx.checker.check_model(model)
        model = inline_local_functions(model) if model.functions else model
    except Exception as error:  # the checker and the inliner raise what they like
        raise ImportFailure.of(BROKEN_STANDARD, where=name, reason=one_line(error)) from None
    try:
        return _dense(model), opset
    except ImportFailure as error:
        raise error.inside(name) from None


def _dense(model: ModelProto) -> ModelProto:
    """The model with its sparse weights written out; itself if it has none."""
    if not any(graph.sparse_initializer for graph in graphs(model.graph)):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    for graph in graphs(copy.graph):
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            check_size(sparse.dims, name)
            with boundary(name):
                values = numpy_helper.to_array(sparse.values)
                indices = numpy_helper.to_array(sparse.indices)
                array = np.zeros(sparse.dims, values.dtype)
                flat = indices.ndim < 2
                places = np.unravel_index(indices, array.shape) if flat else tuple(indices.T)
                array[places] = values
                graph.initializer.append(numpy_helper.from_array(array, name))
        del graph.sparse_initializer[:]
    return copy


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph, and all within the attributes of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def live(graph: GraphProto) -> list[NodeProto]:
    """The nodes on which a graph's outputs depend, in order."""
    needed = {value.name for value in graph.output}
    found = []
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            continue
        found.append(node)
        needed.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                for inner in graphs(attribute.g):
                    needed.update(value.name for value in inner.output)
                    needed.update(name for one in inner.node for name in one.input)
    return found[::-1]


def _load(path: str | os.PathLike[str], name: str) -> ModelProto:
    if not Path(path).is_file():
        raise ImportFailure.of(NO_FILE, where=name)
    try:
        size = Path(path).stat().st_size
        if size > MOST_BYTES:
            raise ImportFailure.of(NOT_ONNX, where=name, problem=f"has {size:,} bytes, too many")
        model = onnx.load(path)
        if not _is_text(model):
            problem = "holds a name that is not UTF-8"
            raise ImportFailure.of(NOT_ONNX, where=name, problem=problem)
        apart(lambda: _checked(model), SECONDS, size)
    except DecodeError:
        raise ImportFailure.of(NOT_ONNX, where=name, problem="is damaged") from None
    except Ended as ended:
        problem = f"is damaged: the ONNX library {ended}"
        raise ImportFailure.of(NOT_ONNX, where=name, problem=problem) from None
    except ImportFailure:
        raise
    except Exception as error:  # a library reads weights beside the file, and raises what it likes
        raise ImportFailure.of(UNREADABLE, where=name, reason=one_line(error)) from None
    return model


def _checked(model: ModelProto) -> None:
    """Let the ONNX library look at a file: it ends the process on attributes it does not expect."""
    try:
        onnx.checker.check_model(model)
        infer_shapes(model, data_prop=True)
    except MemoryError:
        raise
    except Exception:  # told where the model is read
        return


def _is_text(message: Message) -> bool:
    """Whether every name within a message is text; a reader finds bytes where it is none."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else (value,)
        if field.message_type is not None:
            if not all(map(_is_text, values)):
                return False
        elif field.type == field.TYPE_STRING and not all(isinstance(v, str) for v in values):
            return False
    return True


def initializers(graph: GraphProto) -> dict[str, Array]:
    """The weights stored in a graph; raises ImportFailure if one cannot be read."""
    found = {}
    for tensor in graph.initializer:
        try:
            found[tensor.name] = numpy_helper.to_array(tensor)
        except Exception as error:  # what it raises depends on the type of the elements
            raise ImportFailure.of(
                BROKEN_WEIGHT, name=tensor.name, reason=one_line(error)
            ) from None
    return found


def label(node: NodeProto) -> str:
    """What an error calls a node: its name, or its first output's."""
    return node.name or next((name for name in node.output if name), node.op_type)


@dataclass(frozen=True)
class Node:
    """A node with its attributes as Python values."""

    proto: NodeProto
    opset: int

    @property
    def op(self) -> str:
        """Operator; those of foreign domains bear the domain as a prefix."""
        if self.proto.domain in DOMAINS:
            return self.proto.op_type
        return f"{self.proto.domain}::{self.proto.op_type}"

    @property
    def name(self) -> str:
        """What errors call the node."""
        return label(self.proto)

    @property
    def foreign(self) -> bool:
        """True for an operator that is not of the standard."""
        return self.proto.domain not in DOMAINS

    def axis(self, attribute: str, default: int, rank: int) -> int:
        """An axis of a tensor of so many, counted from 0; raises ImportFailure if there is none."""
        return self.axes([self.integer(attribute, default)], rank)[0]

    def axes(self, axes: Sequence[int], rank: int) -> list[int]:
        """Axes of a tensor of so many, counted from 0; raises ImportFailure if there are none."""
        if any(not -rank <= axis < rank for axis in axes):
            given = list(map(int, axes))
            raise ImportFailure.of(WRONG_AXES, where=self.name, op=self.op, axes=given, rank=rank)
        return [int(axis) % rank for axis in axes]

    def integer(self, attribute: str, default: int) -> int:
        """An integer attribute."""
        found = self._find(attribute)
        return default if found is None else found.i

    def real(self, attribute: str, default: float) -> float:
        """A real attribute."""
        found = self._find(attribute)
        return default if found is None else found.f

    def text(self, attribute: str, default: str) -> str:
        """A text attribute."""
        found = self._find(attribute)
        return default if found is None else found.s.decode("utf-8", "replace")

    def integers(self, attribute: str) -> list[int] | None:
        """A list of integers; None if absent."""
        found = self._find(attribute)
        return None if found is None else list(found.ints)

    def subgraph(self, attribute: str) -> GraphProto:
        """A subgraph; raises ImportFailure if absent."""
        found = self._find(attribute)
        if found is None:
            raise ImportFailure(f"{self.op} has no attribute '{attribute}'", where=self.name)
        return found.g

    def _find(self, attribute: str) -> AttributeProto | None:
        return next((a for a in self.proto.attribute if a.name == attribute), None)


def scan_states(node: Node) -> int | None:
    """How many states a Scan has; None where its operands, its body and its results do not fit."""
    body, count = node.subgraph("body"), node.integer("num_scan_inputs", 0)
    states = len(node.proto.input) - count
    fits = count > 0 <= states <= len(body.output) and len(body.input) == len(node.proto.input)
    return states if fits and len(node.proto.output) <= len(body.output) else None


def drawn(node: Node, operands: Sequence[Array | None]) -> ImportFailure | None:
    """The error of a node that draws random numbers, or drops at random; `operands` that are not
    known are None."""
    training = operands[2] if node.op == "Dropout" and len(operands) > 2 else None
    trains = node.op == "BatchNormalization" and node.integer("training_mode", 0)
    if trains or (training is not None and training.any()):
        return ImportFailure.of(TRAINING, where=node.name, op=node.op)
    if node.op in RANDOM:
        return ImportFailure.of(RANDOM_NUMBERS, where=node.name, op=node.op)
    return None


def evaluate(node: Node, arrays: Sequence[Array | None]) -> list[Array]:
    """Run one node on arrays (None for an absent input) with ONNX's own reference semantics.

    Raises ImportFailure if the node cannot be run on them, or draws random numbers.
    """
    if (random := drawn(node, arrays)) is not None:
        raise random
    _check_result(node, arrays)
    if (plain := _plain(node, arrays)) is not None:
        return [plain]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NaN and infinity are found where they become weights
            results = iter(_run(node, arrays))
        return [np.asarray(next(results)) if name else np.zeros(0) for name in node.proto.output]
    except Exception as error:  # what the evaluator raises depends on the operator
        raise ImportFailure.of(
            NOT_EVALUATED, where=node.name, op=node.op, reason=one_line(error)
        ) from None


def _run(node: Node, arrays: Sequence[Array | None]) -> list[Array]:
    """The results that have names. Nodes of an unrolled loop differ in names alone: one evaluator
    serves all that are alike and hold nothing large."""
    proto = NodeProto(op_type=node.op, domain=node.proto.domain, attribute=node.proto.attribute)
    names = [f"input{i}" if array is not None else "" for i, array in enumerate(arrays)]
    proto.input.extend(names)
    proto.output.extend(f"output{i}" if name else "" for i, name in enumerate(node.proto.output))
    feeds = {name: a for name, a in zip(names, arrays, strict=True) if a is not None}
    kept = feeds and proto.ByteSize() <= SMALL  # what is stored in a node may be given out itself
    made = _evaluator if kept else _evaluator.__wrapped__
    evaluator = made(proto.SerializeToString(deterministic=True), node.opset)
    results: Any = evaluator.run(None, feeds)  # a list, of a graph that is no function
    return list(results)


@functools.lru_cache(maxsize=256)
def _evaluator(stored: bytes, opset: int) -> "ReferenceEvaluator":
    """ONNX's own evaluator of a node."""
    from onnx.reference import ReferenceEvaluator  # takes as long to load as to import a model

    proto = NodeProto.FromString(stored)
    feeds, results = (
        [onnx.ValueInfoProto(name=name) for name in names if name]
        for names in (proto.input, proto.output)
    )
    graph = helper.make_graph([proto], "node", feeds, results)
    return ReferenceEvaluator(graph, opsets={"": opset})


def _plain(node: Node, arrays: Sequence[Array | None]) -> Array | None:
    """The result of what nearly every file has, and nothing but NumPy is needed for; else None."""
    present = [array for array in arrays if array is not None]
    if len(present) != len(arrays) or len(node.proto.output) != 1 or not present:
        return None
    first = present[0]
    if node.op == "Identity" and len(present) == 1:
        return first.copy()
    if node.op == "ConstantOfShape" and first.dtype == np.int64 and first.ndim == 1 and first.size:
        given = [
            numpy_helper.to_array(one.t) for one in node.proto.attribute if one.name == "value"
        ]
        value = given[0] if given else np.zeros(1, np.float32)
        sound = value.shape == (1,) and (first >= 0).all()
        return np.full(tuple(first), value[0], value.dtype) if sound else None
    if node.op == "Concat" and first.ndim == 1 and node.integer("axis", 1) == 0:
        alike = all(array.ndim == 1 and array.dtype == first.dtype for array in present)
        return np.concatenate(present) if alike else None
    return None


def _check_result(node: Node, arrays: Sequence[Array | None]) -> None:
    """Raise ImportFailure if a node's results are too large to be computed."""
    present = [array for array in arrays if array is not None]
    product = math.prod(max(array.size, 1) for array in present)
    if node.op not in SIZED and product <= MOST_ELEMENTS:
        return
    names = {name: a for name, a in zip(node.proto.input, arrays, strict=True) if a is not None}
    opset = helper.make_opsetid("", node.opset)
    try:
        small = {n: numpy_helper.from_array(a) for n, a in names.items() if a.size <= STEERING}
        types = {
            name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in names.items()
        }
        schema = onnx.defs.get_schema(node.proto.op_type, node.opset)
        results = infer_node_outputs(schema, node.proto, types, small, opset_imports=[opset])
    except Exception:  # the evaluator says what is wrong
        return
    for result in results.values():
        check_size([dim.dim_value for dim in result.tensor_type.shape.dim], node.name)
