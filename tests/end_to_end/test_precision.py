"""What quantization may cost: on parts of the examples' test sets, and on other kinds of neurons.

`python -m benchmarks.quantization_accuracy` measures the whole sets.
"""

from pathlib import Path

import numpy as np
import pytest

import runtime
from dmpc import Options
from dmpc.precision.study import Study
from tests.networks import Layer, Shape, network, samples

EXAMPLES = Path(__file__).parents[2] / "examples"
SPOKEN, PERMUTED = ("spoken_digits/model", ""), ("grey_digits/model_permuted", "_permuted")
GREY = ("grey_digits/model", "")
PART = 125  # samples of a test set


def difference(example, weight_bits=None):
    name, data = example
    model = EXAMPLES / f"{name}.onnx"
    train, test = (
        runtime.load_samples(model.parent / f"{part}{data}.npz") for part in ("train", "test")
    )
    options = Options(weight_bits=weight_bits, calibration_samples=128)
    study = Study.of(model, train.x[::8], None, options)
    part = slice(None, None, len(test.x) // PART)
    return study.difference(test.x[part], test.y[part])


@pytest.mark.parametrize("example", [SPOKEN, GREY, PERMUTED], ids=lambda e: e[0])
def test_eight_bits_keep_accuracy_and_spikes(example):
    found = difference(example)
    assert max(found.alone.values()) < 0.01
    assert max(found.through.values()) < 0.025
    assert found.drop <= 100 / PART  # one of them


@pytest.mark.parametrize("example", [SPOKEN, PERMUTED], ids=lambda e: e[0])
def test_four_bits_keep_accuracy(example):
    assert difference(example, weight_bits=4).drop <= 1.5


@pytest.mark.parametrize("hard", [True, False], ids=["hard", "subtract"])
@pytest.mark.parametrize("beta", [0.9, 0.97])
def test_neurons_that_remember_long(hard, beta):
    """Time constants of 10 and 33: a leak in 1/256 would be off by 1.6 and 4 % of what is lost."""
    shape = Shape(30, (Layer(40, states=6, hard=hard),), samples=60, steps=60, density=0.1, seed=5)
    graph = network(shape)
    graph.constants["layer1.beta"] = np.full(40, beta)
    graph.constants["layer1.threshold"] = graph.constants["layer1.threshold"] * 4
    if not hard:
        graph.constants["layer1.reset"] = graph.constants["layer1.threshold"]
    x = samples(shape)
    study = Study.of(graph, x[:40], None, Options())
    found = study.difference(x[40:], None).alone["layer1.spikes"]
    (leak,) = (loss for loss in study.losses() if loss.source.tensor == "leak")
    assert leak.only < 0.012
    assert found < 0.04
