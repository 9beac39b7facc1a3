"""Damage to protocol buffers, and to ONNX models by what their nodes may be."""

from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.fuzz_damage import INTEGERS, REALS, WIDE, WORDS, damaged_bytes, some
from dmpc.frontend.operators import OPERATORS

Field = FieldDescriptor
NARROW = (Field.TYPE_INT32, Field.TYPE_SINT32, Field.TYPE_SFIXED32)
TENSOR_NAMES = ("input", "output", "name")
WHOLE = (*NARROW, Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_UINT32)
OTHERS = (
    "Abs", "Acos", "And", "ArgMax", "Compress", "ConstantOfShape", "CumSum", "DepthToSpace",
    "EyeLike", "Exp", "Expand", "Flatten", "GatherElements", "GatherND", "Hardmax", "Identity",
    "If", "IsNaN", "Loop", "LRN", "LSTM", "MaxPool", "NonZero", "OneHot", "Optional", "Or", "PRelu",
    "RandomNormal", "Range", "Reciprocal", "ReduceMax", "ReduceProd", "Reshape", "Resize",
    "ScatterND", "SequenceAt", "SequenceConstruct", "SequenceInsert", "Shape", "Sigmoid", "Size",
    "Slice", "Softmax", "SpaceToDepth", "Split", "SplitToSequence", "Squeeze", "StringNormalizer",
    "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Upsample", "Xor",
)  # fmt: skip
TRIES = 9  # to make a model that the checker accepts
OPERATOR_NAMES = tuple(sorted({*OPERATORS, *OTHERS}))


def damaged_message(random: Random, message: Message) -> None:
    """One field anywhere in a message changed, lost, doubled or exchanged with another."""
    sites = list(_sites(message))
    holder, field = random.choice(sites)
    if field.is_repeated:
        _repeated(random, getattr(holder, field.name), field, sites)
    elif field.message_type is not None or random.random() < 0.1:
        holder.ClearField(field.name)
    else:
        setattr(holder, field.name, _scalar(random, field, getattr(holder, field.name), sites))


