"""Files that break one rule each, by the rule's name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx

from dmpc.check import Report, check
from dmpc.frontend import open_model
from dmpc.frontend.operators import OPERATORS
from tests.dmpc.cli.conftest import STATES, write_model
from tests.dmpc.frontend.sequences import D, N, Nodes, T, Variant, over_time, toeplitz
from tests.dmpc.frontend.sequences import dft_circular as circular
from tests.dmpc.frontend.sequences import model as sequence
from tests.dmpc.frontend.spellings import Form, Spelling, scan_model, step_model
from tests.dmpc.frontend.test_spellings import half_spike, strange_count
from tests.dmpc.rules import operators, wholes
from tests.dmpc.rules.operators import node_of
from tests.dmpc.rules.wholes import body_of


def unknown_operator() -> onnx.ModelProto:
    model = step_model(Spelling())
    node_of(model.graph, "x0_").op_type = "Selu"
    return model


def no_value() -> onnx.ModelProto:
    model = scan_model(Form())
    node_of(body_of(model), "f0_").input[0] = "seq"
    return model


def no_recurrence() -> onnx.ModelProto:
    noise = np.random.default_rng(0).normal(size=(T, D)).astype(np.float32)
    noise[9:] = 0
    return sequence(Variant(response=noise))


def changing_response() -> onnx.ModelProto:
    def changing(nodes: Nodes, drive: str, h: np.ndarray) -> str:
        kernel = toeplitz(h)
        kernel[5:] *= 2
        return nodes("Einsum", nodes("Squeeze", drive, [2]), kernel, equation="bs,tsd->btd")

    return sequence(Variant(changing))


def many_drives() -> onnx.ModelProto:
    def filtered(nodes: Nodes, spikes: str) -> str:
        ages = np.arange(T)[::-1]
        kernel = np.tile(0.5**ages + 0.9**ages, (N, 1, 1)).astype(np.float32)
        channels = nodes("Transpose", spikes, perm=[0, 2, 1])
        smooth = nodes("Conv", channels, kernel, pads=[T - 1, 0], group=N)
        linear = nodes("MatMul", nodes("Transpose", smooth, perm=[0, 2, 1]), "wo")
        return over_time(nodes, "ReduceMean", linear, [1])

    return sequence(Variant(readout=filtered))


def no_delay() -> onnx.ModelProto:
    def early(nodes: Nodes, spikes: str) -> str:
        cut = nodes.cut(spikes, 1, T, 1)
        return nodes("Pad", cut, [0, 0, 0, 0, 1, 0], np.float32(0))

    return sequence(Variant(between=early))


def no_sequence() -> onnx.ModelProto:
    def weighed(nodes: Nodes, spikes: str) -> str:
        linear = nodes("MatMul", spikes, np.ones((N, 1), np.float32))
        weights = np.linspace(0, 1, T, dtype=np.float32)
        mixed = nodes("Relu", nodes("Einsum", linear, weights, equation="btc,t->bc"))
        return nodes("MatMul", mixed, np.ones((1, 3), np.float32))

    return sequence(Variant(readout=weighed))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    **operators.MODELS,
    "unknown-operator": unknown_operator,
    "no-value": no_value,
    "no-recurrence": no_recurrence,
    "changing-response": changing_response,
    "many-drives": many_drives,
    "no-delay": no_delay,
    "no-sequence": no_sequence,
    "half-spike": half_spike,
    "strange-count": strange_count,
    "not-causal": lambda: sequence(Variant(circular)),
}


def cases(folder: Path) -> dict[str, Callable[[], Report]]:
    """Every file, written to a folder and checked."""

    def checked(name: str) -> Report:
        path = folder / f"{name}.onnx"
        onnx.save(MODELS[name](), path)
        return check(path)

    def misread() -> Report:
        """A model that comes with the graph of another."""
        path = folder / "misread.onnx"
        onnx.save(sequence(Variant(neuron="soft")), path)
        graph = open_model(path).graph
        onnx.save(sequence(Variant()), path)
        return check(replace(open_model(path), graph=graph))

    def surprised() -> Report:
        """An operator that fails in a way that nothing expects."""
        path = folder / "surprised.onnx"
        onnx.save(step_model(Spelling()), path)
        with patch.dict(OPERATORS, Relu=lambda *_: [][1]):
            report = check(path)
        first, *_ = report.findings
        return replace(report, findings=(first,))  # it has a Relu for each layer

    found = {name: lambda name=name: checked(name) for name in MODELS}

    def growing() -> Report:
        """A memory that multiplies itself by far more than one."""
        path = write_model(folder / "growing.onnx", A=np.full((STATES, STATES), 1e30))
        return check(path)

    found |= {"not-the-model": misread, "importer-fault": surprised, "beyond-float32": growing}
    return {**found, **wholes.cases(folder)}
