"""Model files that break a rule as a whole: inputs, outputs, states, the loop over time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from dmpc.check import Report, check
from dmpc.compiler import Options
from tests.dmpc.frontend.repeated import Unrolled
from tests.dmpc.frontend.spellings import Form, Spelling, scan_model, step_model, value
from tests.dmpc.frontend.test_finish import ending
from tests.dmpc.rules.operators import node, node_of, store

Model = onnx.ModelProto


def body_of(model: Model) -> onnx.GraphProto:
    """The body of a model's Scan."""
    return next(a.g for a in loop_of(model).attribute if a.name == "body")


def loop_of(model: Model) -> onnx.NodeProto:
    """A model's Scan."""
    (scan,) = [one for one in model.graph.node if one.op_type == "Scan"]
    return scan


def step(*changes: Callable[[onnx.GraphProto], object]) -> Model:
    """A timestep, changed."""
    model = step_model(Spelling())
    for change in changes:
        change(model.graph)
    return model


def loop(change: Callable[[Model], object], form: Form = Form()) -> Model:  # noqa: B008
    """A Scan over the sequence, changed."""
    model = scan_model(form)
    change(model)
    return model


def alone(inputs: list[onnx.ValueInfoProto], *nodes: onnx.NodeProto) -> Model:
    """A graph of a few nodes that ends in `y`."""
    graph = helper.make_graph(nodes, "g", inputs, [value("y", 1, 8, 3)])
    store(graph, "weights", np.ones((1, 8, 3), np.float32))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def opset(domain: str, version: int) -> Model:
    model = step_model(Spelling())
    model.opset_import[0].domain, model.opset_import[0].version = domain, version
    return model


def dim(name: str, axis: int, size: int | str) -> Callable[[onnx.GraphProto], None]:
    """A size of an input."""

    def change(graph: onnx.GraphProto) -> None:
        (one,) = [one for one in graph.input if one.name == name]
        target = one.type.tensor_type.shape.dim[axis]
        if isinstance(size, str):
            target.dim_param = size
        else:
            target.dim_value = size

    return change


def answer(*nodes: onnx.NodeProto) -> Callable[[onnx.GraphProto], None]:
    """Another output in the place of `y`."""

    def change(graph: onnx.GraphProto) -> None:
        store(graph, "first", np.array([0], np.int64))
        graph.node.extend(nodes)
        at = [one.name for one in graph.output].index("y")
        del graph.output[at]
        graph.output.insert(at, value(nodes[-1].output[0], "batch", 3))

    return change


def without_outputs(*names: str) -> Callable[[onnx.GraphProto], None]:
    def change(graph: onnx.GraphProto) -> None:
        kept = [one for one in graph.output if one.name not in names]
        del graph.output[:]
        graph.output.extend(kept)

    return change


def starts_from(array: np.ndarray, *, spread: bool) -> Callable[[Model], None]:
    """Another initial value of the first state, spread over the batch or as it is."""

    def change(model: Model) -> None:
        store(model.graph, "stale", array.astype(np.float32))
        name = "stale"
        if spread:
            name = "v0_stale"
            at = list(model.graph.node).index(loop_of(model))
            model.graph.node.insert(at, node("Expand", ["stale", "v0_shape"], name))
        loop_of(model).input[0] = name

    return change


def backwards(model: Model) -> None:
    loop_of(model).attribute.append(helper.make_attribute("scan_input_directions", [1]))


def bent(model: Model) -> None:
    node_of(body_of(model), "bu1_").op_type = "Pow"


def other_axis(model: Model) -> None:
    next(a for a in loop_of(model).attribute if a.name == "scan_input_axes").ints[0] = 2


def scans_nothing(model: Model) -> None:
    next(a for a in loop_of(model).attribute if a.name == "num_scan_inputs").i = 0


def scans_weights(model: Model) -> None:
    loop_of(model).input[-1] = store(model.graph, "still", np.ones((13, 11, 5), np.float32))


def shape_of_state(model: Model) -> None:
    body_of(model).output[0].name = "y"


def batch_divides(model: Model) -> None:
    store(model.graph, "time_axis", np.array([1]))


def one_step(model: Model) -> None:
    store(model.graph, "from", np.array([0]))
    store(model.graph, "to", np.array([1]))


def long_weight(graph: onnx.GraphProto) -> None:
    graph.initializer[0].raw_data += bytes(3)


def from_input(model: Model) -> None:
    store(model.graph, "nought", np.ones(1, np.float32))


STATES = {"v0": "v0_next", "m0": "m0_next", "v1": "v1_next", "m1": "m1_next"}


