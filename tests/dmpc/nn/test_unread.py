"""Linear maps that nobody reads have torch's gradients, to the last bit."""

import pytest
import torch
from torch import Tensor, nn

from dmpc.nn.unread import unread


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("strided", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("inputs", [10, 140])
def test_gradients_are_those_of_a_product(
    inputs: int, strided: tuple[bool, bool], bias: bool
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(inputs, 128, bias)

    def drawn(size: int, turned: bool) -> Tensor:
        made = torch.randn(40, 30, size)
        return made.swapaxes(0, 1).contiguous().swapaxes(0, 1) if turned else made

    x, gradient = drawn(inputs, strided[0]), drawn(128, strided[1])
    found = []
    for product in (linear, lambda x: unread(linear, x)):
        given = x.detach().requires_grad_()
        linear.zero_grad()
        made = product(given)
        assert made.shape == gradient.shape
        made.backward(gradient)
        found.append([given.grad, *(one.grad for one in linear.parameters())])
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_what_is_no_linear_map_is_called() -> None:
    x = torch.randn(2, 3)
    assert torch.equal(unread(nn.Tanh(), x), x.tanh())
