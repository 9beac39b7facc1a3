"""What an image was made from: a sketch of the float network's numbers, in a note of the image.

A digest would tell two spellings of one network apart: a gain folded into weights, a slow state
read off its impulse response, are the same numbers but for rounding. So each constant is kept as 16
sums of its elements with signs, in whole numbers, which are the same on every machine. The sums of
a difference are as large as the difference itself on average (a Johnson-Lindenstrauss
projection): two sketches tell how far two constants are apart. What differs in spelling alone is
taken out first: neurons are measured in their thresholds.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_layers import NEURONS, charged
from dmpc.ir.registry import op_def
from isa.errors import IsaError
from isa.image import Image

Real = NDArray[np.float64]
ORIGIN_NOTE = ".dmpc.origin"
SUMS = 16
BLOCK = 4096  # elements at a time: their signs stay in a processor's cache
FRACTION = 30  # bits of an element, of the largest
SAME = 1e-3  # of a constant's size: spellings of one network agree to 1e-4, other trainings do not


@dataclass(frozen=True)
class Sketch:
    """One constant: whose it is, its shape, and its sums, in steps of `2**exponent`."""

    layer: str
    part: str
    shape: tuple[int, ...]
    exponent: int
    sums: tuple[int, ...]

    @property
    def values(self) -> Real:
        """The sums as real numbers."""
        found: Real = np.ldexp(np.array(self.sums, np.float64), self.exponent)
        return found


Origin = list[Sketch]
_ORIGIN = TypeAdapter(Origin)


def origin(layers: Graph) -> Origin:
    """The sketch of a graph at level layers."""
    return [_sketch(*constant) for op in layers.ops for constant in _constants(layers, op)]


def note(layers: Graph) -> dict[str, bytes]:
    """The note that an image of these layers carries."""
    return {ORIGIN_NOTE: json.dumps(_ORIGIN.dump_python(origin(layers), mode="json")).encode()}


def origin_of(image: Image) -> Origin | None:
    """What an image says that it was made from; None if it does not. Raises IsaError."""
    if ORIGIN_NOTE not in image.notes:
        return None
    try:
        return _ORIGIN.validate_json(image.notes[ORIGIN_NOTE])
    except ValidationError as error:
        raise IsaError(f"note {ORIGIN_NOTE} is damaged: {error.errors()[0]['msg']}") from None


def difference(ours: Origin, theirs: Origin) -> str:
    """The largest difference between two networks, in words; empty if they are the same."""
    mine, other = ([(s.layer, s.part, s.shape) for s in one] for one in (ours, theirs))
    if mine != other:
        odd = [key for key in mine if key not in other] or [key for key in other if key not in mine]
        layer, part, shape = (odd or mine)[0]
        return f"only one of them has {part} {list(shape)} in {layer}"
    apart = [(_distance(one, two), one) for one, two in zip(ours, theirs, strict=True)]
    worst, sketch = max(apart, key=lambda pair: pair[0], default=(0.0, None))
    if sketch is None or worst <= SAME:
        return ""
    share = f"{100 * worst:.2g}" if worst < 0.1 else f"{100 * worst:.0f}"
    return f"{sketch.part} of {sketch.layer} differ by {share} %"


def _distance(one: Sketch, other: Sketch) -> float:
    """How far two constants are apart, of the size of the larger."""
    largest = max(np.abs(one.values).max(initial=0), np.abs(other.values).max(initial=0))
    if not largest:
        return 0.0
    # Squares of what is beyond 1e154 are no numbers.
    first, second = one.values / largest, other.values / largest
    size = max(np.linalg.norm(first), np.linalg.norm(second))
    return float(np.linalg.norm(first - second) / size)


def _constants(layers: Graph, op: Op) -> Iterator[tuple[str, str, Real]]:
    """The constants of an op as layer, part and numbers, measured in thresholds."""
    layer, constants = str(op.attrs["layer"]), layers.constants
    names = [name for name in op.operands if name in constants]
    if op.kind in NEURONS:
        bound = op_def(op.kind).bind(op.operands)
        unit, prefix = _unit(layers, op), "current " if op.kind == "li" else ""
        for role in (one for one in op_def(op.kind).parameters if one in bound):
            value = constants[bound[role][0]].astype(np.float64)
            scaled = role in ("threshold", "reset", "jump")
            yield layer, f"{prefix}{role}s", value / unit if scaled else value
        return
    unit = np.ones(1)
    for reader in layers.users(op.results[0]) if op.kind == "dense" else []:
        unit = _unit(layers, reader) if reader.kind in NEURONS else unit
    parts = {"memory": ("A", "B"), "delay": ("delays",)}.get(op.kind, ("weights", "biases"))
    source = "recurrent " if _past(layers, op) else "slow " if _slow(layers, op) else ""
    prefix = f"{op.kind} " if op.kind != "dense" else source
    for name, part in zip(names, parts, strict=False):  # a bias may lack
        value = constants[name].astype(np.float64)
        yield layer, prefix + part, value / (unit[:, None] if value.ndim > 1 else unit)


def _unit(layers: Graph, lif: Op) -> Real:
    """Thresholds of neurons, or of those that they charge, where they are above zero, else 1."""
    if lif.kind == "li":
        neurons = charged(layers, lif)
        return _unit(layers, neurons) if neurons else np.ones(1)
    threshold = layers.constants[op_def(lif.kind).bind(lif.operands)["threshold"][0]]
    unit: Real = np.where(threshold > 0, threshold, 1.0).astype(np.float64)
    return unit


def _past(layers: Graph, op: Op) -> bool:
    return layers.state(op.operands[0]) is not None and _kind(layers, op) == "event"


def _slow(layers: Graph, op: Op) -> bool:
    return op.operands[0] not in layers.inputs and _kind(layers, op) != "event"


def _kind(layers: Graph, op: Op) -> str:
    return layers.types[op.operands[0]].dtype


def _sketch(layer: str, part: str, value: Real) -> Sketch:
    flat = value.reshape(-1)
    most = float(np.abs(flat).max(initial=0))
    exponent = int(np.frexp(most)[1]) - FRACTION if most and np.isfinite(most) else 0
    whole = np.rint(np.ldexp(flat, -exponent)).astype(np.int64)
    sums = np.zeros(SUMS, np.int64)
    for at in range(0, whole.size, BLOCK):
        block = whole[at : at + BLOCK]
        sums += _signs(at, block.size) @ block
    return Sketch(layer, part, value.shape, exponent, tuple(map(int, sums)))


@functools.lru_cache(maxsize=32)
def _signs(start: int, size: int) -> NDArray[np.int64]:
    """Signs of elements from `start` on, for each sum: bits of a mixed counter (splitmix64), the
    same whatever the machine."""
    rows = np.arange(SUMS, dtype=np.uint64) << np.uint64(40)
    bits: NDArray[np.uint64] = np.add.outer(rows, np.arange(start, start + size, dtype=np.uint64))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    odd = ((bits ^ (bits >> np.uint64(31))) & np.uint64(1)).astype(np.int64)
    return 2 * odd - 1
