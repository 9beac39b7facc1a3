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
from dmpc.frontend.nir_format.neurons import Timing
from dmpc.ir.graph import Graph

if TYPE_CHECKING:
    import nir
    from onnx import ModelProto

__all__ = ["Timing", "import_nir", "import_onnx", "load", "load_dmpir"]

NIR = (".nir", ".h5")
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


def import_nir(
    source: "str | os.PathLike[str] | nir.NIRGraph",
    *,
    timing: Timing | None = None,
    readout: str | None = None,
) -> Graph:
    """The model-level graph of a NIR file, or of a NIR graph in memory.

    NIR's neurons are differential equations; `timing` says how they are stepped, the default being
    Timing(). `readout` (mean, sum, last, max) says how outputs per timestep become the answer; the
    default is the mean.

    Raises ImportFailure that names file and node.
    """
    from dmpc.frontend.nir_format import importer

    return importer.import_nir(source, timing or Timing(), readout)


def load(path: str | os.PathLike[str]) -> Graph:
    """The graph of a file, by its suffix; raises ImportFailure for unknown ones."""
    readers: dict[str, Callable[[str | os.PathLike[str]], Graph]]
    readers = {".onnx": import_onnx, **dict.fromkeys(NIR, import_nir), ".dmpir": load_dmpir}
    suffix = Path(path).suffix
    if suffix not in readers:
        raise ImportFailure(
            f"unknown kind of file '{suffix}'",
            where=os.fspath(path),
            hint=f"known: {', '.join(readers)}",
        )
    return readers[suffix](path)
