"""What torch's own exporters write of a step module that knows nothing of this project."""

import io
import warnings

import numpy as np
import onnx
import pytest

from dmpc.errors import ImportFailure
from tests.dmpc.frontend.oracle import (
    TOLERANCE,
    assert_same_run,
    recognised,
    reference_logits,
    run_step,
    session,
)

torch = pytest.importorskip("torch")
M, N, D, C = 6, 5, 3, 4


class Step(torch.nn.Module):
    """Two layers, the first with a memory; a reset and a threshold of each kind."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.fast1, self.drive = torch.nn.Linear(M, N), torch.nn.Linear(M, 1)
        self.slow, self.fast2 = torch.nn.Linear(D, N), torch.nn.Linear(N, N)
        self.readout = torch.nn.Linear(N, C)
        self.register_buffer("a", torch.eye(D) * 0.7 + 0.1)
        self.register_buffer("b", torch.tensor([1.0, -0.5, 0.25]))

    def forward(self, x, u1, m, u2):
        m = m @ self.a.T + torch.relu(self.drive(x)) * self.b
        current = 3 * (self.fast1(x) + self.slow(m))
        v = u1 + (current - u1) / 2.0
        s = (v >= 0.5).float()
        u1 = (1 - s) * v + s * 0.0
        h = 0.9 * u2 + 2 * self.fast2(s)
        fired = h - 0.25 > 0
        u2 = torch.where(fired, h - 0.25, h)
        return self.readout(fired.float()), u1, m, u2


STATES = {"u1": ("u1_next", N), "m": ("m_next", D), "u2": ("u2_next", N)}


def exported(dynamo: bool, named: bool) -> onnx.ModelProto:
    arguments = tuple(torch.zeros(2, size) for size in (M, N, D, N))
    names = {}
    if named:
        names["input_names"] = ["x", *STATES]
        names["output_names"] = ["y", *(next_ for next_, _ in STATES.values())]
        if dynamo:
            names["dynamic_shapes"] = tuple({0: torch.export.Dim("batch")} for _ in arguments)
        else:
            names["dynamic_axes"] = {name: {0: "batch"} for name in names["input_names"]}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Step().eval(),
            arguments,
            None if dynamo else buffer,
            dynamo=dynamo,
            verbose=False,
            **names,
        )
    return program.model_proto if dynamo else onnx.load_from_string(buffer.getvalue())


@pytest.fixture(scope="module", params=[True, False], ids=["dynamo", "legacy"])
def models(request):
    return {named: exported(request.param, named) for named in (True, False)}


def test_the_export_runs_as_onnxruntime_runs_it(models, tmp_path):
    x = np.random.default_rng(5).random((4, 12, M)).round().astype(np.float32)
    expected = run_step(models[True], x, STATES, "x")
    assert 0.05 < (expected["u1_next"] == 0).mean() < 0.95
    graphs = recognised(models[True], tmp_path)
    assert_same_run(graphs, x, expected["y"].mean(axis=1))


def test_lost_names_and_a_fixed_batch_make_no_difference(models, tmp_path):
    named, anonymous = (recognised(models[key], tmp_path)[2] for key in (True, False))
    assert [op.kind for op in named.ops] == [op.kind for op in anonymous.ops]
    for name, array in named.constants.items():
        np.testing.assert_allclose(anonymous.constants[name], array, atol=TOLERANCE)


class HeldStep(torch.nn.Module):
    """A layer whose slow current reads the memory of every fourth timestep."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.fast, self.drive = torch.nn.Linear(M, N), torch.nn.Linear(M, 1)
        self.slow, self.readout = torch.nn.Linear(D, N), torch.nn.Linear(N, C)
        self.register_buffer("a", torch.eye(D) * 0.7 + 0.1)
        self.register_buffer("b", torch.tensor([1.0, -0.5, 0.25]))

    def forward(self, x, u, m, held, k):
        m = m @ self.a.T + torch.relu(self.drive(x)) * self.b
        held = torch.where(k % 4 == 0, m, held)
        v = u + (3 * (self.fast(x) + self.slow(held)) - u) / 2.0
        s = (v >= 0.5).float()
        return self.readout(s), (1 - s) * v, m, held, k + 1


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "legacy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=str)
def test_a_counter_of_either_type_makes_a_hold(dynamo, dtype, tmp_path):
    """Of a float, torch writes the remainder with a floor."""
    arguments = [torch.zeros(1, size) for size in (M, N, D, D)]
    arguments.append(torch.zeros(1, 1, dtype=dtype))
    path = tmp_path / "held.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            HeldStep().eval(),
            tuple(arguments),
            path,
            dynamo=dynamo,
            verbose=False,
            input_names=["x", "u", "m", "held", "k"],
            output_names=["y", "u_next", "m_next", "held_next", "k_next"],
        )
    x = np.random.default_rng(5).random((4, 15, M)).round().astype(np.float32)
    logits = reference_logits(path, x)
    graphs = recognised(onnx.load(path), tmp_path)
    assert [op.attrs["period"] for op in graphs[2].ops if op.kind == "hold"] == [4]
    assert_same_run(graphs, x, logits)


class Sequence(torch.nn.Module):
    """The step inside torch's own scan operator, averaged over an axis."""

    def __init__(self, axis):
        super().__init__()
        self.step, self.axis = Step(), axis

    def forward(self, x):
        start = tuple(x.new_zeros(x.shape[0], size) for size in (N, D, N))
        outputs = torch._higher_order_ops.scan(self.timestep, start, x, dim=1)[1]
        return outputs.mean(self.axis)

    def timestep(self, states, x):
        y, *states = self.step(x, *states)
        return tuple(states), y


def scanned(axis: int) -> onnx.ModelProto:
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, x = Sequence(axis).eval(), torch.zeros(2, 7, M)
        program = torch.onnx.export(
            module, (x,), dynamo=True, verbose=False, dynamic_shapes=(dims,)
        )
    return program.model_proto


def test_torchs_own_scan(tmp_path):
    x = np.random.default_rng(6).random((4, 12, M)).round().astype(np.float32)
    model = scanned(1)
    (logits,) = session(model).run(None, {"x": x})
    assert_same_run(recognised(model, tmp_path), x, logits)


def test_a_mean_over_the_batch_is_diagnosed(tmp_path):
    with pytest.raises(ImportFailure, match=r"node_mean: ReduceMean runs over"):
        recognised(scanned(0), tmp_path)
