"""What cannot be imported is one line that names file and node, says why, and what would help."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dmpc.errors import DmpcError, ImportFailure, ParseError
from dmpc.frontend import import_onnx, load, open_model
from dmpc.frontend.normalise import is_usual
from dmpc.frontend.normalise.shapes import infer
from dmpc.frontend.onnx_reference import OnnxReference
from dmpc.ir.printer import to_text
from tests.dmpc.frontend.oracle import assert_same_run, recognised, session
from tests.dmpc.frontend.spellings import Form, Spelling, scan_model, step_model, value

RNG = np.random.default_rng(2)


def refused(model: onnx.ModelProto | bytes, tmp_path, **options) -> str:
    path = tmp_path / "net.onnx"
    data = model if isinstance(model, bytes) else model.SerializeToString()
    path.write_bytes(data)
    with pytest.raises(ImportFailure) as caught:
        import_onnx(path, **options)
    shown = str(caught.value)
    assert shown.startswith(f"{path}: ")
    assert "\n" not in shown
    return shown.removeprefix(f"{path}: ")


def test_a_file_that_the_library_dies_of_is_refused(tmp_path):
    model = scan_model(Form())
    # The library reads sixteen gigabytes before its memory; nearer, it may find something there.
    node = helper.make_node("GatherND", ["grid", "nought"], ["gathered"], batch_dims=2 - 2**31)
    model.graph.node.insert(0, node)
    for name, array in (("grid", np.ones((4, 6))), ("nought", np.zeros(1, np.int64))):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    ended = "the ONNX library died of it"
    assert f"is damaged: {ended}" in refused(model, tmp_path)
    # ... and where it dies of the sizes that the importer puts in.
    with pytest.raises(ImportFailure, match=f"cannot be worked out: {ended}"):
        infer(model, trusted=False)


@pytest.mark.parametrize("more", ["state", "count", "result"])
def test_a_scan_that_does_not_fit_its_body(more, tmp_path):
    model = scan_model(Form())
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    (count,) = (a for a in scan.attribute if a.name == "num_scan_inputs")
    if more == "state":
        scan.input.insert(0, scan.input[0])
    elif more == "count":
        count.i = 9
    else:
        scan.output.append("beyond")
    said = "Scan and its body differ in their numbers of inputs and outputs"
    assert said in refused(model, tmp_path)


def test_a_file_that_the_runtime_dies_of_cannot_be_compared(tmp_path):
    model = scan_model(Form())
    onnx.save(model, path := tmp_path / "net.onnx")
    sound = open_model(path).reference
    assert sound.logits(np.zeros((2, 3, 5))).shape == (2, 3)
    # A normal distribution of no width, which the runtime asserts that nobody asks for.
    odd = helper.make_node("RandomNormal", [], ["odd"], shape=[1, 1], scale=0.0)
    model.graph.node.insert(0, odd)
    onnx.save(model, path)
    odd = OnnxReference(path, replace(sound.signature, usual=is_usual(model)), sound.readout)
    with pytest.raises(DmpcError, match=r"net.onnx: onnxruntime cannot run the model: it died of"):
        odd.logits(np.zeros((2, 3, 5)))


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "said"),
    [
        ("RandomNormal", [], {}, "/odd: RandomNormal draws random numbers"),
        ("RandomUniform", [], {"seed": 3.0}, "/odd: RandomUniform draws random"),
        ("RandomNormalLike", ["ones"], {}, "/odd: RandomNormalLike draws random numbers"),
        ("Bernoulli", ["ones"], {}, "/odd: Bernoulli draws random numbers"),
        ("Dropout", ["ones", "half", "yes"], {"seed": 1}, "/odd: Dropout is in training mode"),
    ],
)
@pytest.mark.parametrize("form", [Spelling, Form], ids=["a timestep", "Scan"])
def test_random_numbers_become_no_weights(op, operands, attributes, said, form, tmp_path):
    model = step_model(form()) if form is Spelling else scan_model(form())
    graph = model.graph
    weight = next(tensor for tensor in graph.initializer if len(tensor.dims) == 2)
    shape, name, weight.name = list(weight.dims), weight.name, "stored"
    stored = {"ones": np.ones(shape, np.float32), "half": np.float32(0.5), "yes": np.array(True)}
    graph.initializer.extend(numpy_helper.from_array(one, key) for key, one in stored.items())
    attributes |= {} if operands else {"shape": shape}
    drawn = helper.make_node(op, operands, ["drawn"], name="/odd", **attributes)
    graph.node.insert(0, helper.make_node("Mul", ["stored", "drawn"], [name], name="/scaled"))
    graph.node.insert(0, drawn)
    assert refused(model, tmp_path).startswith(said)


def weight(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))


@pytest.mark.parametrize("content", [b"", b"garbage" * 40, b"\x00\x01", b"PK\x03\x04"])
def test_files_that_are_not_onnx(content, tmp_path):
    assert "this is not an ONNX file" in refused(content, tmp_path)


def test_a_truncated_file(tmp_path):
    data = step_model(Spelling()).SerializeToString()
    assert "this is not an ONNX file, or it is damaged" in refused(data[:-30], tmp_path)


def test_damaged_files_never_end_in_a_traceback(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "net.onnx"
    messages = []
    for model in (step_model(Spelling()), scan_model(Form())):
        data = model.SerializeToString()
        for _ in range(60):
            damaged = bytearray(data)
            for _ in range(rng.integers(1, 4)):
                damaged[rng.integers(0, len(data))] = rng.integers(0, 256)
            path.write_bytes(damaged)
            try:
                import_onnx(path)
            except DmpcError as error:
                messages.append(str(error))
    assert messages
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in messages)


def test_a_file_that_breaks_the_standard(tmp_path):
    model = step_model(Spelling())
    model.graph.node[3].input[0] = "nothing"
    assert refused(model, tmp_path).startswith("breaks the ONNX standard: Nodes in a graph must be")


def test_a_missing_file(tmp_path):
    with pytest.raises(ImportFailure, match=r"nothing\.onnx: no such file"):
        import_onnx(tmp_path / "nothing.onnx")


def test_a_model_in_memory(tmp_path):
    model = step_model(Spelling())
    onnx.save(model, tmp_path / "model.onnx")
    assert import_onnx(model) == import_onnx(tmp_path / "model.onnx")
    (relu,) = [node for node in model.graph.node if node.name == "/x0_"]
    relu.op_type = "Selu"
    with pytest.raises(ImportFailure, match=r"^model: /x0_: operator Selu"):
        import_onnx(model)


def test_an_old_or_missing_opset(tmp_path):
    model = step_model(Spelling())
    model.opset_import[0].version = 11
    assert refused(model, tmp_path) == "opset 11 is too old (export with opset 13 or later)"
    model.opset_import[0].domain = "com.example"
    assert "names no opset of the standard operators" in refused(model, tmp_path)


def test_missing_external_data(tmp_path):
    model = step_model(Spelling())
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert import_onnx(path).states
    (tmp_path / "net.data").unlink()
    with pytest.raises(ImportFailure, match=r"net\.onnx: cannot be read: .*net\.data"):
        import_onnx(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad, tmp_path):
    model = step_model(Spelling())
    weight(model, "wf1_", np.where(np.eye(4) > 0, bad, 1.0))
    message = f"/f1_: weight 'wf1_' holds {bad} (4 of 16 elements are not finite)"
    assert message in refused(model, tmp_path)


def test_an_unsupported_operator_names_node_and_nearest(tmp_path):
    model = step_model(Spelling())
    (relu,) = [node for node in model.graph.node if node.name == "/x0_"]
    relu.op_type = "Selu"
    message = refused(model, tmp_path)
    assert message.startswith("/x0_: operator Selu is not supported (Relu, ")
    relu.op_type, relu.domain = "Fire", "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    assert "/x0_: operator com.example::Fire is not supported" in refused(model, tmp_path)


def test_shapes_that_do_not_fit(tmp_path):
    model = step_model(Spelling())
    weight(model, "wf0_", np.ones((4, 7)))
    message = refused(model, tmp_path)
    assert message.startswith(
        "/f0_: shapes [11, 5] and [7, 4] do not fit together (check the sizes"
    )
    (product,) = [node for node in model.graph.node if node.name == "/f0_"]
    product.CopyFrom(helper.make_node("Conv", ["x", "thin"], list(product.output), name="/f0_"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "thin"))
    assert "/f0_: shapes [11, 5] and [2] do not fit together" in refused(model, tmp_path)
    numbers = ["thin", "broad", "thin", "thin"]
    node = helper.make_node(
        "BatchNormalization", ["x", *numbers], list(product.output), name="/f0_"
    )
    product.CopyFrom(node)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "broad"))
    assert "/f0_: shapes [2], [3], [2], [2] do not fit together" in refused(model, tmp_path)


def test_a_state_without_next_value(tmp_path):
    model = step_model(Spelling())
    del model.graph.output[3]  # m0_next
    message = refused(model, tmp_path)
    assert "no output is left for the network's answer once states are paired" in message
    assert "the least certain is m0 -> y)" in message
    assert "output every state's next value and one output more" in message
    del model.graph.output[0]  # v1_next
    message = refused(model, tmp_path)
    assert "one of the inputs 'x' f32[5], 'v1' f32[4] is the network's" in message
    assert "outputs that are left: none (output every state's next value, of the state's" in message


def test_too_many_outputs(tmp_path):
    model = step_model(Spelling())
    model.graph.output.append(value("s0_", "batch", 4))
    message = refused(model, tmp_path)
    assert "outputs y, s0_ are no state's next value once states are paired (" in message


def test_pairs_named_by_the_user(tmp_path):
    model = step_model(Spelling())
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    by_hand = import_onnx(path, states={"m0": "m0_next", "v1": "v1_next"})
    assert by_hand == import_onnx(path)
    assert "no input 'm00' in the model (did you mean m0" in refused(
        model, tmp_path, states={"m00": "m0_next"}
    )
    assert "no output 'm0_nxt' in the model (did you mean m0_next" in refused(
        model, tmp_path, states={"m0": "m0_nxt"}
    )


def test_swapped_names_do_not_mislead_the_pairing(tmp_path):
    """Structure decides, even where the names say otherwise."""
    model = step_model(Spelling())
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                swap = {"v0_next": "v1_next", "v1_next": "v0_next"}
                names[i] = swap.get(name, name)
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    pairs = {state.name: state.next for state in import_onnx(path).states}
    assert (pairs["v0"], pairs["v1"]) == ("v1_next", "v0_next")


def test_an_unrolled_model_is_explained(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", [value("x", 1, 8, 3)], [value("y", 1, 8, 3)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert "'x' is the only input, and no timestep hangs" in refused(made, tmp_path)


def test_a_stale_membrane_is_not_dropped(tmp_path):
    model = scan_model(Form())
    stale = np.linspace(0.1, 0.4, 4)[None]
    model.graph.initializer.append(numpy_helper.from_array(stale.astype(np.float32), "stale"))
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    expand = helper.make_node("Expand", ["stale", "v0_shape"], ["v0_stale"], name="/stale")
    at = list(model.graph.node).index(scan)
    scan.input[0] = "v0_stale"
    model.graph.node.insert(at, expand)
    message = refused(model, tmp_path)
    assert "/scan: initial state 'v0_stale' of the Scan is not zero (44 of 44 elements, " in message
    assert "initial_states='keep'" in message
    graphs = recognised(model, tmp_path, initial_states="keep")
    state = graphs[2].state("layer1.u")
    np.testing.assert_array_equal(graphs[2].constants[state.init], stale[0].astype(np.float32))


def test_a_mean_over_classes_is_diagnosed(tmp_path):
    model = scan_model(Form())
    (mean,) = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    mean.attribute[0].ints[0] = 2
    mean.name = "/mean"
    assert (
        "/mean: ReduceMean runs over the 3 features (classes) of a timestep, not over"
        in refused(model, tmp_path)
    )
    mean.attribute[0].ints[0] = 1
    assert "/mean: ReduceMean runs over samples" in refused(model, tmp_path)


def test_an_axis_that_is_named_twice_counts_once(tmp_path):
    model = scan_model(Form())
    (mean,) = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    expected = recognised(model, tmp_path)
    mean.attribute[0].ints.extend([0, -3])
    for one, other in zip(expected, recognised(model, tmp_path), strict=True):
        assert to_text(one) == to_text(other)


def test_some_timesteps_only(tmp_path):
    model = scan_model(Form(readout="last by slice"))
    weight_of = {t.name: t for t in model.graph.initializer}
    weight_of["from"].CopyFrom(numpy_helper.from_array(np.array([0]), "from"))
    weight_of["to"].CopyFrom(numpy_helper.from_array(np.array([1]), "to"))
    assert "output 'logits' covers 1 of 13 timesteps" in refused(model, tmp_path)


def test_a_scan_over_the_wrong_axis(tmp_path):
    model = scan_model(Form())
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    (axes,) = [a for a in scan.attribute if a.name == "scan_input_axes"]
    axes.ints[0] = 2
    assert "Scan runs over axis 2, which is not the time axis" in refused(model, tmp_path)


def test_time_running_backwards(tmp_path):
    model = scan_model(Form())
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    scan.attribute.append(helper.make_attribute("scan_input_directions", [1]))
    assert "/scan: Scan runs backwards in time" in refused(model, tmp_path)


def test_a_readout_against_the_models_own(tmp_path):
    message = refused(scan_model(Form(readout="sum")), tmp_path, readout="max")
    assert "the model's readout over time is its sum, but max is asked for" in message
    with pytest.raises(ImportFailure, match=r"unknown readout 'median' \(one of mean, sum, last"):
        import_onnx(tmp_path / "net.onnx", readout="median")


def test_a_sum_divided_by_a_guess(tmp_path):
    """Dividing the sum by the batch size only looks like a mean."""
    model = scan_model(Form(readout="running mean", time_first=True))
    (axis,) = [t for t in model.graph.initializer if t.name == "time_axis"]
    axis.CopyFrom(numpy_helper.from_array(np.array([1]), "time_axis"))
    message = refused(model, tmp_path)
    assert "the model computes with its batch size or number of timesteps" in message


def test_a_bias_after_the_sum_over_time(tmp_path):
    model = scan_model(Form(readout="sum"))
    bias = numpy_helper.from_array(np.ones(3, np.float32), "late_bias")
    model.graph.initializer.append(bias)
    model.graph.node[-1].output[0] = "sum"
    model.graph.node.append(helper.make_node("Add", ["sum", "late_bias"], ["logits"], name="/late"))
    assert "/late: adds a constant after the sum over time" in refused(model, tmp_path)


def test_a_nonlinear_readout(tmp_path):
    model = scan_model(Form())
    model.graph.node[-1].output[0] = "mean"
    model.graph.node.append(helper.make_node("Relu", ["mean"], ["logits"], name="/relu"))
    message = refused(model, tmp_path)
    assert "/relu: relu follows the mean over time, with which it does not commute" in message


def test_a_linear_readout_after_the_mean(tmp_path):
    """The mean over time of the spikes, then the Linear: the same logits."""
    model = scan_model(Form(readout_outside=True))
    transpose, product, bias, mean = model.graph.node[-4:]
    mean.input[0], mean.output[0] = "ys", "mean_spikes"
    product.input[0], bias.output[0] = "mean_spikes", "logits"
    reordered = [*model.graph.node[:-4], transpose, mean, product, bias]
    del model.graph.node[:]
    model.graph.node.extend(reordered)
    x = (RNG.random((4, 7, 5)) < 0.4).astype(np.float32)
    (logits,) = session(model).run(None, {"seq": x})
    graphs = recognised(model, tmp_path)
    assert graphs[2].attrs["readout"] == "mean"
    assert_same_run(graphs, x, logits)


def test_batch_normalisation_is_a_factor_and_an_addend(tmp_path):
    """That it is constant, and not which batch it sees, makes the logits."""
    model = scan_model(Form())
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    body = next(attribute.g for attribute in scan.attribute if attribute.name == "body")
    at = next(i for i, node in enumerate(body.node) if "I0_" in node.output)
    body.node[at].output[0] = "raw"
    parameters = {"scale": [1.5, 0.5, 2, 1], "shift": [0.5, 0, 1, -1]}
    parameters |= {"mean": [0.25, 0, 0.5, 1], "variance": [1, 4, 0.25, 2]}
    names = ["raw", *parameters]
    body.node.insert(at + 1, helper.make_node("BatchNormalization", names, ["I0_"], name="/bn"))
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(array, np.float32), name)
        for name, array in parameters.items()
    )
    x = (RNG.random((4, 7, 5)) < 0.4).astype(np.float32)
    (logits,) = session(model).run(None, {"seq": x})
    assert_same_run(recognised(model, tmp_path), x, logits)
    (bn,) = [node for node in body.node if node.op_type == "BatchNormalization"]
    bn.attribute.append(helper.make_attribute("training_mode", 1))
    assert "/bn: BatchNormalization is in training mode (call model.eval()" in refused(
        model, tmp_path
    )


def test_half_precision_is_refused(tmp_path):
    model = step_model(Spelling())
    cast = helper.make_node("Cast", ["s0_"], ["half"], name="/half", to=TensorProto.FLOAT16)
    model.graph.node.append(cast)
    assert "/half: Cast of a f32 value to FLOAT16 is not supported" in refused(model, tmp_path)


def test_files_are_told_apart_by_suffix(tmp_path):
    with pytest.raises(
        ImportFailure,
        match=r"unknown kind of model '.pt' \(weights belong to a module: package.module:factory ",
    ):
        load(tmp_path / "net.pt")
    path = tmp_path / "net.dmpir"
    path.write_text("dmpir 1\ngraph")
    with pytest.raises(ParseError, match=r"net\.dmpir:2:6: unexpected end of text"):
        load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ImportFailure, match=r"net\.dmpir: this is not a text file"):
        load(path)
    with pytest.raises(ImportFailure, match="no such file"):
        load(tmp_path / "none.dmpir")
