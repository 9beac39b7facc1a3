"""What an image says of itself beside its program: its inputs and outputs, and its provenance.

The compiler writes these notes and a runtime reads them; the machine does neither.
"""

from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from isa.errors import IsaError, named
from isa.format import Instruction, layout
from isa.image import Image, Symbol
from isa.instructions import InputEvents, InputValues
from isa.limits import TIMESTEP_BITS
from isa.validity import TEXT

Numbers = np.ndarray[Any, np.dtype[Any]]


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


MOST_REPEATS = 1 << 16
MOST_SINCE = (1 << TIMESTEP_BITS) - 1
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Input(_Note):
    """The network's input: `size` events, or values of `scale` a step in `bits` bits.

    A sample of a single timestep is shown `repeats` times, if that is set.
    """

    kind: Literal["events", "values"]
    size: Annotated[int, Field(ge=1)]
    bits: Annotated[int, Field(ge=1, le=16)]
    scale: Scale
    repeats: Annotated[int, Field(ge=1, le=MOST_REPEATS)] | None = None

    def shown(self, x: Numbers) -> Numbers:
        """Samples `x` [samples, timesteps, inputs], a single timestep as often as it is shown."""
        once = self.repeats is not None and x.shape[1] == 1
        return np.repeat(x, self.repeats or 1, axis=1) if once else x

    def integers(self, x: Numbers) -> tuple[NDArray[np.integer[Any]], int]:
        """The machine's integers for numbers `x`, rounded to nearest, and how many were clipped.

        Events are 0 and 1 as they are, in bytes.
        """
        if self.kind == "events":
            return x.astype(np.uint8, copy=False), 0
        limit = (1 << (self.bits - 1)) - 1
        with np.errstate(over="ignore"):  # beyond every limit, like other large numbers
            real = np.rint(x.astype(np.float64) / self.scale)
        clipped = np.clip(real, -limit, limit)
        return clipped.astype(np.int64), int(np.count_nonzero(clipped != real))


class Output(_Note):
    """Logits: the first `size` numbers emitted, `scale` a step; `average` over timesteps if set,
    those from number `since` on."""

    size: Annotated[int, Field(ge=1)]
    scale: Scale
    average: bool
    since: Annotated[int, Field(ge=1, le=MOST_SINCE)] | None = None

    def step(self, timesteps: Numbers | int) -> Numbers | float:
        """What one of the emitted numbers is worth after so many timesteps."""
        if not self.average:
            return self.scale
        counted: Numbers = np.maximum(np.asarray(timesteps) - (self.since or 0), 1)
        return self.scale / counted


class Interface(_Note):
    """How to feed a program and how to read what it gives."""

    name: str
    input: Input
    output: Output


class Provenance(_Note):
    """Where an instruction comes from.

    `path` is its pathway, `op` the graph's op whose work it does, by its first result. `values`
    maps a field of the instruction to the name of the graph's value that it leaves there, or to
    part of one, as in "u[64:128]"; `nodes` are the user's own.
    """

    layer: str = ""
    path: str = ""
    op: str = ""
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
        INTERFACE: interface_bytes(interface),
        PROVENANCE: _PROVENANCE.dump_json(provenance, exclude_defaults=True),
    }


def interface_bytes(interface: Interface) -> bytes:
    """The note that holds an interface."""
    return _INTERFACE.dump_json(interface, exclude_none=True)


def parse_interface(note: bytes) -> Interface:
    """The interface that a note holds; IsaError if it holds none."""
    return _parse(INTERFACE, note, _INTERFACE)


def interface(image: Image) -> Interface:
    """The interface of an image; IsaError if it has none, or another than its program."""
    with named(image.origin):
        if INTERFACE not in image.notes:
            raise IsaError(
                f"the image has no {INTERFACE}, which says how it is fed and read; give the "
                "assembly text an .io section (docs/isa.md), or compile a model"
            )
        found = parse_interface(image.notes[INTERFACE])
        _check_input(image, found.input)
        return found


def _check_input(image: Image, source: Input) -> None:
    """What the notes say is what the program takes from the host."""
    most = 1 if source.kind == "events" else image.target.values.bits
    if source.bits > most:
        raise IsaError(
            f"{INTERFACE}: input.bits: {source.bits}; {source.kind} of target "
            f"{image.target.name} have {most}"
        )
    for pc, op in enumerate(image.code):
        if isinstance(op, InputEvents | InputValues):
            kind = "events" if isinstance(op, InputEvents) else "values"
            if (kind, op.inputs) != (source.kind, source.size):
                raise IsaError(
                    f"{INTERFACE}: input: {source.size} {source.kind}, but the program takes "
                    f"{op.inputs} {kind} (pc {pc})"
                )


def provenance(image: Image) -> tuple[Provenance, ...]:
    """The provenance of every instruction of an image; IsaError if its note makes no sense.

    Without one, as in a program written by hand, a layer is the innermost symbol of the code.
    """
    if PROVENANCE not in image.notes:
        return tuple(
            Provenance(layer=_symbol(image, pc), path="program") for pc in range(len(image.code))
        )
    with named(image.origin):
        found = _parse(PROVENANCE, image.notes[PROVENANCE], _PROVENANCE)
        if len(found) != len(image.code):
            raise IsaError(f"{PROVENANCE} speaks of {len(found)} of {len(image.code)} instructions")
        for pc, (op, item) in enumerate(zip(image.code, found, strict=True)):
            for name in item.values:
                if name not in left_by(op):
                    raise IsaError(f"{PROVENANCE}: {pc}.values: {op.mnemonic} leaves no {name}")
        return found


def left_by(op: Instruction) -> tuple[str, ...]:
    """The operands of an instruction that name a vector which it leaves behind."""
    kinds = ("event register", "value register")
    return (*op.left, *(p.name for p in layout(type(op)) if p.field.kind in kinds))


def _symbol(image: Image, pc: int) -> str:
    around = (s for s in image.symbols if s.section == TEXT and 0 <= pc - s.offset < s.size)
    return min(around, key=lambda s: (s.size, s.name), default=_NOWHERE).name


_NOWHERE = Symbol("", TEXT, 0, 0)


def _parse(name: str, note: bytes, adapter: TypeAdapter[T_]) -> T_:
    try:
        return adapter.validate_json(note, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        where = f"{where}: " if where else ""
        raise IsaError(f"{name}: {where}{first['msg']}") from error
