"""Graphs unrolled over time, as torch's exporters write Python loops, are rolled up."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend import import_onnx
from dmpc.frontend.normalise import normalise
from tests.dmpc.frontend.oracle import TOLERANCE, assert_same_run, recognised, session

torch = pytest.importorskip("torch")
from tests.dmpc.frontend.loops import (  # noqa: E402
    LayerByLayer,
    M,
    N,
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


class Odd(StepByStep):
    """A loop that is given its first state, and does something of its own at a timestep."""

    def __init__(self, membrane=0.0, memory=0.0, at=None, does=torch.relu, least=1.0):
        super().__init__()
        self.start, self.at, self.does, self.least = (membrane, memory), at, does, least

    def zeros(self, x):
        return [
            tuple(
                start * torch.linspace(self.least, 1, state.shape[-1]).expand_as(state)
                for start, state in zip(self.start, states, strict=True)
            )
            for states in super().zeros(x)
        ]

    def forward(self, x):
        states, ys = self.zeros(x), []
        for k in range(x.shape[1]):
            now = x[:, k] * 1.0
            ys.append(self.step(self.does(now) if k == self.at else now, states))
        return torch.stack(ys, 1).mean(1)


def odd(*arguments, **options) -> onnx.ModelProto:
    return exported(Odd(*arguments, **options), torch.from_numpy(X), dynamo=False)


@pytest.mark.parametrize("start", [(0.25, 0.0), (0.0, -0.5), (0.25, -0.5)], ids=str)
def test_initial_states_that_are_not_zero(start, tmp_path):
    """A network that was not reset: refused, or kept, with the product of the memory's first value
    computed ahead by the exporter."""
    model = odd(*start, least=0.5)
    with pytest.raises(ImportFailure, match=r"initial state '.*' of the Scan is not zero .*'keep'"):
        import_onnx(model)
    graphs = recognised(model, tmp_path, initial_states="keep")
    assert_same_run(graphs, X, run(model, X))


@pytest.mark.parametrize("start", [(0.25, 0.0), (0.0, -0.5)], ids=str)
def test_one_number_for_all_neurons_is_where_they_start(start, tmp_path):
    """No run leaves that, so nobody forgot a reset."""
    model = odd(*start)
    assert_same_run(recognised(model, tmp_path), X, run(model, X))


@pytest.mark.parametrize("at", range(T))
def test_a_timestep_that_differs_is_named(at):
    """By the node that computes something else, or what follows from it."""
    with pytest.raises(ImportFailure) as caught:
        import_onnx(odd(at=at))
    assert caught.value.rule.name in ("unlike-timesteps", "no-counterpart", "first-timesteps")
    middle = "this is not computed at timestep 4"  # timestep 3 is what others are compared with
    assert {2: middle, 3: f"/Relu: {middle}"}.get(at, f"timestep {at}") in str(caught.value)


def test_a_timestep_with_a_constant_of_its_own():
    model = odd()
    gathers = [node for node in model.graph.node if node.op_type == "Gather"]
    (scale,) = [n for n in model.graph.node if gathers[5].output[0] in n.input]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    scale.input[1] = "two"
    with pytest.raises(ImportFailure, match="two: timestep 5 reads 2 where timestep 3 reads 1"):
        import_onnx(model)


class Squeezed(LayerByLayer):
    """As published: exported with batch 1, the squeeze drops the batch axis."""

    def forward(self, x):
        v, spikes = 0.0, []
        current = self.layers[0].fast(x)
        for k in range(len(x)):
            v = v + (current[k] - v) / 2.0
            s = (v >= 0.5).float()
            v = (1 - s) * v
            spikes.append(s)
        return self.out(torch.stack(spikes)).transpose(0, 1).squeeze().mean(1)


def test_a_mean_over_classes_is_diagnosed(tmp_path):
    few = exported(Squeezed(), torch.zeros(T, 2, M), dynamo=False)
    x = np.ascontiguousarray(X[:2].transpose(1, 0, 2))
    assert_same_run(recognised(few, tmp_path), X[:2], run(few, x))
    one = exported(Squeezed(), torch.zeros(T, 1, M), dynamo=False)
    with pytest.raises(ImportFailure, match=r"features \(classes\) of a timestep, not over time"):
        import_onnx(one)


class Heavy(StepByStep):
    """Dead weight: products computed twice, a gate of 1, a norm that is declared and not used."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(N)
        self.dropout = torch.nn.Dropout(0.5)
        self.register_buffer("response", torch.randn(3, 3, dtype=torch.complex64))

    def step(self, x, states):
        twice = [(u.clone(), m.clone()) for u, m in states]
        super().step(x, twice)
        return self.dropout(super().step(x, states)) * 1.0


def test_dead_weight_leaves_no_trace(models, tmp_path):
    plain, _ = models[StepByStep]
    heavy = exported(Heavy(), torch.from_numpy(X), dynamo=False)
    found, expected = recognised(heavy, tmp_path)[2], recognised(plain, tmp_path)[2]
    assert [op.kind for op in found.ops] == [op.kind for op in expected.ops]
    assert [state.name for state in found.states] == [state.name for state in expected.states]


def test_an_open_batch(tmp_path):
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "batch"}}}
    model = exported(StepByStep(), torch.from_numpy(X), dynamo=False, **names)
    assert_same_run(recognised(model, tmp_path), X, run(model, X))


def test_two_timesteps_are_too_few():
    model = exported(StepByStep(), torch.zeros(B, 2, M), dynamo=False)
    with pytest.raises(ImportFailure, match="is the only input, and no timestep hangs"):
        import_onnx(model)


def test_provenance_is_the_users_nodes(models, tmp_path):
    model, _ = models[StepByStep]
    layers = recognised(model, tmp_path)[1]
    users = {node.name for node in model.graph.node}
    assert all(name in users for op in layers.ops for name in op.loc)
