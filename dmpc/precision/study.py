"""A network under study: its float graph, what calibration showed, and a plan of widths."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dmpc.compiler import (
    AnyModel,
    Options,
    Trained,
    as_trained,
    find_ranges,
    import_model,
    limit_spikes,
    to_layers,
)
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph
from dmpc.ir.registry import Tensor
from dmpc.passes.quantization.widths import (
    WidthPlan,
    Widths,
    stored_widths,
    width_plan,
    widths_text,
)
from dmpc.passes.quantize import Quantize, Quantized
from dmpc.passes.ranges import Ranges
from dmpc.precision.impulse import Impulse, impulses
from dmpc.precision.losses import Loss, losses
from dmpc.precision.search import cheapest, memory_bits
from dmpc.precision.yardstick import Difference, Yardstick
from isa.arithmetic import Int
from isa.target import Target, load_target

SAMPLES = 400  # of the calibration set, on which predictions are compared
MEASURED = 128  # of them, on which the loss of each tensor is measured


@dataclass(frozen=True)
class Study:
    """A float graph at level layers with everything that decides its integers.

    `yardstick` holds samples of the calibration set, spread evenly; `trained` is what is to be said
    of the widths that the network was trained at.
    """

    layers: Graph
    target: Target
    ranges: Ranges
    plan: WidthPlan
    yardstick: Yardstick
    trained: Trained | None = None

    @classmethod
    def of(
        cls,
        model: AnyModel,
        x: Tensor,
        y: Tensor | None,
        options: Options,
        target: Target | None = None,
        lengths: Int | None = None,
    ) -> "Study":
        """A model with its calibration set `x` [samples, timesteps, inputs] and labels `y`.

        With `lengths` [samples], what lies behind a sample's length is no part of it.
        `target` is that of the options if it is not given. Raises DmpcError as `dmpc.compile` does.
        """
        target = target or load_target(options.target)
        options, trained = as_trained(options, model, target)
        plan = width_plan(target, options.weight_bits, options.widths)
        layers = to_layers(import_model(model, options, x).graph, options, lanes=target.lanes)
        layers = limit_spikes(layers, x, options)
        ranges = find_ranges(layers, x, options, lengths=lengths)
        some = np.unique(np.linspace(0, len(x) - 1, min(SAMPLES, len(x))).astype(int))
        yardstick = Yardstick(layers, x, y, lengths).part(some)
        return cls(layers, target, ranges, plan, yardstick, trained)

    @cached_property
    def quantized(self) -> Quantized:
        """The integer graph at the plan's widths."""
        return Quantize(self.target, self.ranges, self.plan).quantized(self.layers)

    @cached_property
    def calibrated(self) -> Difference:
        """The difference from the float network on samples of the calibration set."""
        return self.yardstick.of(self.quantized.graph)

    def difference(self, x: Tensor, y: Tensor | None, lengths: Int | None = None) -> Difference:
        """The difference from the float network on other samples."""
        return Yardstick(self.layers, x, y, lengths).of(self.quantized.graph)

    def losses(self, progress: Callable[[int], None] | None = None) -> list[Loss]:
        """Where the loss comes from."""
        few = self.yardstick.part(slice(None, None, max(1, len(self.yardstick.x) // MEASURED)))
        return losses(few, self.target, self.ranges, self.plan, progress)

    def impulses(self) -> list[Impulse]:
        """The impulse responses of the memories."""
        return list(impulses(self.layers, self.quantized))

    def cheapest(self, points: float, progress: Callable[[int], None] | None = None) -> "Study":
        """The study at the cheapest widths with which `points` of 100 answers lose their lead.

        See `dmpc.precision.search`. Raises CompileError if the widths that it has are too narrow.
        """
        lost = 100 * self.yardstick.lost(self.quantized.graph)
        if lost > points + 1e-9:
            raise CompileError(
                f"{lost:.2f} of 100 answers lose half of their lead at these widths, "
                f"{points:g} may",
                where=self.layers.name,
                hint="allow more, or train with quantization (docs/quantization.md)",
            )
        plan = cheapest(self.yardstick, self.target, self.ranges, self.plan, points / 100, progress)
        return replace(self, plan=plan)

    @property
    def bits(self) -> int:
        """Bits of weights and coefficients at the plan's widths."""
        return memory_bits(self.layers, self.ranges.events, self.plan)

    @property
    def target_bits(self) -> int:
        """Bits of weights and coefficients at the widths of the target's rows."""
        return memory_bits(self.layers, self.ranges.events, WidthPlan(Widths.of(self.target)))

    def widths_text(self) -> str:
        """The plan's widths, all of them, as `dmpc compile --widths` takes them.

        One that is not named would be the one that the network was trained at.
        """
        return widths_text(stored_widths(self.plan))

    def layer_of(self, spikes: str) -> str:
        """The layer whose spikes have a name."""
        producer = self.layers.producer(spikes)
        assert producer is not None
        return str(producer.attrs["layer"])
