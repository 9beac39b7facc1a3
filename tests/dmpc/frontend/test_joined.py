"""Models of several inputs: the network takes them side by side, in the model's own order."""

import nir
import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from dmpc.compiler import Options, to_layers
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import from_torch, import_nir, open_model
from dmpc.frontend.proof import prove
from dmpc.ir.interpret import interpret
from tests.dmpc.frontend.spellings import (
    STATES,
    Form,
    M,
    Spelling,
    scan_model,
    step_model,
    value,
)

RNG = np.random.default_rng(3)
X = (RNG.random((5, 9, M)) < 0.4).astype(np.float64)
PAIRS = {state: f"{state}_next" for state in STATES}


def split(model: onnx.ModelProto, *fronts: str, shape: tuple[int, ...] = (M - 1,)) -> None:
    """Let a model take its input's first element and the others, of some shape, by themselves."""
    (x,) = (one for one in model.graph.input if one.name not in STATES)
    model.graph.input.remove(x)
    model.graph.input.extend([value("a", *fronts, 1), value("b", *fronts, *shape)])
    flat = helper.make_node("Reshape", ["b", "flat"], ["b.flat"])
    sizes = onnx.numpy_helper.from_array(np.array([0] * len(fronts) + [M - 1]), "flat")
    model.graph.initializer.append(sizes)
    both = helper.make_node("Concat", ["a", "b.flat"], [x.name], axis=len(fronts))
    nodes = [flat, both, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def checked(model: onnx.ModelProto, tmp_path, **options) -> tuple[np.ndarray, list[str]]:
    """The logits of X by the file itself, of which the layers are the model, and what is noted."""
    onnx.checker.check_model(model, full_check=True)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    with listening() as notes:
        opened = open_model(path, **options)
    layers = to_layers(opened.graph, Options())
    assert prove(opened, layers, X).holds
    np.testing.assert_allclose(interpret(layers, X).logits, opened.reference.logits(X), atol=1e-4)
    return opened.reference.logits(X), [note.rule for note in notes]


@pytest.mark.parametrize("time_first", [False, True])
@pytest.mark.parametrize("shape", [(M - 1,), (1, M - 1)])
def test_sequences(tmp_path, time_first, shape):
    wanted, _ = checked(scan_model(Form(time_first=time_first)), tmp_path)
    model = scan_model(Form(time_first=time_first))
    split(model, *(("time", "batch") if time_first else ("batch", "time")), shape=shape)
    found, notes = checked(model, tmp_path)
    assert "inputs-joined" in notes
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_timestep_whose_states_are_named(tmp_path):
    wanted, _ = checked(step_model(Spelling()), tmp_path, states=PAIRS)
    model = step_model(Spelling())
    split(model, "batch")
    found, notes = checked(model, tmp_path, states=PAIRS)
    assert "inputs-joined" in notes
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with pytest.raises(ImportFailure, match="where that names all of them, inputs that are left"):
        open_model(tmp_path / "m.onnx")


def test_sequences_that_differ_in_time_are_not_joined(tmp_path):
    model = scan_model(Form())
    model.graph.input.append(value("extra", "batch", "events", 3))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ImportFailure, match="has 2 inputs"):
        open_model(tmp_path / "m.onnx")


def test_what_else_is_wrong_is_told_of_the_joined_model(tmp_path):
    model = scan_model(Form())
    split(model, "batch", "time")
    model.graph.node.insert(1, helper.make_node("Exp", ["b.flat"], ["e"], name="/strange"))
    model.graph.node[2].input[1] = "e"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ImportFailure, match="/strange: operator Exp is not supported"):
        open_model(tmp_path / "m.onnx")


def test_nir():
    weight, size = RNG.normal(1, 4, (6, 5)), np.ones(6)
    neurons = nir.LIF(tau=4e-3 * size, r=size, v_leak=0 * size, v_threshold=size, v_reset=0 * size)

    def graph(**nodes):
        wires = [("x", "one"), *([("b", "two"), ("two", "n")] if "two" in nodes else [])]
        wires += [("one", "n"), ("n", "o")]
        return nir.NIRGraph({**nodes, "n": neurons, "o": nir.Output({"output": [6]})}, wires)

    one = graph(x=nir.Input({"input": [5]}), one=nir.Linear(weight))
    several = graph(
        x=nir.Input({"input": [2]}), b=nir.Input({"input": [3]}),
        one=nir.Linear(weight[:, :2]), two=nir.Linear(weight[:, 2:]),
    )  # fmt: skip
    x = (RNG.random((3, 20, 5)) < 0.5).astype(float)
    with listening() as notes:
        found = import_nir(several)
    (said,) = [note.message for note in notes if note.rule == "inputs-joined"]
    assert said.endswith("the network takes them as one of 5, side by side: x [2], b [3]")
    wanted = interpret(import_nir(one), x).outputs
    assert 0.02 < wanted.mean() < 0.98
    np.testing.assert_array_equal(interpret(found, x).outputs, wanted)


class Two(torch.nn.Module):
    """Events and pictures of two lines, over time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.out = (
            torch.nn.Linear(3, 6),
            torch.nn.Linear(4, 6),
            torch.nn.Linear(6, 2),
        )

    def forward(self, events, pictures):
        v, answers = torch.zeros(events.shape[0], 6), []
        for k in range(events.shape[1]):
            v = 0.7 * v + 2 * self.a(events[:, k]) + self.b(pictures[:, k].flatten(1))
            s = (v >= 1).float()
            v = v * (1 - s)
            answers.append(self.out(s))
        return torch.stack(answers, 1).mean(1)


def test_a_module_of_torch():
    x = tuple((RNG.random((4, 7, *tail)) < 0.5).astype(np.float32) for tail in ((3,), (2, 2)))
    module = Two().eval()
    model = from_torch(module, x)
    together = np.concatenate([x[0], x[1].reshape(4, 7, 4)], axis=2)
    with torch.no_grad():
        wanted = module(*map(torch.from_numpy, x)).numpy()
    np.testing.assert_allclose(model.reference.logits(together), wanted, atol=1e-6)
    np.testing.assert_allclose(interpret(model.graph, together).logits, wanted, atol=1e-5)
    assert "forward" not in vars(module)


def test_examples_of_a_module_that_do_not_belong_together():
    x = np.zeros((4, 7, 3), np.float32)
    with pytest.raises(
        ImportFailure, match=r"^Two: the example inputs have shapes \[4, 7, 3\] and"
    ):
        from_torch(Two(), (x, x[:, :5]))
