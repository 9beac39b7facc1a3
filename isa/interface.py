"""What an image says of itself beside its program: its inputs and outputs, and its provenance.

The compiler writes these notes and a runtime reads them; the machine does neither.
"""

from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from isa.errors import IsaError
from isa.image import Image

Numbers = np.ndarray[Any, np.dtype[Any]]


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Input(_Note):
    """The network's input: `size` events, or values of `scale` a step in `bits` bits."""

    kind: Literal["events", "values"]
    size: Annotated[int, Field(ge=1)]
    bits: Annotated[int, Field(ge=1, le=16)]
    scale: Scale

    def integers(self, x: Numbers) -> tuple[NDArray[np.int64], int]:
        """The machine's integers for numbers `x`, rounded to nearest, and how many were clipped.

        Events are 0 and 1 as they are.
        """
        if self.kind == "events":
            return x.astype(np.int64), 0
        limit = (1 << (self.bits - 1)) - 1
        real = np.rint(x.astype(np.float64) / self.scale)
        clipped = np.clip(real, -limit, limit)
        return clipped.astype(np.int64), int(np.count_nonzero(clipped != real))


class Output(_Note):
    """Logits: the first `size` numbers emitted, `scale` a step; `average` over timesteps if set."""

    size: Annotated[int, Field(ge=1)]
    scale: Scale
    average: bool


class Interface(_Note):
    """How to feed a program and how to read what it gives."""

    name: str
    input: Input
    output: Output


class Provenance(_Note):
    """Where an instruction comes from.

    `path` is its pathway. `values` maps a field of the instruction to the name of the graph's value
    that it leaves there; `nodes` are the user's own.
    """

    layer: str = ""
    path: str = ""
    nodes: tuple[str, ...] = ()
    values: dict[str, str] = {}


INTERFACE = ".dmpc.io"
PROVENANCE = ".dmpc.debug"
_INTERFACE = TypeAdapter(Interface)
_PROVENANCE = TypeAdapter(tuple[Provenance, ...])
T_ = TypeVar("T_")


def notes(interface: Interface, provenance: tuple[Provenance, ...]) -> dict[str, bytes]:
    """The image's notes that hold an interface and the provenance of every instruction."""
    return {
        INTERFACE: _INTERFACE.dump_json(interface),
        PROVENANCE: _PROVENANCE.dump_json(provenance, exclude_defaults=True),
    }


def interface(image: Image) -> Interface:
    """The interface of an image; IsaError if it has none."""
    return _read(image, INTERFACE, _INTERFACE)


def provenance(image: Image) -> tuple[Provenance, ...]:
    """The provenance of every instruction of an image; IsaError if it has none."""
    found = _read(image, PROVENANCE, _PROVENANCE)
    if len(found) != len(image.code):
        raise IsaError(f"{PROVENANCE} speaks of {len(found)} of {len(image.code)} instructions")
    return found


def _read(image: Image, name: str, adapter: TypeAdapter[T_]) -> T_:
    if name not in image.notes:
        raise IsaError(f"the image has no {name}; compile it from a model")
    try:
        return adapter.validate_json(image.notes[name])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise IsaError(f"{name}: {where}: {first['msg']}") from error
