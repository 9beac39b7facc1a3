"""Weights to start from: layers that fire on the data at hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

import torch
from torch import Tensor, nn

from dmpc.nn.layer import DMPLayer
from dmpc.nn.network import DMPNetwork
from dmpc.nn.planes import Convolution
from dmpc.nn.samples import check_samples

RATE: Final = 0.1
SAMPLES: Final = 128  # that are looked at
LASTING: Final = 0.999  # of a membrane in a timestep, at most, in spreads that settle
FEEDBACK: Final = 0.25  # of the threshold: what recurrent synapses spread membranes by
WIDENED: Final = 6  # times at most
LOGITS: Final = 0.5  # spread of the logits over samples


@torch.no_grad()
def initialise(network: DMPNetwork, x: Tensor, rate: float = RATE) -> None:
    """Scale the weights of a new network, so that its layers fire on `x` and its classes differ.

    `x` [samples, time, inputs] is training data, of which 128 samples are looked at. What each
    path adds to a layer's membranes, before any spike, gets the same spread over neurons,
    samples and timesteps, on each receptor, and with its bias a mean of 0: together the spread
    with which a normal distribution is above the threshold in a share `rate` of the timesteps.
    (Neurons that fire are reset, so they fire less often; where less than half as often, the
    spread is widened.) The scalar drive, if rectified, is given weights of one sign, that of its
    mean: it starts as how much happens, and its relu cannot be dead. Recurrent synapses are scaled
    to a quarter of the threshold; logits to a spread of 0.5 and a mean of 0. Layer by layer from
    the first, as in data-dependent initialisation (Salimans and Kingma, 2016; Mishkin and Matas,
    2016, LSUV). The directions of the weights are those that the network was made with, and the
    choice of samples is always the same.

    Raises ValueError if `rate` is outside (0, 0.5) or `x` is no data for this network.
    """
    if not 0 < rate < 0.5:
        raise ValueError(f"initialise: rate is {rate}; neurons fire in a share of (0, 0.5)")
    x = check_samples("initialise", network, x)
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:SAMPLES]
    spikes = x[chosen].to(network.readout.weight.dtype)
    training = network.training
    network.eval()  # delays are whole timesteps
    for layer in network.dmp_layers:
        spikes = _settled(layer, spikes, rate)
    _center(network.readout, spikes.mean(dim=1, keepdim=True), LOGITS)
    if network.readout_leak is not None or network.over_time != "mean":
        logits = network.answer(spikes)
        spread = (logits - logits.mean(dim=0)).square().mean().sqrt()
        _scale(LOGITS, spread, network.readout.weight, network.readout.bias)
    network.train(training)


def _settled(layer: DMPLayer, x: Tensor, rate: float) -> Tensor:
    """The spikes of a layer for `x` [batch, time, inputs], after its weights were scaled."""
    lif, late = layer.lif, layer.late(x)
    beta, gain = lif.kept(), lif.gain
    beta = beta.clamp(max=LASTING) if isinstance(beta, Tensor) else min(beta, LASTING)
    receptors = layer.receptors
    paths: list[tuple[nn.Linear | Convolution, Tensor]] = [(layer.fast, late)]
    if layer.slow_path is not None:
        drive, memory, slow = layer.slow_path
        if not layer.linear_drive:
            drive.weight.abs_()
        drive.bias.zero_()
        heard = drive(late)
        _scale(-1.0 if heard.mean() < 0 else 1.0, heard.square().mean().sqrt(), drive.weight)
        paths.append((slow, layer.held(memory(layer.driving(late).squeeze(2)))))
    if layer.recurrent is not None:
        _settle_feedback(layer, beta, gain, rate)
    wanted = lif.threshold / NormalDist().inv_cdf(1 - rate) / math.sqrt(len(paths) * receptors)
    if isinstance(layer.fast, Convolution):
        layer.fast.settle(late)
    for linear, source in paths:
        _center(linear, source, wanted, beta, gain, layer.arriving, receptors)
    spikes: Tensor = layer(x)
    for _ in range(WIDENED):
        if spikes.mean() >= rate / 2:
            break
        for linear, _source in paths:
            for parameter in _ends(linear):
                parameter.mul_(1.5)
        spikes = layer(x)
    return spikes


def _settle_feedback(
    layer: DMPLayer, beta: float | Tensor, gain: float | Tensor, rate: float
) -> None:
    """Scale the weights of a recurrent layer's own spikes, of each receptor."""
    assert layer.recurrent is not None
    alphas = [leak.kept().mean().item() for leak in layer.currents.values()] or [0.0]
    for alpha, weight in zip(alphas, layer.recurrent.weight.chunk(layer.receptors), strict=True):
        each = weight.square().sum(dim=1).mean() * rate * (1 - rate)
        both = alpha * beta  # the spread of what leaks twice
        leaks = (1 - both) * (1 - alpha**2) * (1 - beta**2) / (1 + both)
        spread = (gain * (each / leaks).sqrt()).mean()
        _scale(FEEDBACK * layer.lif.threshold / math.sqrt(layer.receptors), spread, weight)


def _center(
    linear: nn.Linear | Convolution,
    x: Tensor,
    spread: float,
    beta: float | Tensor = 0.0,
    gain: float | Tensor = 1.0,
    arriving: Callable[[Tensor], Tensor] = lambda current: current,
    receptors: int = 1,
) -> None:
    """Give what a module adds to leaking membranes this spread and a mean of 0 in each neuron.

    So of each of the `receptors`, whose results lie one behind the other. Of a convolution it is
    the mean over the neurons of an output, which share their bias.
    """
    weight, bias = _ends(linear)
    bias.zero_()
    if isinstance(beta, Tensor):
        beta = beta.repeat(receptors)
    if isinstance(gain, Tensor):
        gain = gain.repeat(receptors)
    charge, charges = torch.zeros_like(linear(x[:, 0])), []
    for now in arriving(linear(x)).unbind(1):
        charge = beta * charge + gain * now
        charges.append(charge)
    charged = torch.stack(charges, dim=1)
    for rows, own in zip(weight.chunk(receptors), charged.chunk(receptors, dim=2), strict=True):
        _scale(spread, (own - own.mean(dim=(0, 1))).square().mean().sqrt(), rows)
    bias.copy_(-linear(x).mean(dim=(0, 1)).reshape(len(bias), -1).mean(dim=1))


def _ends(linear: nn.Linear | Convolution) -> tuple[Tensor, Tensor]:
    """What a module's results grow with, and what moves them."""
    if isinstance(linear, Convolution):
        return linear.scale_and_shift
    return linear.weight, linear.bias


def _scale(factor: float, by: Tensor, *scaled: Tensor) -> None:
    """Multiply tensors by `factor / by`, if there is anything to divide by."""
    if by > torch.finfo(by.dtype).tiny:
        for each in scaled:
            each.mul_(factor / by)
