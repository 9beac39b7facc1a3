"""Models with one operator that breaks a rule, by the rule's name."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.dmpc.frontend.sequences import D, T, Variant, conv
from tests.dmpc.frontend.sequences import model as sequence
from tests.dmpc.frontend.spellings import Form, Spelling, scan_model, step_model, value

Make = Callable[[], onnx.ModelProto]


def node_of(graph: onnx.GraphProto, output: str) -> onnx.NodeProto:
    """The node that computes a value."""
    (node,) = [node for node in graph.node if output in node.output]
    return node


def store(graph: onnx.GraphProto, name: str, array: object) -> str:
    """Add a constant, or replace one."""
    kept = [tensor for tensor in graph.initializer if tensor.name != name]
    del graph.initializer[:]
    graph.initializer.extend([*kept, numpy_helper.from_array(np.asarray(array), name)])
    return name


def with_step(op: str, *inputs: str, batch: int | str = "batch", **attributes: object) -> Make:
    """A timestep in which one more node `/odd` reads `inputs`; `three`, `ones` are constants."""

    def make() -> onnx.ModelProto:
        model = step_model(Spelling())
        graph = model.graph
        store(graph, "three", np.array([3.0], np.float32))
        store(graph, "first", np.array([0], np.int64))
        store(graph, "swap", np.array([1, 0], np.int64))
        store(graph, "rows", np.arange(10, dtype=np.float32).reshape(2, 5))
        store(graph, "true", np.array(True))
        store(graph, "far", np.array([5], np.int64))
        if batch != "batch":
            for one in graph.input:
                one.type.tensor_type.shape.dim[0].dim_value = int(batch)
        graph.node.append(helper.make_node(op, inputs, ["odd"], name="/odd", **attributes))
        return model

    return make


def chained(*nodes: onnx.NodeProto, batch: int | str = "batch") -> Make:
    """As `with_step`, with several nodes."""

    def make() -> onnx.ModelProto:
        model = with_step("Relu", "x", batch=batch)()
        del model.graph.node[-1]
        model.graph.node.extend(nodes)
        return model

    return make


def node(op: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=f"/{output}", **attributes)


def after_loop(*nodes: onnx.NodeProto) -> Make:
    """The sequence with other nodes after the Scan, from `ys` [batch, time, classes]."""

    def make() -> onnx.ModelProto:
        model = scan_model(Form(scan_axis=1))
        at = next(i for i, n in enumerate(model.graph.node) if "ys" in n.output)
        del model.graph.node[at + 1 :]
        store(model.graph, "one", np.ones(3, np.float32))
        model.graph.node.extend(nodes)
        return model

    return make


def mean(output: str = "mean") -> onnx.NodeProto:
    return node("ReduceMean", ["ys"], output, axes=[1], keepdims=0)


def greatest() -> onnx.NodeProto:
    return node("ReduceMax", ["ys"], "greatest", axes=[1], keepdims=0)


def total(output: str = "total") -> onnx.NodeProto:
    return node("ReduceSum", ["ys", "axis"], output, keepdims=0)


def summed(*nodes: onnx.NodeProto) -> Make:
    def make() -> onnx.ModelProto:
        model = after_loop(total(), *nodes)()
        store(model.graph, "axis", np.array([1], np.int64))
        return model

    return make


def misfit() -> onnx.ModelProto:
    model = step_model(Spelling())
    store(model.graph, "wf0_", np.ones((4, 7), np.float32))
    return model


def not_finite() -> onnx.ModelProto:
    model = step_model(Spelling())
    store(model.graph, "wf1_", np.full((4, 4), np.nan, np.float32))
    return model


def with_constant(array: np.ndarray, op: str, *inputs: str) -> Make:
    """As `with_step`, with a constant `odd.constant`."""

    def make() -> onnx.ModelProto:
        model = with_step(op, *inputs)()
        store(model.graph, "odd.constant", array)
        return model

    return make


def two_answers() -> onnx.ModelProto:
    """An If of one output, whose branches have two."""
    copies = [node("Identity", ["x"], "left"), node("Identity", ["v0"], "right")]
    outputs = [value("left", "batch", 5), value("right", "batch", 4)]
    branch = helper.make_graph(copies, "branch", [], outputs)
    return with_step("If", "true", then_branch=branch, else_branch=branch)()


def wide_kernel() -> onnx.ModelProto:
    model = sequence(Variant(conv))
    kernel = next(one.input[1] for one in model.graph.node if one.op_type == "Conv")
    store(model.graph, kernel, np.ones((D, 2, T), np.float32))
    return model


def unused() -> onnx.ModelProto:
    model = step_model(Spelling())
    store(model.graph, "bn.weight", np.ones(4, np.float32))
    return model


MODELS: dict[str, Make] = {
    "readout-assumed": lambda: step_model(Spelling()),
    "unused-weights": unused,
    "training-mode": with_step("Dropout", "x", "", "true"),
    "shape-misfit": misfit,
    "not-finite": not_finite,
    "not-real": with_constant(np.array(["a"]), "Add", "x", "odd.constant"),
    "not-evaluated": with_step("Add", "three", "first"),
    "vast-tensor": with_constant(np.array([10**9, 3]), "Expand", "three", "odd.constant"),
    "branch-signature": two_answers,
    "computed-product": with_step("MatMul", "x", "v0"),
    "mixed-samples": chained(
        node("Gather", ["x", "swap"], "turned", axis=0),
        node("Greater", ["turned", "x"], "odd"),
        batch=2,
    ),
    "joined-constants": chained(
        node("Relu", ["x"], "rest"),
        node("Concat", ["x", "rest", "rows"], "odd", axis=0),
        batch=2,
    ),
    "uneven-samples": with_step("Mul", "x", "rows", batch=2),
    "only-relu": with_step("Max", "x", "v0"),
    "cast": with_step("Cast", "x", to=TensorProto.FLOAT16),
    "steered": chained(
        node("Cast", ["c0_"], "index", to=TensorProto.INT64),
        node("Gather", ["wo", "index"], "odd", axis=0),
    ),
    "max-of-values": with_step("ReduceMax", "x", axes=[1]),
    "wrong-axes": with_step("ReduceSum", "x", "far"),
    "computed-parameter": with_step("Clip", "x", "v0"),
    "einsum": with_step("Einsum", "x", "v0", "v1", equation="bi,bj,bk->bij"),
    "conv": wide_kernel,
    "over-classes": after_loop(node("ReduceMean", ["ys"], "logits", axes=[2], keepdims=0)),
    "over-some-time": after_loop(node("ReduceMean", ["ys"], "logits", axes=[0], keepdims=0)),
    "mixed-readouts": after_loop(mean(), greatest(), node("Add", ["mean", "greatest"], "logits")),
    "apart-in-time": after_loop(
        mean(), greatest(), node("Concat", ["mean", "greatest"], "logits", axis=1)
    ),
    "bent-answer": after_loop(mean(), node("Abs", ["mean"], "logits")),
    "after-reduction": after_loop(mean(), node("Relu", ["mean"], "logits")),
    "after-sum": summed(node("Add", ["total", "one"], "logits")),
    "divided-by-readout": after_loop(mean(), node("Div", ["one", "mean"], "logits")),
}
