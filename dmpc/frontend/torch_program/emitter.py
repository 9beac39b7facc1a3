"""The ONNX model under construction, and one call of a torch program as its handler sees it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx import NodeProto, TensorProto, helper, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.rules import FORM

if TYPE_CHECKING:
    import torch

OPSET = 20  # the first whose DFT takes any axis

ELEMENT_TYPES = {
    "float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE,
    "complex64": TensorProto.FLOAT, "complex128": TensorProto.DOUBLE, "bool": TensorProto.BOOL,
    "int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int16": TensorProto.INT16,
    "int32": TensorProto.INT32, "int64": TensorProto.INT64,
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the model's input: shape and dtype as torch has them.

    ONNX has no complex numbers: a complex tensor is a real one with a last axis of 2 more.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def rank(self) -> int:
        """Number of torch's axes."""
        return len(self.shape)


@dataclass(frozen=True)
class Filled(Value):
    """A tensor of constants of which a program fills one place of an axis after the other."""

    base: Constant
    axis: int
    parts: Mapping[int, Value]


@dataclass(frozen=True)
class Chosen(Value):
    """The elements of a tensor where a mask is true: a whole tensor, of which others do not count.

    torch has them in a row, whose length depends on the data.
    """

    mask: str


@dataclass(frozen=True)
class Place:
    """Where a mask is true, along one of its axes: an element of `nonzero(as_tuple=True)`."""

    mask: Value
    axis: int


@dataclass(frozen=True)
class Constant:
    """A tensor known at import; `name` is that of the user's parameter it was made of.

    `drawn` is the error for a tensor that random numbers made: it may reach no computed value.
    """

    tensor: torch.Tensor
    name: str
    drawn: ImportFailure | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as torch has it."""
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Element type as torch has it."""
        return self.tensor.dtype

    @property
    def rank(self) -> int:
        """Number of torch's axes."""
        return self.tensor.dim()


Operand = Value | Constant


def flat(values: Iterable[Any]) -> Iterable[Any]:
    """Arguments, those in lists as well, one after the other."""
    for value in values:
        yield from flat(value) if isinstance(value, list) else (value,)


@dataclass(frozen=True)
class Call:
    """One call of an operation.

    `name` names its result in ONNX: the user's module and the call's name in the program.
    `arguments` are by name in the operation's schema, defaults filled in; `results` tell shape and
    dtype of what it returns, and `used` which of several results anybody reads.
    """

    op: str
    name: str
    arguments: Mapping[str, Any]
    results: tuple[Value, ...]
    used: frozenset[int]

    def __getitem__(self, argument: str) -> Any:
        """An argument that is no tensor: a number, a list, None."""
        return self.arguments[argument]

    def tensor(self, argument: str) -> Operand:
        """An argument that is a tensor."""
        found = self.arguments[argument]
        assert isinstance(found, Value | Constant)
        return found

    def tensors(self, argument: str) -> list[Operand]:
        """An argument that is a list of tensors."""
        return list(self.arguments[argument])

    def axis(self, argument: str, rank: int) -> int:
        """An argument that counts an axis, from the front."""
        return int(self.arguments[argument]) % max(rank, 1)

    @property
    def result(self) -> Value:
        """The first, most often only, result."""
        return self.results[0]


Handler = Callable[["Emitter", Call], str | list[str] | Value]
"""Emits nodes and returns the ONNX name of the call's result, or of each of its results."""


@dataclass(frozen=True)
class Mapped:
    """A linear map of elements: each of the results is the one at its `places`, or `weight` times
    all of them and a `bias`."""

    places: Constant | None
    weight: Constant
    bias: Constant | None


