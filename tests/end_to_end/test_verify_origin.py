"""`verify` against a model that the image was not made from, and one that is spelt otherwise."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

import dmpc
from dmpc.backend.onnx_writer import to_onnx
from dmpc.backend.origin import ORIGIN_NOTE, difference, origin, origin_of
from dmpc.compiler import Options, import_layers, to_layers
from dmpc.errors import DmpcError
from dmpc.ir.graph import Graph
from dmpc.passes.base import apply
from dmpc.passes.fold import Fold
from dmpc.verification import verify
from isa.errors import IsaError
from isa.image import Image, image_bytes
from tests.dmpc.frontend.spellings import (
    CHARGES,
    LINEARS,
    MEMORIES,
    Form,
    Spelling,
    scan_model,
    step_model,
    two_scans,
)
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(
    12, (Layer(16, states=4), Layer(14, recurrent=True)), samples=12, steps=30, density=0.3, seed=1
)
X = samples(SHAPE).astype(np.float64)
EXAMPLE = "examples/spoken_digits/model.onnx"


def other_training() -> Graph:
    return network(replace(SHAPE, seed=2))


def forgetful(image: Image) -> Image:
    """An image that does not say what it was made from."""
    return replace(image, notes={k: v for k, v in image.notes.items() if k != ORIGIN_NOTE})


@pytest.fixture(scope="module")
def image() -> Image:
    return dmpc.compile(network(SHAPE), calibration=X).image


@pytest.mark.parametrize("labels", [None, np.zeros(len(X), np.int64)])
def test_an_image_of_another_training_is_told(image, labels):
    with pytest.raises(DmpcError, match=r"random: this image was not made from this model: .* of "):
        verify(other_training(), image, X, labels, max_drop=100)


@pytest.mark.parametrize("labels", [None, np.zeros(len(X), np.int64)])
def test_where_nothing_is_noted_spikes_tell(image, labels):
    """Whatever the labels say: those of the float network's own answers, or others."""
    assert verify(network(SHAPE), forgetful(image), X, max_drop=5).ok
    found = verify(other_training(), forgetful(image), X, labels, max_drop=99.9)
    (_, rung, *_) = found.rungs
    assert not rung.ok
    assert "is not the model's" in rung.reason
    assert "70 % are allowed" in rung.reason


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_few_bits_are_still_the_model(bits):
    x = np.load("examples/spoken_digits/test.npz")["x"][:12]
    widths = {"default": {"weights": bits, "slow": bits, "drive": bits}}
    made = dmpc.compile(EXAMPLE, calibration=x, options=Options(widths=widths))
    for image in (made.image, forgetful(made.image)):
        assert verify(EXAMPLE, image, x, max_drop=90).ok


@pytest.mark.parametrize("change", [0.998, 0.5])
@pytest.mark.parametrize(
    "name",
    ["layer1.fast.weight", "layer1.wx", "layer2.recurrent.weight", "layer2.beta", "layer1.A"],
)
def test_every_constant_counts(name, change):
    graph = network(SHAPE)
    changed = graph.copy()
    changed.constants[name] = graph.constants[name] * change
    ours, theirs = (origin(to_layers(one, Options())) for one in (graph, changed))
    layer = name.partition(".")[0]
    assert f" of {layer} differ by " in difference(ours, theirs)
    assert not difference(ours, ours)


def test_one_weight_counts():
    graph = network(SHAPE)
    changed = graph.copy()
    weight = changed.constants["layer2.fast.weight"] = changed.constants[
        "layer2.fast.weight"
    ].copy()
    weight[3, 4] += 0.1 * np.abs(weight).max()
    found = difference(origin(apply(Fold(), graph)), origin(apply(Fold(), changed)))
    assert found.startswith("weights of layer2 differ by ")


FORMS = {
    "step": lambda: step_model(Spelling()),
    "scan": lambda: scan_model(Form()),
    "two scans": two_scans,
    **{f"charge {c}": lambda c=c: step_model(Spelling(charge=c)) for c in CHARGES},
    **{f"linear {c}": lambda c=c: step_model(Spelling(linear=c)) for c in LINEARS},
    **{f"memory {c}": lambda c=c: step_model(Spelling(memory=c)) for c in MEMORIES if c != "late"},
    "in thresholds": lambda: step_model(Spelling(threshold="v / theta >= 1")),
}


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return origin(layers_of(step_model(Spelling()), tmp_path_factory.mktemp("known")))


def layers_of(model: onnx.ModelProto, folder) -> Graph:
    onnx.save(model, folder / "net.onnx")
    return import_layers(folder / "net.onnx", Options())


@pytest.mark.parametrize("form", FORMS)
def test_another_spelling_is_the_same_network(form, known, tmp_path):
    layers = layers_of(FORMS[form](), tmp_path)
    assert not difference(origin(layers), known)
    assert not difference(origin(layers_of(to_onnx(layers), tmp_path)), known)


def test_step_and_sequence_of_an_example_verify_against_one_image():
    x = np.load("examples/spoken_digits/test.npz")["x"][:4]
    made = dmpc.compile(EXAMPLE, calibration=x, options=Options(dependency_breaking=False))
    assert verify("examples/spoken_digits/model_step.onnx", made.image, x, max_drop=100).ok
    with pytest.raises(DmpcError, match=r"another network|not made from"):
        verify("examples/grey_digits/model.onnx", made.image, x, max_drop=100)


def test_the_note_is_the_same_every_time_and_its_damage_is_told(image):
    assert image_bytes(dmpc.compile(network(SHAPE), calibration=X).image) == image_bytes(image)
    assert origin_of(forgetful(image)) is None
    damaged = replace(image, notes={**image.notes, ORIGIN_NOTE: b'[{"layer": 3}]'})
    with pytest.raises(IsaError, match=r"note \.dmpc\.origin is damaged"):
        origin_of(damaged)
