"""Networks of which parts are zero, as pruning leaves them: layers, memories, the whole readout.

Recognition reads structure from coefficients, and a coefficient of zero shows none.
"""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import dmpc
from dmpc.backend.onnx_writer import to_onnx
from dmpc.compiler import Options, import_layers, to_layers
from dmpc.errors import DmpcError
from dmpc.frontend import import_onnx, open_model
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.ir.verify import verify as verify_graph
from dmpc.passes.base import apply
from dmpc.passes.fold import Fold
from dmpc.verification import verify
from isa.target import target_names
from tests.dmpc.frontend import sequences
from tests.dmpc.frontend.spellings import PLAIN, Form, scan_model, step_model, two_scans
from tests.networks import Layer, Shape, compile_network, network, networks, samples

ROUNDED = 1e-6  # of the largest logit: W_m is recovered from W_m A


def zeroed(shape: Shape, share: float, seed: int) -> Graph:
    """A random network whose constants, as float32 holds them, are zero here and there."""
    graph = network(shape)
    random = np.random.default_rng(seed)
    for name, value in graph.constants.items():
        if not name.endswith("delays"):
            kept = value.astype(np.float32).astype(np.float64)
            graph.constants[name] = kept * (random.random() >= share)
    return graph


def pruned(shape: Shape, share: float, seed: int) -> Graph:
    """The same, with all leaks of layers whose membranes have limits, adapt by a current, or spike
    several times.

    Without one, several thresholds of a charge are as many layers, of which none has a state. An
    adaptation that follows a membrane is then itself what inputs charge. And where neurons hear
    themselves, a limit of what is not kept is not told from one of what is.
    """
    graph, whole = zeroed(shape, share, seed), network(shape)
    for number, one in enumerate(shape.layers, 1):
        if one.clamped or one.often > 1 or one.adapts == "current":
            beta = whole.constants[f"layer{number}.beta"]
            graph.constants[f"layer{number}.beta"] = beta.astype(np.float32).astype(np.float64)
    return graph


def calm(shape: Shape) -> Shape:
    """Without weights so large or small that float32 alone decides on a spike.

    And without adaptations that start elsewhere than at zero: one that nothing drives might as well
    hold old events. Nor a readout of the input that is left without a layer's: none reads it.
    """
    shape = replace(shape, besides=min(shape.besides, len(shape.layers) - 1))
    flavours = ("normal", "sparse", "zero", "positive")
    layers = (
        replace(
            one,
            flavour=one.flavour if one.flavour in flavours else "normal",
            starts=one.starts and not one.adapts,
        )
        for one in shape.layers
    )
    return replace(shape, layers=tuple(layers), steps=max(shape.steps, 5))


zeros = st.sampled_from((0.1, 0.3, 0.6, 0.9)), st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(networks(), *zeros, st.booleans())
def test_what_comes_back_from_a_file_is_the_network(shape, share, seed, folded):
    shape = calm(shape)
    graph = pruned(shape, share, seed)
    x = samples(shape).astype(np.float64)
    written = to_onnx(apply(Fold(), graph) if folded else graph)
    wanted = interpret(graph, x).logits
    try:
        layers = to_layers(import_onnx(written, initial_states="keep"), Options())
    except DmpcError:
        assert not np.ptp(wanted, axis=0).any(), "only an answer without any input may be refused"
        return
    verify_graph(layers)
    found = interpret(layers, x).logits
    np.testing.assert_allclose(found, wanted, rtol=0, atol=ROUNDED * (1 + np.abs(wanted).max()))


@settings(max_examples=12, deadline=None)
@given(networks(), *zeros, st.sampled_from(target_names()), st.booleans())
def test_they_compile_and_run(shape, share, seed, target, seen):
    """Every bit of the image that is made of the file, against the file.

    Currents start from zero: one that others alone read may be a memory, which has to.
    """
    shape = calm(shape)
    begun = (replace(one, starts=one.starts and not one.current) for one in shape.layers)
    shape = replace(shape, layers=tuple(begun))
    graph, x = pruned(shape, share, seed), samples(shape).astype(np.float64)
    try:
        layers = to_layers(import_onnx(to_onnx(graph), initial_states="keep"), Options())
    except DmpcError:
        answer = interpret(graph, x).logits
        assert not np.ptp(answer, axis=0).any(), "only an answer without any input may be refused"
        return
    options = Options(target=target, input_range=(-1.0, 1.0) if shape.graded else None)
    if seen and shape.graded:
        x[0, 0, 0] = 0.25  # so that it is seen to be graded
    made = compile_network(layers, calibration=x if seen else None, options=options)
    assert verify(layers, made.image, x, max_drop=100).ok


