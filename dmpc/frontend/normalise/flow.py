"""A graph as values: what is computed twice is one value, and each value knows when it exists.

A value is static (it does not depend on the model's input), whole (it holds the sequence, or what
was computed of all of it) or belongs to a timestep. A value of a timestep hangs on slices of whole
values at constant places along time; its time is that of the latest. Loops that read what an
earlier one left stacked belong to the next stage.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.shapes import Shape, Types, attributes_key
from dmpc.frontend.onnx_file import label
from dmpc.ir.graph import Array
from dmpc.rules import Stage, rule

ABSENT = -1  # an optional operand that is left out
MIXED_TIMES = rule(
    "mixed-times",
    Stage.IMPORT,
    "{op} combines a value of timestep {step} with the whole sequence",
    why="""The machine works on one timestep after the other: what a timestep computes cannot depend
    on later ones.""",
    nearest="combine it with the sequence's value of the same timestep",
)
JOINS = {"Concat": "", "Sum": "ReduceSum", "Mean": "ReduceMean", "Max": "ReduceMax"}


class Kind(Enum):
    """What a value depends on."""

    STATIC = "static"
    WHOLE = "whole"
    STEP = "step"


@dataclass(frozen=True)
class Slice:
    """A whole value at one place of an axis."""

    source: int
    axis: int
    step: int


@dataclass(frozen=True)
class Operation:
    """A node whose operands and results are values; `key` is alike for equal operations.

    What `joins` takes one value of each timestep, or of some from `first` on.
    """

    number: int
    node: NodeProto
    key: tuple[str, str, bytes]
    operands: tuple[int, ...]
    results: tuple[int, ...]
    joins: bool
    first: int = 0

    @property
    def timesteps(self) -> range:
        """Those of the values that are joined."""
        return range(self.first, self.first + len(self.operands))

    def of(self, step: int) -> int:
        """The value of a timestep that is joined."""
        return self.operands[step - self.first]


@dataclass
class Value:
    """One value; `name` is a tensor that holds it, `step` and `stage` say when it exists."""

    number: int
    name: str
    kind: Kind
    stage: int = 0
    step: int = -1
    producer: Operation | None = None
    slice: Slice | None = None
    shape: Shape | None = None
    dtype: int = TensorProto.FLOAT


@dataclass
class Flow:
    """The values and operations of a graph, in an order in which they can be computed.

    `later` are the tensors that join values of some timesteps alone, with the first of these.
    `clock` is the input that holds the numbers of the timesteps, if there is one
    (`dmpc.frontend.normalise.holds`).
    """

    steps: int
    types: Types
    later: Mapping[str, int] = field(default_factory=dict)
    clock: str = ""
    values: list[Value] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    tensors: dict[str, int] = field(default_factory=dict)  # the value in each tensor
    stored: dict[int, TensorProto] = field(default_factory=dict)  # constants that hold no node
    known: dict[tuple[object, ...], tuple[int, ...]] = field(default_factory=dict)

    @property
    def middle(self) -> int:
        """The timestep that stands for all: one that all joins have."""
        joins = [one.timesteps for one in self.operations if one.joins]
        first = max((steps.start for steps in joins), default=0)
        return (first + min((steps.stop for steps in joins), default=self.steps)) // 2

    def value(self, kind: Kind, name: str, stage: int = 0, step: int = -1) -> Value:
        """A new value in the tensor `name`."""
        types = self.types
        dtype, shape = types.dtypes.get(name, TensorProto.FLOAT), types.shapes.get(name)
        made = Value(len(self.values), name, kind, stage, step, dtype=dtype, shape=shape)
        self.values.append(made)
        return made

    def constant(self, array: Array, name: str) -> int:
        """The value of an array; zeros of both signs are one, as noise times nothing gives them."""
        plain = array + 0.0 if array.dtype.kind == "f" else array
        content = hashlib.sha256(np.ascontiguousarray(plain).tobytes()).digest()
        key = ("constant", array.dtype.str, array.shape, content)
        if key not in self.known:
            value = self.value(Kind.STATIC, name)
            value.shape, value.dtype = array.shape, numpy_helper.from_array(array).data_type
            self.stored[value.number] = numpy_helper.from_array(array, name)
            self.known[key] = (value.number,)
        return self.known[key][0]

    def slice(self, source: int, axis: int, step: int) -> int:
        """A whole value at one place along an axis that is cut up."""
        key = ("slice", source, axis, step)
        if key not in self.known:
            whole = self.values[source]
            name = f"{whole.name}.{step}"
            value = self.value(Kind.STEP, name, whole.stage + 1, step)
            value.slice, value.dtype = Slice(source, axis, step), whole.dtype
            if whole.shape is not None:
                value.shape = (*whole.shape[:axis], *whole.shape[axis + 1 :])
            self.known[key] = (value.number,)
        return self.known[key][0]

    def operation(self, node: NodeProto, operands: tuple[int, ...]) -> tuple[int, ...]:
        """The results of a node, which are known if an equal one was met before."""
        key = (node.op_type, node.domain, attributes_key(node))
        full = (*key, len(node.output), *operands)
        if full not in self.known:
            kind, stage, step, joins = self._when(node, operands)
            results = tuple(
                self.value(kind, name, stage, step).number if name else ABSENT
                for name in node.output
            )
            first = self.later.get(node.output[0], 0)
            made = Operation(len(self.operations), node, key, operands, results, joins, first)
            self.operations.append(made)
            for result in results:
                if result != ABSENT:
                    self.values[result].producer = made
            self.known[full] = results
        return self.known[full]

    def _when(self, node: NodeProto, operands: tuple[int, ...]) -> tuple[Kind, int, int, bool]:
        values = [self.values[operand] for operand in operands if operand != ABSENT]
        stage = max((value.stage for value in values), default=0)
        steps = [value.step for value in values]
        kinds = {value.kind for value in values} - {Kind.STATIC}
        if self._joins(node, values):
            return Kind.WHOLE, stage, -1, True
        if kinds == {Kind.STEP, Kind.WHOLE}:
            raise ImportFailure.of(MIXED_TIMES, where=label(node), op=node.op_type, step=max(steps))
        if not kinds:
            return Kind.STATIC, 0, -1, False
        return kinds.pop(), stage, max(steps), False

    def _joins(self, node: NodeProto, values: list[Value]) -> bool:
        """Whether a node takes one value of every timestep, in order, or of those known `later`."""
        if node.output[0] in self.later:
            return True
        if node.op_type not in JOINS or len(values) != self.steps:
            return False
        steps = [value.step for value in values]
        late = all(step <= number for number, step in enumerate(steps))
        middle = self.steps // 2
        return late and steps[-1] - steps[middle] == self.steps - 1 - middle and steps[middle] >= 0
