"""Whatever way a network is written, the recognised layers run as onnxruntime runs the file."""

from dataclasses import fields, replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.ir.interpret import interpret
from tests.dmpc.frontend.oracle import TOLERANCE, assert_same_run, recognised, run_step, session
from tests.dmpc.frontend.spellings import (
    CHARGES,
    LINEARS,
    MEMORIES,
    RELUS,
    RESETS,
    SPIKES,
    STATES,
    STRICT,
    THRESHOLDS,
    Form,
    M,
    Spelling,
    node,
    scan_model,
    step_model,
    two_scans,
    weights,
)

RNG = np.random.default_rng(11)
X = (RNG.random((6, 9, M)) < 0.4).astype(np.float32)
CHOICES = {
    "threshold": THRESHOLDS, "spikes": SPIKES, "reset": RESETS, "charge": CHARGES,
    "linear": LINEARS, "relu": RELUS, "memory": MEMORIES,
}  # fmt: skip
SPELLINGS = [Spelling()] + [
    replace(Spelling(), **{field.name: choice})
    for field in fields(Spelling)
    for choice in CHOICES[field.name]
    if choice != getattr(Spelling(), field.name)
]
MIXED = [
    Spelling("v - theta >= 0", "cast", "mix", "decay", "matmul", "relu", "matmul"),
    Spelling("not v < theta", "where", "less", "negative", "left", "max", "gemm"),
    Spelling("theta < v", "where", "where subtract", "decay", "matmul", "clip", "broken"),
    Spelling("v / theta >= 1", "cast", "keep", "negative", "gemm", "relu", "late"),
    Spelling("not v <= theta", "cast", "where not", "leak", "left", "relu", "broken"),
]


def shown(spelling: Spelling) -> str:
    plain = Spelling()
    differing = [
        f.name for f in fields(Spelling) if getattr(spelling, f.name) != getattr(plain, f.name)
    ]
    return ", ".join(f"{name}: {getattr(spelling, name)}" for name in differing) or "plain"


@pytest.mark.parametrize("spelling", SPELLINGS + MIXED, ids=shown)
def test_one_timestep_in_any_spelling(spelling, tmp_path):
    model = step_model(spelling)
    sizes = {name: (f"{name}_next", size) for name, size in STATES.items()}
    expected = run_step(model, X, sizes, "x")
    graphs = recognised(model, tmp_path)
    assert_same_run(graphs, X, expected["y"].mean(axis=1))
    layers = graphs[1]
    values = {"v0": "layer1.u", "m0": "layer1.m", "v1": "layer2.u", "m1": "layer2.m"}
    trace = [f"{value}.next" for value in values.values()]
    result = interpret(layers, X.astype(np.float64), trace=trace)
    np.testing.assert_allclose(result.outputs, expected["y"], atol=TOLERANCE)
    for state, value in values.items():
        actual = result.traces[f"{value}.next"]
        np.testing.assert_allclose(actual, expected[f"{state}_next"], atol=TOLERANCE)
    spikes = interpret(layers, X.astype(np.float64), trace=["layer1.spikes", "layer2.spikes"])
    assert all(0.02 < trace.mean() < 0.98 for trace in spikes.traces.values())


@pytest.mark.parametrize("spelling", SPELLINGS + MIXED, ids=shown)
def test_parameters_are_recovered(spelling, tmp_path):
    _, layers, _ = recognised(step_model(spelling), tmp_path)
    stored = weights()
    lif = layers.producer("layer1.spikes")
    soft = "subtract" in spelling.reset
    strict = spelling.threshold in STRICT
    assert lif.attrs == {
        "layer": "layer1", "reset_mode": "subtract" if soft else "hard", "strict": strict
    }  # fmt: skip
    expected = {
        "layer1.fast.weight": stored["wf0_"] / 2,
        "layer1.fast.bias": (stored["bf0_"] + stored["bm0_"]) / 2,
        "layer1.slow.weight": stored["wm0_"] / 2,
        "layer2.drive.weight": stored["wx1_"][0],
        "layer2.drive.bias": stored["bx1_"],
        "layer2.memory.A": stored["a1_"],
        "layer2.memory.B": stored["b1_"],
        "layer2.beta": np.full(4, 0.5),
        "layer2.threshold": np.full(4, 0.75),
        "readout.weight": stored["wo"],
        "readout.bias": stored["bo"],
    }
    for name, array in expected.items():
        np.testing.assert_allclose(layers.constants[name], array, atol=1e-5, err_msg=name)
    slow = layers.producer("layer1.slow")
    assert slow.operands[0] == ("layer1.m" if spelling.memory == "late" else "layer1.m.next")