@pytest.mark.parametrize("seed", [2468680, 1, 2])
def test_limits_of_what_is_constant_are_none(seed):
    """A membrane that only its limits move."""
    heard = Layer(8, states=1, hard=False, strict=True, flavour="zero", dilation=3, heard=2)
    still = Layer(9, states=10, flavour="zero", dilation=2, again=2, heard=1, clamped="below")
    shape = Shape(inputs=6, layers=(heard, still), classes=3, readout="last", density=1.0, seed=406)
    graph = zeroed(shape, 0.6, seed)
    layers = to_layers(import_onnx(to_onnx(graph)), Options())
    x = samples(shape).astype(np.float64)
    np.testing.assert_allclose(interpret(layers, x).logits, interpret(graph, x).logits, atol=1e-5)


EVERY = {
    "nothing": (),
    "fast": ("wf",), "slow": ("wm",), "drive": ("wx", "bx"), "drive's weights": ("wx",),
    "memory's input": ("b",), "memory": ("a", "b"), "memory keeps nothing": ("a",),
    "neurons": ("wf", "wm"), "neurons and biases": ("wf", "wm", "bf", "bm"),
    "everything": ("wf", "wm", "wx", "a", "b", "bf", "bm", "bx"),
}  # fmt: skip
FORMS = {
    "step": lambda: step_model(PLAIN),
    "scan": lambda: scan_model(Form()),
    "two scans": two_scans,
    "unrolled": lambda: sequences.model(sequences.Variant()),
}


