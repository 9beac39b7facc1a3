"""Neurons of a convolution: those of one output, in all positions, share scale and kernel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmpc.analysis.interval import Interval
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.passes.layer_rules import layer_error
from dmpc.passes.quantization.builder import Builder
from dmpc.passes.ranges import Real
from dmpc.rules import Stage, rule

POSITION_THRESHOLDS = rule(
    "position-thresholds",
    Stage.LAYERS,
    "neurons of {layer} that share the weights of a convolution have different thresholds, or are "
    "shared in another way by another convolution",
    why="""A neuron's weights are integers of a step that divides its threshold. Neurons of one
    output share their weights, so they share that step.""",
    nearest="one threshold for all neurons of an output channel",
)


@dataclass(frozen=True)
class Shared:
    """Which neurons share a scale: those of an output of `convolution`, or none."""

    convolution: Convolution | None

    @classmethod
    def of(cls, graph: Graph, lif: Op, products: Sequence[Op], threshold: Real) -> "Shared":
        """Of neurons with thresholds [n]. Raises CompileError unless they can share one."""
        found = {
            (made.places, made.outputs): made
            for op in products
            if op.kind == "conv"
            for made in [Convolution.of(op.attrs, graph.types[op.operands[1]].shape)]
        }
        if not found:
            return cls(None)
        shared = cls(next(iter(found.values())))
        if len(found) > 1 or not np.array_equal(shared.largest(threshold), np.abs(threshold)):
            raise layer_error(POSITION_THRESHOLDS, graph, lif, layer=lif.attrs["layer"])
        return shared

    def largest(self, by_neuron: Real) -> Real:
        """The largest magnitude among those that share a scale, for each of them."""
        size: Real = np.abs(by_neuron)
        if self.convolution is None:
            return size
        return self.convolution.spread(self.convolution.by_output(size).max(0))

    def interval(self, one: Interval) -> Interval:
        """An interval that holds those of all that share a scale."""
        if self.convolution is None:
            return one
        return Interval(-self.largest(one.magnitude), self.largest(one.magnitude))


def weights_by_neuron(build: Builder, product: Op) -> Real:
    """The weights [n, m] of each neuron, in some order; of a convolution, its output's kernel."""
    weight = build.weights(product)
    if product.kind != "conv":
        return weight
    made = Convolution.of(product.attrs, weight.shape)
    flat: Real = np.tile(weight.reshape(len(weight), -1), (made.places, 1))
    return flat