def in_two_parts(model: Model) -> None:
    (x,) = model.graph.input
    del model.graph.input[:]
    front = [dim.dim_param or dim.dim_value for dim in x.type.tensor_type.shape.dim][:2]
    size = x.type.tensor_type.shape.dim[2].dim_value
    model.graph.input.extend([value("a", *front, 1), value("b", *front, size - 1)])
    model.graph.node.insert(0, node("Concat", ["a", "b"], x.name, axis=2))


def tapped(model: Model) -> None:
    model.graph.output.append(value("ys", "time", "batch", 3))


MODELS: dict[str, Callable[[], Model]] = {
    "no-opset": lambda: opset("com.example", 17),
    "old-opset": lambda: opset("", 11),
    "broken-standard": lambda: step(lambda g: node_of(g, "v0_").input.__setitem__(0, "nothing")),
    "broken-weight": lambda: step(long_weight),
    "no-input": lambda: alone([], node("Relu", ["weights"], "y")),
    "unknown-size": lambda: step(dim("x", 1, "features")),
    "input-axes": lambda: alone([value("x", 3)], node("Relu", ["x"], "y")),
    "no-time": lambda: alone([value("x", 1, 8, 3)], node("Relu", ["x"], "y")),
    "repeated-input": Unrolled("read again", odd=3).model,
    "batch-axes": lambda: step(dim("x", 0, 2), dim("v0", 0, 3)),
    "dead-output": lambda: step(answer(node("Relu", ["wo"], "odd"))),
    "partial-output": lambda: step(
        *(dim(name, 0, 4) for name in ("x", *STATES)),
        answer(node("Gather", ["y", "first"], "odd", axis=0)),
    ),
    "partial-time": lambda: loop(one_step, Form(readout="last by slice")),
    "many-outputs": lambda: loop(tapped),
    "size-dependent": lambda: loop(batch_divides, Form(readout="running mean", time_first=True)),
    "unpaired-states": lambda: step(without_outputs("v1_next", "m0_next")),
    "outputs-left": lambda: step(without_outputs("m0_next")),
    "loop-inputs": lambda: loop(lambda m: m.graph.input.append(value("extra", 1, 3))),
    "bent-charge": lambda: loop(bent),
    "loop-signature": lambda: loop(scans_nothing),
    "backwards": lambda: loop(backwards),
    "loop-over-constant": lambda: loop(scans_weights),
    "loop-axis": lambda: loop(other_axis),
    "computed-start": lambda: loop(from_input, Form(zeros="times zero")),
    "stale-state": lambda: loop(starts_from(np.linspace(0.1, 0.4, 4)[None], spread=True)),
    "batchless-state": lambda: loop(starts_from(np.zeros(4), spread=False)),
    "broken-carry": lambda: loop(shape_of_state),
}

OPTIONS: dict[str, tuple[Callable[[], Model], Options]] = {
    "activation-axis": (lambda: ending(scan_model(Form()), "Softmax", axis=0), Options()),
    "activation-every-step": (
        lambda: ending(step(), "Softmax", output="y"),
        Options(readout="sum"),
    ),
    "activation-left-out": (lambda: ending(scan_model(Form()), "LogSoftmax"), Options()),
    "inputs-joined": (lambda: loop(in_two_parts), Options()),
    "input-repeated": (Unrolled("computed once", (3, 4)).model, Options()),
    "readout-conflict": (lambda: scan_model(Form(readout="sum")), Options(readout="max")),
    "no-such-state": (step, Options(states={"m00": "m0_next"})),
    "all-states": (step, Options(states={**STATES, "x": "y"})),
    "state-type": (step, Options(states={"v0": "y"})),
    "no-such-output": (step, Options(output="logits")),
    "outputs-left-out": (lambda: loop(tapped), Options(output="logits")),
    "named-states": (lambda: scan_model(Form()), Options(states=STATES)),
}


def cases(folder: Path) -> dict[str, Callable[[], Report]]:
    """Every file, written to a folder and checked."""

    def checked(name: str, make: Callable[[], Model], options: Options | None) -> Report:
        path = folder / f"{name}.onnx"
        onnx.save(make(), path)
        return check(path, options=options)

    def garbage() -> Report:
        path = folder / "garbage.onnx"
        path.write_bytes(b"garbage" * 40)
        return check(path)

    def torn() -> Report:
        path = folder / "torn.onnx"
        onnx.save(step(), path, save_as_external_data=True, location="torn.data", size_threshold=0)
        (folder / "torn.data").unlink()
        return check(path)

    every = {name: (make, None) for name, make in MODELS.items()} | OPTIONS
    return {
        **{name: lambda n=name, c=case: checked(n, *c) for name, case in every.items()},
        "no-file": lambda: check(folder / "nothing.onnx"),
        "not-onnx": garbage,
        "unreadable": torn,
    }
