"""Frontends: files of users' models as graphs.

Importing this package loads no model format's library; the functions do.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from dmpc.errors import ImportFailure
from dmpc.frontend.dmpir import load_dmpir
from dmpc.ir.graph import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["import_onnx", "load", "load_dmpir"]

NO_STATES: Mapping[str, str] = MappingProxyType({})


def import_onnx(
    source: "str | os.PathLike[str] | ModelProto",
    *,
    states: Mapping[str, str] = NO_STATES,
    readout: str | None = None,
    initial_states: Literal["zero", "keep"] = "zero",
) -> Graph:
    """The model-level graph of an ONNX file or model, from any exporter, opset 13 or later.

    It holds either one timestep, whose state inputs and outputs are paired by structure
    (`states` names pairs, input -> output, where that is not enough), or the whole sequence as one
    or several `Scan`s over time, with `x` [batch, time, inputs] or [time, batch, inputs].
    `readout` (mean, sum, last, max) says how outputs per timestep become the answer where the model
    does not say it itself; the default is the mean. Initial states of a `Scan` must be zero;
    `initial_states="keep"` takes constant ones over.

    Raises ImportFailure that names file and node.
    """
    from dmpc.frontend import onnx_import

    options = onnx_import.Options(dict(states), readout, initial_states)
    return onnx_import.import_onnx(source, options)[0]


def load(path: str | os.PathLike[str]) -> Graph:
    """The graph of a file, `.onnx` or `.dmpir`; raises ImportFailure for other files."""
    readers: dict[str, Callable[[str | os.PathLike[str]], Graph]]
    readers = {".onnx": import_onnx, ".dmpir": load_dmpir}
    suffix = Path(path).suffix
    if suffix not in readers:
        raise ImportFailure(
            f"unknown kind of file '{suffix}'", where=os.fspath(path), hint="known: .onnx, .dmpir"
        )
    return readers[suffix](path)
