"""The op registry: each op of the IR is defined once, and everything else is derived from it.

Printer, parser, verifier, interpreter and reference page all read the same `OpDef`.
"""

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmpc.errors import CompileError
from dmpc.ir.exact import Products
from dmpc.ir.graph import Attr
from dmpc.ir.types import TensorType
from isa.arithmetic import Saturation

# Ops compute on plain NumPy arrays of whatever element type their operands have.
Tensor = np.ndarray[Any, np.dtype[Any]]
Attrs = Mapping[str, Attr]
Infer = Callable[[Sequence[TensorType], Attrs], tuple[TensorType, ...]]
Evaluate = Callable[..., tuple[Tensor, ...]]
Numbers = Callable[[Sequence[TensorType], Sequence[Tensor]], Iterable[str]]


@dataclass
class EvalContext:
    """What ops share while a graph is interpreted.

    `dtype` is the NumPy type of real values; `timestep` is the number of the present one in its
    sample, from 0, or a column of the number of each row, where rows are of several timesteps;
    `product` multiplies integers; `saturations` counts, under a name of the op's choosing, the
    elements that did not fit their width.
    """

    dtype: type[np.floating[Any]] = np.float64
    timestep: int | Tensor = 0
    saturate: Saturation[str] = field(default_factory=Saturation)
    product: Products = field(default_factory=Products)

    @property
    def saturations(self) -> dict[str, int]:
        """Elements that did not fit their width, by place."""
        return dict(self.saturate.counts)


@dataclass(frozen=True)
class AttrSpec:
    """An attribute of an op: its Python type, its meaning, what it may be.

    `required=False` lets it be absent, for which the op then documents a meaning. Whole numbers lie
    within `limits`.
    """

    type: type[bool] | type[int] | type[float] | type[str] | type[tuple[Attr, ...]]
    doc: str
    required: bool = True
    choices: tuple[Attr, ...] = ()
    limits: tuple[int, int] = (-(1 << 63), (1 << 63) - 1)


BITS, SHIFTS = (1, 64), (-63, 63)
"""Limits of attributes that are widths of integers, and shifts of them."""

COMMON_ATTRS: Mapping[str, AttrSpec] = {
    "path": AttrSpec(str, "pathway of the machine", required=False),
    "reason": AttrSpec(str, "why it is on its pathway", required=False),
    "bank": AttrSpec(int, "weight bank, where it is not the pathway's own", required=False),
    "tile": AttrSpec(int, "groups worked on at a time; all of them if absent", required=False),
    "stage": AttrSpec(int, "how many timesteps behind the input it runs", required=False),
    "when": AttrSpec(str, "end: once, after the last timestep", required=False, choices=("end",)),
}
"""Attributes that any op may have once it is on its way to the machine."""


@dataclass(frozen=True)
class OpDef:
    """Definition of an op.

    `operands` are names in order; a trailing `*` marks the one variadic operand, a trailing `?` an
    optional one. Optional operands are left out from the end. `parameters` are those operands that
    must be constants.

    `infer(types, attrs)` checks operand types and returns the result types; it raises ValueError
    with a text for the user. `evaluate(ctx, attrs, *arrays)` computes the results with plain NumPy;
    arrays carry one leading batch axis, except constants. Integers are int64, events and booleans
    bool, real values `ctx.dtype`. `numbers(types, parameters)` yields a text for every breach of
    what the parameters' numbers must keep to beside their types.
    """

    name: str
    doc: str
    levels: tuple[str, ...]
    operands: tuple[str, ...]
    results: tuple[str, ...]
    infer: Infer
    evaluate: Evaluate
    attrs: Mapping[str, AttrSpec] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    numbers: Numbers | None = None

    def bind(self, operands: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Operand name (without mark) -> the values given for it; () for an absent optional.

        Raises ValueError if the number of operands does not fit.
        """
        slots = self._slots
        spare = len(operands) - sum(mark not in "*?" for _, mark in slots)
        bound: dict[str, tuple[str, ...]] = {}
        position = 0
        for name, mark in slots:
            count = int(mark not in "*?")
            if mark == "*":
                count, spare = max(spare, 0), 0
            elif mark == "?" and spare > 0:
                count, spare = 1, spare - 1
            bound[name] = tuple(operands[position : position + count])
            position += count
        if position != len(operands) or spare != 0:
            raise ValueError(
                f"takes ({', '.join(self.operands)}), but {len(operands)} operands are given"
            )
        return bound

    @functools.cached_property
    def _slots(self) -> list[tuple[str, str]]:
        """Operands as name and last letter, which is the mark if there is one."""
        return [(mark.rstrip("*?"), mark[-1]) for mark in self.operands]


_OPS: dict[str, OpDef] = {}


def register(definition: OpDef) -> OpDef:
    """Enter an op into the registry; raises ValueError if the name is taken."""
    if definition.name in _OPS:
        raise ValueError(f"op {definition.name} is defined twice")
    _OPS[definition.name] = definition
    return definition


def op_def(kind: str) -> OpDef:
    """The definition of an op; raises CompileError, with the nearest names, if there is none."""
    if kind not in all_ops():
        raise CompileError(f"unknown op '{kind}'", hint=did_you_mean(kind, _OPS))
    return _OPS[kind]


def all_ops() -> dict[str, OpDef]:
    """Every registered op by name."""
    _define_all()
    return _OPS


@functools.cache  # an import statement that finds everything loaded costs more than a look-up
def _define_all() -> None:
    from dmpc.ir import operations  # noqa: F401  the modules that define ops register them on import


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known words, or all of them where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