def _sites(message: Message) -> Iterator[tuple[Any, Any]]:
    """Every field that is set, in every message within a message."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _sites(inner)


def _repeated(random: Random, values: Any, field: Any, sites: Any) -> None:
    at, other = random.randrange(len(values)), random.randrange(len(values))
    match random.randrange(4):
        case 0:
            del values[at]
        case 1 if field.message_type is not None:
            values.add().CopyFrom(values[at])
        case 1:
            values.append(values[at])
        case 2 if field.message_type is not None:
            copy = type(values[at])()
            copy.CopyFrom(values[at])
            values[at].CopyFrom(values[other])
            values[other].CopyFrom(copy)
        case _ if field.message_type is not None:
            damaged_message(random, values[at]) if values[at].ListFields() else values[at].Clear()
        case _:
            values[at] = _scalar(random, field, values[at], sites)


def _scalar(random: Random, field: Any, old: Any, sites: Any) -> Any:
    if field.enum_type is not None:
        return random.choice([value.number for value in field.enum_type.values])
    if field.type in WHOLE:
        pool = INTEGERS if field.type in NARROW else WIDE
        new = random.choice((old + 1, old - 1, random.choice(pool), random.choice(pool)))
        return max(new, 0) if field.type in (Field.TYPE_UINT64, Field.TYPE_UINT32) else new
    if field.type in (Field.TYPE_FLOAT, Field.TYPE_DOUBLE):
        return random.choice(REALS)
    if field.type == Field.TYPE_BYTES:
        return _content(random, old)
    if field.name == "op_type" and random.random() < 0.9:
        return random.choice(OPERATOR_NAMES)
    names = [n for h, f in sites if f.name in TENSOR_NAMES for n in _strings(h, f)]
    word = random.choice(WORDS).encode("utf-8", "replace").decode()
    return random.choice((word, random.choice(names or [word]), random.choice(names or [word])))


def _strings(holder: Any, field: Any) -> list[str]:
    if field.type != Field.TYPE_STRING:
        return []
    value = getattr(holder, field.name)
    return list(value) if field.is_repeated else [value]


def _content(random: Random, old: bytes) -> bytes:
    """The bytes of a weight: damaged, or holding odd numbers."""
    if len(old) % 4 or random.random() < 0.3:
        return damaged_bytes(random, old)
    numbers = np.frombuffer(old, np.float32).copy()
    if random.random() < 0.3:
        numbers[:] = random.choice(REALS)
    elif numbers.size:
        numbers[random.randrange(len(numbers))] = random.choice(REALS)
    return numbers.tobytes()


# -- ONNX -----------------------------------------------------------------------------------------


def damaged_model(random: Random, model: ModelProto) -> ModelProto:
    """A model with fields changed and nodes added: mostly one that the checker still accepts."""
    for _ in range(random.choice((1, TRIES))):
        made = _damaged(random, model)
        try:
            onnx.checker.check_model(made)
            break
        except (onnx.checker.ValidationError, ValueError, RuntimeError):
            continue
    return made


def _damaged(random: Random, model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    for _ in range(some(random)):
        if random.random() < 0.5:
            damaged_message(random, copy)
        elif copy.graph.node:
            add_node(random, random.choice(_graphs(copy.graph)))
    return copy


def _graphs(graph: GraphProto) -> list[GraphProto]:
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [graph, *(one for g in inner for one in _graphs(g) if one.node)]


def add_node(random: Random, graph: GraphProto) -> None:
    """Put a node of some operator before another one, which then reads its result."""
    at = random.randrange(len(graph.node))
    reader = graph.node[at]
    names = [value.name for value in (*graph.input, *graph.initializer)]
    names += [name for node in graph.node[:at] for name in node.output]
    node = _node(random, names or ["x"], f"added{len(graph.node)}", graph)
    if reader.input:
        reader.input[random.randrange(len(reader.input))] = node.output[0]
        if random.random() < 0.7:
            old = random.choice(list(reader.input))
            node.input[:1] = [old if old != node.output[0] else random.choice(names or ["x"])]
    nodes = [*graph.node[:at], node, *graph.node[at:]]
    del graph.node[:]
    graph.node.extend(nodes)


def _node(random: Random, names: list[str], name: str, graph: GraphProto) -> NodeProto:
    operator = random.choice(OPERATOR_NAMES)
    schema = _schema(operator)
    least = schema.min_input if schema else 1
    most = min(schema.max_input if schema else 3, least + 3)
    inputs = [random.choice(names) for _ in range(random.randint(least, max(least, most)))]
    for number in range(1, len(inputs)):  # what steers an operator is a small constant
        if random.random() < 0.6:
            constant = f"{name}.{number}"
            graph.initializer.append(numpy_helper.from_array(_constant(random), constant))
            inputs[number] = constant
    most = schema.max_output if schema else 3
    outputs = [f"{name}.out{i}" for i in range(min(random.choice((1, 1, 1, 2, 3)), most))]
    node = helper.make_node(operator, inputs, outputs, name)
    for attribute in schema.attributes.values() if schema else ():
        if attribute.required or random.random() < 0.5:
            value = _attribute(random, attribute.type)
            if value is not None:
                node.attribute.append(helper.make_attribute(attribute.name, value))
    return node


@cache
def _schema(operator: str) -> Any:
    return onnx.defs.get_schema(operator, 17) if onnx.defs.has(operator, 17) else None


def _constant(random: Random) -> Any:
    if random.random() < 0.6:
        sizes = [random.choice((0, 1, -1, 2, 3, 4, 5, 6, random.choice(INTEGERS)))
                 for _ in range(random.randint(0, 3))]  # fmt: skip
        scalar = sizes and random.random() < 0.2
        return np.array(sizes[0] if scalar else sizes, np.int64)
    shape = tuple(random.choice((1, 1, 2, 3, 4, 5, 6)) for _ in range(random.randint(0, 3)))
    values = np.random.default_rng(random.randrange(2**32)).normal(size=shape)
    return values.astype(random.choice((np.float32, np.float32, np.float64, np.int32, np.bool_)))


def _attribute(random: Random, type_: Any) -> Any:
    kinds = onnx.defs.OpSchema.AttrType
    small = (0, 1, -1, 2, 3, -2, random.choice(INTEGERS))
    match type_:
        case kinds.INT:
            return random.choice(small)
        case kinds.FLOAT:
            return float(random.choice(REALS))
        case kinds.STRING:
            return random.choice(
                ("", "ij,jk->ik", "bij,kj->bik", "...i,i->...", "ii", "a", "SAME_UPPER", "edge")
            )
        case kinds.INTS:
            return [random.choice(small) for _ in range(random.randint(1, 4))]
        case kinds.FLOATS:
            return [float(random.choice(REALS)) for _ in range(random.randint(1, 3))]
        case kinds.TENSOR:
            return numpy_helper.from_array(np.asarray(_constant(random)), "value")
        case kinds.GRAPH:
            return _body(random)
    return None


def _body(random: Random) -> GraphProto:
    """A body for a loop or a branch."""
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Identity", ["x"], ["inner"])] if random.random() < 0.7 else []
    return helper.make_graph(nodes, "body", [], [value] if random.random() < 0.9 else [])
