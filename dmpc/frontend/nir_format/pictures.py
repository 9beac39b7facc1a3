"""Pictures: values that stand in planes of lines and columns, and what convolutions make of them.

A value of the graph is a vector. A picture says how it is to be read: plane by plane, as NIR has it
and as the input comes, or position by position, as a convolution leaves it. Sums and means over
neighbours change no value: they are noted, and become part of the next map.
"""

from dataclasses import dataclass, replace

import numpy as np

from dmpc.frontend.nir_format.network import Node
from dmpc.frontend.nir_format.rules import CONVOLUTION
from dmpc.ir.graph import Array
from dmpc.ir.ops_convolution import ONE, Convolution, Pair

CONVOLUTIONS = ("Conv1d", "Conv2d")
POOLS = ("SumPool2d", "AvgPool2d")


@dataclass(frozen=True)
class Picture:
    """`channels` planes of `size`; `planar`: one after the other.

    What is meant are sums over `pool` neighbours, times `factor`.
    """

    channels: int
    size: Pair
    planar: bool
    pool: Pair = ONE
    factor: float = 1.0

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "Picture | None":
        """What an input of such a shape is; None if it is a plain vector."""
        while len(shape) > 3 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) == 2:
            return cls(shape[0], (1, shape[1]), planar=True)
        return cls(shape[0], (shape[1], shape[2]), planar=True) if len(shape) == 3 else None

    @property
    def places(self) -> Pair:
        """Lines and columns of what is meant."""
        return self.size[0] // self.pool[0], self.size[1] // self.pool[1]

    @property
    def elements(self) -> int:
        """How many elements what is meant has."""
        return self.channels * self.places[0] * self.places[1]

    @property
    def plain(self) -> bool:
        """Whether it is the very vector that NIR means."""
        return self.planar and self.pool == ONE

    @property
    def order(self) -> Array:
        """For each element of the vector, which of NIR's it is: plane by plane."""
        numbers = np.arange(self.channels * self.size[0] * self.size[1])
        if self.planar:
            return numbers
        return numbers.reshape(self.channels, -1).T.reshape(-1)

    def arranged(self, node: Node) -> Node:
        """A node whose parameters [channels, y, x] are in the order of the vector."""
        found = {}
        for name, value in node.parameters.items():
            each = value.reshape(-1)
            ones = value.shape[1:] == (1,) * (value.ndim - 1)
            if value.ndim and ones and value.shape[0] == self.channels > 1:
                each = np.repeat(each, self.size[0] * self.size[1])
            found[name] = each[self.order] if each.size == self.order.size else value
        return replace(node, parameters=found)

    def whole(self, outputs: int) -> Convolution:
        """A convolution with one position, which sees everything."""
        return Convolution(
            self.size, self.channels, ONE, outputs, self.places,
            pool=self.pool, planar=self.planar,
        )  # fmt: skip

    def summed(self) -> tuple[Convolution, Array]:
        """The sums that are meant, as a convolution of each channel with itself."""
        parts = self.channels
        made = Convolution(
            self.size, self.channels, self.places, self.channels, ONE,
            pool=self.pool, parts=parts, planar=self.planar,
        )  # fmt: skip
        return made, np.full((self.channels, 1, 1, 1), self.factor)


def noted(node: Node, picture: Picture) -> Picture | None:
    """The picture behind a node that sums over neighbours each of which it takes once.

    None for sums that overlap, leave out places or reach over the edge.
    """
    size, stride = _pair(node, "kernel_size"), _pair(node, "stride")
    if size != stride or any(_pair(node, "padding", 0)):
        return None
    if any(one > there for one, there in zip(size, picture.places, strict=True)):
        raise node.failure(CONVOLUTION, problem=f"pools {size} of {picture.places} places")
    factor = picture.factor / (size[0] * size[1] if node.kind == "AvgPool2d" else 1)
    pool = picture.pool[0] * size[0], picture.pool[1] * size[1]
    return replace(picture, pool=pool, factor=factor)


