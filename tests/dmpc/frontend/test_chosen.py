"""Models with several outputs, of which one is the answer."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import dmpc
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import import_onnx, open_model
from tests.dmpc.frontend.spellings import C, Form, M, N, Spelling, scan_model, step_model, value
from tests.dmpc.frontend.test_answers import X


def with_outputs(model: onnx.ModelProto, *outputs: onnx.ValueInfoProto) -> onnx.ModelProto:
    model.graph.output.extend(outputs)
    return model


def rates(model: onnx.ModelProto) -> onnx.ModelProto:
    """With a mean over everything, which is no output of any network."""
    source = model.graph.input[0].name
    model.graph.node.append(helper.make_node("ReduceMean", [source], ["all"], name="/all"))
    return with_outputs(model, value("all"))


def logits(model: onnx.ModelProto, path, **options: object) -> tuple[np.ndarray, list[str]]:
    """Logits of X by the model's own reference, and what the import tells of its outputs."""
    onnx.save(model, path)
    with listening() as told:
        opened = open_model(path, **options)
    said = [found.message for found in told if found.rule == "outputs-left-out"]
    return opened.reference.logits(X), said


def test_a_sequence_answers_with_the_output_that_is_chosen(tmp_path):
    plain, said = logits(scan_model(Form()), tmp_path / "plain.onnx")
    assert said == []
    tapped = rates(with_outputs(scan_model(Form()), value("ys", "time", "batch", C)))
    found, said = logits(tapped, tmp_path / "tapped.onnx", output="logits")
    np.testing.assert_array_equal(found, plain)
    assert said == ["the answer is output 'logits'; left out: ys, all"]
    found, said = logits(tapped, tmp_path / "tapped.onnx", output="ys", readout="sum")
    np.testing.assert_allclose(found, plain * X.shape[1], rtol=1e-5)


def test_several_answers_are_listed_as_the_option_is_typed():
    model = rates(scan_model(Form()))
    wanted = r"2 outputs: logits, all \(say .*: --output logits or --output all\)"
    with pytest.raises(ImportFailure, match=wanted):
        import_onnx(model)
    with pytest.raises(ImportFailure, match=r"no output 'logit' \(did you mean logits\?\)"):
        import_onnx(model, output="logit")


def test_final_states_of_a_loop_need_no_option(tmp_path):
    plain, _ = logits(scan_model(Form()), tmp_path / "plain.onnx")
    ended = with_outputs(scan_model(Form()), value("v0_end", "batch", N))
    found, said = logits(ended, tmp_path / "ended.onnx")
    np.testing.assert_array_equal(found, plain)
    assert said == []


def spiking_step() -> onnx.ModelProto:
    """A timestep that gives its layers' spikes as well, as large as its membranes."""
    model = step_model(Spelling())
    return with_outputs(model, value("s0_", "batch", N), value("s1_", "batch", N))


def test_a_timestep_may_give_its_spikes_beside_its_states(tmp_path):
    plain, _ = logits(step_model(Spelling()), tmp_path / "plain.onnx")
    with pytest.raises(ImportFailure, match="--output y or --output s0_ or --output s1_; or name"):
        import_onnx(spiking_step())
    found, said = logits(spiking_step(), tmp_path / "spiking.onnx", output="y")
    np.testing.assert_array_equal(found, plain)
    assert said == ["the answer is output 'y'; left out: s0_, s1_"]
    spikes, _ = logits(spiking_step(), tmp_path / "spiking.onnx", output="s1_")
    weights = {one.name: numpy_helper.to_array(one) for one in spiking_step().graph.initializer}
    np.testing.assert_allclose(spikes @ weights["wo"].T + weights["bo"], plain, rtol=1e-5)


def test_the_answer_may_be_a_state_too():
    """A last layer that feeds its spikes back: they are its output and its next state."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["i"], name="/w"),
        helper.make_node("MatMul", ["s", "r"], ["j"], name="/r"),
        helper.make_node("Mul", ["v", "beta"], ["k"], name="/leak"),
        helper.make_node("Add", ["i", "j"], ["ij"], name="/ij"),
        helper.make_node("Add", ["ij", "k"], ["h"], name="/h"),
        helper.make_node("GreaterOrEqual", ["h", "one"], ["fired"], name="/fire"),
        helper.make_node("Cast", ["fired"], ["s_next"], name="/cast", to=1),
        helper.make_node("Sub", ["h", "s_next"], ["v_next"], name="/reset"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", 1, M), value("v", 1, N), value("s", 1, N)],
        [value("v_next", 1, N), value("s_next", 1, N)],
        [
            numpy_helper.from_array(np.full(shape, 0.5, np.float32), name)
            for name, shape in {"w": (M, N), "r": (N, N), "beta": (), "one": ()}.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ImportFailure, match=r"no output is left .* --output v_next or --output"):
        import_onnx(model)
    found = import_onnx(model, output="s_next")
    nexts = {state.name: state.next for state in found.states}
    assert nexts.keys() == {"v", "s"}
    assert found.outputs == [nexts["s"]]


def test_a_graph_that_is_imported_already_has_no_choice():
    with pytest.raises(dmpc.DmpcError, match="output= is for what is still to be imported"):
        dmpc.compile(import_onnx(scan_model(Form())), options=dmpc.Options(output="logits"))