def without(model: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    """A model whose weights of some names are zero."""
    for tensor in model.graph.initializer:
        if tensor.name.rstrip("_") in names:
            array = np.zeros_like(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layers", ["0", "01"])
@pytest.mark.parametrize("part", EVERY)
def test_every_form_of_file_is_proven(part, layers, form, tmp_path):
    """The import is run against the file itself (`frontend.proof`) on the way."""
    names = {f"{name}{layer}" for name in EVERY[part] for layer in layers}
    # Spellings store some weights twice.
    names |= {f"aT{layer}" for layer in layers if "a" in EVERY[part]}
    path = tmp_path / "net.onnx"
    onnx.save(without(FORMS[form](), names), path)
    graph = import_layers(path, Options())
    assert [op.kind for op in graph.ops][-2:] == ["lif", "dense"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_readout_of_zero_answers_with_its_bias(form, bias, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(without(FORMS[form](), {"wo"} if bias else {"wo", "bo"}), path)
    made = dmpc.compile(path)
    readout = made.layers.ops[-1]
    assert readout.operands[0] == "layer2.spikes"
    model = open_model(path)
    x = np.ones((3, model.reference.steps or 7, made.layers.types["x"].size))
    assert bool(interpret(made.layers, x).logits.any()) == bias
    assert verify(path, made.image, x).ok


SINGLE = Layer(1, bias=False)
DEAD = {  # what is zero, by name
    "neurons that are constant": ((Layer(3),), "1.beta 1.fast"),
    "a threshold of zero": ((Layer(3, bias=False),), "1.beta 1.fast 1.threshold"),
    "one neuron that hears itself alone": ((Layer(1, recurrent=True),), "1.beta 1.fast"),
    "an echo alone": ((Layer(4, recurrent=True, echo=3),), "1.beta 1.fast 1.recurrent"),
    "a memory that keeps nothing of one neuron": ((Layer(1), Layer(3, 4)), "2.A"),
    "a hold of a memory that keeps nothing": ((Layer(1), Layer(3, 4, dilation=3)), "2.A 2.bx"),
    "a hold of several drives": (
        (Layer(2, 4, dilation=2, drives=2, linear=True, current="late"),), "1.A",
    ),
    "a threshold that moves to nothing": (
        (Layer(3, hard=False, bias=False, recurrent=True, adapts="threshold"),),
        "1.beta 1.rho 1.jump 1.reset 1.recurrent",
    ),
    "a threshold that stays": (
        (
            Layer(5, states=3, current="late", other="now", linear=True, adapts="threshold"),
            Layer(3),
        ),
        "1.fast 1.alpha 1.reset 1.rho 1.jump",
    ),
    "limits of neurons that keep nothing": ((Layer(4, clamped="both"),), "1.beta"),
    "not a spike, again": ((SINGLE, Layer(3, recurrent=True)), "2.beta 2.threshold 2.recurrent"),
    "a layer that hears the next one alone": ((Layer(3, heard=1), Layer(2)), "1.beta 1.fast"),
    "a spike as many": ((SINGLE, Layer(8), Layer(2, delays=4, echo=3)), "2.beta 2.fast.bias"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEAD)
@pytest.mark.parametrize("seed", [0, 3])
def test_what_is_dead_is_still_a_layer(kind, seed):
    layers, names = DEAD[kind]
    shape = Shape(2, tuple(replace(one, legendre=False) for one in layers), steps=8, seed=seed)
    graph = network(shape)
    zero = {f"layer{name}" for name in names.split()}
    for name in graph.constants:
        if name in zero or name.removesuffix(".weight").removesuffix(".bias") in zero:
            graph.constants[name] *= 0
    found = to_layers(import_onnx(to_onnx(graph)), Options())
    x = samples(shape).astype(np.float64)
    np.testing.assert_allclose(interpret(found, x).logits, interpret(graph, x).logits, atol=1e-5)


@pytest.mark.parametrize("current", ["", "late"])
@pytest.mark.parametrize("seed", range(4))
def test_a_linear_memory_that_swings_is_no_current(current, seed):
    """A current keeps a share of itself; a memory of one state may turn its sign each timestep."""
    layer = Layer(7, 1, legendre=False, linear=True, recurrent=True, current=current)
    shape = Shape(3, (layer, Layer(3)), steps=8, seed=seed)
    graph = network(shape)
    graph.constants["layer1.A"] = -np.abs(graph.constants["layer1.A"]) - 0.1
    found = to_layers(import_onnx(to_onnx(graph)), Options())
    assert "memory" in [op.kind for op in found.ops]
    x = samples(shape).astype(np.float64)
    np.testing.assert_allclose(interpret(found, x).logits, interpret(graph, x).logits, atol=1e-5)


LEAKLESS = Shape(4, (Layer(5, states=3, recurrent=True), Layer(4)), samples=4, steps=12, seed=2)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("graded", [True, False])
def test_neurons_that_keep_nothing_of_their_membranes(hard, graded):
    """An importer folds `0 u` away, and no state is left that a spike could reset."""
    layers = tuple(replace(layer, hard=hard) for layer in LEAKLESS.layers)
    shape = replace(LEAKLESS, layers=layers, graded=graded)
    graph = network(shape)
    for name in ("layer1.beta", "layer2.beta"):
        graph.constants[name] *= 0
    found = to_layers(import_onnx(to_onnx(graph)), Options())
    assert not found.constants["layer1.beta"].any()
    x = samples(shape).astype(np.float64)
    wanted = interpret(graph, x).logits
    assert np.ptp(wanted, axis=0).any()
    np.testing.assert_allclose(interpret(found, x).logits, wanted, atol=1e-5)


def test_a_hold_of_a_constant_is_a_bias():
    """`W_m m + b` is held every few timesteps, and W_m is zero."""
    shape = Shape(4, (Layer(5, states=3, dilation=3), Layer(4)), samples=4, steps=12, seed=2)
    graph = network(shape)
    graph.constants["layer1.A"] *= 0
    graph.constants["layer1.B"] *= 0
    found = to_layers(import_onnx(to_onnx(graph)), Options())
    x = samples(shape).astype(np.float64)
    np.testing.assert_allclose(interpret(found, x).logits, interpret(graph, x).logits, atol=1e-5)


@pytest.mark.parametrize("current", ["now", "late"])
def test_a_current_that_nothing_drives_is_no_adaptation_and_leaves_membranes_their_limits(current):
    """Found by the campaign: a state of zeros beside a membrane was taken for what it adapts by."""
    layer = Layer(neurons=4, states=0, flavour="zero", current=current, clamped="both")
    shape = Shape(inputs=5, layers=(Layer(neurons=3, states=0), layer), classes=3, seed=3)
    graph, x = network(shape), samples(shape)
    layers = to_layers(import_onnx(to_onnx(graph)), Options())
    kinds = [op.kind for op in layers.ops]
    assert "alif" not in kinds
    np.testing.assert_allclose(interpret(layers, x).logits, interpret(graph, x).logits, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        Layer(neurons=3, states=0, hard=False, again=1, current="late", starts=True),
        Layer(neurons=1, states=0, hard=False, recurrent=True, clamped="below"),
    ],
)
def test_zeros_beside_states_that_start_elsewhere_and_limits(layer):
    shape = Shape(inputs=2, layers=(layer,), classes=2, samples=3, steps=6)
    for seed in range(3):
        graph, x = zeroed(shape, 0.9, seed), samples(shape)
        layers = to_layers(import_onnx(to_onnx(graph), initial_states="keep"), Options())
        np.testing.assert_allclose(interpret(layers, x).logits, interpret(graph, x).logits, 1e-5)


def test_a_membrane_that_a_silent_current_alone_drives_ends_in_no_traceback():
    """No neuron of the second layer can spike; the answer is a constant, and may be refused."""
    layers = (
        Layer(7, hard=False, bias=False, legendre=False, dilation=5, echo=3, again=2, heard=1,
              current="now", clamped="above", times=2, starts=True, linear=True),
        Layer(10, 7, hard=False, strict=True, flavour="zero", legendre=False, dilation=2, delays=4,
              echo=3, again=1, heard=1, current="late", clamped="both"),
        Layer(3, hard=False, legendre=False, dilation=5, again=2, current="late", clamped="above",
              other="now", straight=True, times=2, drives=2, hears=True),
    )  # fmt: skip
    shape = Shape(8, layers, 4, "last", graded=True, samples=1, steps=5, seed=1276189182)
    with pytest.raises(DmpcError, match=r"this limit of state 'layer1\.u'"):
        to_layers(
            import_onnx(to_onnx(pruned(shape, 0.9, 2022504844)), initial_states="keep"), Options()
        )


def test_a_current_starts_in_the_unit_in_which_it_is_read():
    """Beside an input, what a late current was may be taken for a share of what it becomes."""
    layer = Layer(neurons=4, current="late", straight=True, starts=True)
    shape = Shape(inputs=3, layers=(layer,), samples=4, steps=6, seed=1)
    graph, x = network(shape), samples(shape).astype(np.float64)
    layers = to_layers(import_onnx(to_onnx(graph), initial_states="keep"), Options())
    np.testing.assert_allclose(interpret(layers, x).logits, interpret(graph, x).logits, atol=1e-6)


@pytest.mark.parametrize("rows", [slice(None), slice(1)], ids=["all", "one"])
def test_adaptation_by_a_membrane_that_a_bias_alone_charges(rows):
    """What such a current takes of the charge shows in the bias, where no weight shows it."""
    adapting = Layer(neurons=3, hard=False, adapts="current")
    graph = network(Shape(inputs=5, layers=(adapting,), seed=3))
    weights = graph.constants["layer1.fast.weight"].copy()
    weights[rows] = 0
    graph.constants["layer1.fast.weight"] = weights
    assert graph.constants["layer1.fast.bias"].all()
    found = to_layers(import_onnx(to_onnx(graph)), Options())
    assert "alif" in [op.kind for op in found.ops]
    x = samples(Shape(inputs=5, layers=(adapting,), seed=3)).astype(np.float64)
    np.testing.assert_allclose(interpret(found, x).logits, interpret(graph, x).logits, atol=1e-5)


def test_an_adaptation_that_follows_the_membrane_starts_with_its_share_of_it():
    """Without any input no weight tells how much: both are turned as they go."""
    layer = Layer(neurons=6, hard=False, strict=True, bias=False, adapts="current", starts=True)
    shape = Shape(inputs=2, layers=(layer,), classes=2, samples=3, steps=8, density=0.0, seed=728)
    graph, x = network(shape), samples(shape).astype(np.float64)
    for name in ("fast.weight", "jump", "reset", "threshold", "a.init"):
        graph.constants[f"layer1.{name}"] *= 0
    layers = to_layers(import_onnx(to_onnx(graph), initial_states="keep"), Options())
    wanted = interpret(graph, x).logits
    np.testing.assert_allclose(interpret(layers, x).logits, wanted, atol=1e-6)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("adapts", ["threshold", "current"])
def test_what_adapts_may_keep_no_membrane(adapts, hard):
    """What it adapts by is a current of its own spikes, a timestep later."""
    layer = Layer(5, states=3, hard=hard, recurrent=True, adapts=adapts)
    shape = Shape(inputs=4, layers=(layer, Layer(3)), samples=4, steps=12, seed=3)
    graph, x = network(shape), samples(shape).astype(np.float64)
    for name in ("beta", "coupling"):
        graph.constants[f"layer1.{name}"] *= 0
    found = to_layers(import_onnx(to_onnx(graph)), Options())
    wanted = interpret(graph, x).logits
    assert np.ptp(wanted, axis=0).any()
    np.testing.assert_allclose(interpret(found, x).logits, wanted, atol=1e-5)
