"""Frontends: users' models as graphs, whatever form they come in.

Importing this package loads no model format's library; the functions do.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.dmpir import load_dmpir
from dmpc.frontend.models import Model, is_factory
from dmpc.frontend.nir_format.neurons import Timing
from dmpc.ir.graph import Graph

if TYPE_CHECKING:
    import nir
    import torch
    from onnx import ModelProto
    from torch import nn

    from dmpc.ir.registry import Tensor

__all__ = [
    "Model", "Timing", "from_torch", "import_nir", "import_onnx", "load", "load_dmpir",
    "open_model",
]  # fmt: skip


NIR = (".nir", ".h5")
SUFFIXES = (".onnx", *NIR, ".pt2", ".dmpir")
FACTORY = "package.module:factory"
READ_BY: Mapping[str, tuple[tuple[str, ...], str]] = {
    "timing": (NIR, "--dt, --reset, --spike-at and --integration are for NIR files"),
    "trust": ((".pt2",), "--trust is for .pt2 files and for --weights; nothing else holds code"),
    "weights": ((FACTORY,), f"weights are for {FACTORY}; a file holds its own"),
    "states": ((".onnx",), "--state is for ONNX files"),
    "time_first": (
        (FACTORY,),
        f"--time-first is for {FACTORY}; which axis of its input is time, a file shows itself",
    ),
    "output": (
        (FACTORY, ".onnx", ".pt2", *NIR),
        "--output is not for graph text, which has one answer",
    ),
    "readout": (
        (FACTORY, ".onnx", ".pt2", *NIR),
        "--readout is not for graph text, which says its own",
    ),
}
"""Options that only some kinds of models read: which, and what the others are told."""
NO_STATES: Mapping[str, str] = MappingProxyType({})


def import_onnx(
    source: "str | os.PathLike[str] | ModelProto",
    *,
    states: Mapping[str, str] = NO_STATES,
    readout: str | None = None,
    initial_states: Literal["zero", "keep"] = "zero",
    output: str | None = None,
) -> Graph:
    """The model-level graph of an ONNX file or model, from any exporter, opset 13 or later.

    It holds either one timestep, whose state inputs and outputs are paired by structure
    (`states` names pairs, input -> output, where that is not enough), or the whole sequence as one
    or several `Scan`s over time, with `x` [batch, time, inputs] or [time, batch, inputs].
    `readout` (mean, sum, last, max) says how outputs per timestep become the answer where the model
    does not say it itself; the default is the mean. Initial states of a `Scan` must be zero;
    `initial_states="keep"` takes constant ones over. `output` names the answer where the model has
    several outputs; the others are left out.

    Raises ImportFailure that names file and node.
    """
    from dmpc.frontend import onnx_import

    options = onnx_import.Options(dict(states), readout, initial_states, output)
    return onnx_import.import_onnx(source, options)[0]


def import_nir(
    source: "str | os.PathLike[str] | nir.NIRGraph",
    *,
    timing: Timing | None = None,
    readout: str | None = None,
    output: str | None = None,
) -> Graph:
    """The model-level graph of a NIR file, or of a NIR graph in memory.

    NIR's neurons are differential equations; `timing` says how they are stepped, the default being
    Timing(). `readout` (mean, sum, last, max) says how outputs per timestep become the answer; the
    default is the mean. `output` names the Output node that is the answer, where there are several.

    Raises ImportFailure that names file and node.
    """
    from dmpc.frontend.nir_format import importer

    return importer.import_nir(source, timing or Timing(), readout, output)


def from_torch(
    module: "nn.Module",
    x: "Tensor | torch.Tensor | tuple[Tensor | torch.Tensor, ...]",
    *,
    readout: str | None = None,
    time_first: bool = False,
    initial_states: Literal["zero", "keep"] = "zero",
    output: str | None = None,
) -> Model:
    """A `torch.nn.Module` as a model that `dmpc.compile` and `verify` take.

    It is traced by `torch.export` in inference mode on the first sample of `x` [samples, timesteps,
    inputs], and is left as it was. With `time_first` it takes [timesteps, samples, inputs]. Of a
    module of several inputs, `x` has one for each, in the order of its arguments: the model takes
    them side by side, [samples, timesteps, all inputs].
    `readout` and `initial_states` are those of `import_onnx`. `output` says which of several
    results is the answer: its place in a tuple ("0"), its key in a dict ("logits"), or the way
    there ("1.logits"). Raises ImportFailure that names the module's part and the line where an
    operation is not supported, the module cannot be traced, or a spiking node holds the membrane of
    an earlier run.
    """
    from dmpc.frontend.torch_program.load import from_module
    from dmpc.frontend.torch_program.several import joined

    name = type(module).__name__
    if isinstance(x, tuple):
        module, x = joined(module, x, name)
    return from_module(
        module,
        np.asarray(x),
        name,
        readout=readout,
        time_first=time_first,
        initial_states=initial_states,
        output=output,
    )


def load(path: str | os.PathLike[str]) -> Graph:
    """The graph of a file, by its suffix; raises ImportFailure for unknown ones."""
    return open_model(path).graph


def open_model(
    model: str | os.PathLike[str],
    *,
    states: Mapping[str, str] = NO_STATES,
    readout: str | None = None,
    timing: Timing | None = None,
    example: "Tensor | None" = None,
    weights: str | os.PathLike[str] | None = None,
    time_first: bool = False,
    trust: bool = False,
    output: str | None = None,
) -> Model:
    """A model by its name: a file of a known suffix, or `package.module:factory`.

    `states` and `readout` are those of `import_onnx`, `timing` that of `import_nir`. A factory's
    module is traced on `example` [samples, timesteps, inputs] with `weights` from a file of its
    `state_dict`; see `from_torch`, for `output` as well. Files are data, and nothing in them is
    run; `trust` lets what is pickled in a `.pt2` file or in weights be unpickled, which runs its
    code. Raises ImportFailure.
    """
    name = path_of(model)
    suffix = Path(name).suffix
    kind = FACTORY if is_factory(name) else suffix
    if kind not in (FACTORY, *SUFFIXES):
        raise ImportFailure(f"unknown kind of model '{suffix}'", where=name, hint=_belongs(suffix))
    given = {
        "timing": timing is not None,
        "trust": trust and weights is None,
        "weights": weights is not None,
        "states": bool(states),
        "time_first": time_first,
        "readout": readout is not None,
        "output": output is not None,
    }
    for option, (kinds, message) in READ_BY.items():
        if given[option] and kind not in kinds:
            raise ImportFailure(message, where=name)
    if kind == FACTORY:
        from dmpc.frontend.torch_program.load import from_name

        return from_name(
            name,
            example,
            weights=weights,
            readout=readout,
            time_first=time_first,
            trust=trust,
            output=output,
        )
    if suffix == ".pt2":
        from dmpc.frontend.torch_program.load import from_file

        return from_file(model, readout=readout, trust=trust, output=output)
    if suffix in NIR:
        return Model(name, import_nir(model, timing=timing, readout=readout, output=output))
    if suffix == ".onnx":
        from dmpc.frontend.onnx_reference import open_onnx

        return open_onnx(model, states=states, readout=readout, output=output)
    return Model(name, load_dmpir(model))


def path_of(model: object) -> str:
    """A model's name, if it is a file or a factory's name; ImportFailure for any other object."""
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise ImportFailure(
        "this is no file, no name, no graph and no imported model", where=type(model).__name__,
        hint="dmpc.from_torch(module, x) imports a torch module, dmpc.import_onnx and "
        "dmpc.import_nir models in memory",
    )  # fmt: skip


def _belongs(suffix: str) -> str:
    """What a file is for that is no model, by its suffix; or the suffixes that models have."""
    if suffix in (".npz", ".npy", ".csv", ".mat"):
        return "samples belong to --input or --calibration"
    if suffix in (".pt", ".pth", ".ckpt", ".safetensors"):
        return (
            "weights belong to a module: package.module:factory --weights FILE; of TorchScript, "
            "torch.onnx.export(torch.jit.load(FILE), (x,), 'net.onnx', dynamo=False) makes a model"
        )
    if suffix in (".elf", ".s"):
        return "that is for images: dmpc run, inspect, disasm or asm"
    return f"known: {', '.join(SUFFIXES)}, package.module:factory"
