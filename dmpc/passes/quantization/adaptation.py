"""The state by which neurons adapt as integers: its step, leak, jump and coupling."""

from dataclasses import dataclass

import numpy as np

from dmpc.ir.graph import Attr, Op
from dmpc.ir.types import TensorType
from dmpc.passes.quantization.builder import Builder
from dmpc.passes.ranges import Currents, Real
from dmpc.passes.scales import MAX_SHIFT, MIN_SHIFT, NeuronScale, largest, rounded
from isa.arithmetic import Int
from isa.parameters import COUPLING_BITS, KEPT, LEAK_BITS, nearest_leak

TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Adaptation:
    """A state a in the integer graph; `read` are the constants that stages of the membrane take
    with it: its shift, and its coupling with an exponent."""

    state: str
    read: tuple[str, str, str]
    rho: str
    jump: str
    type: TensorType

    def add(self, build: Builder, op: Op) -> None:
        """What a timestep does to it, after its neurons have fired."""
        layer, bits = op.attrs["layer"], self.type.bits
        common: dict[str, Attr] = {"layer": layer, "bits": bits}
        leaked, coupled = (build.name(op, "a", stage) for stage in ("leaked", "coupled"))
        spikes, u, after = op.results
        leak: dict[str, Attr] = {"layer": layer, "fraction": LEAK_BITS}
        build.add(Op("leak", (self.state, self.rho), (leaked,), leak, op.loc), self.type)
        if op.attrs["adapts"] == "current":
            operands = (leaked, u, *self.read[1:])
            build.add(Op("couple", operands, (coupled,), common, op.loc), self.type)
            leaked = coupled
        build.add(Op("jump", (leaked, spikes, self.jump), (after,), common, op.loc), self.type)


def adaptation(build: Builder, op: Op, roles: Currents, neuron: NeuronScale) -> Adaptation:
    """The state of an op's neurons, with its constants.

    Its step is a power of two of the membrane's, the finest that holds its range.
    """
    graph, bits = build.graph, build.widths(op).membrane
    a, rho, jump, coupling = roles.adaptation
    kept, jumps, factors = (graph.constants[n].astype(np.float64) for n in (rho, jump, coupling))
    reach = build.ranges.bounds[op.results[2]].magnitude * build.ranges.margin
    reach = np.maximum.reduce(
        [reach, np.abs(jumps), np.abs(build.start(a)), np.full_like(reach, TINY)]
    )
    shift = np.floor(np.log2(neuron.step * (largest(bits) - 1) / reach))
    shift = np.clip(shift, MIN_SHIFT, MAX_SHIFT).astype(np.int64)
    step = neuron.step * 2.0**-shift
    ratio = 2.0**-shift if op.attrs["adapts"] == "threshold" else 2.0**shift
    mantissa, exponent = _coupling(factors * ratio)
    leak = nearest_leak(kept, build.widths(op).leak)
    whole = rounded(jumps, step, bits)
    names = [build.name(op, "adaptation", word) for word in ("shift", "exponent")]
    build.constant(rho, leak, LEAK_BITS + 2, 2.0**-LEAK_BITS)
    build.constant(jump, whole, bits, None)
    build.constant(coupling, mantissa, COUPLING_BITS, None)
    build.constant(names[0], shift, 6, None)
    build.constant(names[1], exponent, 6, None)
    build.meant |= {rho: leak / KEPT, jump: whole * step}
    build.meant[coupling] = mantissa * 2.0**-exponent / ratio
    scale = build.scale(build.name(op, "adaptation", "scale"), step)
    build.membranes[op.results[2]] = step
    type_ = TensorType(f"i{bits}", step.shape, scale)
    build.state(a, op.results[2], type_, step)
    return Adaptation(a, (names[0], coupling, names[1]), rho, jump, type_)


def _coupling(real: Real) -> tuple[Int, Int]:
    """Factors as `mantissa / 2**exponent`, the mantissa of all bits that a coupling has."""
    size = np.where(real == 0, 1, np.abs(real))
    exponent = np.floor(np.log2(largest(COUPLING_BITS) / size))
    exponent = np.clip(exponent, MIN_SHIFT, MAX_SHIFT).astype(np.int64)
    return rounded(real, 2.0**-exponent, COUPLING_BITS), exponent
