"""Models of torch, imported: a module in memory, a factory by name, a saved program."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Literal

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend import onnx_import
from dmpc.frontend.answers import sample_axis
from dmpc.frontend.models import Model
from dmpc.frontend.torch_program.modules import from_factory
from dmpc.frontend.torch_program.numbers import check_unquantized, float_type, in_float32
from dmpc.frontend.torch_program.orders import Trial, imported, in_its_order
from dmpc.frontend.torch_program.program import (
    as_module,
    load,
)
from dmpc.frontend.torch_program.reference import TorchReference
from dmpc.frontend.torch_program.rules import EXAMPLE_SHAPE, NO_EXAMPLE
from dmpc.frontend.torch_program.stale import from_start
from dmpc.frontend.torch_program.weights import load_weights

if TYPE_CHECKING:
    from torch import nn

    from dmpc.ir.registry import Tensor


def from_module(
    module: nn.Module,
    x: Tensor,
    name: str,
    *,
    readout: str | None = None,
    time_first: bool = False,
    initial_states: Literal["zero", "keep"] = "zero",
    output: str | None = None,
) -> Model:
    """A module as a model: traced on the first sample of `x` [samples, timesteps, inputs].

    Inputs may have axes, as pictures have: the model then takes them in row-major order.

    Raises ImportFailure as `dmpc.from_torch` does.
    """
    if x.ndim < 3 or 0 in x.shape:
        raise ImportFailure.of(EXAMPLE_SHAPE, where=name, shape=list(x.shape))
    with from_start(module, name, x, time_first) as fresh:
        check_unquantized(module, name)
        module = in_float32(module, name)
        # Nodes that were reset start from their reset value, whatever it is: no stale state.
        options = onnx_import.Options({}, readout, "keep" if fresh else initial_states, output)
        traced = in_its_order(Trial(module, name, options, time_first), x)
    signature, repeats = traced.signature, traced.signature.repeats
    reference = TorchReference(
        traced.trial.module,
        name,
        readout=str(traced.graph.attrs["readout"]),
        time_first=time_first,
        axes=signature.axes,
        finish=signature.finish,
        dtype=float_type(module),
        steps=repeats or x.shape[1],
        leaf=traced.leaf,
        vector=None if repeats is None else tuple(traced.example.shape),
        frame=x.shape[2:],
    )
    if repeats is None:
        reference.batch = _insisted(reference, x, traced.example.shape[int(time_first)])
    return Model(name, traced.graph, reference)


def _insisted(reference: TorchReference, x: Tensor, traced: int) -> int | None:
    """The number of samples that a module was traced on, if it takes no other, or makes something
    else of them, as one does that takes samples and timesteps on one axis; None if any will do."""
    several = np.repeat(x[:1], traced + 1, axis=0).reshape(traced + 1, x.shape[1], -1)
    try:
        more, few = (reference.run(several[:n], n) for n in (traced + 1, traced))
    except Exception:  # whatever becomes of sizes that it is not made for
        return traced
    same = more[:traced].shape == few.shape
    return None if same and np.allclose(more[:traced], few, 1e-4, 1e-6, equal_nan=True) else traced


def from_name(
    name: str,
    x: Tensor | None,
    *,
    weights: str | os.PathLike[str] | None = None,
    readout: str | None = None,
    time_first: bool = False,
    trust: bool = False,
    output: str | None = None,
) -> Model:
    """The model of `package.module:factory`, traced on an example; raises ImportFailure."""
    if x is None:
        raise ImportFailure.of(NO_EXAMPLE, where=name)
    _need_torch(name)
    module = from_factory(name)
    if weights is not None:
        load_weights(module, weights, trust=trust)
    return from_module(module, x, name, readout=readout, time_first=time_first, output=output)


def from_file(
    path: str | os.PathLike[str],
    *,
    readout: str | None = None,
    trust: bool = False,
    output: str | None = None,
) -> Model:
    """The model of a `.pt2` file that `torch.export.save` wrote; raises ImportFailure.

    What is pickled in it runs only with `trust`.
    """
    name = os.fspath(path)
    _need_torch(name)
    program = load(path, trust=trust)
    module = as_module(program)  # before the import changes anything: it is what that is held to
    graph, signature, leaf = imported(
        program, name, onnx_import.Options({}, readout, "zero", output)
    )
    (source,) = program.graph_signature.user_inputs
    given = next(node.meta["val"] for node in program.graph.nodes if node.name == source)
    shape, repeats = given.shape, signature.repeats
    time_first = bool(sample_axis(shape)) if repeats else signature.time == 0
    reference = TorchReference(
        module,
        name,
        readout=str(graph.attrs["readout"]),
        time_first=time_first,
        axes=signature.axes,
        finish=signature.finish,
        dtype=given.dtype,
        batch=int(shape[int(time_first)]),
        steps=repeats or int(shape[int(not time_first)]),
        leaf=leaf,
        vector=tuple(map(int, shape)) if repeats else None,
        frame=tuple(map(int, shape[2:])) if len(shape) > 3 else (),
    )
    return Model(name, graph, reference)


def _need_torch(name: str) -> None:
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise ImportFailure(
            f"PyTorch is needed for this form of model: {error}", where=name,
            hint="pip install torch",
        ) from None  # fmt: skip
