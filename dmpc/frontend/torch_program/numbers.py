"""What numbers a module or a program computes with: float32, or what becomes it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dmpc.errors import ImportFailure
from dmpc.findings import finding, tell
from dmpc.frontend.torch_program.rules import (
    INTEGER_NETWORK,
    NARROW_FLOATS,
    NARROW_PROGRAM,
    QUANTIZED_MODULE,
)

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

QUANTIZERS = (
    "torch.ao.nn.quantized", "torch.ao.nn.qat", "torch.ao.nn.sparse.quantized",
    "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.intrinsic.qat", "torch.ao.quantization",
    "torchao", "bitsandbytes", "brevitas", "pytorch_quantization",
)  # fmt: skip
"""Where classes come from that round: quantized modules, those prepared for it, their parts."""
HARMLESS = "torch.ao.quantization.stubs"  # places for a quantizer, which do nothing
OWN = "dmpc.nn.quantized.QuantizedNetwork"  # which the compiler may not import
QUANTIZED_OPERATIONS = ("torch.ops.quantized", "torch.ops.torchao.")


def float_type(module: nn.Module) -> torch.dtype:
    """The dtype of a module's weights, in which it takes its input."""
    import torch

    types = (parameter.dtype for parameter in module.parameters())
    return next((dtype for dtype in types if dtype.is_floating_point), torch.float32)


def check_unquantized(module: nn.Module, name: str) -> None:
    """Raise ImportFailure for a module that a library quantized, or prepared to."""
    for path, part in module.named_modules():
        if any(f"{one.__module__}.{one.__name__}" == OWN for one in type(part).__mro__):
            raise ImportFailure.of(INTEGER_NETWORK, where=f"{name}: {path}" if path else name)
        found = _quantizer(type(part).__mro__)
        if found is not None:
            # An observer hangs on the layer that it looks at: that is what the user knows.
            place = path.removesuffix(".activation_post_process")
            raise _quantized(name, f"'{place}'" if place else "the module", found)
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        found = _quantizer(type(tensor).__mro__)
        if tensor.is_quantized or found is not None:
            raise _quantized(name, f"'{path}'", found or str(tensor.dtype))


def check_unquantized_program(names: Iterable[str], where: str) -> None:
    """Raise ImportFailure if a quantizer's operation is among those of a saved program."""
    for name in sorted(names):
        if name.startswith(QUANTIZED_OPERATIONS):
            raise _quantized(where, "the program", name)


def _quantized(where: str, what: str, kind: str) -> ImportFailure:
    return ImportFailure.of(QUANTIZED_MODULE, where=where, what=what, kind=kind)


def _quantizer(classes: Iterable[type]) -> str | None:
    """The first of some classes that a quantizer made, by its full name."""
    for one in classes:
        home = one.__module__
        if home != HARMLESS and any(f"{home}.".startswith(f"{each}.") for each in QUANTIZERS):
            return f"{home}.{one.__name__}"
    return None


def in_float32(module: nn.Module, name: str) -> nn.Module:
    """The module, or a copy of it in float32 if its weights are narrower."""
    from dmpc.frontend.torch_program.program import untouched

    narrow = next(filter(None, map(_narrow, [*module.parameters(), *module.buffers()])), None)
    if narrow is None:
        return module
    tell(finding(NARROW_FLOATS, where=name, dtype=narrow))
    with untouched(module):  # its membranes, which may not be copied, go with the call
        return copy.deepcopy(module).float()


def check_wide(program: ExportedProgram, where: str) -> None:
    """Raise ImportFailure for a saved program that computes in narrow floats."""
    for node in program.graph.nodes:
        dtype = _narrow(node.meta.get("val"))
        if dtype is not None:
            raise ImportFailure.of(NARROW_PROGRAM, where=where, name=node.name, dtype=dtype)


def _narrow(value: Any) -> str | None:
    import torch

    dtype = getattr(value, "dtype", None)
    narrow = dtype in (torch.float16, torch.bfloat16)
    return str(dtype).removeprefix("torch.") if narrow else None
