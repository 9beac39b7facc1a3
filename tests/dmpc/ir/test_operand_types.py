"""Operand types of every op: whatever stands in a graph file is told, or can be computed."""

from collections import defaultdict
from random import Random

import numpy as np
import pytest

import dmpc
from benchmarks import fuzz_bases
from benchmarks.convolution import Front, built
from benchmarks.random_networks import Layer, random_shape
from dmpc.frontend import open_model
from dmpc.ir.graph import Op
from dmpc.ir.registry import EvalContext, all_ops, op_def
from dmpc.ir.types import TensorType
from dmpc.ir.verify import attribute_problems
from tests.networks import network

DTYPES = ("f32", "bool", "event", "i8", "i16", "i32", "i64", "u8", "u16", "i20")
TRIES = 300


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Ops as they stand in graphs of every level, by kind: types of operands, attributes."""
    found = defaultdict(list)

    def look(*told):
        for graph in told:
            for op in getattr(graph, "ops", ()):
                types = [graph.types[name] for name in op.operands]
                found[op.kind].append((types, dict(op.attrs)))

    networks = [network(random_shape(Random(seed))) for seed in range(40)]
    networks.append(built((4, 5, 2), (Front(3, 2, padding=1, pool=2),), (Layer(4),), 2))
    for graph in networks:
        look(graph)
        dmpc.compile(graph, options=dmpc.Options(target="pooled"), observe=look)
    for number, model in enumerate(fuzz_bases.models()):
        path = tmp_path_factory.mktemp("models") / f"model{number}.onnx"
        path.write_bytes(model.SerializeToString())
        look(open_model(path).graph)
    return found


def changed(random, type_):
    """Another type: other axes, another size, or other elements."""
    shape = list(type_.shape)
    match random.choice(("axis less", "axis more", "size", "scalar", "dtype")):
        case "axis less" if shape:
            shape.pop(random.randrange(len(shape)))
        case "axis more":
            shape.insert(random.randint(0, len(shape)), random.choice((1, 2, 3, 7)))
        case "size" if shape:
            shape[random.randrange(len(shape))] = random.choice((1, 2, 3, 7))
        case "scalar":
            shape = []
        case "dtype":
            return TensorType(random.choice(DTYPES), type_.shape)
    return TensorType(type_.dtype, tuple(shape), type_.scale)


def data(draws, type_, *, constant):
    shape = type_.shape if constant else (2, *type_.shape)
    if type_.dtype in ("event", "bool"):
        return draws.random(shape) < 0.5
    if type_.is_integer:
        return draws.integers(0 if type_.dtype[0] == "u" else -6, 7, shape)
    return draws.normal(0, 1, shape)


def compute(definition, types, attrs, expected):
    """Compute on numbers of such types, unless the op says that these numbers will not do."""
    draws = np.random.default_rng(0)
    bound = definition.bind([str(number) for number in range(len(types))])
    constants = {int(name) for slot in definition.parameters for name in bound[slot]}
    values = [data(draws, t, constant=n in constants) for n, t in enumerate(types)]
    numbers = definition.numbers or (lambda *_: ())
    if not any(numbers(types, [values[n] for n in sorted(constants)])):
        results = definition.evaluate(EvalContext(), attrs, *values)
        assert [value.shape for value in results] == [(2, *type_.shape) for type_ in expected]


def tried(random, kind, examples):
    """One op whose operands or attributes are not what they were."""
    definition = op_def(kind)
    types, attrs = random.choice(examples)
    types, attrs = list(types), dict(attrs)
    for _ in range(random.choice((1, 1, 2, 3))):
        # Of another operand at times: types that fit each other, but not the op.
        types[random.randrange(len(types))] = changed(random, random.choice(types))
    whole = [name for name, spec in definition.attrs.items() if spec.type is int]
    if whole and random.random() < 0.2:
        attrs[random.choice(whole)] = random.choice((0, 1, 2, 3, -1, 64, 1 << 40))
    if any(attribute_problems(definition, Op(kind, (), (), attrs))):
        return
    try:
        expected = definition.infer(types, attrs)
    except ValueError:
        return  # told
    compute(definition, types, attrs, expected)


def test_types_are_told_or_computed(examples):
    assert len(examples) > len(all_ops()) - 14
    for kind in sorted(examples):
        random = Random(kind)
        for number in range(TRIES):
            try:
                tried(random, kind, examples[kind])
            except Exception as error:
                raise AssertionError(f"{kind}, try {number}") from error
