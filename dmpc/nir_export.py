"""Export to NIR, proven: what is written is read again, and computes what the layers compute."""

from typing import Any, cast

import numpy as np

from dmpc.backend.nir_writer import NirFile, to_nir
from dmpc.compiler import Options, to_layers
from dmpc.errors import CompileError
from dmpc.frontend import Timing, import_nir
from dmpc.frontend.nir_format.neurons import Reset
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret

SAMPLES, STEPS = 6, 24
NEAR = 1e-6  # of the largest value: a spike more or less is far beyond it


def export_nir(layers: Graph, dt: float = 1e-4) -> NirFile:
    """A graph of level layers as NIR, neurons at a timestep of `dt` seconds.

    `NirFile.reading` says how it has to be read. Raises CompileError for what NIR cannot say, and
    where a reader would run neurons of a loop in another order.
    """
    made = to_nir(layers, dt)
    reading = made.reading
    timing = Timing(dt, cast(Reset, reading.reset), reading.spike_at)
    again = import_nir(cast(Any, made), timing=timing, readout=reading.readout)
    size = layers.types[layers.inputs[0]].size
    density = np.linspace(0.05, 0.9, SAMPLES)[:, None, None]
    x = (np.random.default_rng(0).random((SAMPLES, STEPS, size)) < density).astype(float)
    wanted, found = (interpret(graph, x).logits for graph in (layers, to_layers(again, Options())))
    if np.abs(found - wanted).max() > NEAR * max(1.0, float(np.abs(wanted).max())):
        raise CompileError(
            "read again from NIR it is another network: what a loop reads of the timestep before "
            "cannot be told from the file",
            where=layers.name, hint="dmpc export -o net.onnx writes any network",
        )  # fmt: skip
    return made
