"""Training and measuring networks on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dmpc.nn.delays import AxonalDelays
from dmpc.nn.network import DMPNetwork, as_input
from dmpc.nn.quantized import QuantizedNetwork


def fit(
    network: DMPNetwork | QuantizedNetwork,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int,
    batch: int = 64,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-2,
    spike_penalty: float = 0.0,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[float]:
    """Train `network` in place; yields the mean loss of each epoch as it ends.

    `x` [samples, time, inputs] of any numeric dtype or bool, `y` [samples] class numbers.
    AdamW on the cross-entropy plus `spike_penalty` times the mean spike density of the layers
    (every spike costs the hardware a row of weights); its rate is warmed up, then lowered along
    a cosine. Delays are sharpened from epoch to epoch, and are whole timesteps at the end (see
    `AxonalDelays`). `augment` changes a float batch [batch, time, inputs] before use. Draws from
    torch's global generator: call `torch.manual_seed` before the network is made and the
    training repeats exactly.
    Raises ValueError if `x` and `y` do not hold equally many samples, or none.
    """
    _check_pairs(x, y)
    delays = [m for m in network.modules() if isinstance(m, AxonalDelays)]
    late = {id(module.delay) for module in delays}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if id(p) not in late]},
        # A delay is a place in time: nothing draws it to 0.
        *({"params": [m.delay], "weight_decay": 0.0} for m in delays),
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    batches = -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=epochs * batches, pct_start=0.15
    )
    for epoch in range(epochs):
        network.train()
        for module in delays if isinstance(network, DMPNetwork) else []:
            module.sharpen(epoch / epochs)
        total = 0.0
        order = torch.randperm(len(x))
        for sample, label in _batches(x[order], y[order], batch):
            run = network.run(augment(sample) if augment else sample)
            density = torch.stack([spikes.mean() for spikes in run.spikes]).mean()
            loss = cross_entropy(run.logits, label) + spike_penalty * density
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(label)
        network.eval()
        yield total / len(x)


class Measurement(NamedTuple):
    """How a network does on a labelled set."""

    accuracy: float  # share of samples whose largest logit is the label's
    densities: tuple[float, ...]  # of each layer: spikes per neuron and timestep


@torch.no_grad()
def measure(
    network: DMPNetwork | QuantizedNetwork, x: Tensor, y: Tensor, batch: int = 250
) -> Measurement:
    """Accuracy and spike densities on `x` [samples, time, inputs] and `y` [samples].

    Puts the network in inference mode. Raises ValueError as `fit` does.
    """
    _check_pairs(x, y)
    network.eval()
    correct, spikes = 0, [0.0] * len(network.layers)
    for sample, label in _batches(x, y, batch):
        run = network.run(sample)
        correct += int((run.logits.argmax(dim=1) == label).sum())
        for i, layer in enumerate(run.spikes):
            spikes[i] += layer.mean().item() * len(sample)
    return Measurement(correct / len(x), tuple(total / len(x) for total in spikes))


def _batches(x: Tensor, y: Tensor, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(x), batch):
        yield as_input(x[start : start + batch]), y[start : start + batch]


def _check_pairs(x: Tensor, y: Tensor) -> None:
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(
            f"x holds {len(x)} samples and y {len(y)} labels; give one label per sample, "
            "and at least one"
        )
