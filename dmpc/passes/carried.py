"""Ranges that a model carries with it: those on which its weights were trained.

A network trained with quantization in its forward pass (`dmpc.nn.QuantizedNetwork`) computes the
machine's integers: their scales follow from weights and ranges, their rounding from second moments.
All travel in one ONNX file, ranges and moments as text under a key of its metadata, so that the
compiler makes the same integers.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import (
    AfterValidator,
    Base64Encoder,
    BaseModel,
    ConfigDict,
    EncodedBytes,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from dmpc.analysis.interval import Interval
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import MAPS, Convolution
from dmpc.ir.ops_layers import NEURONS
from dmpc.passes.quantization.widths import Chosen
from dmpc.passes.ranges import QUANTILES, Ranges, Real

KEY = "dmpc.ranges"
WIDTHS_KEY = "dmpc.widths"
LARGEST = float(np.finfo(np.float32).max)  # of a bound: models are float32


def _finite(numbers: list[float]) -> list[float]:
    if not np.isfinite(numbers).all():
        raise ValueError("numbers must be finite")
    if np.abs(numbers).max(initial=0) > LARGEST:
        raise ValueError("numbers must be within float32")
    return numbers


Numbers = Annotated[list[float], AfterValidator(_finite)]


class _Bounds(BaseModel):
    model_config = ConfigDict(extra="forbid")
    low: Numbers
    high: Numbers

    @model_validator(mode="after")
    def _interval(self) -> "_Bounds":
        if len(self.low) != len(self.high):
            raise ValueError("low and high have different sizes")
        if np.any(np.greater(self.low, self.high)):
            raise ValueError("low lies above high")
        return self


class _Moments(BaseModel):
    """A symmetric matrix [size, size]: its lower triangle, row by row, as float32 in base64."""

    model_config = ConfigDict(extra="forbid")
    size: Annotated[int, Field(ge=1)]
    triangle: Annotated[bytes, EncodedBytes(encoder=Base64Encoder)]

    @model_validator(mode="after")
    def _whole(self) -> "_Moments":
        if len(self.triangle) != 4 * self.size * (self.size + 1) // 2:
            raise ValueError("the triangle has another size")
        if not np.isfinite(np.frombuffer(self.triangle, "<f4")).all():
            raise ValueError("numbers must be finite")
        return self

    def matrix(self) -> Real:
        """The whole matrix."""
        made = np.zeros((self.size, self.size))
        made[np.tril_indices(self.size)] = np.frombuffer(self.triangle, "<f4")
        whole: Real = made + np.tril(made, -1).T
        return whole


def _stored(moments: Real) -> _Moments:
    triangle = moments[np.tril_indices(len(moments))].astype("<f4").tobytes()
    return _Moments.model_construct(size=len(moments), triangle=triangle)


def stored_moments(ranges: Ranges) -> dict[str, Real]:
    """The second moments as they come back from a file: rounded to float32."""
    return {name: _stored(moments).matrix() for name, moments in ranges.moments.items()}


class _Carried(BaseModel):
    model_config = ConfigDict(extra="forbid")
    origin: str
    events: bool
    margin: Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)]
    bounds: dict[str, _Bounds]
    charge: dict[str, _Bounds]
    values: dict[str, _Bounds]
    activity: dict[str, Numbers]
    moments: dict[str, _Moments] = {}


def to_text(ranges: Ranges) -> str:
    """Ranges as JSON, from which `parse` makes the same numbers again."""
    intervals: dict[str, Any] = {
        field: {name: _Bounds(low=i.low.tolist(), high=i.high.tolist()) for name, i in kept.items()}
        for field, kept in (
            ("bounds", ranges.bounds),
            ("charge", ranges.charge),
            ("values", ranges.values),
        )
    }
    return _Carried(
        origin=ranges.origin,
        events=ranges.events,
        margin=ranges.margin,
        activity={name: quantiles.tolist() for name, quantiles in ranges.activity.items()},
        moments={name: _stored(moments) for name, moments in ranges.moments.items()},
        **intervals,
    ).model_dump_json()


def parse(text: str, where: str) -> Ranges:
    """Ranges from their text; raises CompileError if it is not such a text."""
    try:
        found = _Carried.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CompileError(
            f"the ranges in the model's metadata are damaged: {place}: {first['msg']}",
            where=where,
            hint="export the network again, or give a calibration set",
        ) from None
    bounds, charge, values = (
        {name: Interval(np.array(b.low), np.array(b.high)) for name, b in kept.items()}
        for kept in (found.bounds, found.charge, found.values)
    )
    activity = {name: np.array(quantiles) for name, quantiles in found.activity.items()}
    moments = {name: one.matrix() for name, one in found.moments.items()}
    return Ranges(
        found.origin, found.events, found.margin, bounds, charge, values, activity, moments
    )


def check_fit(ranges: Ranges, layers: Graph, where: str) -> None:
    """Raise CompileError if ranges are not those of a graph at level layers."""
    for field, name, size in _wanted(layers):
        found = getattr(ranges, field).get(name)
        if found is None:
            raise _unfit(f"{field} of %{name} are missing", where)
        if len(found.low) != size:
            raise _unfit(f"{field} of %{name} has {len(found.low)} elements, not {size}", where)
    for name, quantiles in ranges.activity.items():
        if len(quantiles) != QUANTILES:
            raise _unfit(f"activity of %{name} has {len(quantiles)} elements", where)
    for name, moments in ranges.moments.items():
        op = layers.producer(name)
        size = _columns(layers, op) if op is not None else 0
        if len(moments) != size:
            raise _unfit(f"moments of %{name} has {len(moments)} columns, not {size}", where)


def _wanted(layers: Graph) -> Iterator[tuple[str, str, int]]:
    """What quantization looks up: field, name and number of elements."""
    for name in layers.inputs:
        yield "bounds", name, layers.types[name].size
    for op in layers.ops:
        if op.kind in ("drive", "memory"):
            yield "bounds", op.results[0], layers.types[op.results[0]].size
        for name in op.results[2:] if op.kind in NEURONS else ():
            yield "bounds", name, layers.types[name].size
        if op.kind in NEURONS:
            for field in ("charge", "values"):
                yield field, op.results[0], layers.types[op.results[0]].size


def _columns(layers: Graph, op: Op) -> int:
    """The number of values that the products of neurons, or a readout, read, and the bias."""
    products = [p for name in op.operands if (p := layers.producer(name)) is not None]
    every = [p for p in products if p.kind in MAPS] if op.kind not in MAPS else [op]
    return 1 + sum(_read(layers, p) for p in every)


def _read(layers: Graph, product: Op) -> int:
    """The number of values that a sum of a product reads."""
    weight = layers.types[product.operands[1]].shape
    if product.kind == "conv":
        return Convolution.of(product.attrs, weight).seen
    return layers.types[product.operands[0]].size


def _unfit(what: str, where: str) -> CompileError:
    return CompileError(
        f"the ranges in the model's metadata are not this network's: {what}",
        where=where,
        hint="export the network again, or give a calibration set",
    )


def carried_ranges(model: str | os.PathLike[str], layers: Graph) -> Ranges | None:
    """The ranges in an ONNX file's metadata; None where there are none.

    Raises CompileError if they are damaged, or not those of the layers.
    """
    text = _metadata(model, KEY)
    if text is None:
        return None
    ranges = parse(text, os.fspath(model))
    check_fit(ranges, layers, os.fspath(model))
    return ranges


def widths_text(widths: Chosen) -> str:
    """Widths that a network was trained at, as `carried_widths` takes them."""
    return json.dumps(widths, sort_keys=True)


_WIDTHS: TypeAdapter[dict[str, dict[str, Annotated[int, Field(strict=True)]]]] = TypeAdapter(
    dict[str, dict[str, Annotated[int, Field(strict=True)]]]
)


def carried_widths(model: str | os.PathLike[str]) -> Chosen | None:
    """The widths in an ONNX file's metadata, as a user chooses them; None where there are none.

    Raises CompileError if they are damaged.
    """
    text = _metadata(model, WIDTHS_KEY)
    try:
        return None if text is None else _WIDTHS.validate_json(text)
    except ValidationError as error:
        raise CompileError(
            f"the widths in the model's metadata are damaged: {error.errors()[0]['msg']}",
            where=os.fspath(model),
            hint="export the network again, or choose widths",
        ) from None


def carries_ranges(model: str | os.PathLike[str]) -> bool:
    """True for an ONNX file with ranges in its metadata."""
    return _metadata(model, KEY) is not None


def carried(model: str | os.PathLike[str]) -> dict[str, str]:
    """All that an ONNX file's metadata hold of the training, by key, as it stands there."""
    texts = ((key, _metadata(model, key)) for key in (KEY, WIDTHS_KEY))
    return {key: text for key, text in texts if text is not None}


def _metadata(model: str | os.PathLike[str], key: str) -> str | None:
    if Path(model).suffix != ".onnx":
        return None
    import onnx

    loaded = onnx.load(model, load_external_data=False)
    texts = [entry.value for entry in loaded.metadata_props if entry.key == key]
    return texts[0] if texts else None
