"""Convolutions of events in space, as the fast path of a layer, and pools before them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmpc.nn.sizes import check_whole

Planes = tuple[int, ...]  # channels, lines, columns; of a signal channels and places
Conv = nn.Conv1d | nn.Conv2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Mean = nn.AvgPool1d | nn.AvgPool2d
Largest = nn.MaxPool1d | nn.MaxPool2d
AXES: Final[dict[type[nn.Module], int]] = {
    nn.Conv1d: 1, nn.BatchNorm1d: 1, nn.AvgPool1d: 1, nn.MaxPool1d: 1,
    nn.Conv2d: 2, nn.BatchNorm2d: 2, nn.AvgPool2d: 2, nn.MaxPool2d: 2,
}  # fmt: skip


class Convolution(nn.Module):
    """A convolution of planes that lie one behind the other, as `torch.flatten` leaves them.

    `planes` [channels, lines, columns], or [channels, places], are those that come, `conv` is the
    convolution, with `norm` behind it if it is given. It takes over their parameters. Raises
    ValueError if they do not fit each other, or are of a kind that the machine has not.
    """

    def __init__(self, planes: Sequence[int], conv: Conv, norm: Norm | None = None) -> None:
        super().__init__()
        self.planes = check_planes("Convolution", planes)
        _check_conv(conv, norm, self.planes)
        self.weight, self.bias, self.norm = conv.weight, conv.bias, norm
        self.stride, self.padding = conv.stride, conv.padding
        self.dilation, self.groups = conv.dilation, conv.groups
        with torch.no_grad():
            try:
                made = self._convolved(self.weight.new_zeros(1, *self.planes))
            except RuntimeError as error:
                raise ValueError(f"Convolution: {conv} has no room in {list(planes)}") from error
        self.results: Planes = tuple(made.shape[1:])

    @property
    def neurons(self) -> int:
        """How many results it has."""
        return math.prod(self.results)

    @property
    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The parameters by which all results of an output grow, and are moved."""
        if self.norm is not None:
            return self.norm.weight, self.norm.bias
        assert self.bias is not None
        return self.weight, self.bias

    def forward(self, x: Tensor) -> Tensor:
        """`x` [.., channels * lines * columns] -> results, in the same order."""
        made = self._convolved(x.reshape(-1, *self.planes))
        if self.norm is not None:
            made = self.norm(made)
        return made.reshape(*x.shape[:-1], self.neurons)

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Take the mean and variance of results for `x` as those that `norm` has seen."""
        if self.norm is not None:
            made = self._convolved(x.reshape(-1, *self.planes)).transpose(0, 1).flatten(1)
            for seen, now in (
                (self.norm.running_mean, made.mean(dim=1)),
                (self.norm.running_var, made.var(dim=1)),
            ):
                assert seen is not None
                seen.copy_(now)

    @property
    def pads(self) -> tuple[int, ...]:
        """Zeros before the first place of each axis, and behind the last."""
        if not isinstance(self.padding, str):
            return (*self.padding, *self.padding)
        around = [0] * len(self.stride)
        if self.padding == "same":
            taps = self.weight.shape[2:]
            around = [d * (size - 1) for d, size in zip(self.dilation, taps, strict=True)]
        return (*(all_ // 2 for all_ in around), *(all_ - all_ // 2 for all_ in around))

    def _convolved(self, planes: Tensor) -> Tensor:
        axes = len(self.stride)
        before, behind = self.pads[:axes], self.pads[axes:]
        if before != behind:  # torch would copy them, too, and warn
            around = [pad for both in zip(before, behind, strict=True) for pad in reversed(both)]
            planes, before = functional.pad(planes, around[::-1]), (0,) * axes
        convolved = functional.conv1d if axes == 1 else functional.conv2d
        return convolved(
            planes, self.weight, self.bias, self.stride, before, self.dilation, self.groups
        )

    def in_planes(self, values: Tensor) -> Tensor:
        """Values [.., lines * columns * outputs] of the machine's neurons, plane by plane.

        The machine has as many outputs as fill its rows: further ones are left out.
        """
        outputs, *places = self.results
        apart = values.reshape(*values.shape[:-1], math.prod(places), -1)
        return apart[..., :outputs].transpose(-1, -2).reshape(*values.shape[:-1], self.neurons)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        shown = f"planes={self.planes}, results={self.results}, taps={tuple(self.weight.shape[2:])}"
        return f"{shown}, stride={self.stride}, padding={self.padding}"


class Pool(nn.Module):
    """Means or maxima over neighbours of planes that lie one behind the other.

    Raises ValueError if the machine has no such `pool`, or `planes` no room for it.
    """

    def __init__(self, planes: Sequence[int], pool: Mean | Largest) -> None:
        super().__init__()
        self.planes, self.pool = check_planes("Pool", planes), pool
        axes = len(self.planes) - 1
        _check_axes("Pool", pool, self.planes)
        self.largest = isinstance(pool, Largest)
        self.size, self.stride, self.padding = (
            _each(number, axes) for number in (pool.kernel_size, pool.stride, pool.padding)
        )
        _check_pool(self)
        try:
            made = pool(torch.zeros(1, *self.planes))
        except RuntimeError as error:
            raise ValueError(f"Pool: {pool} has no room in {list(planes)}") from error
        self.results: Planes = tuple(made.shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        """`x` [.., channels * lines * columns] -> means or maxima, in the same order."""
        made: Tensor = self.pool(x.reshape(-1, *self.planes))
        return made.reshape(*x.shape[:-1], math.prod(self.results))


class Seen(NamedTuple):
    """What a layer reads through: a pool, if there is one, and behind it a convolution."""

    pool: Pool | None
    convolution: Convolution


def front_layers(planes: Planes, modules: Iterable[nn.Module]) -> tuple[list[Seen], Pool | None]:
    """The convolutions of a front end with the pools before them, and a pool that ends it.

    Raises ValueError if it is made of anything but convolutions, with a batch norm behind or a pool
    before some, or begins with maxima.
    """
    pool: Pool | None = None
    found: list[Seen] = []
    before: nn.Module | None = None
    for module, behind in zip_longest((every := [*modules]), every[1:]):
        if isinstance(module, Conv):
            made = Convolution(planes, module, behind if isinstance(behind, Norm) else None)
            found.append(Seen(pool, made))
            planes, pool = made.results, None
        elif isinstance(module, Mean | Largest) and pool is None:
            pool = Pool(planes, module)
            planes = pool.results
            if pool.largest and not found:
                raise ValueError(
                    f"DMPNetwork: front begins with {module}, but maxima are taken of spikes "
                    "alone; put it behind a convolution, or take means of the input"
                )
        elif not (isinstance(module, Norm) and isinstance(before, Conv)):
            raise ValueError(
                f"DMPNetwork: front holds {module}; it takes nn.Conv2d, each followed by spiking "
                "neurons, with nn.BatchNorm2d right behind any of them and one nn.AvgPool2d or "
                "nn.MaxPool2d between two, or all of these for one axis"
            )
        before = module
    if not found:
        raise ValueError("DMPNetwork: front has no nn.Conv2d or nn.Conv1d")
    return found, pool


def check_planes(owner: str, planes: object) -> Planes:
    """Channels and one or two sizes; ValueError unless they are whole numbers."""
    sizes = tuple(planes) if isinstance(planes, Sequence) else ()
    if len(sizes) not in (2, 3):
        raise ValueError(
            f"{owner}: inputs is {planes!r}; planes are (channels, lines, columns), or "
            "(channels, places)"
        )
    return tuple(check_whole(owner, "inputs", size, 1) for size in sizes)


def _check_axes(owner: str, module: nn.Module, planes: Planes) -> None:
    axes = next(number for kind, number in AXES.items() if isinstance(module, kind))
    if axes != len(planes) - 1:
        raise ValueError(f"{owner}: {module} is for {axes} axes, planes are {list(planes)}")


def _check_conv(conv: Conv, norm: Norm | None, planes: Planes) -> None:
    _check_axes("Convolution", conv, planes)
    if conv.in_channels != planes[0]:
        raise ValueError(f"Convolution: {conv} takes {conv.in_channels} channels, {planes[0]} come")
    if conv.padding_mode != "zeros":
        raise ValueError(
            f"Convolution: {conv} has no zeros around its input; the machine knows no others"
        )
    if norm is None and conv.bias is None:
        raise ValueError(f"Convolution: {conv} has nothing to move it: give it a bias, or a norm")
    if norm is None:
        return
    _check_axes("Convolution", norm, (conv.out_channels, *planes[1:]))
    if norm.num_features != conv.out_channels or not (norm.affine and norm.track_running_stats):
        raise ValueError(
            f"Convolution: {norm} behind {conv}; it needs as many features as that has outputs, "
            "and affine and track_running_stats, since it becomes part of the weights"
        )


def _check_pool(pool: Pool) -> None:
    module = pool.pool
    if module.ceil_mode or getattr(module, "divisor_override", None) is not None:
        raise ValueError(f"Pool: {module} rounds up, or divides by something else: give a size")
    if isinstance(module, Largest):
        if module.return_indices or _each(module.dilation, 1)[0] != 1:
            raise ValueError(f"Pool: {module} leaves gaps, or asks where maxima are")
    elif pool.stride != pool.size or any(pool.padding):
        raise ValueError(f"Pool: {module} overlaps; give it a size alone")


def _each(number: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """A number for each axis."""
    return number if isinstance(number, tuple) else (number,) * axes
