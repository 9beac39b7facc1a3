"""By what neurons adapt: a number of each, which rises with its spikes and falls again."""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from dmpc.nn.leak import Each, Leak, each_of, hold, within

Acts = Literal["threshold", "current"]
STABLE: Final = 0.99  # of the coupling at which membranes swing ever wider, trained ones have


class Adaptation(nn.Module):
    """A state `a` of each neuron, of which a timestep leaves `keep`, and to which a spike adds.

    What a timestep leaves acts in the next. As a `"threshold"` it raises that: neurons fire where
    `u >= threshold + a`, and `a = keep a + jump s` (LSNN, ALIF). As a `"current"` it is taken off
    the input, and follows the membrane as a reset leaves it: `u = beta u + gain (I - a)`, and
    `a = keep a + coupling u + jump s` (adLIF, RadLIF).

    In the letters of papers: LSNN's `a = rho a + (1 - rho) s`, with thresholds of `theta + b a`,
    has a jump of `b (1 - rho)`; adLIF's `w = beta w + a u + b s`, with u before it is reset by
    subtraction, one of `b + a threshold`.

    `keep`, `jump` and `coupling` are numbers for all neurons or for each. With `learned` they are
    trained, for each neuron by itself. Raises ValueError if `acts` is unknown, `keep` outside
    (0, 1), another number not finite, or a threshold has a coupling.
    """

    jump: Tensor
    coupling: Tensor

    def __init__(
        self,
        acts: Acts,
        keep: Each,
        jump: Each,
        coupling: Each = 0.0,
        *,
        learned: bool = False,
        neurons: int | None = None,
    ) -> None:
        super().__init__()
        if acts not in get_args(Acts):
            raise ValueError(f"Adaptation: acts is {acts!r}; choose one of {get_args(Acts)}")
        self.acts, self.learned = acts, learned
        self.leak = Leak("Adaptation: keep", neurons, keep, learned=learned)
        jumps = each_of(
            "Adaptation: jump", jump, neurons, "it is what a spike adds, finite", torch.isfinite
        )
        hold(self, "jump", jumps, learned=learned)
        couplings = each_of(
            "Adaptation: coupling",
            coupling,
            neurons,
            "it is what a membrane adds, finite, and 0 for thresholds",
            (lambda each: each == 0) if self.raises else torch.isfinite,
        )
        if not self.raises:
            hold(self, "coupling", couplings, learned=learned)

    @property
    def raises(self) -> bool:
        """Whether it raises thresholds."""
        return self.acts == "threshold"

    def of(self, neurons: int) -> Adaptation:
        """The same for so many neurons."""
        keep, coupling = self.leak.kept().detach(), 0.0 if self.raises else self.coupling
        return Adaptation(
            self.acts, keep, self.jump, coupling, learned=self.learned, neurons=neurons
        )

    def coupled(self, beta: Tensor, gain: Tensor, keep: Tensor) -> Tensor | None:
        """The couplings; learned ones at which membranes of these numbers do not swing ever wider.

        Membrane and adaptation are a linear system of two states, stable while
        `-(1 - beta) (1 - keep) < gain coupling < (1 + beta) (1 + keep)`.
        """
        if self.raises:
            return None
        low, high = -(1 - beta) * (1 - keep) / gain, (1 + beta) * (1 + keep) / gain
        return within(self, self.coupling, STABLE * low, STABLE * high)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"acts={self.acts!r}"
