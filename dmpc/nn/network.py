"""Networks of DMP layers with a linear readout."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from dmpc.nn.layer import DMPLayer, LayerState
from dmpc.nn.leak import Each, Leak, Receptors
from dmpc.nn.lif import LIF
from dmpc.nn.planes import check_planes, front_layers
from dmpc.nn.sizes import check_whole

OverTime = Literal["mean", "last", "max"]
COLLECTED: Final[dict[OverTime, Callable[[Tensor], Tensor]]] = {
    "mean": lambda y: y.mean(dim=1),
    "last": lambda y: y[:, -1],
    "max": lambda y: y.amax(dim=1),
}
"""Logits [batch, classes] of the readouts [batch, time, classes]."""


class Run(NamedTuple):
    """What a network did with a batch."""

    logits: Tensor  # [batch, classes]
    spikes: tuple[Tensor, ...]  # of each layer, [batch, time, neurons]


class DMPNetwork(nn.Module):
    """DMP layers in a row, and a linear readout of every timestep, over time their mean.

    The paper's model for SHD is `DMPNetwork(140, [128, 128], 20, memory=10, window=40)`. Without
    `memory` it is the paper's FSNN, with `recurrent=True` RSNN, with `delays=40` DSNN.

    With a `front` inputs are planes (channels, lines, columns): a list of `nn.Conv2d`, with
    `nn.BatchNorm2d` right behind any of them, `nn.AvgPool2d` before any, and `nn.MaxPool2d` behind
    any neurons; or all of these for one axis, and (channels, places). Behind each convolution stand
    spiking neurons without a memory; `hidden` are those of the dense layers that follow, and the
    first to remember.

    Parameters: `inputs`; `hidden`, the neurons of each layer; `classes`; `memory` states and
    `window` (timesteps) of every layer, and whether its drive is a `linear_drive`; whether layers
    are `recurrent`; the longest of the learned `delays` of inputs, 0 for none; `dropout`, the
    probability of losing a layer's spike, in training only; `lif`, the neurons; `dilation` in
    timesteps and `alpha`, what a timestep leaves of synaptic currents, `Receptors` of several for
    each neuron; `readout_beta`, what it
    leaves of a readout that leaks: a membrane for each class, which the linear readout charges, and
    which never fires; `over_time`, whether the answer is the mean, the last or the largest of the
    readouts. Delays, dilation and alpha are those of every layer, or of each; so is lif, those of a
    front first. With `learn_leaks` alphas and readout_beta are trained, for each neuron and class;
    `lif` says what of it is.

    Raises ValueError if there is no hidden layer, not as many delays, dilations or alphas as
    layers, `dropout` is outside [0, 1), a leak outside (0, 1), `over_time` unknown, or as
    `DMPLayer` does.
    """

    def __init__(
        self,
        inputs: int | Sequence[int],
        hidden: Sequence[int],
        classes: int,
        *,
        memory: int = 0,
        window: float | None = None,
        recurrent: bool = False,
        delays: int | Sequence[int] = 0,
        dropout: float = 0.0,
        lif: LIF | Sequence[LIF] | None = None,
        dilation: int | Sequence[int] = 1,
        alpha: float | Receptors | Sequence[Each | Receptors | None] | None = None,
        readout_beta: float | Sequence[float] | Tensor | None = None,
        learn_leaks: bool = False,
        linear_drive: bool = False,
        over_time: OverTime = "mean",
        front: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        if not isinstance(hidden, Iterable) or not len(hidden):
            shown = "empty" if isinstance(hidden, Iterable) else repr(hidden)
            raise ValueError(
                f"DMPNetwork: hidden is {shown}; give the neurons of at least one layer as a list"
            )
        classes = check_whole("DMPNetwork", "classes", classes, 1)
        if not 0 <= dropout < 1:
            raise ValueError(f"DMPNetwork: dropout is {dropout}; it must be in [0, 1)")
        self.planes = check_planes("DMPNetwork", inputs) if front else None
        convolved, last = ([], None) if not self.planes else front_layers(self.planes, front)
        fed = convolved[-1].convolution.neurons if convolved else inputs
        sizes = [check_whole("DMPNetwork", "inputs", fed, 1)]
        sizes += [check_whole("DMPNetwork", "neurons", neurons, 1) for neurons in hidden]
        if over_time not in get_args(OverTime):
            raise ValueError(
                f"DMPNetwork: over_time is {over_time!r}; choose one of {get_args(OverTime)}"
            )
        dilations = _each("dilations", dilation, len(hidden))
        alphas = _each("alphas", alpha, len(hidden))
        lifs = _each("kinds of neurons", lif, len(convolved) + len(hidden))
        seen = [
            DMPLayer(
                math.prod(made.planes if pool is None else pool.planes),
                *(made.neurons, 0, None, neurons),
                convolution=made,
                pool=pool,
            )
            for (pool, made), neurons in zip(convolved, lifs[: len(convolved)], strict=True)
        ]
        hidden_layers = [
            DMPLayer(
                *(m, n, memory, window, neurons, d),
                recurrent=recurrent,
                delays=late,
                alpha=a,
                learn_alpha=learn_leaks,
                linear_drive=linear_drive,
                pool=pool,
            )
            for (m, n), neurons, d, a, late, pool in zip(
                pairwise(sizes),
                lifs[len(convolved) :],
                dilations,
                alphas,
                _each("delays", delays, len(hidden)),
                [last, *[None] * (len(hidden) - 1)],
                strict=True,
            )
        ]
        self.layers = nn.ModuleList([*seen, *hidden_layers])
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(sizes[-1], classes)
        self.over_time = over_time
        self.readout_leak: Leak | None = None
        if readout_beta is not None:
            self.readout_leak = Leak(
                "DMPNetwork: readout_beta", classes, readout_beta, learned=learn_leaks
            )
        # By their contents: a copy of a new network is new, one whose weights were loaded is not.
        self.made = self.fingerprint()
        self.stuck: tuple[bytes, tuple[tuple[int, str], ...]] = (self.made, ())

    def fingerprint(self) -> bytes:
        """What tells the present weights from others."""
        found = hashlib.sha256()
        for parameter in self.parameters():
            found.update(parameter.detach().cpu().float().numpy().tobytes())
        return found.digest()

    @property
    def dmp_layers(self) -> list[DMPLayer]:
        """The layers in order, with their type."""
        return [layer for layer in self.layers if isinstance(layer, DMPLayer)]

    def flat(self, x: Tensor) -> Tensor:
        """Sequences `x` of planes, or flat, as [batch, time, inputs]."""
        return x.flatten(2) if self.planes and x.shape[2:] == self.planes else x

    def run(self, x: Tensor) -> Run:
        """Whole sequences from state 0: `x` [batch, time, inputs] -> logits and all spikes.

        Raises ValueError if `x` has another shape or no timestep.
        """
        inputs, x = self.dmp_layers[0].inputs, self.flat(x)
        if x.dim() != 3 or x.shape[1] < 1 or x.shape[2] != inputs:
            raise ValueError(
                f"DMPNetwork: x has shape {list(x.shape)}, expected [batch, time, {inputs}] with "
                "at least one timestep"
            )
        spikes = []
        for layer in self.dmp_layers:
            x = layer(x)
            spikes.append(x)
            x = self.dropout(x)
        return Run(self.answer(x), tuple(spikes))

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequences from state 0: `x` [batch, time, inputs] -> logits [batch, classes]."""
        return self.run(x).logits

    def answer(self, spikes: Tensor) -> Tensor:
        """Logits [batch, classes] of the last layer's spikes [batch, time, neurons]."""
        if self.readout_leak is None and self.over_time == "mean":
            # The readout is linear: the mean of its outputs is its output on the mean spikes.
            mean: Tensor = self.readout(spikes.mean(dim=1))
            return mean
        return self.collect(self.readout(spikes))

    def collect(self, readouts: Tensor) -> Tensor:
        """Logits [batch, classes] of what the linear readout gives, [batch, time, classes]."""
        if self.readout_leak is not None:
            readouts = self.readout_leak(readouts)
        return COLLECTED[self.over_time](readouts)

    def initial_states(self, batch: int) -> list[LayerState]:
        """The states of all layers before the first timestep: zeros."""
        return [layer.initial_state(batch) for layer in self.dmp_layers]

    def step(self, x: Tensor, states: Sequence[LayerState]) -> tuple[Tensor, list[LayerState]]:
        """One timestep, without dropout: `x` [batch, inputs] -> readout [batch, classes], states.

        The readouts are what the linear readout gives; the logits of a sequence are what `collect`
        makes of those of its timesteps: the mean, if not told otherwise. Raises ValueError if there
        is not one state per layer.
        """
        y, _, new_states = self.step_spikes(x, states)
        return y, new_states

    def step_spikes(
        self, x: Tensor, states: Sequence[LayerState]
    ) -> tuple[Tensor, list[Tensor], list[LayerState]]:
        """As `step`, with each layer's spikes [batch, neurons] between readout and states."""
        layers = self.dmp_layers
        if len(states) != len(layers):
            raise ValueError(
                f"DMPNetwork: {len(states)} states for {len(layers)} layers; "
                "start from initial_states(batch)"
            )
        spikes, new_states = [], []
        for layer, state in zip(layers, states, strict=True):
            x, state = layer.step(x, state)
            spikes.append(x)
            new_states.append(state)
        readout: Tensor = self.readout(x)
        return readout, spikes, new_states


def _each(what: str, value: object, layers: int) -> list[Any]:
    """A value for each layer; ValueError unless there is one for all, or as many as layers."""
    if (
        isinstance(value, str)
        or not isinstance(value, Iterable)
        or getattr(value, "ndim", None) == 0
    ):
        values = [value] * layers
    else:
        values = list(value)
    if len(values) != layers:
        raise ValueError(
            f"DMPNetwork: {len(values)} {what} for {layers} layers; give one for all, or "
            "one for each"
        )
    return values


def parameter_count(network: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def as_input(x: object) -> Tensor:
    """An array of events (bool, integer) or grey values as a float32 tensor of the same shape."""
    return torch.as_tensor(x).to(torch.float32)
