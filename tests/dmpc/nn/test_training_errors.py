"""What training says of data, numbers and layers that come to nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dmpc.nn import DMPNetwork, QuantizedNetwork, TrainingWarning, export_onnx, fit, measure

X = (torch.rand(12, 6, 5, generator=torch.Generator().manual_seed(0)) < 0.3).float()
Y = torch.arange(12) % 3


def network() -> DMPNetwork:
    torch.manual_seed(0)
    return DMPNetwork(5, [8, 6], 3, memory=2, window=4)


def with_nan(number: int) -> torch.Tensor:
    x = X.clone()
    x[number, 2, 3] = float("nan")
    return x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:, :, :4]}, r"x has shape \[12, 6, 4\], expected \[samples, time, 5\]"),
        ({"x": X[:, 0]}, r"x has shape \[12, 5\]"),
        ({"x": X[:, :0]}, "at least one timestep"),
        ({"x": X[:0], "y": Y[:0]}, "x holds 0 samples and y 0 labels"),
        ({"x": with_nan(7)}, "x holds NaN or infinity, first in sample 7"),
        ({"x": X / 0}, "x holds NaN or infinity, first in sample 0"),
        ({"x": X.to(torch.complex64)}, "x is of torch.complex64"),
        ({"x": np.full((12, 6, 5), "a")}, "x is ndarray, not an array of numbers"),
        ({"y": Y + 1}, "label 3 of sample 2 is none of the network's 3 classes, 0 to 2"),
        ({"y": Y - 1}, "label -1 of sample 0"),
        ({"y": torch.full((12,), -100)}, "label -100 of sample 0"),
        ({"y": np.full(12, 2**64 - 1, np.uint64)}, "none of the network's 3 classes"),
        ({"y": Y.float()}, r"y is of torch.float32; class numbers are integers: y\.long\(\)"),
        ({"y": torch.eye(3)[Y]}, r"y has shape \[12, 3\], .* one-hot rows give y\.argmax\(1\)"),
        ({"y": Y[:5]}, "x holds 12 samples and y 5 labels"),
        ({"y": None}, "y 0 labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_data_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    data = {"x": X, "y": Y} | change
    with pytest.raises(ValueError, match=f"^fit: .*{message}"):
        fit(network(), **data, epochs=1)
    with pytest.raises(ValueError, match=f"^measure: .*{message}") as caught:
        measure(network(), **data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it is a whole number, at least 1"),
        ({"epochs": 1.5}, r"epochs is 1\.5"),
        ({"batch": 0}, "batch is 0"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"weight_decay": -1.0}, r"weight_decay is -1\.0"),
        ({"spike_penalty": float("inf")}, "spike_penalty is inf"),
        ({"initial_rate": 0.9}, r"initial_rate is 0\.9"),
    ],
)
def test_numbers_that_make_no_training(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^fit: {message}"):
        fit(network(), X, Y, **{"epochs": 1, **change})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bool])
def test_labels_of_any_integer_type_are_taken(dtype: torch.dtype) -> None:
    y = (Y % 2).to(dtype)
    assert len(list(fit(network(), X, y, epochs=1))) == 1
    assert measure(network(), X.numpy(), y.numpy()).accuracy >= 0


def test_other_modules_are_refused(tmp_path: Path) -> None:
    linear = torch.nn.Linear(5, 3)
    with pytest.raises(ValueError, match="fit: network is Linear; a DMPNetwork"):
        fit(linear, X, Y, epochs=1)
    with pytest.raises(ValueError, match="measure: network is Linear"):
        measure(linear, X, Y)
    with pytest.raises(ValueError, match="network is Linear, not a DMPNetwork"):
        export_onnx(linear, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"metadata .* is not text by text"):
        export_onnx(network(), tmp_path / "m.onnx", metadata={"epochs": 3})
    assert not list(tmp_path.iterdir())


def test_a_training_that_diverges_stops_before_it_harms_the_weights() -> None:
    made = network()
    gap = iter([X.clone(), *[torch.full_like(X, float("inf"))] * 9])
    losses = fit(made, X, Y, epochs=3, batch=12, augment=lambda _: next(gap))
    assert next(losses) > 0
    before = made.fingerprint()
    message = (
        "fit: the gradient is not finite in batch 1 of epoch 2 .*; most likely the learning rate "
        "0.01 is too high, the scale of x too large, or augment makes numbers that are not finite. "
        "The weights are those from before this batch"
    )
    with pytest.raises(ValueError, match=message):
        next(losses)
    assert made.fingerprint() == before


def test_weights_that_are_not_finite_are_named() -> None:
    made = network()
    with torch.no_grad():
        made.layers[1].fast.weight[2, 2] = float("nan")
    made.readout.weight.data[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"the weights 'layers\.1\.fast\.weight' are not finite"):
        list(fit(made, X, Y, epochs=1))


def test_layers_that_say_nothing_are_told_of(tmp_path: Path) -> None:
    made = network()
    with torch.no_grad():
        made.layers[0].fast.bias.fill_(-50.0)
        made.layers[1].fast.bias.fill_(50.0)
    with pytest.warns(TrainingWarning) as told:
        list(fit(made, X, Y, epochs=3, batch=4))
    first, second = (str(each.message) for each in told)
    assert first.startswith("fit: layer 1 of 2 is stuck: in epoch 1 no neuron fires (in 0 % of")
    assert second.startswith("fit: layer 2 of 2 is stuck: in epoch 1 every neuron fires in every")
    assert {Path(each.filename).name for each in told} == {"test_training_errors.py"}
    with pytest.warns(TrainingWarning) as told:
        export_onnx(made, tmp_path / "stuck.onnx")
    assert str(told[0].message).startswith("export_onnx: layer 1 of 2 is stuck: no neuron fires")
    assert (tmp_path / "stuck.onnx").exists()
    made.load_state_dict(network().state_dict())
    export_onnx(made, tmp_path / "others.onnx")  # of which nothing is known


def test_neurons_half_of_which_never_and_half_always_fire() -> None:
    made = network()
    with torch.no_grad():
        made.layers[0].fast.bias[:3].fill_(-50.0)
        made.layers[0].fast.bias[3:].fill_(50.0)
    with pytest.warns(TrainingWarning) as told:
        list(fit(made, X, Y, epochs=1))
    assert "3 neurons never fire and the other 5 always do" in str(told[0].message)


def test_quantized_networks_are_looked_at_in_the_same_way() -> None:
    made = network()
    list(fit(made, X, Y, epochs=1))
    quantized = QuantizedNetwork(made, X)
    with pytest.raises(ValueError, match="label 3 of sample 2"):
        fit(quantized, X, Y + 1, epochs=1)
    with pytest.raises(ValueError, match=r"expected \[samples, time, 5\]"):
        measure(quantized, X[:, :, :3], Y)
