"""Convolutions of events in space, as the fast path of a layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmpc.nn.sizes import check_whole

Planes = tuple[int, int, int]  # channels, lines, columns


class Convolution(nn.Module):
    """A convolution of planes that lie one behind the other, as `torch.flatten` leaves them.

    `planes` [channels, lines, columns] are those that come, `conv` is the convolution, with a mean
    over neighbours before it if `pool` is given. It takes over their parameters. Raises ValueError
    if they do not fit each other, or `conv` is of a kind that the machine has not.
    """

    def __init__(
        self, planes: Sequence[int], conv: nn.Conv2d, pool: nn.AvgPool2d | None = None
    ) -> None:
        super().__init__()
        self.planes = check_planes("Convolution", planes)
        _check(conv, pool, self.planes)
        assert conv.bias is not None
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.padding = _pair(conv.stride), _pair(conv.padding)
        self.dilation, self.groups = _pair(conv.dilation), conv.groups
        self.pool = (1, 1) if pool is None else _pair(pool.kernel_size)
        with torch.no_grad():
            try:
                made = self._convolved(self.weight.new_zeros(1, *self.planes))
            except RuntimeError as error:
                raise ValueError(f"Convolution: {conv} has no room in {list(planes)}") from error
        _, outputs, lines, columns = made.shape
        self.results: Planes = (outputs, lines, columns)

    @property
    def neurons(self) -> int:
        """How many results it has."""
        outputs, lines, columns = self.results
        return outputs * lines * columns

    def forward(self, x: Tensor) -> Tensor:
        """`x` [.., channels * lines * columns] -> results, in the same order."""
        made = self._convolved(x.reshape(-1, *self.planes))
        return made.reshape(*x.shape[:-1], self.neurons)

    def _convolved(self, planes: Tensor) -> Tensor:
        if self.pool != (1, 1):
            planes = functional.avg_pool2d(planes, self.pool)
        return functional.conv2d(
            planes, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def in_planes(self, values: Tensor) -> Tensor:
        """Values [.., lines * columns * outputs] of the machine's neurons, plane by plane.

        The machine has as many outputs as fill its rows: further ones are left out.
        """
        outputs, lines, columns = self.results
        apart = values.reshape(*values.shape[:-1], lines * columns, -1)
        return apart[..., :outputs].transpose(-1, -2).reshape(*values.shape[:-1], self.neurons)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        shown = f"planes={self.planes}, results={self.results}, taps={tuple(self.weight.shape[2:])}"
        return f"{shown}, stride={self.stride}, padding={self.padding}, pool={self.pool}"


def front_layers(planes: Planes, modules: Sequence[nn.Module]) -> Iterator[Convolution]:
    """The convolutions of a front end, each with the means before it.

    Raises ValueError if it is made of anything but `nn.Conv2d` with `nn.AvgPool2d` before some.
    """
    pool: nn.AvgPool2d | None = None
    for module in modules:
        if isinstance(module, nn.AvgPool2d) and pool is None:
            pool = module
        elif isinstance(module, nn.Conv2d):
            made = Convolution(planes, module, pool)
            yield made
            planes, pool = made.results, None
        else:
            raise ValueError(
                f"DMPNetwork: front holds {module}; it takes nn.Conv2d, each followed by spiking "
                "neurons, and one nn.AvgPool2d before any of them"
            )
    if pool is not None:
        raise ValueError(f"DMPNetwork: front ends with {pool}; put an nn.Conv2d behind it")


def check_planes(owner: str, planes: object) -> Planes:
    """Sizes as channels, lines, columns; ValueError unless there are three whole numbers."""
    sizes = tuple(planes) if isinstance(planes, Sequence) else ()
    if len(sizes) != 3:
        raise ValueError(f"{owner}: inputs is {planes!r}; planes are (channels, lines, columns)")
    channels, lines, columns = (check_whole(owner, "inputs", size, 1) for size in sizes)
    return channels, lines, columns


def _check(conv: nn.Conv2d, pool: nn.AvgPool2d | None, planes: Planes) -> None:
    if conv.in_channels != planes[0]:
        raise ValueError(f"Convolution: {conv} takes {conv.in_channels} channels, {planes[0]} come")
    if conv.bias is None or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise ValueError(
            f"Convolution: {conv} is not of the kind that is trained here; give it a bias, zeros "
            "around, and its padding in numbers"
        )
    if pool is None:
        return
    plain = _pair(pool.stride) == _pair(pool.kernel_size) and _pair(pool.padding) == (0, 0)
    if not plain or pool.ceil_mode or pool.divisor_override is not None:
        raise ValueError(f"Convolution: {pool} overlaps, or divides by something else: give a size")


def _pair(numbers: int | tuple[int, ...] | str) -> tuple[int, int]:
    if isinstance(numbers, tuple):
        return numbers[0], numbers[1]
    return int(numbers), int(numbers)
