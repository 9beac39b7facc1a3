"""Builds the model-level graph: adds ops and constants with names and provenance of the user's."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.boundary import check_size
from dmpc.frontend.model_rules import STATE_TYPE
from dmpc.frontend.operator_rules import (
    MIXED_SAMPLES,
    NOT_FINITE,
    NOT_REAL,
    SHAPE_MISFIT,
    UNEVEN,
)
from dmpc.frontend.tensors import Known, MixesTime, Tensor, Traced, alike, layout
from dmpc.ir.graph import Array, Attr, Graph, Loc, Op, State
from dmpc.ir.registry import op_def
from dmpc.ir.types import TensorType

if TYPE_CHECKING:
    from dmpc.frontend.staircases import Staircase
    from dmpc.frontend.steps import Step


def clean(name: str) -> str:
    """A user's name in characters that the text form can write."""
    return re.sub(r"[^A-Za-z0-9_./:-]", "_", name).rstrip(":") or "value"


def broadcast(tensors: Sequence[Tensor], where: str) -> tuple[int, ...]:
    """The shape that tensors have together; raises ImportFailure if there is none."""
    try:
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except ValueError:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise ImportFailure.of(SHAPE_MISFIT, where=where, shapes=shapes) from None
    check_size(shape, where)
    return shape


def _add_columns(matrix: Array, columns: Array, added: Array) -> None:
    """Add to columns of a matrix, of which some may be named more than once."""
    run = slice(*((columns[0], columns[0] + len(columns)) if len(columns) else (0, 0)))
    if np.array_equal(columns, np.arange(run.start, run.stop)):
        matrix[:, run] += added
    else:
        np.add.at(matrix.T, columns, added.T)


