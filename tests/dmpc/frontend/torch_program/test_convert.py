"""Each ATen operation of the table against torch itself: the ONNX model in onnxruntime."""

import numpy as np
import onnx
import pytest
import torch
from torch import fft, nn
from torch.nn import functional

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.convert import HANDLERS, functional_form, to_onnx
from dmpc.frontend.torch_program.program import export, untouched
from tests.dmpc.frontend.oracle import session

B, T, M = 2, 6, 4


class Function(nn.Module):
    """A function of a sequence as a module, with a few weights to use."""

    def __init__(self, function):
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(M, M, generator=random))
        self.row = nn.Parameter(torch.randn(M, generator=random))
        self.register_buffer("spectrum", fft.rfft(torch.randn(3, T, generator=random), n=2 * T))
        self.bn = nn.BatchNorm1d(M)
        with torch.no_grad():
            self.bn.running_mean.copy_(self.row)
            self.bn.running_var.copy_(self.row.abs() + 0.5)
            self.bn.bias.copy_(self.row + 1)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def elementwise(m, x):
    a = x + 2 * torch.sigmoid(x) - torch.tanh(x) / 3 + torch.add(x, x, alpha=0.5)
    b = torch.where(x >= 0.5, a, -x) * (x > m.row) + (1 - x) * (x < 0.1).float()
    c = b.clamp(min=0) + torch.clamp(x, -0.2, 0.4) + torch.rsub(x, 1.5) + x.abs().sqrt()
    d = torch.maximum(c, x).masked_fill((x <= 0.2) & (x != 0.1), 7.0)
    e = torch.div(d * 4, 3, rounding_mode="floor") + (x == 0.0).to(torch.float64).to(x.dtype)
    f = (
        torch.minimum(e, x.exp())
        + x.floor()
        + x.ceil()
        + (3 * x).trunc()
        + x.sign()
        + (x.abs() + 1).log()
    )
    g = f + torch.heaviside(x - 0.3, torch.tensor(1.0)) + torch.relu(x) + (x.abs() + 1) ** 2
    return g + (x * 10).to(torch.int32) + (~(x > 0)).float() + torch.reciprocal(x.abs() + 1)


def movement(m, x):
    del m
    x = functional.dropout(x, 0.5, training=False)
    parts = [
        x[:, 0],
        x[:, -1],
        *x.unbind(1),
        x[:, 1:5:2].flatten(1)[:, :M],
        *x.chunk(3, 1)[1].unbind(1),
    ]
    a = torch.stack(parts, 1).flip(1)
    b = torch.cat([a, x.transpose(1, 2).contiguous().view(B, -1, M)], 1)
    c = b.unsqueeze(-1).expand(-1, -1, -1, 2).reshape(B, -1).squeeze() + 0
    d = c.reshape(B, 1, -1).squeeze(1).unflatten(1, (-1, 2)).permute(1, 0, 2).movedim(0, 1)
    e = torch.index_select(d, 1, torch.tensor([3, 1, 1])).repeat(1, 2, 1)
    f = functional.pad(e, (1, 2, 0, 3), value=0.5)[:, :, [2, 0]].narrow(1, 1, 4)
    f = f.gather(1, torch.tensor([1, 0, 2, 3])[None, :, None].expand_as(f))
    turned = f.swapaxes(1, 2).flip(1).swapdims(2, 1)
    return torch.cat([f, turned, f[0].T.flip(0).t().expand_as(f)], -1)


def placing(m, x):
    places = torch.tensor([2, 0, 2])
    y = x.index_add(2, places, x[..., :3]).index_add(1, places, x[:, :3])
    y = y.scatter_add(2, places.expand(B, T, 3), x[..., 1:4])
    y[:, :, places[:2]] = x[..., :2]
    y[:, places[:2]] = m.row
    return y.index_put((torch.tensor([1]),), x[:1], accumulate=True)


def writing(m, x):
    y = torch.zeros(B, T, M)
    kept = y[:, 4]  # a view that later writes change
    for t in range(T):
        y[:, t] = m.row if t == 2 else x[:, t] * (y[:, t - 1] + 1)
    return torch.cat([y, kept.unsqueeze(1)], 1)


def writing_simply(m, x):
    y = torch.zeros(B, T, M)
    for t in range(T):
        y[:, t] = m.row if t == 2 else x[:, t] * (y[:, t - 1] + 1)
    y[:, 3] = x[:, :1, 0]
    return y


def writing_by_masks(_, x):
    out = torch.zeros_like(x)
    out[x > 0] = 1.0
    v = x.clone()
    v[out.bool()] = 0.0
    v[out == 0] = 2.0
    v[x.sum((1, 2)) > 0] = torch.tensor([-1.0])
    high = x > 0.5
    v[high] -= 1.0
    v[high] = x[high] * 2 + v[high]
    v = torch.lerp(v.masked_scatter(x < -1, torch.zeros_like(v)), x, 0.25)
    v = torch.addcmul(v, x, x, value=0.5)
    v[torch.where(torch.isclose(x, torch.tensor(-1.0), rtol=0.3))] = 3.0
    return torch.cat([out, v], 1)


