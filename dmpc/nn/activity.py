"""Layers that say nothing: their neurons never fire, or always do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from dmpc.nn.network import DMPNetwork, Run
from dmpc.passes.lint import STILL


class TrainingWarning(UserWarning):
    """Something about a training that is likely to be in vain."""


class Activity:
    """How often the neurons of each layer fired, while a network ran."""

    def __init__(self) -> None:
        self.spikes: list[Tensor] = []
        self.timesteps = 0

    def add(self, run: Run) -> None:
        """Count the spikes of a batch."""
        counts = [layer.detach().sum(dim=(0, 1), dtype=torch.float64) for layer in run.spikes]
        before = self.spikes or [torch.zeros_like(count) for count in counts]
        self.spikes = [old + new for old, new in zip(before, counts, strict=True)]
        self.timesteps += run.spikes[0].shape[0] * run.spikes[0].shape[1]

    @property
    def densities(self) -> tuple[float, ...]:
        """Spikes per neuron and timestep, of each layer."""
        return tuple(count.mean().item() / self.timesteps for count in self.spikes)

    def stuck(self) -> Iterator[tuple[int, str]]:
        """Layers none of whose neurons carries anything, by number from 0, and what they do."""
        for number, (count, density) in enumerate(zip(self.spikes, self.densities, strict=True)):
            rates = count / self.timesteps
            silent, restless = int((rates < STILL).sum()), int((rates > 1 - STILL).sum())
            if silent + restless < len(rates):
                continue
            if not restless:
                yield number, f"no neuron fires (in {100 * density:.2g} % of the timesteps)"
            elif not silent:
                yield number, "every neuron fires in every timestep"
            else:
                yield number, f"{silent} neurons never fire and the other {restless} always do"


def note(network: DMPNetwork, activity: Activity) -> None:
    """Remember of a network, as long as its weights are these, which of its layers are stuck."""
    network.stuck = (network.fingerprint(), tuple(activity.stuck()))


def warn_of_stuck(verb: str, network: DMPNetwork, stacklevel: int) -> None:
    """Warn if the network's weights are those with which layers were last seen to be stuck."""
    fingerprint, stuck = network.stuck
    if stuck and fingerprint == network.fingerprint():
        for number, what in stuck:
            warn(verb, network, number, f"{what} on the data last seen", stacklevel + 1)


def warn(verb: str, network: DMPNetwork, number: int, what: str, stacklevel: int) -> None:
    """Warn that a layer is stuck."""
    layers = len(network.dmp_layers)
    warnings.warn(
        f"{verb}: layer {number + 1} of {layers} is stuck: {what}, so what follows learns nothing "
        "from it. Look at the scale of x, take a lower learning_rate or spike_penalty, or start "
        "from a new network, which fit scales to x",
        TrainingWarning,
        stacklevel + 1,
    )
