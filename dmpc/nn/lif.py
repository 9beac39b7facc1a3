"""Leaky integrate-and-fire neurons with a surrogate gradient."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor, nn

from dmpc.nn.leak import integrate

SURROGATE_SLOPE: Final = 2.0


def surrogate(excess: Tensor) -> Tensor:
    """Slope that stands in for the step's at `excess` (membrane minus threshold): an arc tangent's.

    Fang et al., 2021; 1 at the threshold, same shape as `excess`.
    """
    scaled = (math.pi / 2 * SURROGATE_SLOPE) * excess
    return (SURROGATE_SLOPE / 2) / (1 + scaled * scaled)


class _Sequence(torch.autograd.Function):
    """All timesteps of `LIF.step`, with the surrogate gradient through time written out.

    Autograd would record half a dozen small ops per timestep, and training spend its time there.
    """

    @staticmethod
    def forward(ctx: Any, lif: LIF, current: Tensor, membrane: Tensor) -> Tensor:
        charged, spikes = torch.empty_like(current), torch.empty_like(current)
        for k in range(current.shape[1]):
            torch.add(lif.beta * membrane, lif.gain * current[:, k], out=charged[:, k])
            spikes[:, k] = charged[:, k] >= lif.threshold
            membrane = lif.after(charged[:, k], spikes[:, k])
        ctx.save_for_backward(charged, spikes)
        ctx.lif = lif
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        lif: LIF = ctx.lif
        grad = _through_time(lif, gradients[0], *ctx.saved_tensors)
        return None, lif.gain * grad, lif.beta * grad[:, 0]


class _Recurrent(torch.autograd.Function):
    """`_Sequence` with `weight` [neurons, neurons] on the spikes of the timestep before.

    With `keep` [neurons] what arrives is a synaptic current, of which a timestep leaves that share.
    """

    @staticmethod
    def forward(ctx: Any, lif: LIF, current: Tensor, weight: Tensor, keep: Tensor | None) -> Tensor:
        charged, spikes = torch.empty_like(current), torch.empty_like(current)
        membrane = fired = total = torch.zeros_like(current[:, 0])
        for k in range(current.shape[1]):
            arriving = torch.addmm(current[:, k], fired, weight.T)
            total = arriving if keep is None else torch.addcmul(arriving, keep, total)
            torch.add(lif.beta * membrane, lif.gain * total, out=charged[:, k])
            fired = spikes[:, k] = (charged[:, k] >= lif.threshold).to(current.dtype)
            membrane = lif.after(charged[:, k], fired)
        ctx.save_for_backward(current, charged, spikes, weight, keep)
        ctx.lif = lif
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_through_recurrence(ctx.lif, gradients[0], *ctx.saved_tensors)


class _Replay(torch.autograd.Function):
    """Spikes that were computed elsewhere, with the gradient of `_Sequence` at those membranes.

    With `weight`, and `keep` if there is one, the gradient of `_Recurrent`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        lif: LIF,
        current: Tensor,
        charged: Tensor,
        spikes: Tensor,
        weight: Tensor | None,
        keep: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(current, charged, spikes, weight, keep)
        ctx.lif = lif
        return spikes.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        lif: LIF = ctx.lif
        _, charged, spikes, weight, _ = ctx.saved_tensors
        if weight is None:
            current = lif.gain * _through_time(lif, gradients[0], charged, spikes)
            return None, current, None, None, None, None
        current, *others = _through_recurrence(lif, gradients[0], *ctx.saved_tensors)
        return None, current, None, None, *others


def _through_time(lif: LIF, gradient: Tensor, charged: Tensor, spikes: Tensor) -> Tensor:
    """Gradient of the charged membranes [batch, time, neurons] from that of the spikes."""
    grad = gradient * surrogate(charged - lif.threshold)
    # A hard reset forgets the charged membrane. No gradient through the reset itself: it
    # would chain the surrogate over all timesteps.
    kept = lif.beta * (torch.ones_like(spikes) if lif.reset is None else 1 - spikes)
    carried = torch.zeros_like(grad[:, 0])
    for k in reversed(range(grad.shape[1])):
        grad[:, k] += carried * kept[:, k]
        carried = grad[:, k]
    return grad


