"""Functions at the very end of a model that keep the order of its logits are left out."""

import numpy as np
import onnx
import pytest
from onnx import helper

from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import import_onnx, open_model
from dmpc.frontend.finish import NOTHING, Finish, Link, beginning
from tests.dmpc.frontend.repeated import M as INPUTS
from tests.dmpc.frontend.repeated import Unrolled
from tests.dmpc.frontend.spellings import C, Form, Spelling, scan_model, step_model, value
from tests.dmpc.frontend.test_answers import X, proven, stacked


def ending(model: onnx.ModelProto, *ops: str, output: str = "", **attributes) -> onnx.ModelProto:
    """A model with functions behind its last output, or behind another one."""
    at = output = output or model.graph.output[-1].name
    for number, op in enumerate(ops):
        given = attributes if op in ("LogSoftmax", "Softmax") else {}
        name = f"end{number}"
        model.graph.node.append(helper.make_node(op, [at], [name], name=f"/{name}", **given))
        at = name
    (last,) = [one for one in model.graph.output if one.name == output]
    last.name = at
    return model


def answers(model: onnx.ModelProto, path, **options: object) -> tuple[np.ndarray, list[str]]:
    """Logits of X by the model's own reference, and what was told to be left out."""
    onnx.save(model, path)
    with listening() as told:
        opened = open_model(path, **options)
    said = [found.message for found in told if found.rule == "activation-left-out"]
    return opened.reference.logits(X), said


ENDS = {
    "log_softmax": ("LogSoftmax",),
    "softmax and log": ("Softmax", "Log"),
    "sigmoid": ("Identity", "Sigmoid", "Identity"),
}


@pytest.mark.parametrize(("name", "ops"), ENDS.items())
def test_what_ends_a_sequence_is_left_out(tmp_path, name, ops):
    form = Form(time_first=name == "sigmoid", readout="last" if name == "log_softmax" else "mean")
    wanted, none = answers(scan_model(form), tmp_path / "plain.onnx")
    found, said = answers(ending(scan_model(form), *ops), tmp_path / "model.onnx")
    np.testing.assert_array_equal(found, wanted)
    assert said == [f"the model ends in {name}: left out, the image gives what goes into it"]
    assert none == []


def test_the_proof_compares_what_goes_into_the_end(tmp_path):
    assert proven(ending(scan_model(Form()), "Softmax"), tmp_path).shape == (len(X), C)


def test_one_vector_shown_at_every_timestep(tmp_path):
    made = ending(Unrolled("computed once").model(), "Softmax")
    plain, model = (tmp_path / name for name in ("plain.onnx", "model.onnx"))
    onnx.save(Unrolled("computed once").model(), plain)
    onnx.save(made, model)
    same = np.repeat(X[:, :1, :INPUTS], 2, axis=1)
    wanted = open_model(plain).reference.logits(same)
    np.testing.assert_array_equal(open_model(model).reference.logits(same), wanted)


def test_a_timestep_keeps_what_keeps_the_order_after_its_readout(tmp_path):
    def step(*ops: str) -> onnx.ModelProto:
        return ending(step_model(Spelling()), *ops, output="y")

    path = tmp_path / "step.onnx"
    for readout in ("mean", "last"):
        wanted, _ = answers(step_model(Spelling()), path, readout=readout)
        found, said = answers(step("LogSoftmax"), path, readout=readout)
        np.testing.assert_array_equal(found, wanted)
        assert len(said) == 1
    found, _ = answers(step("Softmax", "Sigmoid"), path, readout="last", output="end1")
    np.testing.assert_array_equal(found, wanted)
    for op, readout in (("Softmax", "mean"), ("LogSoftmax", "max")):
        with pytest.raises(ImportFailure, match=f"every timestep's answer: the {readout} over"):
            import_onnx(step(op), readout=readout)


def test_a_next_state_is_never_cut():
    model = ending(step_model(Spelling()), "Sigmoid", output="m0_next")
    with pytest.raises(ImportFailure, match="Sigmoid is not supported"):
        import_onnx(model)


@pytest.mark.parametrize("axes", [("batch", "time", "classes"), ("classes", "batch", "time")])
def test_a_softmax_is_one_over_classes(tmp_path, axes):
    at = axes.index("classes")
    wanted, _ = answers(stacked(False, axes), tmp_path / "plain.onnx")
    for axis in (at, at - 3):
        model = ending(stacked(False, axes), "LogSoftmax", axis=axis)
        np.testing.assert_array_equal(answers(model, tmp_path / "model.onnx")[0], wanted)
    wrong = axes.index("time")
    with pytest.raises(ImportFailure, match=f"log_softmax over axis {wrong}, which is not"):
        import_onnx(ending(stacked(False, axes), "LogSoftmax", axis=wrong))


def test_several_outputs_are_still_the_users_choice(tmp_path):
    model = ending(scan_model(Form()), "Softmax")
    model.graph.output.append(value("logits", "batch", C))
    with pytest.raises(ImportFailure, match="--output end0 or --output logits"):
        import_onnx(model)
    wanted, said = answers(model, tmp_path / "m.onnx", output="logits")
    assert said == []
    assert wanted.shape == (len(X), C)


@pytest.mark.parametrize("last", [("Mul", 3.0), ("Div", 0.5), ("Add", 1.0)])
def test_a_positive_number_behind_a_function_goes_with_it(tmp_path, last):
    op, number = last
    wanted, _ = answers(scan_model(Form()), tmp_path / "plain.onnx")
    model = ending(scan_model(Form()), "Softmax", op, "Log")
    node = next(node for node in model.graph.node if node.name == "/end1")
    node.input.append("number")
    array = np.array(number, np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(array, "number"))
    found, (said,) = answers(model, tmp_path / "model.onnx")
    np.testing.assert_array_equal(found, wanted)
    name = "an offset" if op == "Add" else "a factor"
    assert said.startswith(f"the model ends in softmax and {name} and log: left out")
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(-array, "number"))
    with pytest.raises(ImportFailure, match="is not supported"):
        import_onnx(model)


CHAINS = {
    "nothing": ([], 0, NOTHING),
    "moves alone stay": ([Link(), Link()], 0, NOTHING),
    "moves around it go": (
        [Link(), Link("softmax", 1), Link()],
        2,
        Finish(("softmax",), 1),
    ),
    "a log of logits stays": ([Link("log")], 0, NOTHING),
    "a log of a sigmoid goes": (
        [Link("log"), Link("sigmoid"), Link()],
        2,
        Finish(("sigmoid", "log")),
    ),
    "a second softmax stays": (
        [Link("softmax", 1), Link("softmax", 1)],
        1,
        Finish(("softmax",), 1),
    ),
    "nothing behind a move under a softmax": (
        [Link("softmax", 1), Link(), Link("tanh")],
        1,
        Finish(("softmax",), 1),
    ),
}


@pytest.mark.parametrize(("links", "at", "finish"), CHAINS.values(), ids=CHAINS)
def test_where_the_end_begins(links, at, finish):
    found = beginning(0, lambda place: (links[place], place + 1) if place < len(links) else None)
    assert found == (at, finish)
