"""Ranges and widths in a file's metadata: taken as they are, or refused in one line."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import dmpc
from dmpc.backend.onnx_writer import to_onnx
from dmpc.compiler import Options, Trained, find_ranges, import_layers
from dmpc.errors import CompileError, DmpcError
from dmpc.passes.carried import KEY, WIDTHS_KEY, to_text
from tests.networks import Layer, Shape, network, samples

SHAPE = Shape(5, (Layer(6, states=3), Layer(4, recurrent=True)), samples=4, steps=12, seed=3)
X = samples(SHAPE).astype(np.float64)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return to_onnx(network(SHAPE))


def saved(model: onnx.ModelProto, path, **metadata: str) -> str:
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.helper.set_model_props(copy, {f"dmpc.{key}": value for key, value in metadata.items()})
    onnx.save(copy, path / "net.onnx")
    return str(path / "net.onnx")


@pytest.fixture(scope="module")
def carried(model, tmp_path_factory) -> dict[str, Any]:
    path = saved(model, tmp_path_factory.mktemp("plain"))
    layers = import_layers(path, Options())
    return json.loads(to_text(find_ranges(layers, X, Options())))


Edit = Callable[[dict[str, Any]], Any]
FAULTS: dict[str, tuple[Edit, str]] = {
    "no bounds": (lambda r: r["bounds"].clear(), r"bounds of %x are missing"),
    "no charge": (
        lambda r: r["charge"].pop("layer2.spikes"),
        "charge of %layer2.spikes are missing",
    ),
    "no values": (lambda r: r["values"].clear(), "values of %layer1.spikes are missing"),
    "a state lacks": (lambda r: r["bounds"].pop("layer1.m.next"), "bounds of %layer1.m.next are"),
    "other size": (
        lambda r: r["charge"].update({"layer1.spikes": {"low": [0.0], "high": [1.0]}}),
        "charge of %layer1.spikes has 1 elements, not 6",
    ),
    "low is longer": (lambda r: r["bounds"]["x"]["low"].append(0.0), "low and high have different"),
    "upside down": (lambda r: r["bounds"].update(x={"low": [2.0] * 5, "high": [1.0] * 5}), "above"),
    "too large": (lambda r: r["charge"]["layer1.spikes"]["high"].__setitem__(0, 1e300), "float32"),
    "margin": (lambda r: r.update(margin=1e9), "margin"),
    "quantiles": (lambda r: r["activity"].update(x=[1.0]), "activity of %x has 1 elements"),
    "moments": (
        lambda r: r["moments"].update({"layer1.spikes": r["moments"]["readout"]}),
        "moments of %layer1.spikes has 5 columns, not",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_ranges_that_are_not_the_networks_are_one_line(fault, model, carried, tmp_path):
    edit, message = FAULTS[fault]
    text = json.loads(json.dumps(carried))
    edit(text)
    path = saved(model, tmp_path, ranges=json.dumps(text))
    with pytest.raises(CompileError, match=message) as caught:
        dmpc.compile(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(path)
    assert dmpc.compile(path, calibration=X).image


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "null", '"1"', "1e999"])
def test_numbers_that_are_none(number, model, carried, tmp_path):
    text = json.dumps(carried).replace(str(carried["charge"]["layer1.spikes"]["high"][0]), number)
    path = saved(model, tmp_path, ranges=text)
    if number != '"1"':  # a number in quotes is one
        with pytest.raises(CompileError, match="the ranges in the model's metadata are damaged"):
            dmpc.compile(path)


def test_widths_of_training_are_taken_unless_others_are_named(model, carried, tmp_path):
    widths = json.dumps({"default": {"weights": 3, "slow": 4}, "layer2": {"weights": 2}})
    path = saved(model, tmp_path, ranges=json.dumps(carried), widths=widths)
    for calibration in (None, X):
        made = dmpc.compile(path, calibration=calibration)
        assert made.trained == Trained(
            "widths are those that the network was trained at: slow of 4 bits, weights of 3 bits, "
            "weights of 2 bits in layer2",
            agrees=True,
        )
        assert np.abs(made.graph.constants["layer1.fast.weight"]).max() == 3
        assert np.abs(made.graph.constants["layer2.fast.weight"]).max() == 1
    made = dmpc.compile(path, options=Options(weight_bits=8))
    assert made.trained.text.startswith("the network was trained at slow of 4 bits, weights of ")
    assert "; it is compiled at " in made.trained.text
    assert np.abs(made.graph.constants["layer1.fast.weight"]).max() > 3


def test_a_target_that_holds_less_is_told(model, tmp_path):
    path = saved(model, tmp_path, widths=json.dumps({"default": {"weights": 12}}))
    made = dmpc.compile(path)
    assert made.trained.text.startswith("the network was trained at weights of 12 bits; it is ")


def test_ranges_without_widths_are_told(model, carried, tmp_path):
    path = saved(model, tmp_path, ranges=json.dumps(carried))
    assert (
        "carries the ranges that it was trained on, but no widths"
        in dmpc.compile(path).trained.text
    )
    assert dmpc.compile(path, options=Options(weight_bits=4)).trained is None
    assert dmpc.compile(saved(model, tmp_path)).trained is None


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ("{", "the widths in the model's metadata are damaged"),
        ('{"default": {"weights": "3"}}', "the widths in the model's metadata are damaged"),
        ('{"default": {"weights": 1}}', "weights of 1 bits"),
        ('{"default": {"wings": 4}}', "no width 'wings' to choose"),
        ('{"layer9": {"weights": 4}}', "widths are given for layer 'layer9', which does not exist"),
    ],
)
def test_damaged_widths_are_one_line(widths, message, model, tmp_path):
    with pytest.raises(DmpcError, match=message):
        dmpc.compile(saved(model, tmp_path, widths=widths))


def test_the_keys_are_those_of_the_metadata():
    assert (KEY, WIDTHS_KEY) == ("dmpc.ranges", "dmpc.widths")


# -- calibration data and options that leave no scale ----------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((2, 3, 5), 1e300), "holds numbers up to 1e\\+300, beyond float32"),
        (np.ones((2, 3, 5), complex), "holds complex numbers"),
        (np.full((2, 3, 5), np.inf), "holds NaN or infinite numbers"),
        (np.full((1, 1, 5), np.nan), "holds NaN or infinite numbers"),
        (np.zeros((0, 3, 5)), r"has shape \[0, 3, 5\]"),
    ],
)
def test_absurd_calibration_is_one_line(x, message):
    with pytest.raises(DmpcError, match=f"the calibration set {message}"):
        dmpc.compile(network(SHAPE), calibration=x)


@pytest.mark.parametrize("flavour", ["normal", "zero", "huge", "tiny"])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 255, 1e38, 1e-300, 5e-324])
def test_one_sample_of_one_timestep_is_a_calibration(flavour, value):
    graph = network(Shape(5, (Layer(6, states=3, flavour=flavour), Layer(4)), seed=4))
    ranges = dmpc.compile(graph, calibration=np.full((1, 1, 5), value)).ranges
    for seen in (*ranges.bounds.values(), *ranges.charge.values()):
        assert np.isfinite([seen.low, seen.high]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": float("nan")}, "must be at least 1"),
        ({"margin": float("inf")}, "a margin of inf leaves no bits"),
        ({"margin": 1e300}, r"a margin of 1e\+300 leaves no bits"),
        ({"input_range": (-1e300, 1.0)}, "beyond float32"),
    ],
)
def test_options_that_leave_no_scale_are_one_line(options, message):
    with pytest.raises(DmpcError, match=message):
        dmpc.compile(network(SHAPE), options=Options(**options))
