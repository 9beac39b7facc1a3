"""Whole-sequence modules of plain torch, as torch's own exporters write them."""

import io
import time
import warnings

import numpy as np
import onnx
import pytest

from dmpc.compiler import Options, to_layers
from dmpc.errors import ImportFailure
from dmpc.frontend import open_model
from dmpc.frontend.proof import EQUAL, prove
from dmpc.frontend.realise import respond
from dmpc.legendre import legendre_system, zero_order_hold
from tests.dmpc.frontend.sequences import Nodes, Variant, conv, model, over_time

torch = pytest.importorskip("torch")
M, N, D, C, T, WINDOW = 6, 5, 4, 3, 9, 8.0


class Network(torch.nn.Module):
    """Two layers that share a kernel; the batch norm is never applied, the gate is 1."""

    def __init__(self, form, unrolled, steps=T, states=D, window=WINDOW):
        super().__init__()
        torch.manual_seed(4)
        self.form, self.unrolled, self.steps = form, unrolled, steps
        a, b = zero_order_hold(*legendre_system(states, window))
        h = torch.tensor(respond(a, b, steps), dtype=torch.float32)  # [T, D]
        lag = torch.arange(steps)[:, None] - torch.arange(steps)
        self.register_buffer("kernel", h.flip(0).T[:, None].contiguous())
        self.register_buffer("spectrum", torch.fft.rfft(h.T, n=2 * steps)[None])
        self.register_buffer("toeplitz", torch.where(lag[..., None] < 0, 0, h[lag.clip(0)]))
        self.register_buffer("gate", torch.ones(1))
        sizes = ((M, N), (N, N))
        self.fast = torch.nn.ModuleList([torch.nn.Linear(*size) for size in sizes])
        self.drive = torch.nn.ModuleList([torch.nn.Linear(size, 1) for size, _ in sizes])
        self.slow = torch.nn.ModuleList([torch.nn.Linear(states, size) for _, size in sizes])
        self.norm, self.dropout = torch.nn.BatchNorm1d(N), torch.nn.Dropout(0.5)
        self.readout = torch.nn.Linear(N, C)

    def forward(self, x):
        for fast, drive, slow in zip(self.fast, self.drive, self.slow, strict=True):
            m = self.memory(torch.relu(drive(x) + 0.3))
            x = self.dropout(self.neurons(3 * (fast(x) + self.gate * slow(m))))
        return self.readout(x).mean(1)

    def memory(self, x):
        steps = self.steps
        if self.form == "einsum":
            return torch.einsum("bs,tsd->btd", x.squeeze(-1), self.toeplitz)
        if self.form == "fft":
            spectrum = torch.fft.rfft(x.transpose(1, 2), n=2 * steps)
            series = torch.fft.irfft(spectrum * self.spectrum, n=2 * steps)
            return series[..., :steps].transpose(1, 2)
        convolved = torch.nn.functional.conv1d(x.transpose(1, 2), self.kernel, padding=steps - 1)
        return convolved[..., :steps].transpose(1, 2)

    def neurons(self, current):
        start = current.new_zeros(current.shape[0], N)
        if not self.unrolled:
            return torch._higher_order_ops.scan(self.step, start, current, dim=1)[1]
        v, spikes = start, []
        for step in range(self.steps):
            v, s = self.step(v, current[:, step])
            spikes.append(s)
        return torch.stack(spikes, dim=1)

    def step(self, v, current):
        v = v + (current - v) / 2
        s = (v >= 0.5).float()
        return (1 - s) * v, s


def exported(path, form, *, dynamo, unrolled, **sizes):
    module = Network(form, unrolled, **sizes).eval()
    x, buffer = torch.zeros(2, module.steps, M), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (x,), None if dynamo else buffer, dynamo=dynamo, verbose=False
        )
    onnx.save(program.model_proto if dynamo else onnx.load_from_string(buffer.getvalue()), path)
    return path


CASES = [
    ("fft", True, False), ("conv", True, True), ("conv", False, True), ("einsum", False, True),
]  # fmt: skip


