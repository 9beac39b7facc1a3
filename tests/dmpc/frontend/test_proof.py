"""The import is run against the file before it is accepted; a wrong graph does not pass."""

import time
from dataclasses import replace

import numpy as np
import onnx
import pytest

import dmpc
from dmpc.compiler import Options, import_layers, to_layers
from dmpc.errors import ImportFailure
from dmpc.frontend import open_model
from dmpc.frontend.models import Model
from dmpc.frontend.proof import EQUAL, compare, proof_input, prove
from dmpc.ir.interpret import interpret
from tests.dmpc.frontend.sequences import M, N, Nodes, T, Variant, dft, model, weights
from tests.dmpc.frontend.spellings import Spelling, step_model

PLAIN = Variant()


def opened(variant: Variant | onnx.ModelProto, tmp_path, name: str = "net") -> Model:
    path = tmp_path / f"{name}.onnx"
    onnx.save(model(variant) if isinstance(variant, Variant) else variant, path)
    return open_model(path)


def late(nodes: Nodes, m: str) -> str:
    return nodes.cut(nodes("Pad", m, [0, 1, 0, 0, 0, 0]), 0, T, 1)


WRONG = {
    "m read one step late": Variant(after=late),
    "soft reset": Variant(neuron="soft"),
    "input not decayed": Variant(neuron="no decay of the input"),
    "a bias dropped": Variant(weights={"bx1": np.zeros(1, np.float32)}),
    "the second layer one step late": Variant(between=late),
    "a weight off by 1 %": Variant(weights={"wm1": weights()["wm1"] * np.float32(1.01)}),
}


@pytest.mark.parametrize("variant", [PLAIN, Variant(dft), *WRONG.values()])
def test_what_is_imported_is_the_model(variant, tmp_path):
    imported = opened(variant, tmp_path)
    assert prove(imported, imported.graph).errors[0] <= EQUAL


@pytest.mark.parametrize("wrong", WRONG)
def test_another_network_is_not(wrong, tmp_path):
    right, other = opened(PLAIN, tmp_path), opened(WRONG[wrong], tmp_path, "other")
    with pytest.raises(ImportFailure, match="the imported network is not the model: logits dif"):
        prove(right, other.graph)


def test_recognition_gone_wrong_names_the_layer(tmp_path):
    """The imported graph is the model, but the second layer's reset was not recognised as such."""
    right = opened(PLAIN, tmp_path)
    layers = to_layers(right.graph, Options())
    second = next(op for op in layers.ops if op.results[0] == "layer2.spikes")
    second.attrs["reset_mode"] = "subtract"
    second.operands = second.operands[:-1]
    with pytest.raises(ImportFailure) as caught:
        prove(right, layers)
    assert "recognition changes the spikes first in timestep " in str(caught.value)
    assert " of layer2 (this is a mistake of the importer; please report" in str(caught.value)
    assert caught.value.rule is not None
    assert caught.value.rule.name == "not-the-model"


def test_an_operator_gone_wrong_names_the_tensor(tmp_path):
    """The first tensor of the file that is computed otherwise, whatever follows it."""
    right = opened(PLAIN, tmp_path)
    name = next(name for name in right.graph.constants if name.startswith("wm1"))
    right.graph.constants[name] = right.graph.constants[name] * 1.1
    with pytest.raises(ImportFailure) as caught:
        prove(right, to_layers(right.graph, Options()))
    product = next(n for n in model(PLAIN).graph.node if "wm1" in n.input)
    assert f"net.onnx: {product.name}: " in str(caught.value)
    assert f"'{product.output[0]}' is " in str(caught.value)
    assert ", and imported as " in str(caught.value)


def test_one_timestep_gone_wrong_names_the_tensor(tmp_path):
    right = opened(step_model(Spelling()), tmp_path)
    assert prove(right, to_layers(right.graph, Options())).errors[0] <= EQUAL
    (bias,) = [name for name in right.graph.constants if name.startswith("bo")]
    right.graph.constants[bias] = right.graph.constants[bias] * 2
    with pytest.raises(ImportFailure, match=r"/y: run on the same input, .* 'y' is "):
        prove(right, to_layers(right.graph, Options()))


def test_compile_proves(tmp_path):
    """Through `dmpc.compile`, with and without calibration data."""
    path = tmp_path / "net.onnx"
    onnx.save(model(PLAIN), path)
    other = opened(WRONG["soft reset"], tmp_path, "other")
    assert dmpc.compile(path).image
    swapped = replace(open_model(path), graph=other.graph)
    x = (np.random.default_rng(0).random((2, T, M)) < 0.3).astype(np.float32)
    for calibration in (None, x):
        with pytest.raises(ImportFailure, match=r"net\.onnx: .*is not the model"):
            dmpc.compile(swapped, calibration=calibration)


# -- the tie ---------------------------------------------------------------------------------------


def tie(neuron: str) -> Variant:
    """Every input of 1 is a current of 2: from membrane 0, the charge is 1, just the threshold."""
    wf = 2 * np.eye(M, N, dtype=np.float32)
    silent = {f"{kind}0": np.zeros_like(weights()[f"{kind}0"]) for kind in ("bf", "wm")}
    return Variant(neuron=neuron, weights={"wf0": wf, **silent})


@pytest.mark.parametrize(("neuron", "fires"), [("plain", 1.0), ("strict", 0.0)])
def test_the_tie(neuron, fires, tmp_path):
    """`>` against `>=`: it shows on no natural data."""
    imported = opened(tie(neuron), tmp_path)
    x = np.zeros((1, T, M))
    x[0, 2] = 1
    layers = import_layers(imported, Options(), x)
    spikes = interpret(layers, x, trace=["layer1.spikes"]).traces["layer1.spikes"]
    assert spikes[0, 2].tolist() == [fires] * N
    assert compare(interpret(layers, x).logits, imported.reference.logits(x)).holds
    other = opened(tie("strict" if neuron == "plain" else "plain"), tmp_path, "other")
    ties = np.tile(x, (8, 1, 1))
    with pytest.raises(ImportFailure, match="is not the model"):
        prove(imported, to_layers(other.graph, Options()), ties)


# -- input -----------------------------------------------------------------------------------------


def test_the_input_is_the_users_filled_up_with_random_events_and_values():
    x = np.ones((3, 5, 2), np.float32)
    assert np.array_equal(proof_input(2, None, x)[:3], x)
    for given, steps in ((None, None), (None, 7), (x, 7), (x, 5), (x, None)):
        found = proof_input(2, steps, given)
        assert found.shape == (8, steps or (5 if given is not None else 32), 2)
    random = proof_input(50, 40, None)
    assert set(np.unique(random[0])) == {0.0, 1.0}
    assert np.abs(random[1]).max() > 1


def test_numbers_that_are_not_finite_are_no_proof():
    one = np.ones((4, 3))
    assert compare(one, one).holds
    for bad in (np.nan, np.inf):
        broken = one.copy()
        broken[2, 1] = bad
        assert not compare(broken, one).holds


def test_the_proof_takes_less_than_a_second(tmp_path):
    imported = opened(PLAIN, tmp_path)
    layers = to_layers(imported.graph, Options())
    prove(imported, layers)
    start = time.perf_counter()
    prove(imported, layers)
    assert time.perf_counter() - start < 1
