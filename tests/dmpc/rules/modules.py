"""Torch modules, factories, weights and programs that break one rule each, by the rule's name."""

import sys
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import fft, nn
from torch.ao.quantization import FakeQuantize

from dmpc.check import Report
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import from_torch, open_model
from dmpc.frontend.torch_program.convert import to_onnx
from dmpc.frontend.torch_program.modules import from_factory
from dmpc.frontend.torch_program.numbers import in_float32
from dmpc.frontend.torch_program.program import export
from dmpc.frontend.torch_program.stale import check_reset
from dmpc.frontend.torch_program.weights import load_weights
from dmpc.nn import DMPNetwork, QuantizedNetwork
from tests.dmpc.frontend.torch_program import hostile
from tests.dmpc.frontend.torch_program.test_convert import B, Function, M, T
from tests.dmpc.frontend.torch_program.test_modules import SOURCE, Last, X

MODULE = "rules_net"


class Remembering(nn.Module):
    """Keeps its state as SpikingJelly's neurons do."""

    def __init__(self) -> None:
        super().__init__()
        self._memories, self._memories_rv = {"v": torch.ones(3)}, {"v": 0.0}


@dataclass
class Box:
    """What torch does not take apart."""

    logits: torch.Tensor


def quantized() -> nn.Module:
    return QuantizedNetwork(DMPNetwork(3, [2], 2), torch.zeros(2, 4, 3))


class OfRockpool(nn.Module):
    """Tells its parameters as Rockpool's modules do."""

    def parameters(self, recurse: bool = True) -> dict[str, torch.Tensor]:
        return dict(super().named_parameters(recurse=recurse))


class TwoInputs(nn.Module):
    def forward(self, x, mask):
        return x * mask


def program(function: Callable[..., object]) -> None:
    to_onnx(export(Function(function), torch.randn(B, T, M), "net"), "net")


def two_inputs() -> None:
    example = (torch.zeros(B, T), torch.ones(B, T))
    to_onnx(torch.export.export(TwoInputs(), example, strict=False), "net")


def branch(m: Function, x: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.sum() > 0, lambda y: y + m.row, lambda y: y - m.row, (x,))


FUNCTIONS: dict[str, Callable[..., object]] = {
    "random-numbers": lambda _, x: x + torch.rand(x.shape),
    "differs-by-itself": lambda _, x: x * float(np.random.random()),
    "operation-form": lambda _, x: torch.zeros_like(x).masked_scatter(x > 0, x),
    "many-results": lambda _, x: (x, x + 1),
    "result-type": lambda _, x: Box(x),
    "complex-result": lambda _, x: fft.fft(x),
    "constant-result": lambda m, _: m.weight + 1,
    "written-buffer": lambda m, x: m.bn.running_mean.add_(x.mean()) + x,
    "untraceable": lambda _, x: x if x.sum() > 0 else -x,
    "forward-fails": lambda _, x: nn.Linear(3, 3)(x),
    "inner-function": branch,
}


def cases(folder: Path) -> dict[str, Callable[[], Report]]:
    """Everything that torch's users can get wrong, by the rule's name."""
    (folder / f"{MODULE}.py").write_text(SOURCE, "utf-8")
    (folder / "text.pt2").write_text("hello", "utf-8")
    net = f"{MODULE}:Net"

    def weights(content: object) -> None:
        torch.save(content, "state.pt")
        open_model(net, example=X, weights="state.pt")

    def program_of(parts: dict[str, bytes]) -> None:
        hostile.write(Path("made.pt2"), parts)
        open_model("made.pt2")

    def hostile_file(kind: str) -> None:
        hostile.program(Path("made.pt2"))
        parts = hostile.parts(Path("made.pt2"))
        hostile.REFUSED[kind][0](parts, "marker")
        program_of(parts)

    def half_program() -> None:
        example = torch.zeros(B, T, 3, dtype=torch.float16)
        torch.export.save(torch.export.export(nn.Linear(3, 2).half(), (example,)), "half.pt2")
        open_model("half.pt2")

    def ones(scale: float) -> dict[str, torch.Tensor]:
        return {"fc.weight": torch.full((2, 3), scale), "fc.bias": torch.zeros(2)}

    def taken() -> None:
        torch.save({"ema": ones(1.0), "model": ones(2.0)}, "state.pt")
        load_weights(from_factory(net), "state.pt")

    actions: dict[str, Callable[[], object]] = {
        **{name: lambda f=function: program(f) for name, function in FUNCTIONS.items()},
        "many-arguments": two_inputs,
        "script-module": lambda: from_torch(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), X),
        "own-interface": lambda: from_torch(OfRockpool(), X),
        "time-last": lambda: from_torch(Last(1), np.zeros((2, 4, 5), np.float32)),
        "stale-module": lambda: check_reset(Remembering(), "net"),
        "no-module": lambda: open_model(f"{MODULE}t:Net", example=X),
        "no-attribute": lambda: open_model(f"{MODULE}:made_", example=X),
        "their-error": lambda: open_model(f"{MODULE}:broken", example=X),
        "not-a-module": lambda: open_model(f"{MODULE}:text", example=X),
        "no-example": lambda: open_model(net),
        "example-shape": lambda: from_torch(nn.Linear(3, 2), X[0]),
        "code-in-weights": lambda: weights(nn.Linear(3, 2)),
        "no-state-dict": lambda: weights([1, 2]),
        "weights-misfit": lambda: weights({"fc.weight": torch.zeros(2, 3)}),
        "several-weights": lambda: weights({"one": ones(1.0), "other": ones(2.0)}),
        "weights-taken": taken,
        "narrow-floats": lambda: in_float32(nn.Linear(3, 2).bfloat16(), "net"),
        "narrow-program": half_program,
        "quantized-module": lambda: from_torch(nn.Sequential(nn.Linear(3, 2), FakeQuantize()), X),
        "integer-network": lambda: from_torch(quantized(), X),
        "old-program": lambda: program_of({"a/version": b"8.1"}),
        "damaged-program": lambda: program_of({"a/archive_format": b"pt2"}),
        "code-in-program": lambda: hostile_file("opaque constant"),
        "unsafe-text": lambda: hostile_file("expression"),
        "no-program": lambda: open_model("text.pt2"),
    }
    return {name: lambda a=action: _refused(a, folder) for name, action in actions.items()}


def _refused(action: Callable[[], object], folder: Path) -> Report:
    """A report of the error that an action raises."""
    path = list(sys.path)
    try:
        with chdir(folder), listening() as told:
            action()
    except ImportFailure as error:
        return Report("", "paper", "", error.findings)
    finally:
        sys.path[:] = path
    return Report("", "paper", "image", tuple(told))