@pytest.mark.parametrize(("form", "dynamo", "unrolled"), CASES)
def test_what_torch_writes_of_a_whole_sequence(form, dynamo, unrolled, tmp_path):
    path = exported(tmp_path / "net.onnx", form, dynamo=dynamo, unrolled=unrolled)
    imported = open_model(path)
    layers = to_layers(imported.graph, Options(dependency_breaking=False))
    x = (np.random.default_rng(0).random((8, T, M)) < 0.4).astype(np.float32)
    assert prove(imported, layers, x).errors[0] <= EQUAL
    kinds = [op.kind for op in layers.ops]
    assert (kinds.count("memory"), kinds.count("lif"), len(layers.states)) == (2, 2, 4)
    windows = [op.attrs["window"] for op in layers.ops if op.kind == "memory"]
    assert windows == [WINDOW, WINDOW]


def test_a_long_sequence_with_many_states(tmp_path):
    """784 timesteps, 100 states: the kernel's recurrence is found, and proven, in seconds."""
    sizes = {"steps": 784, "states": 100, "window": 300.0}
    path = exported(tmp_path / "net.onnx", "conv", dynamo=True, unrolled=False, **sizes)
    start = time.process_time()
    imported = open_model(path)
    layers = to_layers(imported.graph, Options())
    assert prove(imported, layers).holds
    assert time.process_time() - start < 20
    windows = [op.attrs["window"] for op in layers.ops if op.kind == "memory"]
    assert windows == [300.0, 300.0]


# -- what goes along, and what goes wrong ----------------------------------------------------------


def test_a_squeezed_batch_makes_the_mean_run_over_classes(tmp_path):
    """Of a model exported with batch 1, a squeeze without an axis drops the batch."""

    def squeezed(nodes: Nodes, spikes: str) -> str:
        linear = nodes("Squeeze", nodes("Add", nodes("MatMul", spikes, "wo"), "bo"))
        return over_time(nodes, "ReduceMean", linear, [1])

    made = model(Variant(batch=1, readout=squeezed, logits=("steps",)))
    onnx.save(made, tmp_path / "net.onnx")
    with pytest.raises(ImportFailure, match=r"features \(classes\).*not over time.*batch 1"):
        open_model(tmp_path / "net.onnx")


def test_dead_weight_is_left_behind(tmp_path):
    """A product computed twice, a mean that nothing reads, a stored spectrum that nothing reads."""

    def twice(nodes: Nodes, m: str) -> str:
        over_time(nodes, "ReduceMean", m, [1])
        nodes("MatMul", m, nodes.constant(np.ones((3, 7), np.float32)))
        nodes.constant(np.ones((3, 24, 2), np.float32))
        half = np.float32(0.5)
        return nodes("Add", nodes("Mul", m, half), nodes("Mul", m, half))

    onnx.save(model(Variant(after=twice)), tmp_path / "net.onnx")
    onnx.save(model(Variant()), tmp_path / "plain.onnx")
    dead, plain = (open_model(tmp_path / name).graph for name in ("net.onnx", "plain.onnx"))
    found, wanted = (to_layers(graph, Options()) for graph in (dead, plain))
    assert [op.kind for op in found.ops] == [op.kind for op in wanted.ops]
    for name, array in found.constants.items():
        np.testing.assert_allclose(array, wanted.constants[name], atol=1e-12)


def test_one_convolution_that_is_computed_twice_is_one_state(tmp_path):
    def twice(nodes: Nodes, drive: str, h: np.ndarray) -> str:
        both = nodes("Add", conv(nodes, drive, h), conv(nodes, drive, h))
        return nodes("Mul", both, np.float32(0.5))

    onnx.save(model(Variant(twice)), tmp_path / "net.onnx")
    imported = open_model(tmp_path / "net.onnx")
    layers = to_layers(imported.graph, Options())
    assert prove(imported, layers).errors[0] <= EQUAL
    assert len(layers.states) == 4
