"""Models of torch, imported: a module in memory, a factory by name, a saved program."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from dmpc.errors import ImportFailure
from dmpc.findings import finding, tell
from dmpc.frontend import onnx_import
from dmpc.frontend.answers import sample_axis
from dmpc.frontend.chosen import tell_left_out
from dmpc.frontend.model_rules import NO_TIME, REPEATED_INPUT, WRONG_AXIS
from dmpc.frontend.models import Model, stem
from dmpc.frontend.normalise.template import (
    NO_COUNTERPART,
    TWINS,
    TooFewTimesteps,
    too_few,
)
from dmpc.frontend.torch_program.convert import functional_form, to_onnx
from dmpc.frontend.torch_program.finish import before_finish
from dmpc.frontend.torch_program.modules import from_factory
from dmpc.frontend.torch_program.numbers import check_unquantized, float_type, in_float32
from dmpc.frontend.torch_program.program import (
    as_module,
    check_reset,
    example_of,
    export,
    load,
    time_last,
)
from dmpc.frontend.torch_program.reference import TorchReference
from dmpc.frontend.torch_program.results import answer_of, results_of
from dmpc.frontend.torch_program.rules import EXAMPLE_SHAPE, FORWARD_FAILS, NO_EXAMPLE, TIME_LAST
from dmpc.frontend.torch_program.weights import load_weights

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

    from dmpc.ir.graph import Graph
    from dmpc.ir.registry import Tensor


LOST = (NO_TIME, REPEATED_INPUT, WRONG_AXIS, NO_COUNTERPART, TWINS)
"""What is said of a model in which no timesteps are found."""
LEAST = 3  # timesteps of an example: the first and the last may be others than all between

_SAY = {True: "say", False: "without"}


@dataclass(frozen=True)
class _Traced:
    """A module traced on an example, and what was imported of the program."""

    program: ExportedProgram
    graph: Graph
    signature: onnx_import.Signature


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
    fresh = check_reset(module, name)
    check_unquantized(module, name)
    module = in_float32(module, name)
    # Nodes that were reset start from their reset value, whatever it is: that is no stale state.
    options = onnx_import.Options({}, readout, "keep" if fresh else initial_states, output)
    example = example_of(x, module, time_first)
    try:
        traced = _traced(module, example, name, options)
    except ImportFailure as error:
        vector = _of_a_vector(module, x, name, options, time_first, error)
        if vector is None:
            turned = time_last(module)
            vector = _of_turned(module, turned, x, name, options, time_first, error)
            if vector is None:
                if error.rule is NO_TIME and x.shape[1] < LEAST:
                    raise too_few(name, x.shape[1], LEAST - 1) from None
                raise
            module = turned
            tell(finding(TIME_LAST, where=name))
        example, traced = vector
    signature, repeats = traced.signature, traced.signature.repeats
    if repeats is None and signature.time != int(not time_first):
        raise _wrong_order(name, time_first)
    reference = TorchReference(
        module,
        name,
        readout=str(traced.graph.attrs["readout"]),
        time_first=time_first,
        axes=signature.axes,
        finish=signature.finish,
        dtype=float_type(module),
        steps=repeats or x.shape[1],
        leaf=answer_of(traced.program, output).leaf,
        vector=None if repeats is None else tuple(example.shape),
        frame=x.shape[2:],
    )
    return Model(name, traced.graph, reference)


def _traced(
    module: nn.Module, example: torch.Tensor, name: str, options: onnx_import.Options
) -> _Traced:
    program = export(module, example, name)
    return _Traced(program, *_imported(program, name, options))


def _of_a_vector(
    module: nn.Module,
    x: Tensor,
    name: str,
    options: onnx_import.Options,
    time_first: bool,
    error: ImportFailure,
) -> tuple[torch.Tensor, _Traced] | None:
    """A module that does not take sequences, but one vector that it shows at every timestep."""
    if not any(one.rule in (FORWARD_FAILS, *LOST) for one in error.every):
        return None
    one = example_of(x[:, :1], module, time_first)
    for example in (one, one.reshape(-1, *x.shape[2:])):
        try:
            traced = _traced(module, example, name, options)
        except ImportFailure:
            continue
        if traced.signature.repeats is not None:
            return example, traced
    return None


def _lost(error: ImportFailure, steps: int) -> bool:
    """Whether no timesteps were found in a model, or others than an example's."""
    few = any(isinstance(one, TooFewTimesteps) and one.steps != steps for one in error.every)
    return few or any(one.rule in LOST for one in error.every)


