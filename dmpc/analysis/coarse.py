"""Thresholds that are lost beside the range of their membranes."""

import numpy as np

from dmpc.ir.graph import Graph
from dmpc.ir.ops_layers import FIRING
from dmpc.ir.registry import op_def


def coarse_thresholds(layers: Graph, integer: Graph) -> dict[str, int]:
    """Neurons, by layer, whose threshold is above zero and below one step of their membrane.

    They spike at one step, later than they should: their membranes reach so far, in the
    calibration set or by the weights, that 16 bits cannot tell the threshold from rest.
    """
    found: dict[str, int] = {}
    for op in layers.ops:
        state = op.operands[0] if op.kind in FIRING else ""
        scale = integer.types[state].scale if state in integer.types else None
        if not isinstance(scale, str):
            continue
        threshold = layers.constants[op_def(op.kind).bind(op.operands)["threshold"][0]]
        lost = (threshold > 0) & (threshold < integer.constants[scale])
        if lost.any():
            found[str(op.attrs["layer"])] = int(np.count_nonzero(lost))
    return found
