"""From a user's module, or a saved program, to a `torch.export` program of fixed sizes."""

from __future__ import annotations

import copy
import inspect
import io
import logging
import os
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.model_rules import NO_FILE
from dmpc.frontend.torch_program.archive import operations, read_program
from dmpc.frontend.torch_program.numbers import (
    check_unquantized_program,
    check_wide,
    float_type,
)
from dmpc.frontend.torch_program.repeatable import check_alike, check_repeatable
from dmpc.frontend.torch_program.rules import (
    DAMAGED_PROGRAM,
    FORWARD_FAILS,
    MANY_ARGUMENTS,
    NO_PROGRAM,
    RESULT_TYPE,
    UNTRACEABLE,
)
from dmpc.frontend.torch_program.settled import is_settled, settled

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

    from dmpc.ir.registry import Tensor

SPIKINGJELLY = "torch.ops.sj_"
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
BATCHES = (2, 3)  # the second where the sequence has as many timesteps as the first
MORE = (5, 7)  # where two or three states in one tensor look like samples


@contextmanager
def untouched(module: nn.Module) -> Iterator[nn.Module]:
    """A module in inference mode and without gradients, put back afterwards as it was.

    Spiking modules keep membranes as attributes, some as buffers: a run must not leave its own.
    """
    import torch

    parts = dict.fromkeys([*module.modules(), *_reset_with_it()])
    kept = [(part, _attributes(part)) for part in parts]
    buffers = [(one, one.clone()) for part in parts for one in part.buffers(recurse=False)]
    try:
        if any(part.training for part in module.modules()):
            module.eval()
        with torch.no_grad():
            yield module
            for buffer, before in buffers:
                buffer.copy_(before)
    finally:
        for part, attributes in kept:
            part.__dict__.clear()
            part.__dict__.update(attributes)


def _reset_with_it() -> list[nn.Module]:
    """Neurons of other modules, which snnTorch's `utils.reset` of any module resets as well."""
    neurons = sys.modules.get("snntorch._neurons.neurons")
    return list(neurons.SpikingNeuron.instances) if neurons else []


def _attributes(part: nn.Module) -> dict[str, Any]:
    """A module's attributes; its dictionaries and lists are copied, their elements are not."""
    plain = (dict, list, set)
    return {k: copy.copy(v) if type(v) in plain else v for k, v in part.__dict__.items()}


@contextmanager
def unscripted() -> Iterator[None]:
    """Scripted functions run as the Python they were made of, into which torch.export can see.

    SpikingJelly 0.0.0.0.14 scripts the loop over timesteps of its nodes.
    """
    import torch

    kind: Any = torch.jit.ScriptFunction
    before = kind.__call__

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        source = getattr(function, "_torchdynamo_inline", None)
        return before(function, *args, **kwargs) if source is None else source(*args, **kwargs)

    kind.__call__ = call
    try:
        yield
    finally:
        kind.__call__ = before


@contextmanager
def _unchecked() -> Iterator[None]:
    """Distributions do not look at their parameters, which no trace can follow; that they draw
    random numbers is seen in it."""
    from torch.distributions import Distribution

    before = vars(Distribution)["_validate_args"]
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


@contextmanager
def _data_seen() -> Iterator[None]:
    """`x.data` is `x.detach()`, which tracing can follow; libraries shape their states by it."""
    import torch

    kind: Any = torch.Tensor
    stored = kind.data  # of the class in C below

    def write(tensor: torch.Tensor, value: torch.Tensor) -> None:
        stored.__set__(tensor, value)

    kind.data = property(lambda tensor: tensor.detach(), write)
    try:
        yield
    finally:
        del kind.data


def example_of(
    x: Tensor, module: nn.Module, time_first: bool, batches: tuple[int, int] = BATCHES
) -> torch.Tensor:
    """An input for the export: the first sample of `x` [samples, timesteps, inputs], repeated.

    A batch of one would let a squeeze without an axis take the batch axis away.
    """
    import torch

    batch = batches[0] if x.shape[1] != batches[0] else batches[1]
    sample = np.repeat(np.asarray(x[:1]), batch, axis=0)
    tensor = torch.from_numpy(np.ascontiguousarray(sample)).to(float_type(module))
    return tensor.transpose(0, 1).contiguous() if time_first else tensor


