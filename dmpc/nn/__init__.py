"""Dual-memory-pathway spiking layers as torch modules: train on a CPU, export to ONNX.

    network = DMPNetwork(140, [128, 128], 20, memory=10, window=40)
    for loss in fit(network, x, y, epochs=40): ...
    export_onnx(network, "model.onnx")

Tensors are [batch, time, features]. The equations are the paper's (Sun et al., 2026, doi
10.1038/s42256-026-01255-3), the neuron's parameters the authors': tau 2, threshold 1, reset to 0.
"""

from dmpc.legendre import legendre_system, zero_order_hold
from dmpc.nn.activity import TrainingWarning
from dmpc.nn.adaptation import Adaptation
from dmpc.nn.delays import AxonalDelays
from dmpc.nn.export import export_onnx, load_weights, to_onnx
from dmpc.nn.initial import initialise
from dmpc.nn.layer import DMPLayer, LayerState
from dmpc.nn.leak import Leak, Receptors
from dmpc.nn.lif import LIF
from dmpc.nn.memory import LegendreMemory
from dmpc.nn.network import DMPNetwork, Run, as_input, parameter_count
from dmpc.nn.planes import Convolution, Pool
from dmpc.nn.quantized import QuantizedNetwork
from dmpc.nn.ranges import LayerRange, state_ranges
from dmpc.nn.training import Measurement, fit, measure

__all__ = [
    "LIF",
    "Adaptation",
    "AxonalDelays",
    "Convolution",
    "DMPLayer",
    "DMPNetwork",
    "LayerRange",
    "LayerState",
    "Leak",
    "LegendreMemory",
    "Measurement",
    "Pool",
    "QuantizedNetwork",
    "Receptors",
    "Run",
    "TrainingWarning",
    "as_input",
    "export_onnx",
    "fit",
    "initialise",
    "legendre_system",
    "load_weights",
    "measure",
    "parameter_count",
    "state_ranges",
    "to_onnx",
    "zero_order_hold",
]
