"""Convolutions, in real numbers and in the machine's integers, and their geometry.

Inputs and results stand position by position, the channels of a position side by side; or plane by
plane, `planar` inputs and a `planar_result`, which is gone after the pass `align`. Every `pool`
neighbours are summed before they meet the kernel, so that a sum (or a mean, in the weights) over
neighbours is part of the map behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmpc.ir.graph import Attr
from dmpc.ir.integer_types import INTEGER, LAYER, integers, number
from dmpc.ir.registry import BITS, Attrs, AttrSpec, EvalContext, OpDef, Tensor, register
from dmpc.ir.types import TensorType

Pair = tuple[int, int]
ONE, NOTHING = (1, 1), (0, 0)
EXACT = ((np.float32, 1 << 24), (np.float64, 1 << 53))
"""Types of real numbers, and up to where they hold every integer."""


@dataclass(frozen=True)
class Convolution:
    """Which inputs meet which weights [outputs, taps, taps, channels of a part].

    All pairs are along y, x. Padding stands before the first input; behind the last one there is as
    much as the positions need.
    """

    size: Pair
    channels: int
    positions: Pair
    outputs: int
    taps: Pair
    stride: Pair = ONE
    padding: Pair = NOTHING
    dilation: Pair = ONE
    pool: Pair = ONE
    parts: int = 1
    planar: bool = False
    planar_result: bool = False

    @classmethod
    def of(cls, attrs: Attrs, weight: tuple[int, ...]) -> "Convolution":
        """That of an op's attributes and its weight's shape. Raises ValueError if there is none."""
        if len(weight) != 4:
            raise ValueError(f"weight must be [outputs, y, x, channels], not {list(weight)}")
        height, width, channels = _whole(attrs, "grid", 3, 1)
        parts = attrs.get("parts", 1)
        planar, planar_result = (bool(attrs.get(n)) for n in ("planar", "planar_result"))
        assert isinstance(parts, int)
        pairs = {name: _pair(attrs, name) for name in ("stride", "dilation", "pool")}
        made = cls(
            (height, width), channels, _pair(attrs, "positions"), weight[0],
            (weight[1], weight[2]), padding=_pair(attrs, "padding", 0), parts=parts,
            planar=planar, planar_result=planar_result, **pairs,
        )  # fmt: skip
        if parts < 1 or channels % parts or weight[0] % parts:
            raise ValueError(f"channels and outputs do not fall into {parts} equal parts")
        if weight[3] * parts != channels:
            raise ValueError(
                f"weight reads {weight[3]} channels a part, {channels} // {parts} come"
            )
        return made

    @property
    def attrs(self) -> dict[str, Attr]:
        """As attributes of an op."""
        return {
            "grid": (*self.size, self.channels),
            "positions": self.positions,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "pool": self.pool,
            "parts": self.parts,
            "planar": self.planar,
            **({"planar_result": True} if self.planar_result else {}),
        }

    @property
    def inputs(self) -> int:
        """Elements of its input."""
        return self.size[0] * self.size[1] * self.channels

    @property
    def places(self) -> int:
        """Positions in all."""
        return self.positions[0] * self.positions[1]

    @property
    def seen(self) -> int:
        """Weights of an output: what a position sees."""
        return self.taps[0] * self.taps[1] * self.channels // self.parts

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """The sums [.., positions * outputs] of `x` [.., inputs], in the type of its elements."""
        before = x.shape[:-1]
        seen = self._padded(self._pooled(x.reshape(-1, self.inputs)))
        total = np.zeros((len(seen), *self.positions, self.parts, self.outputs // self.parts))
        total = total.astype(np.result_type(seen.dtype, weight.dtype))
        shape = (self.parts, self.outputs // self.parts, *weight.shape[1:])
        split = weight.reshape(shape).transpose(2, 3, 0, 4, 1)  # y, x, part, channel, output
        (lines, columns), (down, along) = self.positions, self.stride
        for i, j in np.ndindex(*self.taps):
            top, left = i * self.dilation[0], j * self.dilation[1]
            part = seen[
                :,
                top : top + (lines - 1) * down + 1 : down,
                left : left + (columns - 1) * along + 1 : along,
            ]
            if self.parts == 1:
                total[:, :, :, 0] += part[:, :, :, 0] @ split[i, j, 0]
            else:
                total += np.einsum("blckd,kdo->blcko", part, split[i, j], optimize=True)
        if self.planar_result:
            turned: Tensor = total.reshape(len(seen), self.places, self.outputs).swapaxes(1, 2)
            return turned.reshape(*before, self.places * self.outputs)
        return total.reshape(*before, self.places * self.outputs)

    def integers(self, x: Tensor, weight: Tensor) -> Tensor:
        """The same of integers or truth values, exact, at the speed of real numbers."""
        most = 1 if x.dtype == np.bool_ else int(np.abs(x).max(initial=0))
        reach = int(np.abs(weight).reshape(len(weight), -1).sum(1).max(initial=0))
        bound = most * self.pool[0] * self.pool[1] * reach
        for real, limit in EXACT:
            if bound < limit:
                return self.apply(x.astype(real), weight.astype(real)).astype(np.int64)
        return self.apply(x.astype(np.int64), weight.astype(np.int64))

    def bounds(self, low: Tensor, high: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The bounds of the sums of inputs within bounds [inputs]: both are reached."""
        up, down = np.maximum(weight, 0), np.minimum(weight, 0)
        return self.apply(low, up) + self.apply(high, down), (
            self.apply(high, up) + self.apply(low, down)
        )

    def spread(self, by_output: Tensor) -> Tensor:
        """Numbers of outputs [outputs] as those of all neurons."""
        if self.planar_result:
            return np.repeat(by_output, self.places)
        return np.tile(by_output, self.places)

    def by_output(self, by_neuron: Tensor) -> Tensor:
        """Numbers of all neurons as [positions, outputs]."""
        if self.planar_result:
            return by_neuron.reshape(self.outputs, self.places).T
        return by_neuron.reshape(self.places, self.outputs)

    @property
    def sums_alone(self) -> bool:
        """Whether each channel meets itself alone, place by place: sums over neighbours, scaled."""
        still = self.stride == self.dilation == ONE and self.padding == NOTHING
        whole = self.positions == (self.size[0] // self.pool[0], self.size[1] // self.pool[1])
        return still and whole and self.taps == ONE and self.parts == self.channels == self.outputs

    def sums_for(self, behind: "Convolution") -> bool:
        """Whether it does nothing but sums over neighbours, as a part of the one behind it."""
        fits = self.planar_result == behind.planar and self.positions == behind.size
        return self.sums_alone and fits

    def patches(self, x: Tensor, positions: Tensor) -> Tensor:
        """What some positions see of inputs [.., inputs], in the order of the weights of an output.

        [.., positions, seen], of a convolution of one part.
        """
        seen = self._padded(self._pooled(x.reshape(-1, self.inputs)))[:, :, :, 0]
        line, column = np.divmod(positions[:, None], self.positions[1])
        down = line * self.stride[0] + np.arange(self.taps[0]) * self.dilation[0]
        along = column * self.stride[1] + np.arange(self.taps[1]) * self.dilation[1]
        found: Tensor = seen[:, down[:, :, None], along[:, None, :]]
        return found.reshape(*x.shape[:-1], len(positions), -1)

    def _pooled(self, x: Tensor) -> Tensor:
        """Inputs [batch, inputs] as sums over neighbours [batch, y, x, channels]."""
        (height, width), (down, along) = self.size, self.pool
        if self.planar:
            planes = x.reshape(-1, self.channels, height, width).transpose(0, 2, 3, 1)
        else:
            planes = x.reshape(-1, height, width, self.channels)
        if self.pool == ONE:
            return planes
        lines, columns = height // down, width // along
        cut = planes[:, : lines * down, : columns * along]
        parts = cut.reshape(-1, lines, down, columns, along, self.channels)
        pooled: Tensor = parts.sum(axis=(2, 4), dtype=cut.dtype)
        return pooled

    def _padded(self, planes: Tensor) -> Tensor:
        """With zeros around, as far as the positions reach; channels by part."""
        around = [(0, 0)]
        for axis in range(2):
            reach = (self.positions[axis] - 1) * self.stride[axis]
            reach += (self.taps[axis] - 1) * self.dilation[axis] + 1
            before = self.padding[axis]
            around.append((before, max(reach - before - planes.shape[1 + axis], 0)))
        padded = np.pad(planes, [*around, (0, 0)])
        return padded.reshape(*padded.shape[:3], self.parts, -1)


def beside(attrs: Attrs) -> Pair:
    """How many neighbouring positions were taken for one, and the dilation that each had."""
    return _pair(attrs, "beside")


def _whole(attrs: Attrs, name: str, count: int, least: int) -> tuple[int, ...]:
    given = attrs.get(name, (least,) * count)
    found = tuple(v for v in given if type(v) is int) if isinstance(given, tuple) else ()
    if len(found) != count or min(found) < least:
        raise ValueError(f"{name} must be {count} whole numbers of at least {least}")
    return found


def _pair(attrs: Attrs, name: str, least: int = 1) -> Pair:
    one, other = _whole(attrs, name, 2, least)
    return one, other


_ATTRS = {
    "grid": AttrSpec(tuple, "inputs along y and x, and channels"),
    "positions": AttrSpec(tuple, "positions along y and x"),
    "stride": AttrSpec(tuple, "places from position to position; 1 if absent", required=False),
    "padding": AttrSpec(tuple, "places of zeros before the first; 0 if absent", required=False),
    "dilation": AttrSpec(tuple, "places from tap to tap; 1 if absent", required=False),
    "pool": AttrSpec(tuple, "inputs that are summed in a place; 1 if absent", required=False),
    "parts": AttrSpec(int, "parts of channels and outputs that meet; 1 if absent", required=False),
    "planar": AttrSpec(bool, "inputs come plane by plane", required=False),
    "beside": AttrSpec(
        tuple,
        "neighbouring positions of a line that `align` took for one, and the places between the "
        "taps of each; 1 if absent",
        required=False,
    ),
    "planar_result": AttrSpec(bool, "results, too; never after align", required=False),
}


def _infer_conv(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    made = Convolution.of(attrs, types[1].shape)
    if types[0].dtype not in ("f32", "event") or types[0].shape != (made.inputs,):
        raise ValueError(f"x must be f32 or event [{made.inputs}], not {types[0]}")
    result = TensorType("f32", (made.places * made.outputs,))
    for bias in types[2:]:
        if bias != result:
            raise ValueError(f"bias must be {result}, not {bias}")
    return (result,)


def _evaluate_conv(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor, *bias: Tensor
) -> tuple[Tensor, ...]:
    made = Convolution.of(attrs, weight.shape)
    return (sum(bias, made.apply(x.astype(ctx.dtype), weight)),)


CONV = register(
    OpDef(
        "conv",
        "Convolution of a vector or of events: y [positions * outputs], position by position, with "
        "weight [outputs, y, x, channels] shared by all positions, and bias, which is not.",
        ("model", "layers"),
        ("x", "weight", "bias?"),
        ("y",),
        _infer_conv,
        _evaluate_conv,
        {
            **_ATTRS,
            "layer": AttrSpec(str, "name of the layer, from level layers on", required=False),
        },
        parameters=("weight", "bias"),
    )
)


def _infer_convolve(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    made = Convolution.of(attrs, types[1].shape)
    if types[0].dtype != "event":
        integers(types[0], "x", made.inputs)
    elif types[0].shape != (made.inputs,):
        raise ValueError(f"x must have {made.inputs} elements, not {types[0]}")
    integers(types[1], "weight", *types[1].shape)
    return (TensorType(f"i{number(attrs, 'bits')}", (made.places * made.outputs,)),)


def _evaluate_convolve(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    del ctx
    return (Convolution.of(attrs, weight.shape).integers(x, weight),)


CONVOLVE = register(
    OpDef(
        "convolve",
        "Sums of a convolution of events or values, exact: no rounding, no saturation.",
        INTEGER,
        ("x", "weight"),
        ("sums",),
        _infer_convolve,
        _evaluate_convolve,
        {
            **_ATTRS,
            "layer": LAYER,
            "bits": AttrSpec(int, "width of the exact sums", limits=BITS),
            "stationary": AttrSpec(
                str, "as of matvec", required=False, choices=("input", "output")
            ),
        },
        parameters=("weight",),
    )
)

PRODUCTS = ("matvec", "convolve")
"""Ops whose sums a bank makes."""
MAPS = ("dense", "conv")
"""The same in real numbers."""