def _of_turned(
    module: nn.Module,
    turned: nn.Module,
    x: Tensor,
    name: str,
    options: onnx_import.Options,
    time_first: bool,
    error: ImportFailure,
) -> tuple[torch.Tensor, _Traced] | None:
    """A module that takes the timesteps last, if it does; raises ImportFailure where the order of
    what it was given is what is wrong."""
    lost = _lost(error, x.shape[1])
    if not lost and error.rule is not FORWARD_FAILS:
        return None
    example = example_of(x, turned, time_first=False)
    with suppress(ImportFailure):
        traced = _traced(turned, example, name, options)
        if traced.signature.time == 1 and not time_first:
            return example, traced
    if lost:
        _check_order(module, turned, x, name, options, time_first)
    return None


def _check_order(
    module: nn.Module,
    turned: nn.Module,
    x: Tensor,
    name: str,
    options: onnx_import.Options,
    time_first: bool,
) -> None:
    """Raise ImportFailure if a module takes its input in another order.

    Given in the wrong one, it loops over the few samples in place of timesteps.
    """
    if _takes(module, x, name, options, time_first=not time_first):
        raise _wrong_order(name, time_first)
    for first in (time_first, not time_first):
        if _takes(module, x.swapaxes(0, 1), name, options, time_first=first):
            said = "" if first == time_first else f", {_SAY[first]} --time-first"
            raise ImportFailure(
                f"x is read as {x.shape[0]} samples of {x.shape[1]} timesteps, whatever the module "
                "takes first; the other way round it is a network",
                where=name,
                hint=f"x.swapaxes(0, 1){said}",
            )
    if _takes(turned, x.swapaxes(1, -1), name, options, time_first=False):
        raise ImportFailure(
            f"x is read as samples of {x.shape[1]} timesteps, and the module takes the timesteps "
            "last: the other way round it is a network",
            where=name,
            hint="x.swapaxes(1, -1), the module as it is",
        )


def _takes(
    module: nn.Module, x: Tensor, name: str, options: onnx_import.Options, *, time_first: bool
) -> bool:
    """Whether a module imports as a loop over time if its input has this order."""
    try:
        program = export(module, example_of(x, module, time_first), name)
        return _imported(program, name, options)[1].time == int(not time_first)
    except ImportFailure:
        return False


def _wrong_order(name: str, time_first: bool) -> ImportFailure:
    axes = ("timesteps, samples", "samples, timesteps")
    return ImportFailure(
        f"the module runs over axis {int(time_first)} of its input in time, but was given "
        f"[{axes[not time_first]}, inputs]",
        where=name,
        hint=f"{_SAY[not time_first]} --time-first",
    )


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
    graph, signature = _imported(program, name, onnx_import.Options({}, readout, "zero", output))
    (source,) = program.graph_signature.user_inputs
    given = next(node.meta["val"] for node in program.graph.nodes if node.name == source)
    shape, repeats = given.shape, signature.repeats
    time_first = bool(sample_axis(shape)) if repeats else signature.time == 0
    module = as_module(program)
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
        leaf=answer_of(program, output).leaf,
        vector=tuple(map(int, shape)) if repeats else None,
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


def _imported(
    program: ExportedProgram, name: str, options: onnx_import.Options
) -> tuple[Graph, onnx_import.Signature]:
    """The graph of a program, and the axes of its input and output."""
    try:
        program = functional_form(program)
        answer, finish = before_finish(answer_of(program, options.output).node)
        model = to_onnx(program, stem(name), answer)
    except ImportFailure as error:
        raise error.inside(name) from None
    graph, signature = onnx_import.import_onnx(
        model, replace(options, output=None), name=name, finish=finish
    )
    results = [result.name for result in results_of(program)]
    tell_left_out(name, answer_of(program, options.output).name, results)
    graph.name = stem(name)
    return graph, signature