def time_last(module: nn.Module) -> nn.Module:
    """A module that takes [samples, inputs, timesteps] as one of [samples, timesteps, inputs].

    It shares everything with the first, and bears its names.
    """
    turned, kind = copy.copy(module), type(module)

    def forward(self: nn.Module, x: torch.Tensor) -> Any:
        return kind.forward(self, x.moveaxis(1, -1))

    turned.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    return turned


def export(module: nn.Module, example: torch.Tensor, name: str) -> ExportedProgram:
    """The program of a module in inference mode; the module is left as it was.

    Raises ImportFailure with torch's reason if the module cannot be exported, or if it does not
    repeat itself.
    """
    drawn = check_repeatable(lambda: _answer(module, example, name), name)
    program = _trace(module, example, name)
    if drawn:
        check_alike(program, _trace(module, example, name), name)
    if is_settled(program):
        return program
    try:
        with _quiet():
            known = settled(program)
        return program if known is None else _trace(known, example, name)
    except Exception:  # of what really depends on the data: the conversion says where
        return program


def _answer(module: nn.Module, example: torch.Tensor, name: str) -> Any:
    """What the module makes of the example: the user's own error comes before those of tracing."""
    _check_one_argument(module, name)
    with untouched(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            given, named = arguments(module, example)
            answer = module(*given, **named)
        except Exception as error:  # whatever the user's forward raises
            shape = list(example.shape)
            said = f"{type(error).__name__}: {_first_line(error)}"
            raise ImportFailure.of(FORWARD_FAILS, where=name, shape=shape, error=said) from error
    _check_result(answer, name)
    return answer


def arguments(
    module: nn.Module, x: torch.Tensor
) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """What a module is called with on an input: the first argument, or the first that has a name
    alone, if there is no other."""
    given = list(inspect.signature(module.forward).parameters.values())
    named = [one for one in given if one.kind is one.KEYWORD_ONLY]
    if not named or any(one.kind in (*POSITIONAL, one.VAR_POSITIONAL) for one in given):
        return (x,), {}
    needed = [one for one in named if one.default is one.empty]
    return (), {(needed or named)[0].name: x}


def _check_one_argument(module: nn.Module, name: str) -> None:
    given = inspect.signature(module.forward).parameters.values()
    kinds = (*POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
    needed = [one.name for one in given if one.default is one.empty and one.kind in kinds]
    if len(needed) > 1:
        raise ImportFailure.of(MANY_ARGUMENTS, where=name, first=needed[0], second=needed[1])


def _check_result(answer: Any, name: str) -> None:
    """Refuse objects of classes that torch does not take apart."""
    import torch
    from torch.utils._pytree import tree_leaves

    for leaf in tree_leaves(answer):
        if not (leaf is None or isinstance(leaf, torch.Tensor | bool | int | float | str)):
            raise ImportFailure.of(RESULT_TYPE, where=name, kind=f"a {type(leaf).__name__}")


def _trace(module: nn.Module, example: torch.Tensor, name: str) -> ExportedProgram:
    """The program of one run, with the branches that numbers take that the module holds."""
    try:
        return _run(module, example)
    except Exception as error:  # torch raises many classes on what it cannot trace
        kinds = {one.is_floating_point() for one in module.buffers() if one.ndim == 0}
        for floating in sorted(kinds):
            with suppress(Exception):
                return _run(module, example, {False, floating})
        said = f"{type(error).__name__}: {_first_line(error)}"
        raise ImportFailure.of(UNTRACEABLE, where=name, error=said) from error


def _run(
    module: nn.Module, example: torch.Tensor, numbers: Collection[bool] = ()
) -> ExportedProgram:
    """A traced run, in which buffers of one number are Python's, on which Python may decide:
    snnTorch's kinds of reset, the share of SpikingJelly's masks.

    `numbers` says of which that is so, floating ones and others; as tensors they have methods.
    """
    import torch

    with untouched(module), unscripted(), _unchecked(), _data_seen(), _quiet():
        for part in module.modules() if numbers else ():
            held = {key: one for key, one in part._buffers.items() if one is not None}
            for key, one in held.items():
                if one.ndim == 0 and one.is_floating_point() in numbers:
                    part.__dict__[key] = one.item()
                    del part._buffers[key]
        given, named = arguments(module, example)
        return torch.export.export(module, given, named, strict=False)


def may_hold_states(program: ExportedProgram) -> bool:
    """Whether a program holds numbers that an earlier run may have left, as a membrane does: a
    constant or a buffer with an axis that may be of one sample, or of the example's batch.

    Without any, all that states start from is what `forward` itself gives them.
    """
    signature = program.graph_signature
    named = {**signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    inputs = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    examples = [inputs[name].meta["val"] for name in signature.user_inputs if name in inputs]
    batches = {1, *(size for example in examples for size in example.shape[:2])}
    for name in named:
        value, users = inputs[name].meta["val"], inputs[name].users
        norms = users and all("batch_norm" in str(user.target) for user in users)
        if users and not norms and value.ndim > 1 and value.shape[0] in batches:
            return True
    return False


def load(path: str | os.PathLike[str], *, trust: bool = False) -> ExportedProgram:
    """The program in a `.pt2` file, of fixed sizes.

    Nothing in the file is run, unless the user trusts it: then torch reads it. Raises ImportFailure
    if it is none, or if it holds operations of a library that is not installed.
    """
    import torch

    where = os.fspath(path)
    if not Path(path).is_file():
        raise ImportFailure.of(NO_FILE, where=where)
    read = torch.export.load if trust else read_program
    names = operations(where)
    check_unquantized_program(names, where)
    with _quiet():
        try:
            _register_custom_operations(names)
            program = read(where)
        except ImportFailure:
            raise
        except Exception as error:  # torch raises many classes on what it cannot build
            raise _unreadable(where, error) from None
    check_wide(program, where)
    return _fixed(program, where)


def _register_custom_operations(names: Iterable[str]) -> None:
    """Programs that hold SpikingJelly's operations load only once it is imported."""
    import importlib

    if not any(name.startswith(SPIKINGJELLY) for name in names):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("spikingjelly.activation_based.neuron")
        except ImportError:
            return


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns, logs a failure page by page and prints half a program before it raises."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            yield
        finally:
            logging.disable(before)


def _unreadable(where: str, error: Exception) -> ImportFailure:
    import zipfile

    if not zipfile.is_zipfile(where):
        return ImportFailure.of(NO_PROGRAM, where=where)
    if any(name.startswith(SPIKINGJELLY) for name in operations(where)):
        return ImportFailure(
            "the program holds fused neurons of SpikingJelly 2, which is not installed here",
            where=where,
            hint="pip install 'spikingjelly>=2'",
        )
    reason = f"{type(error).__name__}: {_first_line(error)[:200]}"
    return ImportFailure.of(DAMAGED_PROGRAM, where=where, reason=reason)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")


def _fixed(program: ExportedProgram, where: str) -> ExportedProgram:
    """A program whose batch or time axis is free, traced again with sizes."""
    import torch

    inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
    names = set(program.graph_signature.user_inputs)
    given = [node.meta["val"] for node in inputs if node.name in names]
    if len(given) != 1 or all(isinstance(size, int) for size in given[0].shape):
        return program
    ranges = program.range_constraints
    sizes = [
        size if isinstance(size, int) else max(2, int(ranges[size.node.expr].lower))
        for size in given[0].shape
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = program.run_decompositions({})  # what writes in place is not traced again
    return export(as_module(program), torch.zeros(sizes, dtype=given[0].dtype), where)


def as_module(program: ExportedProgram) -> nn.Module:
    """A program as a module that runs, in the mode in which it was exported."""
    module = program.module(check_guards=False)
    for part in module.modules():
        part.training = False  # eval() refuses: the mode was decided at the export
    return module
