"""Ranges that a model carries with it: those on which its weights were trained.

A network trained with quantization in its forward pass (`dmpc.nn.QuantizedNetwork`) computes the
machine's integers: their scales follow from weights and ranges, their rounding from second moments.
All travel in one ONNX file, ranges and moments as text under a key of its metadata, so that the
compiler makes the same integers.
"""

import os
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
    ValidationError,
    model_validator,
)

from dmpc.analysis.interval import Interval
from dmpc.errors import CompileError
from dmpc.passes.ranges import Ranges, Real

KEY = "dmpc.ranges"


def _finite(numbers: list[float]) -> list[float]:
    if not np.isfinite(numbers).all():
        raise ValueError("numbers must be finite")
    return numbers


Numbers = Annotated[list[float], AfterValidator(_finite)]


class _Bounds(BaseModel):
    model_config = ConfigDict(extra="forbid")
    low: Numbers
    high: Numbers


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
    margin: Annotated[float, Field(ge=1, allow_inf_nan=False)]
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


def carried_ranges(model: str | os.PathLike[str]) -> Ranges | None:
    """The ranges in an ONNX file's metadata; None where there are none.

    Raises CompileError if they are damaged.
    """
    if Path(model).suffix != ".onnx":
        return None
    import onnx

    loaded = onnx.load(model, load_external_data=False)
    texts = [entry.value for entry in loaded.metadata_props if entry.key == KEY]
    return parse(texts[0], os.fspath(model)) if texts else None
