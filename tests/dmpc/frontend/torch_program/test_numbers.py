"""Modules in other numbers than floats are refused by the name of the part, in one line."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.ao.nn import qat

from dmpc import compile as compile_model
from dmpc import from_torch
from dmpc.check import check
from dmpc.errors import ImportFailure
from dmpc.frontend import open_model
from dmpc.frontend.torch_program.numbers import check_unquantized, check_unquantized_program

X = (np.random.default_rng(0).random((2, 3, 4)) < 0.5).astype(np.float32)


class Net(nn.Module):
    """Leaky neurons and a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.hidden = nn.Sequential(nn.Linear(4, 5))
        self.out = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.quant(x)
        u, total = x.new_zeros(len(x), 5), 0
        for step in x.unbind(1):
            u = 0.5 * u + self.hidden(step)
            spikes = (u >= 1.0).float()
            u, total = u * (1 - spikes), total + self.out(spikes)
        return self.dequant(total / x.shape[1])


def prepared(*, training: bool) -> nn.Module:
    net = Net().train(training)
    kind = quantization.get_default_qat_qconfig if training else quantization.get_default_qconfig
    net.qconfig = kind("fbgemm")
    prepare = quantization.prepare_qat if training else quantization.prepare
    made: nn.Module = prepare(net)
    made(torch.from_numpy(X))
    return made.eval()


class Own(qat.Linear):
    """A user's class on top of the library's."""


def of_tensors() -> nn.Module:
    net = Net()
    net.register_buffer("scaled", torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8))
    return net


QUANTIZED = {
    "dynamic": (lambda: quantization.quantize_dynamic(Net(), {nn.Linear}), "'hidden.0'"),
    "trained": (lambda: prepared(training=True), "'quant'"),
    "observed": (lambda: prepared(training=False), "'quant'"),
    "converted": (lambda: quantization.convert(prepared(training=False)), "'quant'"),
    "a part alone": (lambda: nn.Sequential(Net(), quantization.FakeQuantize()), "'1'"),
    "the whole": (quantization.FakeQuantize, "the module"),
    "subclass": (lambda: Own(4, 2, qconfig=quantization.default_qat_qconfig), "the module"),
    "tensor": (of_tensors, "'scaled'"),
}


@pytest.mark.filterwarnings("ignore")  # the library says that it will move
@pytest.mark.parametrize("kind", QUANTIZED)
def test_a_quantized_module_is_named(kind):
    make, where = QUANTIZED[kind]
    with pytest.raises(ImportFailure) as caught:
        from_torch(make(), X)
    assert f": {where} is quantized, or prepared for it (torch." in str(caught.value)
    assert "give the float module" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_places_for_a_quantizer_are_harmless():
    check_unquantized(Net(), "net")
    check_unquantized(quantization.QuantWrapper(nn.Linear(2, 2)), "net")


def test_a_program_of_a_quantizer_is_named():
    names = {"torch.ops.aten.add.Tensor", "torch.ops.quantized_decomposed.quantize_per_tensor.x"}
    with pytest.raises(ImportFailure, match=r"^a\.pt2: the program is quantized.*quantize_per_t"):
        check_unquantized_program(names, "a.pt2")
    check_unquantized_program({"torch.ops.aten.add.Tensor", "_operator.getitem"}, "a.pt2")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_program_in_narrow_floats_says_how_to_save_it(dtype, tmp_path):
    path = tmp_path / "net.pt2"
    net = nn.Linear(4, 2).to(dtype)
    torch.export.save(torch.export.export(net, (torch.zeros(2, 3, 4, dtype=dtype),)), path)
    with pytest.raises(ImportFailure, match=r"p_weight.*\(save module\.float\(\) on an example"):
        open_model(path)


def test_what_torch_prints_of_a_failure_stays_behind(capsys):
    class Branch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ImportFailure, match="cannot trace it"):
        from_torch(Branch(), X)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("of", [compile_model, check])
@pytest.mark.parametrize("model", [Net(), None, {}], ids=["module", "None", "dict"])
def test_what_is_no_model_is_told_how_it_becomes_one(of, model):
    with pytest.raises(ImportFailure, match=r"^\w+: this is no file.*dmpc\.from_torch\(module, x"):
        of(model)
