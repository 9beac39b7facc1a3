"""Graphs unrolled over time, as torch's exporters write Python loops, are rolled up."""

import numpy as np
import onnx
import pytest

from dmpc.frontend.normalise import normalise
from tests.dmpc.frontend.oracle import TOLERANCE, assert_same_run, recognised, session

torch = pytest.importorskip("torch")
from tests.dmpc.frontend.loops import (  # noqa: E402
    LayerByLayer,
    M,
    RunningSum,
    StepByStep,
    exported,
)

T, B = 6, 3
RNG = np.random.default_rng(4)
X = RNG.normal(size=(B, T, M)).astype(np.float32)
MODULES = {StepByStep: False, RunningSum: False, LayerByLayer: True}  # time first?


def rolled(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = next(i.version for i in model.opset_import if not i.domain)
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in model.graph.input
    }
    made = normalise(model, opset, shapes)
    onnx.checker.check_model(made, full_check=True)
    return made


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return session(model).run(None, {model.graph.input[0].name: x})[0]


@pytest.fixture(scope="module", params=[True, False], ids=["dynamo", "legacy"])
def models(request):
    """Every module's export for one shape of input, with that input."""
    found = {}
    for module, time_first in MODULES.items():
        x = np.ascontiguousarray(X.transpose(1, 0, 2)) if time_first else X
        found[module] = exported(module(), torch.from_numpy(x), request.param), x
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_rolled_is_unrolled(module, models):
    """Both run in onnxruntime, bit for bit alike."""
    model, x = models[module]
    made = rolled(model)
    scans = [node for node in made.graph.node if node.op_type == "Scan"]
    assert len(scans) == (4 if module is LayerByLayer else 1)
    assert len(made.graph.node) + sum(len(s.attribute[0].g.node) for s in scans) < 80
    np.testing.assert_array_equal(run(made, x), run(model, x))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_import_runs_as_onnxruntime_runs_the_file(module, models, tmp_path):
    model, x = models[module]
    graphs = recognised(model, tmp_path)
    assert [op.kind for op in graphs[2].ops].count("lif") == 2
    assert [op.kind for op in graphs[2].ops].count("memory") == 2
    assert graphs[2].attrs["readout"] == "mean"
    assert_same_run(graphs, X, run(model, x))


def test_all_loops_give_the_same_layers(models, tmp_path):
    first, *others = (recognised(model, tmp_path)[2] for model, _ in models.values())
    for other in others:
        assert [op.kind for op in other.ops] == [op.kind for op in first.ops]
        for name, array in first.constants.items():
            np.testing.assert_allclose(other.constants[name], array, atol=TOLERANCE)