def _through_recurrence(
    lif: LIF,
    gradient: Tensor,
    current: Tensor,
    charged: Tensor,
    spikes: Tensor,
    weight: Tensor,
    keep: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of `current`, `weight` and `keep` of `_Recurrent` from that of the spikes."""
    slope = surrogate(charged - lif.threshold)
    kept = lif.beta * (torch.ones_like(spikes) if lif.reset is None else 1 - spikes)
    grad = torch.empty_like(charged)
    carried = arriving = torch.zeros_like(charged[:, 0])
    for k in reversed(range(grad.shape[1])):
        fed_back = torch.addmm(gradient[:, k], arriving, weight)
        carried = fed_back * slope[:, k] + carried * kept[:, k]
        later = 0 if keep is None else keep * arriving
        arriving = grad[:, k] = lif.gain * carried + later
    before = spikes[:, :-1]
    of_weight = grad[:, 1:].flatten(0, 1).T @ before.flatten(0, 1)
    if keep is None:
        return grad, of_weight, None
    total = current.clone()
    total[:, 1:] += before @ weight.T
    of_keep = (grad[:, 1:] * integrate(total, keep)[:, :-1]).sum(dim=(0, 1))
    return grad, of_weight, of_keep


class LIF(nn.Module):
    """Neurons that leak, integrate and fire: `u = beta u + gain I`, spike where `u >= threshold`.

    Paper, section on the DMP layer: membrane and reset. A membrane that equals the threshold
    fires. After a spike the membrane becomes `reset` (hard reset), or loses `threshold`
    (`reset=None`, soft reset). Membrane, threshold and reset share one unit, that of `gain * I`.

    Raises ValueError if `beta` is outside [0, 1), `gain` or `threshold` is not above 0, or
    `reset` is not below `threshold` (the neuron would fire for ever).
    """

    def __init__(
        self,
        beta: float = 0.5,
        gain: float = 0.5,
        threshold: float = 1.0,
        reset: float | None = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= beta < 1:
            raise ValueError(f"LIF: beta is {beta}; the membrane leaks only if 0 <= beta < 1")
        if not (gain > 0 and math.isfinite(gain)):
            raise ValueError(f"LIF: gain is {gain}; it must be finite and above 0")
        if not (threshold > 0 and math.isfinite(threshold)):
            raise ValueError(f"LIF: threshold is {threshold}; it must be finite and above 0")
        if reset is not None and not (math.isfinite(reset) and reset < threshold):
            raise ValueError(
                f"LIF: reset is {reset}; it must be finite and below the threshold {threshold}, "
                "or None to subtract the threshold"
            )
        self.beta, self.gain, self.threshold, self.reset = beta, gain, threshold, reset

    @classmethod
    def from_tau(
        cls,
        tau: float,
        decay_input: bool = True,
        threshold: float = 1.0,
        reset: float | None = 0.0,
    ) -> LIF:
        """LIF from a time constant in timesteps, as SpikingJelly writes it.

        `beta = 1 - 1/tau`; `gain = 1/tau` with `decay_input`, else 1. The membrane decays to 0
        also where `reset` is another value. Raises ValueError if `tau` is below 1.
        """
        if not tau >= 1:
            raise ValueError(f"LIF: tau is {tau}; a time constant is at least 1 timestep")
        return cls(1 - 1 / tau, 1 / tau if decay_input else 1.0, threshold, reset)

    def after(self, charged: Tensor, spikes: Tensor) -> Tensor:
        """Membrane after the reset: where `spikes` is 1, the reset value or minus threshold."""
        if self.reset is None:
            return charged - self.threshold * spikes
        return torch.where(spikes > 0, self.reset, charged)

    def step(self, current: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
        """One timestep: `current`, `membrane` [..., neurons] -> spikes and membrane, no gradient.

        Spikes are 0 or 1 in the dtype of `current`; train on whole sequences (`forward`).
        """
        charged = self.beta * membrane + self.gain * current
        spikes = (charged >= self.threshold).to(charged.dtype)
        return spikes, self.after(charged, spikes)

    def forward(self, current: Tensor, membrane: Tensor | None = None) -> Tensor:
        """Whole sequence: `current` [batch, time, neurons] -> spikes of that shape.

        `membrane` [batch, neurons] is the state before the first timestep, 0 if not given.
        """
        if membrane is None:
            membrane = torch.zeros_like(current[:, 0])
        spikes: Tensor = _Sequence.apply(self, current, membrane)  # type: ignore[no-untyped-call]
        return spikes

    def recur(self, current: Tensor, weight: Tensor, keep: Tensor | None = None) -> Tensor:
        """As `forward`, with `weight` [neurons, neurons] times the last spikes in the current.

        Of a synaptic current a timestep leaves `keep` [neurons].
        """
        spikes: Tensor = _Recurrent.apply(  # type: ignore[no-untyped-call]
            self, current, weight, keep
        )
        return spikes

    def replay(
        self,
        current: Tensor,
        charged: Tensor,
        spikes: Tensor,
        weight: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """`spikes` that another machine fired, with the gradient of these neurons for `current`.

        `charged` are that machine's membranes before reset; all are [batch, time, neurons].
        `weight` and `keep` are those of `recur`, of recurrent neurons.
        """
        result: Tensor = _Replay.apply(  # type: ignore[no-untyped-call]
            self, current, charged, spikes, weight, keep
        )
        return result

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        reset = "subtract threshold" if self.reset is None else self.reset
        return f"beta={self.beta}, gain={self.gain}, threshold={self.threshold}, reset={reset}"
