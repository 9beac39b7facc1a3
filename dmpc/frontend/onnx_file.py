"""ONNX files: reading, and evaluating single nodes on known arrays."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator

from dmpc.errors import ImportFailure
from dmpc.frontend.model_rules import (
    BROKEN_STANDARD,
    NO_FILE,
    NO_OPSET,
    NOT_ONNX,
    OLD_OPSET,
    UNREADABLE,
)
from dmpc.ir.graph import Array

MIN_OPSET = 13
DOMAINS = ("", "ai.onnx")
# What the reference evaluator raises on a node that it cannot run.
REFUSALS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


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
        return (inline_local_functions(model) if model.functions else model), opset
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ImportFailure.of(BROKEN_STANDARD, where=name, reason=reason) from None


def _load(path: str | os.PathLike[str], name: str) -> ModelProto:
    if not Path(path).is_file():
        raise ImportFailure.of(NO_FILE, where=name)
    try:
        return onnx.load(path)
    except DecodeError:
        raise ImportFailure.of(NOT_ONNX, where=name, problem="is damaged") from None
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ImportFailure.of(UNREADABLE, where=name, reason=error) from None


def initializers(graph: GraphProto) -> dict[str, Array]:
    """The weights stored in a graph; raises ImportFailure if one cannot be read."""
    found = {}
    for tensor in graph.initializer:
        try:
            found[tensor.name] = numpy_helper.to_array(tensor)
        except (KeyError, TypeError, ValueError) as error:
            raise ImportFailure(f"weight '{tensor.name}' cannot be read: {error}") from None
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
        return default if found is None else found.s.decode()

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


def evaluate(node: Node, arrays: Sequence[Array | None]) -> list[Array]:
    """Run one node on arrays (None for an absent input) with ONNX's own reference semantics.

    Raises ImportFailure if the node cannot be run on them.
    """
    proto = NodeProto()
    proto.CopyFrom(node.proto)
    names = [f"input{i}" if array is not None else "" for i, array in enumerate(arrays)]
    del proto.input[:]
    proto.input.extend(names)
    outputs = [name for name in proto.output if name]
    feeds = {name: a for name, a in zip(names, arrays, strict=True) if a is not None}
    graph = helper.make_graph(
        [proto],
        "node",
        [onnx.ValueInfoProto(name=name) for name in feeds],
        [onnx.ValueInfoProto(name=name) for name in outputs],
    )
    try:
        results = ReferenceEvaluator(graph, opsets={"": node.opset}).run(None, feeds)
    except REFUSALS as error:
        raise ImportFailure(f"{node.op} cannot be evaluated: {error}", where=node.name) from None
    found = {name: np.asarray(array) for name, array in zip(outputs, results, strict=True)}
    return [found[name] if name else np.zeros(0) for name in proto.output]
