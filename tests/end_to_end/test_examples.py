"""The committed examples, through the whole toolchain, over their whole test sets."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import runtime
from dmpc import Compiled, Options
from dmpc import compile as compile_model
from dmpc.verification import Verification, verify
from isa.image import image_bytes
from tests.dmpc.frontend.oracle import reference_logits

EXAMPLES = Path(__file__).parents[2] / "examples"
OPTIONS = Options(calibration_samples=64)
EXACT = 100  # samples compared in every bit


@dataclass(frozen=True)
class Example:
    """A model with the data that belongs to it, and what its float accuracy must exceed."""

    folder: str
    model: str
    data: str = ""
    accuracy: float = 0.9

    def __str__(self) -> str:
        return f"{self.folder}/{self.model}"

    @property
    def path(self) -> Path:
        return EXAMPLES / self.folder / f"{self.model}.onnx"

    def samples(self, part: str) -> runtime.Samples:
        return runtime.load_samples(EXAMPLES / self.folder / f"{part}{self.data}.npz")

    def compiled(self) -> Compiled:
        """Compiled anew."""
        calibration = self.samples("train").x
        return compile_model(self.path, calibration=calibration, options=OPTIONS)


once = cache(Example.compiled)

SPOKEN = Example("spoken_digits", "model")
SPOKEN_STEP = Example("spoken_digits", "model_step")  # the same network, one timestep
GREY = Example("grey_digits", "model")
GREY_PERMUTED = Example("grey_digits", "model_permuted", "_permuted")
SHAPES = Example("moving_shapes", "model")


def test_every_committed_model_is_tested_but_variants_of_size():
    found = {f"{path.parent.name}/{path.stem}" for path in EXAMPLES.glob("*/model*.onnx")}
    tested = {str(example) for example in (SPOKEN, SPOKEN_STEP, GREY, GREY_PERMUTED, SHAPES)}
    assert tested <= found
    assert [name for name in found - tested if not name[-1].isdigit()] == []


@pytest.mark.parametrize("example", [SPOKEN, GREY, GREY_PERMUTED], ids=str)
def test_an_example_keeps_its_accuracy_and_every_bit(example):
    """Over the whole test set and over 100 samples of it; one compilation serves both."""
    made = once(example)
    keeps_its_accuracy(example, made)
    test = example.samples("test").x
    x = test[:: max(1, len(test) // EXACT)][:EXACT]
    assert len(x) == EXACT
    agrees_in_every_bit(verify(example.path, made.image, x, max_drop=3), x.shape[1])


def keeps_its_accuracy(example: Example, made: Compiled) -> None:
    test = example.samples("test")
    floats = reference_logits(example.path, test.x).argmax(1)
    result = runtime.Program(made.image, str(example)).run(test.x, test.y)
    float_accuracy = np.mean(floats == test.y)
    assert float_accuracy > example.accuracy
    assert result.accuracy is not None
    assert result.accuracy >= float_accuracy - 0.01
    elements = len(test.x) * test.x.shape[1] * 256
    assert sum(result.saturations.values()) < 1e-4 * elements, dict(result.saturations)


def agrees_in_every_bit(found: Verification, steps: int) -> None:
    assert [rung.reason for rung in found.rungs if not rung.ok] == []
    exact = found.rungs[2]
    assert exact.name == "integer graph = simulator, every bit"
    vectors = {f"layer{layer}.{part}" for layer in (1, 2) for part in ("spikes", "u.next")}
    assert vectors | {"layer1.m.next", "layer2.m.next"} <= set(exact.figures["different"])
    assert exact.figures["elements"] > EXACT * steps * 128 * len(vectors)


def test_convolutions_in_front_of_a_memory_keep_their_accuracy_and_every_bit():
    test = SHAPES.samples("test")
    few = slice(None, None, 10)
    found = verify(SHAPES.path, once(SHAPES).image, test.x[few], test.y[few], max_drop=3)
    assert [rung.reason for rung in found.rungs if not rung.ok] == []
    assert found.rungs[1].figures["integer_accuracy"] > 0.9


@pytest.mark.parametrize("example", [SPOKEN, GREY], ids=str)
def test_a_second_compilation_gives_the_same_bytes(example):
    assert image_bytes(example.compiled().image) == image_bytes(once(example).image)


def test_both_forms_of_a_network_compile_to_the_same_code_and_weights():
    sequence, step = once(SPOKEN).image, once(SPOKEN_STEP).image
    assert sequence.code == step.code
    assert set(sequence.memories) == set(step.memories)
    for name, table in sequence.memories.items():
        np.testing.assert_array_equal(step.memories[name], table, err_msg=name)
