"""Linear maps of which the gradient alone is wanted: nobody reads their values."""

from __future__ import annotations

from typing import Any

from torch import Tensor, autograd, nn


def unread(linear: nn.Module, x: Tensor) -> Tensor:
    """Zeros in the place of `linear(x)` [.., n], with its gradients for `x` [.., m] and weights.

    A module of another kind than `nn.Linear` is called.
    """
    if type(linear) is not nn.Linear:
        read: Tensor = linear(x)
        return read
    zeros: Tensor = _Unread.apply(x, linear.weight, linear.bias)  # type: ignore[no-untyped-call]
    return zeros


class _Unread(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        del bias
        ctx.save_for_backward(x, weight)
        return x.new_zeros(()).expand(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        (gradient,) = gradients
        rows = gradient.flatten(0, -2)
        each = rows if x.is_contiguous() else gradient  # in the order in which torch adds up
        return (
            (rows @ weight).unflatten(0, x.shape[:-1]) if of_x else None,
            rows.T @ x.flatten(0, -2) if of_weight else None,
            each.sum(dim=tuple(range(each.dim() - 1))) if of_bias else None,
        )
