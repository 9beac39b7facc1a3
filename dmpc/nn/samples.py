"""Samples and labels as training takes them, looked at before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dmpc.nn.network import DMPNetwork, as_input


class Pairs(NamedTuple):
    """Samples [samples, time, inputs] of any numeric type, and as many class numbers."""

    x: Tensor
    y: Tensor

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches in order, samples in float32."""
        for start in range(0, len(self.x), size):
            yield as_input(self.x[start : start + size]), self.y[start : start + size]


def check_samples(verb: str, network: DMPNetwork, x: object) -> Tensor:
    """`x` as a tensor; ValueError unless it is [samples, time, inputs] of finite real numbers."""
    try:
        x = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{verb}: x is {type(x).__name__}, not an array of numbers") from error
    inputs, x = network.dmp_layers[0].inputs, network.flat(x)
    if x.dim() != 3 or x.shape[2] != inputs or x.shape[1] < 1:
        raise ValueError(
            f"{verb}: x has shape {list(x.shape)}, expected [samples, time, {inputs}] with at "
            "least one timestep"
        )
    if x.is_complex():
        raise ValueError(f"{verb}: x is of {x.dtype}; events or real numbers are expected")
    if x.is_floating_point():
        for number, sample in enumerate(x):
            if not sample.isfinite().all():
                raise ValueError(f"{verb}: x holds NaN or infinity, first in sample {number}")
    return x


def check_pairs(verb: str, network: DMPNetwork, x: object, y: object) -> Pairs:
    """Samples with their labels; ValueError unless they fit the network and each other."""
    count = [len(each) if hasattr(each, "__len__") else 0 for each in (x, y)]
    if count[0] == 0 or count[0] != count[1]:
        raise ValueError(
            f"{verb}: x holds {count[0]} samples and y {count[1]} labels; give one label per "
            "sample, and at least one"
        )
    samples = check_samples(verb, network, x)
    try:
        labels = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{verb}: y is {type(y).__name__}, not class numbers") from error
    if labels.dim() != 1:
        raise ValueError(
            f"{verb}: y has shape {list(labels.shape)}, expected [samples] of class numbers; of "
            "one-hot rows give y.argmax(1)"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{verb}: y is of {labels.dtype}; class numbers are integers: y.long()")
    classes = network.readout.out_features
    # Of unsigned 64 bits the largest would wrap around: wrapped, they are below 0.
    labels = labels.long()
    beyond = ((labels < 0) | (labels >= classes)).nonzero()
    if len(beyond):
        first = int(beyond[0])
        raise ValueError(
            f"{verb}: label {int(labels[first])} of sample {first} is none of the network's "
            f"{classes} classes, 0 to {classes - 1}"
        )
    return Pairs(samples, labels)
