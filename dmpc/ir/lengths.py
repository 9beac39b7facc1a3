"""Samples of different lengths: run side by side, and looked at as long as each of them is.

No timestep depends on a later one, so what lies behind a sample's length changes nothing before it.
"""

from dataclasses import replace

import numpy as np

from dmpc.ir.graph import Graph
from dmpc.ir.interpret import Result, answer
from dmpc.ir.registry import Tensor
from isa.arithmetic import Int


def ended(graph: Graph, found: Result, lengths: Int | None) -> Result:
    """What a run of a graph gives of samples that end after `lengths` [samples].

    Outputs and traces are zero behind them; saturations are those of all timesteps.
    """
    if lengths is None or (lengths == found.outputs.shape[1]).all():
        return found
    there = np.arange(found.outputs.shape[1]) < lengths[:, None]
    logits = np.empty_like(found.logits)
    for length in np.unique(lengths):
        of_length = lengths == length
        logits[of_length] = answer(graph, found.outputs[of_length, :length])
    traces = {name: _cut(series, there) for name, series in found.traces.items()}
    return replace(found, outputs=_cut(found.outputs, there), logits=logits, traces=traces)


def _cut(series: Tensor, there: Tensor) -> Tensor:
    kept: Tensor = np.where(there[(..., *[None] * (series.ndim - 2))], series, 0)
    return kept.astype(series.dtype, copy=False)
