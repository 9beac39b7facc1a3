"""Conv on known arrays, by fast Fourier transforms: the kernels of slow states are long."""

from collections.abc import Iterable, Sequence

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.operator_rules import CONV
from dmpc.ir.graph import Array


def convolve(node: Node, x: Array, kernel: Array, bias: Array | None) -> Array:
    """Conv of `x` [samples, channels, ...] with `kernel` [outputs, channels / group, ...].

    Raises ImportFailure if the shapes do not fit.
    """
    group, rank = node.integer("group", 1), x.ndim - 2
    strides, dilations = (node.integers(key) or [1] * rank for key in ("strides", "dilations"))
    if kernel.ndim != x.ndim or rank < 1 or kernel.shape[1] * group != x.shape[1]:
        shapes = f"input {list(x.shape)} and kernel {list(kernel.shape)} in {group} groups"
        raise ImportFailure.of(CONV, problem=f"has {shapes}, which do not fit together")
    kernel = _dilated(kernel, dilations)
    padded = np.pad(x, [(0, 0), (0, 0), *pads(node, x.shape[2:], kernel.shape[2:], strides)])
    if any(have < want for have, want in zip(padded.shape[2:], kernel.shape[2:], strict=True)):
        raise ImportFailure.of(CONV, problem="has a kernel that is longer than the padded input")
    parts = zip(np.split(padded, group, axis=1), np.split(kernel, group), strict=True)
    result = np.concatenate([_correlate(part, taps) for part, taps in parts], axis=1)
    result = result[_along(slice(None, None, stride) for stride in strides)]
    return result if bias is None else result + bias.reshape(-1, *[1] * rank)


def _dilated(kernel: Array, dilations: list[int]) -> Array:
    sizes = [(n - 1) * by + 1 for n, by in zip(kernel.shape[2:], dilations, strict=True)]
    spread = np.zeros((*kernel.shape[:2], *sizes))
    spread[_along(slice(None, None, by) for by in dilations)] = kernel
    return spread


def pads(
    node: Node, shape: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Zeros before and after each axis of a shape, as `pads` or `auto_pad` say; `spans` are what
    a kernel covers."""
    rank, auto = len(shape), node.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = zip(shape, spans, strides, strict=True)
        totals = [max(0, (-(-n // by) - 1) * by + taps - n) for n, taps, by in sizes]
        lower = [(total // 2, total - total // 2) for total in totals]
        return lower if auto == "SAME_UPPER" else [pair[::-1] for pair in lower]
    named = node.integers("pads") if auto == "NOTSET" else None
    given = named or [0] * 2 * rank
    return list(zip(given[:rank], given[rank:], strict=True))


def _correlate(x: Array, kernel: Array) -> Array:
    """Sums over channels of products with every full overlap."""
    axes = tuple(range(2, x.ndim))
    sizes = tuple(n + taps - 1 for n, taps in zip(x.shape[2:], kernel.shape[2:], strict=True))
    spectra = np.fft.rfftn(x, sizes, axes), np.fft.rfftn(np.flip(kernel, axes), sizes, axes)
    product = np.einsum("bc...,nc...->bn...", *spectra)
    full = np.fft.irfftn(product, sizes, axes)
    overlap = (slice(taps - 1, n) for n, taps in zip(x.shape[2:], kernel.shape[2:], strict=True))
    return np.asarray(full[_along(overlap)])


def _along(slices: Iterable[slice]) -> tuple[slice, ...]:
    """An index into samples, channels and then the axes that slices are given for."""
    return (slice(None), slice(None), *slices)