class Builder:
    """A graph under construction; ops compute one timestep of one sample."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(clean(name), "model")
        self.stored: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        # What `steps` knows of values: step functions, those that are no spikes with the place
        # where they are made, and values clipped to 0 .. 1 with what was clipped.
        self.steps: dict[str, Step] = {}
        self.half_spikes: dict[str, tuple[Step, Loc]] = {}
        self.unit_clips: dict[str, str] = {}
        self.staircases: dict[str, Staircase] = {}
        self.counted: dict[str, ImportFailure] = {}  # staircases that no op computes: what is wrong
        self.recurrences: dict[tuple[str, bytes, bytes], str] = {}
        self.clock = ""  # the state that counts timesteps, once one is needed

    def input(self, name: str, size: int) -> str:
        """Declare an input or state of the timestep; `finish` tells the two apart."""
        value = self.graph.fresh(clean(name))
        self.graph.types[value] = TensorType("f32", (size,))
        self.graph.inputs.append(value)
        self.graph.locs[value] = (name,)
        return value

    def make_state(self, name: str, next_: str, init: str | None = None) -> None:
        """Turn an input into a state. Raises ImportFailure if the next value has another type."""
        if self.graph.types[name] != self.graph.types[next_]:
            raise ImportFailure.of(
                STATE_TYPE,
                name=name,
                type=self.graph.types[name],
                next=next_,
                next_type=self.graph.types[next_],
            )
        self.graph.inputs.remove(name)
        self.graph.states.append(State(name, next_, init, self.graph.locs.pop(name)))

    def constant(self, array: Array, name: str, loc: Loc) -> str:
        """Add a constant, stored as float64 or bool; `name` is the user's weight, if known.

        Raises ImportFailure on NaN and infinity, and on what is no number.
        """
        if array.dtype.kind in "OSUc":
            kind = "complex numbers" if array.dtype.kind == "c" else "text"
            weight = name or "of this node"
            raise ImportFailure.of(NOT_REAL, where=loc[0], weight=weight, kind=kind)
        boolean = array.dtype == np.bool_
        stored = array.astype(np.bool_ if boolean else np.float64)
        if not np.isfinite(stored).all():
            bad = stored[~np.isfinite(stored)]
            raise ImportFailure.of(
                NOT_FINITE,
                where=loc[0],
                weight=name or "of this node",
                value=bad.flat[0],
                bad=bad.size,
                size=stored.size,
            )
        type_ = TensorType("bool" if boolean else "f32", stored.shape)
        key = (name, stored.shape, sha256(np.ascontiguousarray(stored).data).digest())
        if key in self.stored:
            return self.stored[key]
        self.stored[key] = value = self.graph.fresh(clean(name) if name else "const")
        return self.graph.add_constant(value, stored, type_, (name,) if name else ())

    def emit(
        self, kind: str, operands: Sequence[str], attrs: dict[str, Attr], name: str, loc: Loc
    ) -> str:
        """Add an op with one result, named after `name`; returns the result's name."""
        types = [self.graph.types[operand] for operand in operands]
        try:
            result_type = op_def(kind).infer(types, attrs)
        except ValueError as error:
            raise ImportFailure(str(error), where=loc[0]) from None
        result = self.graph.fresh(clean(name))
        self.graph.add(Op(kind, tuple(operands), (result,), attrs, loc), *result_type)
        return result

    def elementwise(self, kind: str, tensors: Sequence[Tensor], name: str, loc: Loc) -> Traced:
        """An op that combines tensors element by element, broadcast as NumPy does.

        Raises ImportFailure if elements of different samples or timesteps would meet.
        """
        shape = broadcast(tensors, loc[0])
        traced = [tensor for tensor in tensors if isinstance(tensor, Traced)]
        spread = [np.broadcast_to(tensor.positions, shape) for tensor in traced]
        if any(t.domain != traced[0].domain for t in traced) or any(
            np.any(positions != spread[0]) for positions in spread
        ):
            raise MixesTime.of(MIXED_SAMPLES, where=loc[0])
        arrangement = layout(spread[0])
        width = arrangement.width
        operands = []
        for tensor in tensors:
            if isinstance(tensor, Known):
                operands.append(self._known(tensor, shape, arrangement.rows, loc))
            elif isinstance(tensor, Traced):
                elements = alike(np.broadcast_to(tensor.elements, shape), arrangement.rows)
                operands.append(self._selected(tensor, elements, loc))
        if width > 1 and all(self.graph.types[name].shape == (1,) for name in operands):
            at = tensors.index(traced[0])
            operands[at] = self._take(operands[at], np.zeros(width, np.int64), loc)
        value = self.emit(kind, operands, {}, name, loc)
        return arrangement.result(value, traced[0], shape)

    def _known(self, tensor: Known, shape: tuple[int, ...], rows: Array, loc: Loc) -> str:
        if tensor.array.size == 1:
            return self.constant(tensor.array.reshape(1), tensor.name, loc)
        spread = np.broadcast_to(tensor.array, shape)
        return self.constant(alike(spread, rows.astype(np.int64)), tensor.name, loc)

    def _selected(self, tensor: Traced, elements: Array, loc: Loc) -> str:
        """The graph value that holds the given elements of a tensor's value, in order."""
        if tensor.features == 1 or np.array_equal(elements, np.arange(tensor.features)):
            return tensor.value
        return self._take(tensor.value, elements, loc)

    def _take(self, value: str, elements: Array, loc: Loc) -> str:
        indices = tuple(int(element) for element in elements)
        return self.emit("take", (value,), {"indices": indices}, f"{value}.take", loc)

    def part(self, value: str, start: int, size: int, loc: Loc) -> str:
        """Some elements of a vector, one after the other."""
        return self._take(value, np.arange(start, start + size), loc)

    def vector(self, tensor: Traced, loc: Loc) -> tuple[str, Traced]:
        """The graph value whose elements are the tensor's, per position and in its order."""
        arrangement = layout(tensor.positions)
        elements = alike(tensor.elements, arrangement.rows)
        value = tensor.value
        if len(elements) != tensor.features or np.any(elements != np.arange(tensor.features)):
            value = self._take(value, elements, loc)
        return value, arrangement.result(value, tensor, tensor.shape)

    def linear(self, tensor: Traced, weight: Known, name: str, loc: Loc) -> Traced:
        """`tensor [..., k] @ weight [k, n]`, a linear map of each position's elements."""
        rows = tensor.index.reshape(-1, tensor.shape[-1])
        positions, elements = rows // tensor.features, rows % tensor.features
        if np.any(positions != positions[:, :1]):
            raise MixesTime("the product runs over samples or timesteps", where=loc[0])
        groups = layout(positions[:, 0])
        patterns = elements[groups.rows]
        if np.any(patterns != patterns[0]):
            raise ImportFailure.of(UNEVEN, where=loc[0])
        outputs = weight.array.shape[1]
        check_size((groups.width, outputs, tensor.features), loc[0])
        check_size((len(rows), outputs), loc[0])
        matrix = np.zeros((groups.width, outputs, tensor.features))
        for group, pattern in enumerate(patterns[0]):
            _add_columns(matrix[group], pattern, weight.array.astype(np.float64).T)
        matrix = matrix.reshape(groups.width * outputs, tensor.features)
        constant = self.constant(matrix, weight.name, loc)
        value = self.emit("matmul", (tensor.value, constant), {}, name, loc)
        shape = (*tensor.shape[:-1], outputs)
        spread = np.repeat(positions[:, :1], outputs, axis=1)
        return layout(spread).result(value, tensor, shape)

    def previous(self, value: str, loc: Loc) -> str:
        """The value of the timestep before, zero at first: the state of which it is the next value.

        Adds such a state if there is none.
        """
        for state in self.graph.states:
            if state.next == value and state.init is None:
                return state.name
        name = self.input(f"{value}.previous", self.graph.types[value].size)
        self.graph.locs[name] = loc
        self.make_state(name, value)
        return name

    def held(self, value: str, period: int, loc: Loc) -> str:
        """The value of the last timestep whose number, from 0, is a multiple of `period`."""
        if not self.clock:
            self.clock = self.input("timestep", 1)
            self.make_state(self.clock, self.plus(self.clock, np.ones(1), loc))
        length = self.constant(np.full(1, float(period)), "", loc)
        rest = self.emit("mod", (self.clock, length), {}, f"{value}.phase", loc)
        zero = self.constant(np.zeros(1), "", loc)
        now = self.emit("eq", (rest, zero), {}, f"{value}.now", loc)
        before = self.input(f"{value}.before", self.graph.types[value].size)
        self.graph.locs[before] = loc
        next_ = self.emit("where", (now, value, before), {}, f"{value}.held", loc)
        self.make_state(before, next_)
        return next_

    def recurrence(self, drive: str, a: Array, b: Array, loc: Loc) -> str:
        """`m = a [d, d] m[k-1] + b [d] drive`, a state from zero; returns its next value.

        Asked for twice, it is one state.
        """
        key = (drive, a.tobytes(), b.tobytes())
        if key in self.recurrences:
            return self.recurrences[key]
        state = self.input(f"{loc[0]}.m", len(b))
        self.graph.locs[state] = loc
        kept = self.product(state, a, loc)
        driven = self.product(drive, b[:, None], loc)
        next_ = self.emit("add", (kept, driven), {}, f"{state}.next", loc)
        self.make_state(state, next_)
        self.recurrences[key] = next_
        return next_

    def decay(self, drive: str, alpha: Array, loc: Loc) -> str:
        """`i = alpha [n] i[k-1] + drive [n]`, a state from zero; returns its next value."""
        state = self.input(f"{loc[0]}.i", len(alpha))
        self.graph.locs[state] = loc
        kept = self.emit("mul", (state, self.constant(alpha, "", loc)), {}, f"{state}.kept", loc)
        next_ = self.emit("add", (kept, drive), {}, f"{state}.next", loc)
        self.make_state(state, next_)
        return next_

    def product(self, value: str, matrix: Array, loc: Loc) -> str:
        """`matrix [n, m] · value [m]`."""
        constant = self.constant(matrix, "", loc)
        return self.emit("matmul", (value, constant), {}, f"{value}.product", loc)

    def delayed(self, value: str, lags: Array, elements: Array, loc: Loc) -> str:
        """Elements of a value, each as it was some timesteps ago, and zero before the first."""
        past = [value]
        while len(past) <= lags.max(initial=0):
            past.append(self.previous(past[-1], loc))
        wanted = np.unique(lags)
        if len(wanted) > 1:
            name = f"{value}.delayed"
            value = self.emit("concat", [past[lag] for lag in wanted], {}, name, loc)
        else:
            value = past[wanted[0]] if len(wanted) else value
        size = self.graph.types[past[0]].size
        return self._take(value, np.searchsorted(wanted, lags) * size + elements, loc)

    def times(self, value: str, gains: Array, loc: Loc) -> str:
        """`value [n] * gains [n]`."""
        return self.emit("mul", (value, self.constant(gains, "", loc)), {}, f"{value}.times", loc)

    def plus(self, value: str, offset: Array, loc: Loc) -> str:
        """`value [n] + offset [n]`."""
        return self.emit("add", (value, self.constant(offset, "", loc)), {}, f"{value}.plus", loc)