def summed_up(node: Node, picture: Picture) -> tuple[Convolution, Array]:
    """Sums over neighbours as a convolution of each channel with itself, and its weights."""
    size, stride, padding = (
        _pair(node, name, least)
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0))
    )
    positions = _positions(node, picture, size, stride, (2 * padding[0], 2 * padding[1]))
    made = Convolution(
        picture.size, picture.channels, positions, picture.channels, size,
        stride, padding, ONE, picture.pool, picture.channels, picture.planar,
    )  # fmt: skip
    factor = picture.factor / (size[0] * size[1] if node.kind == "AvgPool2d" else 1)
    return made, np.full((picture.channels, *size, 1), factor)


def declared(node: Node, picture: Picture | None, elements: int) -> Picture:
    """The picture that a convolution reads: what it says that it reads, or else the one that comes.

    Raises ImportFailure if neither is one.
    """
    weight, groups = node.parameters["weight"], node.parameters["groups"].reshape(-1)
    channels = int(weight.shape[1] * groups[0]) if weight.ndim > 1 and groups.size else 0
    size = (1, elements // max(channels, 1)) if node.kind == "Conv1d" else node.shape[-2:]
    if picture is not None and (picture.channels, picture.places) == (channels, size):
        return picture
    if channels > 0 and len(size) == 2 and channels * size[0] * size[1] == elements:
        return Picture(channels, (size[0], size[1]), planar=True)
    if picture is None:
        raise node.failure(CONVOLUTION, problem="what it reads has no lines and columns")
    return picture


def _positions(node: Node, picture: Picture, span: Pair, stride: Pair, ends: Pair) -> Pair:
    """How many positions a kernel of such a span has, with `ends` zeros at both ends together."""
    lines, columns = (
        (places + end - one) // step + 1
        for places, end, one, step in zip(picture.places, ends, span, stride, strict=True)
    )
    if min(lines, columns) < 1:
        problem = f"its kernel of {list(span)} places does not lie in {list(picture.places)}"
        raise node.failure(CONVOLUTION, problem=problem)
    return lines, columns


def convolution(node: Node, picture: Picture) -> tuple[Convolution, Array]:
    """The convolution of a node on a picture, and its weights [outputs, y, x, channels]."""
    weight = node.parameters["weight"]
    axes = 4 if node.kind == "Conv2d" else 3
    if weight.ndim != axes:
        problem = f"weight has shape {list(weight.shape)}, not {axes} axes"
        raise node.failure(CONVOLUTION, problem=problem)
    if axes == 3:
        weight = weight[:, :, None, :]
    outputs, depth, *taps = weight.shape
    groups = node.parameters["groups"].reshape(-1)
    parts = int(groups[0])
    if groups.size != 1 or parts != groups[0] or parts < 1 or depth * parts != picture.channels:
        problem = f"weight reads {depth} channels in {groups[0]:g} groups, {picture.channels} come"
        raise node.failure(CONVOLUTION, problem=problem)
    if outputs % parts:
        raise node.failure(CONVOLUTION, problem=f"{outputs} outputs in {parts} groups")
    stride, dilation = _pair(node, "stride"), _pair(node, "dilation")
    span = dilation[0] * (taps[0] - 1) + 1, dilation[1] * (taps[1] - 1) + 1
    padding = _pair(node, "padding", -1)
    ends = 2 * padding[0], 2 * padding[1]
    if padding == (-1, -1):  # same: as many positions as places
        if stride != ONE:
            raise node.failure(CONVOLUTION, problem=f"padding 'same' with a stride of {stride}")
        ends = span[0] - 1, span[1] - 1
        padding = ends[0] // 2, ends[1] // 2
    positions = _positions(node, picture, span, stride, ends)
    made = Convolution(
        picture.size, picture.channels, positions, outputs, (taps[0], taps[1]),
        stride, padding, dilation, picture.pool, parts, picture.planar,
    )  # fmt: skip
    return made, weight.transpose(0, 2, 3, 1) * picture.factor


def _pair(node: Node, name: str, least: int = 1) -> Pair:
    """A parameter along y and x: two whole numbers, or one for both; of one axis along x."""
    found = node.parameters[name].reshape(-1)
    whole = np.rint(found)
    if found.size not in (1, 2) or (whole != found).any() or (whole < least).any():
        raise node.failure(CONVOLUTION, problem=f"{name} is {found.tolist()}")
    one, other = int(whole[0]), int(whole[-1])
    if node.kind == "Conv1d":
        return {"padding": (min(one, 0), one)}.get(name, (1, one))
    return one, other
