"""Models that show one vector at every timestep are taken for models of a sequence."""

import numpy as np
import onnx
import pytest

import dmpc
from dmpc.compiler import Options, to_layers
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import import_onnx, open_model
from dmpc.frontend.proof import prove
from dmpc.ir.interpret import interpret
from runtime.program import Program
from tests.dmpc.frontend.repeated import M, T, Unrolled

X = np.random.default_rng(5).random((6, 1, M))

KINDS = ("read again", "computed once", "repeated along time", "stacked", "current repeated")
SHAPES = (("batch", M), (3, 1, M), (1, 3, M))
CASES = [*((kind, (3, M)) for kind in KINDS), *(("computed once", shape) for shape in SHAPES)]


@pytest.mark.parametrize(("kind", "shape"), CASES, ids=str)
def test_one_vector_is_a_sequence_that_does_not_change(tmp_path, kind, shape):
    path = tmp_path / "net.onnx"
    onnx.save(Unrolled(kind, shape).model(), path)
    with listening() as told:
        opened = open_model(path)
    (said,) = [found.message for found in told if found.rule == "input-repeated"]
    assert f"shows 'x' unchanged at each of {T} timesteps" in said
    layers = to_layers(opened.graph, Options())
    assert [op.kind for op in layers.ops].count("lif") == 2
    assert prove(opened, layers, X).holds
    logits = opened.reference.logits(X)
    np.testing.assert_allclose(interpret(layers, X).logits, logits, atol=1e-4)
    repeated = np.repeat(X, T, axis=1)
    np.testing.assert_allclose(interpret(layers, repeated).logits, logits, atol=1e-4)


def test_the_image_shows_one_timestep_as_often(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(Unrolled("read again").model(), path)
    program = Program(dmpc.compile(path, calibration=X).image, "net.elf")
    shown, repeated = program.run(X), program.run(np.repeat(X, T, axis=1))
    assert shown.timesteps == T
    np.testing.assert_array_equal(shown.logits, repeated.logits)
    np.testing.assert_array_equal(shown.cycles, repeated.cycles)


def test_samples_that_change_are_not_the_models(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(Unrolled("read again").model(), path)
    changing = np.random.default_rng(0).random((2, T, M))
    with pytest.raises(dmpc.DmpcError, match="these samples change over time"):
        open_model(path).reference.logits(changing)


def test_timesteps_that_differ_are_refused():
    with pytest.raises(ImportFailure, match="'x' is one vector that every timestep reads, and"):
        import_onnx(Unrolled("read again", odd=3).model())