def indexing(_, x):
    late = torch.arange(T)[:, None] - torch.tensor([0, 2, 1, 3, 0][:M])
    columns = torch.arange(M)
    y = x.clone()
    y[:, 1] = x[:, 0]
    y[:, 2:4] = x[:, :2] * 2
    y[:, 1::2, 0] = 0.0
    parts = [
        x[:, late.clamp(min=0), columns],
        x[torch.arange(B)[:, None, None], late.clamp(min=0)[None], columns],
        torch.take_along_dim(x, late.clamp(min=0)[None], 1),
        x[:, torch.tensor([3, 1, 1, 5])[:M], columns],
        x[torch.tensor([1, 0]), :, torch.tensor([1, 1])],
        torch.roll(x, (2, -1), (1, 2)),
        torch.roll(x, 3),
        x.unfold(1, 3, 2).sum(-1),
        x[:, [3, 2, 1]].diagonal(1, 1, 2).unsqueeze(2).expand(-1, -1, M),
        x[[0, 1], :, [2, 1]].unsqueeze(2).expand(-1, -1, M)[:B],
        y,
    ]
    return torch.cat([part.reshape(-1) for part in parts])


def products(m, x):
    a = functional.linear(x, m.weight, m.row) + x @ m.weight + functional.linear(x, m.weight)
    b = torch.einsum("btm,nm->btn", x, m.weight) + x.mean(dim=1, keepdim=True)
    c = torch.addmm(m.row, x[:, 0], m.weight, alpha=2) + torch.mm(x[:, 1], m.weight)
    d = functional.linear(x[:, 2], m.weight, m.row) + x.sum((1,)) + x.amax(1) + x.max(dim=1).values
    e = functional.conv1d(
        functional.pad(x.transpose(1, 2), (2, 0)), m.weight[:, None, :3], m.row, groups=M
    )
    f = m.bn(x.transpose(1, 2)).transpose(1, 2) + torch.cumsum(x, 1) + e.transpose(1, 2)
    a = a + functional.avg_pool1d(x, 3, 1, 1) + functional.adaptive_avg_pool1d(x, M)
    a = a + functional.avg_pool2d(x, 3, 1, 1) + functional.adaptive_avg_pool2d(x, (T, M))
    return a + b + f + (c + d).unsqueeze(1) + torch.mv(x[0], m.row).sum() + x.mean()


def greatest(_, x):
    planes = x.unsqueeze(1)
    parts = [
        functional.max_pool1d(x, 3, 2, 1, ceil_mode=True),
        functional.max_pool1d(x, 2, return_indices=True)[0],
        functional.adaptive_max_pool1d(x, 1),
        functional.max_pool2d(planes, (2, 3), 1, (1, 0)),
        functional.max_pool2d(planes, 2, dilation=(2, 1), return_indices=True)[0],
        functional.adaptive_max_pool2d(planes, (T, 1)),
    ]
    return torch.cat([part.reshape(-1) for part in parts])


def transforms(m, x):
    u = x[..., 0].unsqueeze(1)
    spectrum = fft.rfft(u, n=2 * T, dim=-1) * m.spectrum.unsqueeze(0) * 2.0
    memory = fft.irfft(spectrum, n=2 * T, dim=-1)[..., :T]
    odd = fft.irfft(fft.rfft(x[..., 1], n=9) * x[..., 2].mean(), n=9, norm="ortho")
    whole = fft.ifft(fft.fft(x, dim=1, norm="forward").conj(), dim=1).real
    split = torch.view_as_complex(torch.stack([x[..., 0], x[..., 1]], -1).contiguous())
    spun = (split * (1 + 2j)).imag + torch.view_as_real(split - split * 0.5).sum(-1)
    both = torch.complex(x[..., 0], x[..., 3]).real + fft.rfft(x[..., 2], n=2 * T - 1).real
    return torch.cat([memory.flatten(1), odd, whole.flatten(1), spun, both], 1)


FUNCTIONS = (
    elementwise, movement, placing, writing, writing_simply, writing_by_masks, indexing, products,
    greatest, transforms,
)  # fmt: skip


def test_operations_compute_what_torch_computes():
    """Every handler of the table runs in one of the functions above."""
    seen = set()
    x = torch.randn(B, T, M, generator=torch.Generator().manual_seed(2))
    for function in FUNCTIONS:
        module = Function(function).eval()
        program = export(module, x, "module")
        nodes = functional_form(program).graph.nodes
        targets = (node.target for node in nodes if node.op == "call_function")
        seen |= {t._schema.name.removeprefix("aten::") for t in targets if hasattr(t, "_schema")}
        model = to_onnx(program, "module")
        onnx.checker.check_model(model, full_check=True)
        (found,) = session(model).run(None, {model.graph.input[0].name: x.numpy()})
        with untouched(module):
            expected = module(x).numpy()
        np.testing.assert_allclose(found, expected, 1e-4, 1e-5, err_msg=function.__name__)
    tried = {HANDLERS[kind] for kind in seen if kind in HANDLERS}
    left = {kind for kind, handler in HANDLERS.items() if handler not in tried}
    spikingjelly = {f"sj_{kind}::forward" for kind in ("lif", "plif", "if", "ilif")}
    assert left == spikingjelly  # test_spikingjelly.py