@dataclass
class Emitter:
    """Nodes and weights of the ONNX model; `maps` are those that all timesteps share."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, TensorProto] = field(default_factory=dict)
    casts: set[str] = field(default_factory=set)
    assembled: set[str] = field(default_factory=set)
    maps: dict[str, Mapped] = field(default_factory=dict)

    def emit(
        self, op: str, inputs: Sequence[str], name: str, outputs: Sequence[str] = (), **attrs: Any
    ) -> str:
        """Add a node called `name`; returns its first output, which bears the same name."""
        outputs = list(outputs) or [name]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attrs))
        return outputs[0]

    def use(self, operand: Operand | complex, dtype: torch.dtype | None = None) -> str:
        """The ONNX name of a tensor or number, in `dtype` if that is another than its own."""
        if isinstance(operand, Filled):
            self._assemble(operand)
        if isinstance(operand, Value):
            return operand.name if dtype in (None, operand.dtype) else self._cast(operand, dtype)
        if isinstance(operand, Constant):
            changed = dtype not in (None, operand.dtype)
            name = f"{operand.name}.{word(dtype)}" if changed and dtype else operand.name
            return self._store(name, operand.tensor if dtype is None else operand.tensor.to(dtype))
        return self._number(operand, dtype)

    def ints(self, *numbers: int) -> str:
        """The ONNX name of a vector of integers: axes, a shape, indices."""
        import torch

        listed = "_".join(map(str, numbers))
        if len(numbers) > 8:
            listed = f"{numbers[0]}_to_{numbers[-1]}_{zlib.crc32(listed.encode()):08x}"
        return self._store(f"ints.{listed}", torch.tensor(numbers, dtype=torch.int64))

    def index(self, number: int) -> str:
        """The ONNX name of one integer, which takes an axis away where it selects."""
        import torch

        return self._store(f"index.{number}", torch.tensor(number, dtype=torch.int64))

    def _assemble(self, filled: Filled) -> None:
        """Emit a filled tensor, once: its parts one after the other, constants in the gaps."""
        if filled.name in self.assembled:
            return
        self.assembled.add(filled.name)
        inputs = []
        for place in range(filled.shape[filled.axis]):
            if place in filled.parts:
                part = self.use(filled.parts[place], filled.dtype)
                name = f"{filled.name}.{place}"
                inputs.append(self.emit("Unsqueeze", [part, self.ints(filled.axis)], name))
            else:
                gap = filled.base.tensor.narrow(filled.axis, place, 1)
                inputs.append(self._store(f"{filled.base.name}.{place}", gap))
        self.emit("Concat", inputs, filled.name, axis=filled.axis)

    def _number(self, number: complex, dtype: torch.dtype | None) -> str:
        import torch

        dtype = dtype or torch.float32
        suffix = "" if dtype == torch.float32 else f".{word(dtype)}"
        return self._store(f"const.{number}{suffix}", torch.tensor(number, dtype=dtype))

    def _store(self, name: str, tensor: torch.Tensor) -> str:
        import torch

        if name not in self.weights:
            tensor = tensor.detach().resolve_conj().resolve_neg().contiguous().cpu()
            element_type(tensor.dtype)
            real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
            self.weights[name] = numpy_helper.from_array(real.numpy(), name)
        return name

    def _cast(self, value: Value, dtype: torch.dtype | None) -> str:
        assert dtype is not None
        if dtype.is_complex != value.dtype.is_complex:
            raise ImportFailure.of(
                FORM,
                where=value.name,
                what="a mix of complex and real numbers",
                nearest="real numbers",
            )
        name = f"{value.name}.{word(dtype)}"
        if name not in self.casts:
            self.casts.add(name)
            if str(dtype) == "torch.bool":  # true is whatever is not zero
                zero = self.use(0.0, value.dtype)
                self.emit("Not", [self.emit("Equal", [value.name, zero], f"{name}.zero")], name)
            else:
                self.emit("Cast", [value.name], name, to=element_type(dtype))
        return name


def element_type(dtype: torch.dtype) -> int:
    """The ONNX element type of a torch dtype; raises ImportFailure if there is none."""
    if word(dtype) not in ELEMENT_TYPES:
        raise ImportFailure.of(FORM, what=f"a tensor of {word(dtype)}", nearest="float32")
    return int(ELEMENT_TYPES[word(dtype)])


def word(dtype: torch.dtype | None) -> str:
    """A dtype as torch's users write it, without the module."""
    return str(dtype).removeprefix("torch.")
