"""Single nodes on known arrays: what is computed here is what ONNX's own reference computes."""

import numpy as np
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dmpc.errors import ImportFailure
from dmpc.frontend.onnx_file import Node, _plain, evaluate

ONE, TWO = np.arange(3, dtype=np.float32), np.arange(2, dtype=np.float32)
SHAPE = np.array([2, 0, 3])
HALF = numpy_helper.from_array(np.array([0.5], np.float64))
TRUE = numpy_helper.from_array(np.array([True]))
CASES = (
    ("Identity", {}, [ONE.reshape(3, 1)]),
    ("Identity", {}, [np.array(True)]),
    ("ConstantOfShape", {}, [SHAPE]),
    ("ConstantOfShape", {"value": HALF}, [np.array([4])]),
    ("ConstantOfShape", {"value": TRUE}, [np.array([1, 2])]),
    ("Concat", {"axis": 0}, [ONE, TWO, ONE]),
    ("Concat", {"axis": 0}, [SHAPE, SHAPE[:0]]),
)
OTHERS = (
    ("ConstantOfShape", {}, [np.array([], np.int64)]),
    ("Concat", {"axis": 1}, [ONE[None], TWO[None]]),
    ("Concat", {"axis": -1}, [ONE, TWO]),
    ("Neg", {}, [ONE]),
)


def node_of(op, attributes, arrays):
    names = [f"x{number}" for number in range(len(arrays))]
    return Node(helper.make_node(op, names, ["y"], **attributes), 18)


EVERY = [*((True, *case) for case in CASES), *((False, *case) for case in OTHERS)]


@pytest.mark.parametrize(("plain", "op", "attributes", "arrays"), EVERY)
def test_a_node_gives_what_the_reference_gives(plain, op, attributes, arrays):
    node = node_of(op, attributes, arrays)
    assert (_plain(node, arrays) is not None) == plain
    (made,) = evaluate(node, arrays)
    feeds = dict(zip(node.proto.input, arrays, strict=True))
    (expected,) = ReferenceEvaluator(node.proto).run(None, feeds)
    assert made.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize(
    ("op", "attributes", "arrays"),
    [
        ("Concat", {"axis": 0}, [ONE, ONE[None]]),
        ("Concat", {}, [ONE, TWO]),
        ("ConstantOfShape", {}, [np.array([-1])]),
    ],
)
def test_what_cannot_be_computed_is_refused(op, attributes, arrays):
    with pytest.raises(ImportFailure, match=op):
        evaluate(node_of(op, attributes, arrays), arrays)