def test_names_are_those_of_the_users_modules():
    module = nn.Sequential(nn.Linear(M, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    model = to_onnx(export(module, torch.zeros(B, T, M), "net"), "net")
    names = [node.name for node in model.graph.node]
    assert any(name.startswith("0.linear") for name in names)
    assert any(name.startswith("1.relu") for name in names)
    weights = {tensor.name for tensor in model.graph.initializer}
    assert {"0.weight", "0.bias", "2.weight", "2.bias"} <= weights


def test_dead_code_and_unused_weights_are_left_out():
    def taps(m, x):
        m.bn(x.transpose(1, 2)).mean()
        return x @ m.weight

    model = to_onnx(export(Function(taps), torch.zeros(B, T, M), "net"), "net")
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    assert [tensor.name for tensor in model.graph.initializer] == ["weight"]


def test_what_depends_on_weights_alone_is_computed_by_torch():
    def decayed(m, x):
        return x * torch.linalg.matrix_exp(m.weight).diagonal() + fft.rfft(m.weight).real.sum()

    model = to_onnx(export(Function(decayed), torch.zeros(B, T, M), "net"), "net")
    assert [node.op_type for node in model.graph.node] == ["Mul", "Add"]


def refused(function) -> str:
    with pytest.raises(ImportFailure) as info:
        to_onnx(export(Function(function), torch.randn(B, T, M), "net"), "net")
    return str(info.value)


class Squash(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_an_unsupported_operation_names_module_line_and_the_nearest():
    net = nn.Sequential(nn.Linear(M, 3), Squash())
    with pytest.raises(ImportFailure) as info:
        to_onnx(export(net, torch.zeros(B, T, M), "net"), "net")
    said = str(info.value)
    assert said.startswith("1.special_bessel_j0 (test_convert.py:")
    assert "operator special_bessel_j0 is not supported (" in said


def scripted(x):
    spikes, v = torch.zeros_like(x), torch.zeros_like(x[:, 0])
    for t in range(x.shape[1] - 1):  # the last step stays as it was
        v = v + x[:, t]
        spikes[:, t] = v
    spikes[:, 1] = torch.ones_like(v)
    return spikes


def test_scripted_functions_and_writes_into_a_tensor_of_zeros():
    function = torch.jit.script(scripted)
    x = torch.randn(B, T, M, generator=torch.Generator().manual_seed(2))
    model = to_onnx(export(Function(lambda _, x: function(x)), x, "net"), "net")
    (found,) = session(model).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, scripted(x), rtol=1e-6)
    assert sum(node.op_type == "Concat" for node in model.graph.node) == 1
    assert isinstance(function, torch.jit.ScriptFunction)
    assert torch.equal(function(x), scripted(x))  # scripted as before


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda _, x: functional.dropout(x, 0.5, training=True), "dropout is in training mode"),
        (lambda _, x: (x, x + 1), "returns 2 tensors"),
        (lambda _, x: fft.fft(x), "the output is complex"),
        (lambda m, _: m.weight + 1, "does not depend on the input"),
        (lambda m, x: m.bn.running_mean.add_(x.mean()) + x, "writes into 'bn.running_mean'"),
        (lambda _, x: x if x.sum() > 0 else -x, "control flow must not depend on the data"),
        (lambda _, x: torch.softmax(x, -1), "leave it to whoever reads the logits"),
        (lambda _, x: x[:, x[0, :, 0].argsort()], "argsort"),
        (lambda _, x: x + torch.rand(T, 1), "rand draws random numbers"),
        (lambda m, x: x + m.row[torch.randint(0, M, (M,))], "randint draws random numbers"),
        (lambda _, x: torch.linalg.vector_norm(x, dim=-1), "not supported"),
        (lambda _, x: nn.Linear(3, 3)(x), "forward fails on an input [2, 6, 4]"),
    ],
)
def test_refusals_say_why(function, message):
    assert message in refused(function)


def test_random_numbers_of_which_nothing_is_left_are_constants():
    def function(_, x):
        noise = 0.0 * torch.randn(x.shape).abs()
        return x + noise + torch.ones(M).index_select(0, torch.randint(0, M, (M,)).clone())

    x = torch.randn(B, T, M)
    model = to_onnx(export(Function(function), x, "net"), "net")
    (found,) = session(model).run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(found, x + 1)


def test_a_line_of_the_users_is_told_of_once_and_not_for_every_timestep():
    def loop(_, x):
        steps = [torch.special.bessel_j0(x[:, k]) for k in range(T)]
        return torch.stack(steps, 1) + torch.special.bessel_j1(x)

    with pytest.raises(ImportFailure) as caught:
        to_onnx(export(Function(loop), torch.randn(B, T, M), "net"), "net")
    said = [str(one) for one in caught.value.every]
    assert [("bessel_j0" in one, "bessel_j1" in one) for one in said] == [
        (True, False), (False, True)
    ]  # fmt: skip
    assert len(caught.value.nodes) == T
