"""Sums that the body of a Scan or a Loop begins later, in files written by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dmpc
from dmpc.errors import CompileError, ImportFailure
from dmpc.verification import verify
from runtime.program import Program
from tests.dmpc.frontend.test_kept_maxima import CLASSES, INPUTS, STEPS, WEIGHTS, X, value

SINCE = 4
SIZES = {"v": 10, "o": CLASSES, "total": CLASSES}
LATE, EARLY = "late = GreaterOrEqual k since", "early = Less k since"
FORMS = {
    "some": [LATE, "some = Where late {y} none", "{n} = Add total some"],
    "none": [EARLY, "some = Where early none {y}", "{n} = Add some total"],
    "either": [LATE, "more = Add total {y}", "{n} = Where late more total"],
    "or": [EARLY, "more = Add {y} total", "{n} = Where early total more"],
    "factor": [EARLY, "late = Not early", "open = Cast late", "some = Mul {y} open",
               "same = Add total some", "{n} = Identity same"],
}  # fmt: skip
TIMESTEP = [
    "c = MatMul x_t w", "left = Mul v keep", "charge = Add left c", "fired = Greater charge one",
    "z = Cast fired", "v_next = Sub charge z", "p = MatMul z q", "biased = Add p b",
    "o_left = Mul o keep", "o_next = Add o_left biased", "k_next = Add k one",
]  # fmt: skip


def made_of(lines: list[str]) -> list[onnx.NodeProto]:
    nodes = []
    for line in lines:
        out, (kind, *read) = line.split(" = ")[0], line.split(" = ")[1].split()
        more = {"to": TensorProto.FLOAT} if kind == "Cast" else {}
        nodes.append(helper.make_node(kind, read, [out], out, **more))
    return nodes


def model(form: list[str], *, leaky=False, since=SINCE, steps=STEPS) -> onnx.ModelProto:
    """A file whose Scan ends with a sum that begins later."""
    y = "o_next" if leaky else "biased"
    own = [line.format(y=y, n="total_next") for line in form]
    number = helper.make_tensor_value_info("k", TensorProto.FLOAT, [])
    after = helper.make_tensor_value_info("k_next", TensorProto.FLOAT, [])
    body = helper.make_graph(
        made_of([*TIMESTEP, *own]),
        "timestep",
        [*(value(name, size) for name, size in SIZES.items()), number, value("x_t", INPUTS)],
        [*(value(f"{name}_next", size) for name, size in SIZES.items()), after],
    )
    starts = {f"{name}_0": np.zeros((1, size), np.float32) for name, size in SIZES.items()}
    starts["k_0"] = np.zeros((), np.float32)
    numbers = {"since": np.float32(since), "seven": np.float32(7)}
    numbers["none"] = np.zeros((1, CLASSES), np.float32)
    stored = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in (WEIGHTS | starts | numbers).items()
    ]
    names = [*SIZES, "k"]
    scan = helper.make_node(
        "Scan",
        [*(f"{name}_0" for name in names), "x"],
        [f"{name}_end" for name in names],
        "time",
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[1],
    )
    shapes = [value("x", steps, INPUTS)], [value("total_end", CLASSES)]
    graph = helper.make_graph([scan], "late", *shapes, initializer=stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_sum_of_later_outputs(form, leaky, tmp_path):
    path = str(tmp_path / "late.onnx")
    onnx.save(model(FORMS[form], leaky=leaky), path)
    compiled = dmpc.compile(path, calibration=X)
    assert (compiled.layers.attrs["readout"], compiled.layers.attrs["since"]) == ("sum", SINCE)
    found = verify(path, compiled.image, X, max_drop=100)
    assert [rung.ok for rung in found.rungs] == [True] * 4
    assert Program(compiled.image, "late").run(X).logits.any()


def test_one_of_which_the_timesteps_are_open(tmp_path):
    """It begins behind those for which a file is tried out at first."""
    path, x = str(tmp_path / "late.onnx"), np.tile(X, (1, 4, 1))
    onnx.save(model(FORMS["some"], since=30, steps="time"), path)
    compiled = dmpc.compile(path, calibration=x)
    assert compiled.layers.attrs["since"] == 30
    assert [rung.ok for rung in verify(path, compiled.image, x, max_drop=100).rungs] == [True] * 4


def test_one_that_begins_behind_the_end_is_refused(tmp_path):
    path = str(tmp_path / "late.onnx")
    onnx.save(model(FORMS["some"], since=30), path)
    with pytest.raises(ImportFailure, match="ReduceSum runs over nothing: none is that late"):
        dmpc.compile(path, calibration=X)


OTHER = {
    "ends": [LATE, "soon = Less k seven", "on = And late soon", "some = Where on {y} none",
             "{n} = Add total some"],
    "spikes": ["late = Greater {y} none", "some = Where late {y} none", "{n} = Add total some"],
}  # fmt: skip


@pytest.mark.parametrize("form", OTHER)
def test_what_is_no_end_of_a_list_is_refused(form, tmp_path):
    path = str(tmp_path / "late.onnx")
    onnx.save(model(OTHER[form]), path)
    with pytest.raises(CompileError, match="some"):
        dmpc.compile(path, calibration=X)
