"""Random numbers in a module are told, whoever draws them; narrow weights are widened."""

import random

import numpy as np
import pytest
import torch

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.convert import to_onnx
from dmpc.frontend.torch_program.emitter import Emitter
from dmpc.frontend.torch_program.numbers import in_float32
from dmpc.frontend.torch_program.program import export
from tests.dmpc.frontend.torch_program.test_convert import B, Function, M, T

OWN = np.random.default_rng(0)
KEPT = torch.Generator()
DRAWN = {
    "rand": lambda x: x + torch.rand(x.shape),
    "randn": lambda x: x + torch.randn(x.shape),
    "randint": lambda x: x * torch.randint(0, 2, x.shape),
    "normal": lambda x: x + torch.normal(0.0, 0.1, x.shape),
    "rand_like": lambda x: (torch.rand_like(x) <= x).float(),
    "bernoulli": lambda x: torch.bernoulli(x.clamp(0, 1)),
    "poisson": lambda x: torch.poisson(x.abs()),
    "uniform": lambda x: x + torch.empty_like(x).uniform_(),
    "randperm": lambda x: x[:, torch.randperm(T)],
    "generator": lambda x: x + torch.rand(x.shape, generator=torch.Generator().manual_seed(1)),
    "kept generator": lambda x: x + torch.rand(x.shape, generator=KEPT),
    "numpy": lambda x: x * torch.from_numpy(np.random.rand(T, M)).float(),
    "numpy's own": lambda x: x * torch.from_numpy(OWN.random((T, M))).float(),
    "python": lambda x: x + 1e-30 * random.random(),
}


def converted(function):
    net = Function(lambda _, x: function(x))
    return to_onnx(export(net, torch.rand(B, T, M), "net"), "net")


@pytest.mark.parametrize("function", DRAWN.values(), ids=DRAWN)
def test_random_numbers_become_no_weights(function):
    near = "encode the input as spikes before it reaches the network"
    with pytest.raises(ImportFailure, match=near) as info:
        converted(function)
    assert "\n" not in str(info.value)


def test_numbers_that_nothing_depends_on_are_nobodys_concern():
    def function(x):
        torch.rand(3)
        np.random.random()
        return 2 * torch.nn.functional.dropout(x, 0.5, training=False)

    assert [node.op_type for node in converted(function).graph.node] == ["Mul"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_are_widened_in_a_copy(dtype):
    module = torch.nn.Linear(3, 2).to(dtype)
    wide = in_float32(module, "net")
    assert torch.equal(wide.weight, module.weight.float())
    assert module.weight.dtype == dtype
    assert in_float32(wide, "net") is wide


def test_a_weight_of_a_type_that_onnx_has_not_is_refused():
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        with pytest.raises(ImportFailure, match=r"a tensor of \w+ is not supported \(float32\)"):
            Emitter()._store("weight", torch.zeros(2).to(dtype))
