"""onnxruntime as the oracle of imported and recognised graphs."""

import numpy as np
import onnx
import onnxruntime

from dmpc.frontend import import_onnx, open_model
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.fold import Fold
from dmpc.passes.recognise import Recognise

TOLERANCE = 2e-4


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def recognised(model: onnx.ModelProto, tmp_path, **options) -> list[Graph]:
    """The model imported, recognised, folded."""
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    imported = import_onnx(path, **options)
    layers = apply(Recognise(), imported)
    return [imported, layers, apply(Fold(), layers)]


def run_step(model: onnx.ModelProto, x: np.ndarray, states: dict[str, tuple[str, int]], name: str):
    """Run a one-timestep model over samples; returns y and each state after every step."""
    run = session(model)
    outputs = [output.name for output in run.get_outputs()]
    held = {state: np.zeros((len(x), size), np.float32) for state, (_, size) in states.items()}
    series: dict[str, list[np.ndarray]] = {}
    for step in range(x.shape[1]):
        found = dict(zip(outputs, run.run(None, {name: x[:, step], **held}), strict=True))
        held = {state: found[next_] for state, (next_, _) in states.items()}
        for output, array in found.items():
            series.setdefault(output, []).append(array)
    return {output: np.stack(arrays, axis=1) for output, arrays in series.items()}


def assert_same_run(graphs: list[Graph], x: np.ndarray, logits: np.ndarray) -> None:
    for graph in graphs:
        result = interpret(graph, x.astype(np.float64))
        np.testing.assert_allclose(result.logits, logits, atol=TOLERANCE)


def reference_logits(path, x: np.ndarray) -> np.ndarray:
    """Logits of a file as `dmpc` runs it."""
    reference = open_model(path).reference
    assert reference is not None
    return reference.logits(x)
