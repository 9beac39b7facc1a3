"""The difference between a float network and an integer one, on samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dmpc.backend.interface import interface_of
from dmpc.errors import SampleError
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import Result, interpret, shown
from dmpc.ir.lengths import ended
from dmpc.ir.ops_layers import FIRING
from dmpc.ir.registry import Tensor
from isa.arithmetic import Int


@dataclass(frozen=True)
class Difference:
    """Of an integer network from its float network.

    `through` and `alone` are different spikes per spike of the float network, by the name of a
    layer's spikes: through the whole network, and in each layer fed with the float network's
    spikes. `disagreement` is the share of samples whose prediction differs; the accuracies are
    None without labels.
    """

    through: dict[str, float]
    alone: dict[str, float]
    disagreement: float
    float_accuracy: float | None
    accuracy: float | None

    @property
    def drop(self) -> float:
        """Points of accuracy lost, or of agreement where there are no labels."""
        if self.accuracy is None or self.float_accuracy is None:
            return 100 * self.disagreement
        return 100 * (self.float_accuracy - self.accuracy)


class Yardstick:
    """A float network's spikes and answers on samples `x` with labels `y`, to compare with.

    With `lengths` [samples], what lies behind a sample's length is no part of it.
    """

    def __init__(
        self, layers: Graph, x: Tensor, y: Tensor | None, lengths: Int | None = None
    ) -> None:
        self.layers, self.x, self.y = layers, shown(layers, x), y
        steps = self.x.shape[1]
        if lengths is None or steps != x.shape[1]:
            lengths = np.full(len(x), steps)
        self.lengths: Int = lengths
        self.spikes = [op.results[0] for op in layers.ops if op.kind in FIRING]
        (classes,) = layers.types[layers.outputs[0]].shape
        if y is not None and y.max() >= classes:
            raise SampleError(
                f"label {y.max()} is no class; the network has {classes}, numbered from 0"
            )

    @cached_property
    def floats(self) -> Result:
        """What the float network makes of the samples, found when somebody asks."""
        return self.run(self.layers, self.x.astype(np.float64), trace=self.spikes)

    @cached_property
    def answers(self) -> Tensor:
        """Its predictions."""
        return np.asarray(self.floats.logits.argmax(1))

    def run(self, graph: Graph, x: Tensor, **options: Any) -> Result:
        """`interpret` on numbers `x` of the samples, each as long as it is."""
        return ended(graph, interpret(graph, x, **options), self.lengths)

    def part(self, numbers: Int | slice) -> "Yardstick":
        """The same with some of the samples."""
        y = None if self.y is None else self.y[numbers]
        return Yardstick(self.layers, self.x[numbers], y, self.lengths[numbers])

    def of(self, integer: Graph) -> Difference:
        """How an integer graph of the network differs, on all samples."""
        x, _ = interface_of(integer).input.integers(self.x)
        through = self.run(integer, x, trace=self.spikes)
        alone = self.run(integer, x, trace=self.spikes, fed=self.floats.traces)
        answers = through.logits.argmax(1)
        return Difference(
            self.mismatch(through.traces),
            self.mismatch(alone.traces),
            float(np.mean(answers != self.answers)),
            None if self.y is None else float(np.mean(self.answers == self.y)),
            None if self.y is None else float(np.mean(answers == self.y)),
        )

    def lost(self, integer: Graph) -> float:
        """The share of samples that keep less than half of the lead of the float network's answer.

        Answers to samples that a network was trained on have long leads. Those to others are
        overthrown by errors that merely shorten these.
        """
        interface = interface_of(integer)
        x, _ = interface.input.integers(self.x)
        real = self.run(integer, x).logits * interface.output.step(self.lengths[:, None])
        return float(np.mean(self._leads(real) < self._leads(self.floats.logits) / 2))

    def _leads(self, logits: Tensor) -> Tensor:
        """How far the float network's answer is above the best of the others, [samples]."""
        rows = np.arange(len(logits))
        rest = logits.astype(np.float64)
        rest[rows, self.answers] = -np.inf
        best = rest.max(axis=1) if logits.shape[1] > 1 else np.zeros(len(logits))
        leads: Tensor = logits[rows, self.answers] - best
        return leads

    def mismatch(self, spikes: Mapping[str, Tensor]) -> dict[str, float]:
        """Different spikes per spike of the float network, by name, of those given."""
        floats = self.floats.traces
        return {
            name: float(np.count_nonzero(spikes[name] != floats[name]))
            / max(float(np.count_nonzero(floats[name])), 1.0)
            for name in self.spikes
            if name in spikes
        }