FORMS = [
    Form(),
    Form(time_first=True),
    Form(scan_axis=1),
    Form(time_first=True, scan_axis=1),
    Form(weights_inside=True),
    Form(readout_outside=True),
    Form(readout_outside=True, time_first=True, weights_inside=True),
    Form(readout="sum"),
    Form(readout="max"),
    Form(readout="last"),
    Form(readout="last by slice", scan_axis=1),
    Form(readout="running sum"),
    Form(readout="running mean", time_first=True),
    Form(zeros="expand"),
    Form(zeros="times zero"),
    Form(opset=13),
    Form(opset=18),
    Form(opset=21),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_sequence_as_a_scan(form, tmp_path):
    model = scan_model(form)
    x = X.transpose(1, 0, 2).copy() if form.time_first else X
    (logits,) = session(model).run(None, {"seq": x})
    graphs = recognised(model, tmp_path)
    readouts = {"last by slice": "last", "running sum": "sum", "running mean": "mean"}
    readout = readouts.get(form.readout, form.readout)
    assert graphs[2].attrs["readout"] == readout
    assert_same_run(graphs, X, logits)


@pytest.mark.parametrize("spelling", MIXED, ids=shown)
def test_spellings_inside_a_scan(spelling, tmp_path):
    model = scan_model(Form(), spelling)
    (logits,) = session(model).run(None, {"seq": X})
    assert_same_run(recognised(model, tmp_path), X, logits)


def test_step_and_scan_give_the_same_layers(tmp_path):
    step = recognised(step_model(Spelling()), tmp_path)[2]
    for form in (Form(), Form(weights_inside=True, scan_axis=1)):
        scan = recognised(scan_model(form), tmp_path)[2]
        assert [op.kind for op in scan.ops] == [op.kind for op in step.ops]
        assert scan.constants.keys() == step.constants.keys()
        for name, array in scan.constants.items():
            np.testing.assert_array_equal(array, step.constants[name])


def test_a_fixed_batch_makes_no_difference(tmp_path):
    free = recognised(step_model(Spelling()), tmp_path)[2]
    for batch in (1, 3):
        assert recognised(step_model(Spelling(), batch), tmp_path)[2] == free


def without_batch(model):
    """The same model for one sample: inputs and outputs [batch, n] become [n]."""
    for info in (*model.graph.input, *model.graph.output):
        del info.type.tensor_type.shape.dim[0]
    return model


def test_a_timestep_without_batch_axis(tmp_path):
    model = step_model(Spelling(linear="matmul", memory="broken"))
    one = without_batch(step_model(Spelling(linear="matmul", memory="broken")))
    gemm = [node for node in one.graph.node if node.op_type == "Gemm"]
    assert [node.name for node in gemm] == ["/y"]
    gemm[0].op_type = "MatMul"
    del gemm[0].attribute[:], gemm[0].input[2:]
    gemm[0].input[:] = ["s1_", "wo_t"]
    one.graph.initializer.append(numpy_helper.from_array(weights()["wo"].T.copy(), "wo_t"))
    found, expected = recognised(one, tmp_path)[2], recognised(model, tmp_path)[2]
    for name, array in found.constants.items():
        np.testing.assert_allclose(array, expected.constants[name], atol=1e-12)


def test_one_scan_per_layer(tmp_path):
    """A Scan whose outputs another Scan reads: both run in the one timestep of the graph."""
    model = two_scans()
    (logits,) = session(model).run(None, {"seq": X})
    assert_same_run(recognised(model, tmp_path), X, logits)


def test_provenance_is_the_users_nodes(tmp_path):
    layers = recognised(step_model(Spelling(linear="matmul")), tmp_path)[1]
    locs = {op.results[0]: op.loc for op in layers.ops}
    assert locs["layer1.fast"] == ("/pf0_",)
    assert locs["layer2.fast"] == ("/pf1_",)
    assert locs["layer1.x"] == ("/pd0_", "/x0_")
    assert locs["layer1.slow"] == ("/i0_",)
    assert locs["layer2.spikes"] == ("/c1_", "/v1_next")
    assert locs["readout"] == ("/y",)
    assert layers.locs["layer2.fast.weight"] == ("wf1_",)


STEPS = (
    "relu of sign",
    "sign of relu",
    "truth of relu",
    "sign of sign",
    "ceil of a clip",
    "half a sign, rounded down",
    "floor of a clip",
    "clip of a sign",
    "a count, at most one",
    "a count, less what is too much",
)


@pytest.mark.parametrize("threshold", ["v >= theta", "v > theta", *STEPS])
def test_a_membrane_just_at_its_threshold(threshold, tmp_path):
    """`x` 0.75 from membrane 0 is the threshold: what onnxruntime makes of it is the spike."""
    model = step_model(Spelling(threshold))
    stored = {t.name: t for t in model.graph.initializer}
    for name in ("bf0_", "bm0_", "wm0_"):
        array = np.zeros_like(numpy_helper.to_array(stored[name]))
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    current = np.eye(4, M, dtype=np.float32) * np.float32(1.5)
    stored["wf0_"].CopyFrom(numpy_helper.from_array(current, "wf0_"))
    x = np.ones((1, 3, M), np.float32)
    sizes = {name: (f"{name}_next", size) for name, size in STATES.items()}
    expected = run_step(model, x, sizes, "x")
    graphs = recognised(model, tmp_path)
    assert_same_run(graphs, x, expected["y"].mean(axis=1))
    spikes = interpret(graphs[1], x.astype(np.float64), trace=["layer1.spikes"])
    assert np.all(spikes.traces["layer1.spikes"][:, 0] == (threshold not in STRICT))


def spiking_by(*lines: str):
    """A network whose first layer's spikes `s0_` are made by lines, from the membrane `v0_`."""
    model = step_model(Spelling())
    at = next(i for i, n in enumerate(model.graph.node) if n.output[0] == "c0_")
    while model.graph.node[at].output[0] in ("c0_", "s0_"):
        del model.graph.node[at]
    for number, line in enumerate([*lines, "c0_ = Cast(s0_) to 9"]):
        model.graph.node.insert(at + number, node(line, {}, "", ()))
    return model


def half_spike():
    """`(sign(v - theta) + 1) / 2` in the first layer of a network."""
    return spiking_by(
        "o0 = Sub(v0_, theta)", "g0 = Sign(o0)", "p0 = Add(g0, one)", "s0_ = Mul(p0, gain)"
    )


def strange_count():
    """A membrane that spikes as often as the square of how often it holds the threshold."""
    return spiking_by("q0 = Div(v0_, theta)", "w0 = Floor(q0)", "s0_ = Mul(w0, w0)")


def test_half_a_spike_is_refused(tmp_path):
    with pytest.raises(ImportFailure) as caught:
        recognised(half_spike(), tmp_path)
    assert "/s0_: the step is 0 below zero, 1 above it, and 0.5 at zero itself (v >= " in str(
        caught.value
    )


def test_operators_that_only_steps_know(tmp_path):
    model = step_model(Spelling())
    (relu,) = [node for node in model.graph.node if node.name == "/x0_"]
    relu.op_type = "Ceil"
    with pytest.raises(ImportFailure, match=r"/x0_: operator Ceil is .* part of a threshold only"):
        recognised(model, tmp_path)


def test_a_batch_norm_is_folded_where_it_is_applied(tmp_path):
    """And one that is only declared, weights without a node, is dead."""
    model = step_model(Spelling())
    rng = np.random.default_rng(3)
    for part in ("scale", "bias", "mean", "var"):
        array = rng.uniform(0.5, 1.5, 4).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, part))
        model.graph.initializer.append(numpy_helper.from_array(array, f"unused_{part}"))
    (fast,) = [node for node in model.graph.node if node.output[0] == "f0_"]
    fast.output[0] = "before"
    at = list(model.graph.node).index(fast)
    norm = helper.make_node(
        "BatchNormalization", ["before", "scale", "bias", "mean", "var"], ["f0_"], epsilon=1e-3
    )
    drop = helper.make_node("Dropout", ["f0_"], ["dropped"])
    model.graph.node.insert(at + 1, norm)
    model.graph.node.insert(at + 2, drop)
    for user in model.graph.node[at + 3 :]:
        for number, name in enumerate(user.input):
            if name == "f0_":
                user.input[number] = "dropped"
    sizes = {name: (f"{name}_next", size) for name, size in STATES.items()}
    expected = run_step(model, X, sizes, "x")
    assert_same_run(recognised(model, tmp_path), X, expected["y"].mean(axis=1))
