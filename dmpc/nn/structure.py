"""A network's float graph, whose structure stays from one batch to the next: its numbers change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from dmpc.frontend import import_onnx
from dmpc.ir.graph import Array, Graph
from dmpc.nn.export import to_onnx
from dmpc.nn.layer import DMPLayer
from dmpc.nn.network import DMPNetwork
from dmpc.nn.onnx_nodes import weights
from dmpc.nn.planes import Convolution
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

Numbers = Mapping[str, NDArray[np.float64]]
"""Those of a network by the names of its file; numbers of neurons may be one for all."""


MAPS: Final = "fast", "recurrent", "slow"
"""What may charge neurons, by the names of modules and in the graph."""


class Structure:
    """The layers of a network: imported once, and again when more than numbers has changed.

    Importing and recognising an export costs as much as running it. Both find the same structure
    while no delay moves and no tensor becomes zero or stops being so, and what they make of weights
    is written out here (`layer_numbers`). It is held against each import, bit for bit: a network of
    which it does not speak, or speaks otherwise, is imported every time.
    """

    def __init__(self) -> None:
        self.found: tuple[object, Graph] | None = None

    def layers(self, network: DMPNetwork) -> Graph:
        """The graph of level layers of the present weights, as `recognise` gives it."""
        numbers = file_numbers(network)
        made, key = layer_numbers(network, numbers), _fixed(network, numbers)
        if self.found is not None and self.found[0] == key:
            graph = self.found[1].copy()
            graph.constants |= made
            return graph
        graph = imported(network)
        real = {name: v for name, v in graph.constants.items() if v.dtype.kind == "f"}
        agrees = real.keys() == made.keys() and all(
            _same(v, made[name]) for name, v in real.items()
        )
        self.found = (key, graph) if agrees else None
        return graph


def imported(network: DMPNetwork) -> Graph:
    """The graph of level layers of a network's export."""
    model = to_onnx(network)
    for value in model.graph.input:  # open sizes would be imported twice, to compare
        for dim in value.type.tensor_type.shape.dim[:2]:
            dim.dim_value = 2
    return apply(Recognise(), import_onnx(model))


def file_numbers(network: DMPNetwork) -> Numbers:
    """What a network's file holds, in float64; raises ValueError if a weight is not finite."""
    return {one.name: numpy_helper.to_array(one).astype(np.float64) for one in weights(network)}


def layer_numbers(network: DMPNetwork, numbers: Numbers) -> dict[str, Array]:
    """The constants of a network's layers by their names in the graph, or nothing.

    Nothing of fronts, which are laid out for the machine, and where recognition finds numbers as
    ratios of others: of linear drives, and of currents by which neurons adapt; or as sums that
    round, beside floors of membranes.
    """
    made: dict[str, Array] = {}
    for i, layer in enumerate(network.dmp_layers):
        adapts = layer.lif.adaptation
        ratios = layer.linear_drive or (adapts is not None and not adapts.raises)
        front = isinstance(layer.fast, Convolution) or layer.pool is not None
        if ratios or front or layer.lif.limits != (None, None):
            return {}
        own = f"layers.{i}."
        given = {k.removeprefix(own): v for k, v in numbers.items() if k.startswith(own)}
        made |= {f"layer{i + 1}.{name}": v for name, v in _of_layer(layer, given).items()}
    leak = network.readout_leak
    part = "readout" if leak is None else "readout.in"
    made |= {f"{part}.{kind}": numbers[f"readout.{kind}"] for kind in ("weight", "bias")}
    return made if leak is None else {**made, "readout.alpha": numbers["readout_leak.keep"]}


def _of_layer(layer: DMPLayer, given: Numbers) -> dict[str, Array]:
    """Of one layer, whose currents have the unit of membranes, and one bias."""
    gain, bias = given["lif.gain"], given["fast.bias"]
    made: dict[str, Array] = {}
    if layer.slow_path is not None:
        bias = bias + given["slow.bias"]
        made |= {
            "drive.weight": given["drive.weight"][0],
            "drive.bias": given["drive.bias"],
            "memory.A": given["memory.a_bar"],
            "memory.B": given["memory.b_bar"],
        }
    maps = {part: given[f"{part}.weight"] for part in MAPS if f"{part}.weight" in given}
    scale = np.broadcast_to(gain, layer.neurons)
    for number in range(layer.receptors):
        behind = f"_{number}" if number else ""
        own = slice(number * layer.neurons, (number + 1) * layer.neurons)
        for part, weight in maps.items():
            made[f"{part}{behind}.weight"] = scale[:, None] * weight[own]
        made[f"fast{behind}.bias"] = scale * bias[own]
    for number, each in enumerate(layer.currents):
        made[f"alpha_{number}" if number else "alpha"] = given[f"synapse{each}.keep"]
    threshold = given["lif.threshold"]
    vectors = {
        "beta": given["lif.beta"],
        "threshold": threshold,
        "reset": given.get("lif.reset", threshold),
    }
    if layer.lif.adaptation is not None:
        vectors |= {
            "rho": given["lif.adaptation.leak.keep"],
            "jump": given["lif.adaptation.jump"],
            "coupling": np.array(float(layer.lif.reset is None)),
        }
    if layer.lif.refractory is not None:
        vectors["rest"] = given["lif.refractory"]
    made |= {name: np.broadcast_to(one, layer.neurons) for name, one in vectors.items()}
    return {name: np.ascontiguousarray(value) for name, value in made.items()}


def _fixed(network: DMPNetwork, numbers: Numbers) -> object:
    """What has to stay for a structure to stay: whole delays, and which tensors hold something."""
    delays = (layer.delays for layer in network.dmp_layers if layer.delays is not None)
    whole = [one.whole().tolist() for one in delays]
    return whole, [bool(value.any()) for value in numbers.values()]


def _same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other)
