"""Training and measuring networks on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dmpc.nn.activity import Activity, note, warn
from dmpc.nn.adaptation import Adaptation
from dmpc.nn.delays import AxonalDelays
from dmpc.nn.initial import RATE, initialise
from dmpc.nn.leak import Leak
from dmpc.nn.lif import LIF
from dmpc.nn.network import DMPNetwork
from dmpc.nn.quantized import QuantizedNetwork
from dmpc.nn.samples import Pairs, check_pairs
from dmpc.nn.sizes import check_whole


def fit(
    network: DMPNetwork | QuantizedNetwork,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int,
    batch: int = 32,
    learning_rate: float = 1e-2,
    weight_decay: float = 1e-2,
    spike_penalty: float = 0.0,
    augment: Callable[[Tensor], Tensor] | None = None,
    initial_rate: float | None = RATE,
) -> Iterator[float]:
    """Train `network` in place; yields the mean loss of each epoch as it ends.

    `x` [samples, time, inputs] of any numeric dtype or bool, `y` [samples] class numbers.
    A new network, one whose weights are still those that it was made with, is first scaled to the
    data, so that its layers fire: see `initialise`, which gets `initial_rate`; with None it is
    trained as it was made. Weights that were loaded or trained before are never touched.
    AdamW on the cross-entropy plus `spike_penalty` times the mean spike density of the layers
    (every spike costs the hardware a row of weights); its rate is warmed up, then lowered along
    a cosine. Delays are sharpened from epoch to epoch, and are whole timesteps at the end (see
    `AxonalDelays`). `augment` changes a float batch [batch, time, inputs] before use. Draws from
    torch's global generator: call `torch.manual_seed` before the network is made and the
    training repeats exactly.

    Warns (`TrainingWarning`), once for each layer, at the end of an epoch in which all its neurons
    were silent, or fired in every timestep. Raises ValueError if an argument is impossible, `x` and
    `y` do not fit the network and each other, or, before the weights are changed by it, if the loss
    or its gradient is not finite.
    """
    float_network = _float(network, "fit")
    pairs = check_pairs("fit", float_network, x, y)
    _check_numbers(epochs, batch, learning_rate, weight_decay, spike_penalty)
    if initial_rate is not None and not 0 < initial_rate < 0.5:
        raise ValueError(
            f"fit: initial_rate is {initial_rate}; neurons fire in a share of (0, 0.5), or None"
        )
    training = _Training(
        network, float_network, pairs, epochs, batch, spike_penalty, augment, initial_rate
    )
    return training.run(learning_rate, weight_decay)


@dataclass
class _Training:
    network: DMPNetwork | QuantizedNetwork
    float_network: DMPNetwork
    pairs: Pairs
    epochs: int
    batch: int
    spike_penalty: float
    augment: Callable[[Tensor], Tensor] | None
    initial_rate: float | None

    def run(self, learning_rate: float, weight_decay: float) -> Iterator[float]:
        network = self.network
        untouched = self.float_network.fingerprint() == self.float_network.made
        if untouched and network is self.float_network and self.initial_rate is not None:
            initialise(self.float_network, self.pairs.x, self.initial_rate)
        delays = [m for m in network.modules() if isinstance(m, AxonalDelays)]
        optimizer = _optimizer(network, delays, learning_rate, weight_decay)
        batches = -(-len(self.pairs.x) // self.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, learning_rate, total_steps=self.epochs * batches, pct_start=0.15
        )
        warned: set[int] = set()
        for epoch in range(self.epochs):
            network.train()
            for module in delays if isinstance(network, DMPNetwork) else []:
                module.sharpen(epoch / self.epochs)
            activity = Activity()
            total = 0.0
            for number, (sample, label) in enumerate(self._shuffled()):
                loss = self._loss(sample, label, activity)
                optimizer.zero_grad()
                self._descend(loss, f"batch {number + 1} of epoch {epoch + 1}", learning_rate)
                optimizer.step()
                schedule.step()
                total += loss.item() * len(label)
            network.eval()
            note(self.float_network, activity)
            for layer, what in activity.stuck():
                if layer not in warned:
                    warn("fit", self.float_network, layer, f"in epoch {epoch + 1} {what}", 2)
                    warned.add(layer)
            yield total / len(self.pairs.x)

    def _shuffled(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.pairs.x))
        return Pairs(self.pairs.x[order], self.pairs.y[order]).batches(self.batch)

    def _loss(self, sample: Tensor, label: Tensor, activity: Activity) -> Tensor:
        run = self.network.run(self.augment(sample) if self.augment else sample)
        activity.add(run)
        density = torch.stack([spikes.mean() for spikes in run.spikes]).mean()
        return cross_entropy(run.logits, label) + self.spike_penalty * density

    def _descend(self, loss: Tensor, where: str, learning_rate: float) -> None:
        """Leave gradients of at most norm 1 in the parameters; ValueError unless finite."""
        if not loss.isfinite():
            raise ValueError(self._diverged(f"the loss is {loss.item()} in {where}", learning_rate))
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not norm.isfinite():
            what = f"the gradient is not finite in {where} (loss {loss.item():.3g})"
            raise ValueError(self._diverged(what, learning_rate))

    def _diverged(self, what: str, learning_rate: float) -> str:
        weights = self.float_network.named_parameters()
        bad = next((name for name, weight in weights if not weight.isfinite().all()), None)
        cause = (
            f"the weights '{bad}' are not finite; start again from others"
            if bad
            else f"the learning rate {learning_rate:g} is too high, the scale of x too large"
            + (", or augment makes numbers that are not finite" if self.augment else "")
        )
        return f"fit: {what}; most likely {cause}. The weights are those from before this batch"


def _optimizer(
    network: nn.Module, delays: list[AxonalDelays], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    # Delays and leaks are places in time and spans of it: nothing draws them to 0.
    own = [m for m in network.modules() if isinstance(m, Leak | LIF | Adaptation)]
    times = [*(m.delay for m in delays), *(p for m in own for p in m.parameters(recurse=False))]
    late = {id(p) for p in times}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if id(p) not in late]},
        *({"params": [p], "weight_decay": 0.0} for p in times),
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)


class Measurement(NamedTuple):
    """How a network does on a labelled set."""

    accuracy: float  # share of samples whose largest logit is the label's
    densities: tuple[float, ...]  # of each layer: spikes per neuron and timestep


@torch.no_grad()
def measure(
    network: DMPNetwork | QuantizedNetwork, x: Tensor, y: Tensor, batch: int = 250
) -> Measurement:
    """Accuracy and spike densities on `x` [samples, time, inputs] and `y` [samples].

    Puts the network in inference mode. Raises ValueError if `x` and `y` do not fit the network and
    each other, or `batch` is below 1.
    """
    float_network = _float(network, "measure")
    pairs = check_pairs("measure", float_network, x, y)
    check_whole("measure", "batch", batch, 1)
    network.eval()
    correct, activity = 0, Activity()
    for sample, label in pairs.batches(batch):
        run = network.run(sample)
        correct += int((run.logits.argmax(dim=1) == label).sum())
        activity.add(run)
    note(float_network, activity)
    return Measurement(correct / len(pairs.x), activity.densities)


def _float(network: object, verb: str) -> DMPNetwork:
    """The float network that is trained; ValueError if it is of another kind."""
    if isinstance(network, QuantizedNetwork):
        return network.network
    if isinstance(network, DMPNetwork):
        return network
    raise ValueError(
        f"{verb}: network is {type(network).__name__}; a DMPNetwork or QuantizedNetwork is expected"
    )


def _check_numbers(
    epochs: int, batch: int, learning_rate: float, weight_decay: float, spike_penalty: float
) -> None:
    check_whole("fit", "epochs", epochs, 1)
    check_whole("fit", "batch", batch, 1)
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"fit: learning_rate is {learning_rate}; it is finite and above 0")
    for name, value in (("weight_decay", weight_decay), ("spike_penalty", spike_penalty)):
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"fit: {name} is {value}; it is finite and at least 0")
