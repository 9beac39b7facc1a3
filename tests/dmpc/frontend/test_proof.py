"""The import is run against the file before it is accepted; a wrong graph does not pass."""

import time
from dataclasses import replace

import numpy as np
import onnx
import pytest

import dmpc
from dmpc.backend.onnx_writer import to_onnx
from dmpc.compiler import Options, import_layers, to_layers
from dmpc.errors import DmpcError, ImportFailure
from dmpc.frontend import import_onnx, open_model
from dmpc.frontend.models import Model
from dmpc.frontend.proof import EQUAL, compare, prove
from dmpc.frontend.proof_input import LEAST, MOST, SAMPLES, drawn, plan
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from tests.dmpc.frontend.sequences import M, N, Nodes, T, Variant, dft, model, weights
from tests.dmpc.frontend.spellings import Form, Spelling, scan_model, step_model
from tests.networks import Layer, Shape, network

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
    assert prove(imported, imported.graph).largest <= EQUAL


def test_an_axis_of_no_samples_is_told_as_onnxruntime_does(tmp_path):
    damaged = step_model(Spelling())
    for value in (*damaged.graph.input, *damaged.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 0
    imported = opened(damaged, tmp_path)
    layers = to_layers(imported.graph, Options())
    with pytest.raises(DmpcError, match=r"onnxruntime cannot run the model: .* Expected: 0"):
        prove(imported, layers)


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
    assert prove(right, to_layers(right.graph, Options())).largest <= EQUAL
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


def test_the_input_reaches_what_the_network_can_reach():
    found = drawn(50, len(SAMPLES), 40)
    assert found.shape == (len(SAMPLES), 40, 50)
    events = found[[set(np.unique(sample)) <= {0.0, 1.0} for sample in found]]
    densities = events.mean(axis=(1, 2))
    assert np.allclose((densities.min(), densities.max()), (0, 1))
    assert np.diff(np.sort(densities)).max() < 0.35
    assert found.min() < -16
    assert found.max() > 16
    assert (found.min(axis=(1, 2)) >= 0).sum() > len(events)
    assert (found.max(axis=(1, 2)) < 0).any()
    assert set(np.unique(drawn(50, len(SAMPLES), 40, binary=True))) == {0.0, 1.0}
    assert np.array_equal(drawn(50, 8, 40), found[:8])


def test_more_input_where_it_is_cheap():
    small = to_layers(import_onnx(scan_model(Form())), Options())
    assert plan(small, None, None) == (len(SAMPLES), MOST)
    assert plan(small, 20, None) == (len(SAMPLES), 20)
    late = replace(small, attrs={**small.attrs, "since": 400})
    assert plan(late, None, None) == (len(SAMPLES), 400 + LEAST)
    one = plan(small, None, 1)
    assert 8 <= one[0] <= len(SAMPLES)
    assert LEAST < one[1] < MOST
    big = small.copy()
    big.constants["layer1.fast.weight"] = np.zeros((1000, 1000))
    assert plan(big, None, None) == (8, LEAST)


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


# -- ties that float32 decides ---------------------------------------------------------------------


def on_a_grid(seed: int, *, readout: str = "mean") -> Graph:
    """Layers whose weights are tenths and whose threshold is 1: sums meet it but for rounding."""
    shape = Shape(6, (Layer(8, bias=False), Layer(8, bias=False)), readout=readout, seed=seed)
    graph, random = network(shape), np.random.default_rng(seed)
    for name, value in graph.constants.items():
        tenths = random.integers(-3, 10, value.shape) / 10
        kind = name.rpartition(".")[2]
        fixed = {"threshold": 1.0, "reset": 0.0, "beta": 0.9}.get(kind)
        graph.constants[name] = tenths if fixed is None else np.full(value.shape, fixed)
    return graph


def decimal(seed: int) -> Variant:
    """The same, unrolled over time: there the file does not show its neurons' spikes."""
    random = np.random.default_rng(seed)

    def tenths(array: np.ndarray) -> np.ndarray:
        return (random.integers(-4, 8, array.shape) / 5).astype(np.float32)

    found = {name: tenths(array) for name, array in weights().items() if name[:2] in ("wf", "bf")}
    still = {name: 0 * array for name, array in weights().items() if name[:2] == "wm"}
    return Variant(weights=found | still)


def differing(imported: Model, layers: Graph, x: np.ndarray) -> int:
    """Samples whose logits differ where nobody is told what to spike."""
    found = compare(interpret(layers, x).logits, imported.reference.logits(x))
    return sum(error > EQUAL for error in found.errors)


def test_weights_on_a_grid_compile_with_and_without_calibration(tmp_path):
    x = (np.random.default_rng(5).random((8, 60, 6)) < 0.4).astype(np.float64)
    ties = 0
    for seed in range(3):
        imported = opened(to_onnx(on_a_grid(seed)), tmp_path)
        layers = to_layers(imported.graph, Options())
        ties += differing(imported, layers, x)
        assert prove(imported, layers, x).largest <= EQUAL
        assert dmpc.compile(tmp_path / "net.onnx").image
        assert dmpc.compile(tmp_path / "net.onnx", calibration=x).image
    assert ties > 4  # or this shows nothing


def test_a_mistake_beside_ties_is_still_one(tmp_path):
    """Another threshold, by one part in a thousand."""
    imported = opened(to_onnx(on_a_grid(1)), tmp_path)
    layers = to_layers(imported.graph, Options())
    layers.constants["layer1.threshold"] *= 1.001
    x = (np.random.default_rng(5).random((8, 60, 6)) < 0.4).astype(np.float64)
    fires = r"of layer1: neuron \d fires in the model and does not here, its charge 1.* at a thre"
    with pytest.raises(ImportFailure, match=fires):
        prove(imported, layers, x)


def test_a_spike_that_no_logit_shows_is_compared(tmp_path):
    """Nothing is read of a neuron: the logits are equal whatever it does."""
    graph = on_a_grid(2)
    graph.constants["readout.weight"][:, 5] = 0
    imported = opened(to_onnx(graph), tmp_path)
    layers = to_layers(imported.graph, Options())
    layers.constants["layer2.threshold"][5] *= 1.3
    with pytest.raises(ImportFailure, match=r"spikes differ.* of layer2: neuron 5 fires"):
        prove(imported, layers)


def test_ties_are_told_by_their_margin_where_spikes_are_not_seen(tmp_path):
    x = (np.random.default_rng(5).random((8, T, M)) < 0.5).astype(np.float64)
    ties = 0
    for seed in range(6):
        imported = opened(decimal(seed), tmp_path)
        layers = to_layers(imported.graph, Options())
        ties += differing(imported, layers, x)
        assert prove(imported, layers, x).holds
    assert ties > 2  # or this shows nothing
    layers.constants["layer2.threshold"][0] *= 1.2
    with pytest.raises(ImportFailure, match="is not the model"):
        prove(imported, layers, x)


def test_a_membrane_that_comes_to_rest_at_its_threshold(tmp_path):
    """`u = u / 2 + 0.5` is 1 in float32 after 24 timesteps, in float64 after 53."""
    graph = on_a_grid(3)
    graph.constants["layer1.fast.weight"] *= 0
    graph.constants["layer1.fast.bias"] = np.full(8, 0.5)
    (fast,) = [op for op in graph.ops if op.results == ("layer1.fast",)]
    fast.operands = (*fast.operands[:2], "layer1.fast.bias")
    graph.types["layer1.fast.bias"] = graph.types["layer1.beta"]
    graph.constants["layer1.beta"] = np.full(8, 0.5)
    imported = opened(to_onnx(graph), tmp_path)
    layers = to_layers(imported.graph, Options())
    assert differing(imported, layers, np.zeros((1, 100, 6))) == 1
    assert prove(imported, layers).holds


def test_a_late_difference_is_reached(tmp_path):
    """A bias that acts through a slow membrane alone, long after the first timesteps."""
    graph = on_a_grid(4)
    graph.constants["layer1.beta"] = np.full(8, 0.999)
    graph.constants["layer1.fast.weight"] *= 0.001
    imported = opened(to_onnx(graph), tmp_path)
    layers = to_layers(imported.graph, Options())
    assert prove(imported, layers).holds
    layers.add_constant("extra", np.full(8, 0.01), layers.types["layer1.beta"])
    (fast,) = [op for op in layers.ops if op.results == ("layer1.fast",)]
    fast.operands = (*fast.operands, "extra")
    x = np.zeros((2, 32, 6))
    assert not differing(imported, layers, x)
    with pytest.raises(ImportFailure, match="is not the model"):
        prove(imported, layers)


@pytest.mark.parametrize("insists", [False, True])
def test_long_samples_drift_in_float32_and_are_no_mistake(insists, tmp_path):
    shape, steps = Shape(5, (Layer(6),), classes=4, readout="sum"), 30000
    made = to_onnx(network(shape))
    if insists:
        made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = steps
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    x = (np.random.default_rng(0).random((1, steps, 5)) < 0.02).astype(np.float32)
    assert import_layers(path, Options(), x).level == "layers"
