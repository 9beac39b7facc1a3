"""Quantization-aware training: a network whose forward pass computes the machine's integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from dmpc.backend.interface import interface_of
from dmpc.compiler import Options, find_ranges, to_layers
from dmpc.ir.graph import Array, Graph
from dmpc.ir.interpret import Result, interpret
from dmpc.nn.dynamics import Limits
from dmpc.nn.export import Form, export_onnx
from dmpc.nn.layer import DMPLayer
from dmpc.nn.network import DMPNetwork, Run, as_input
from dmpc.nn.structure import Structure
from dmpc.nn.unread import unread
from dmpc.passes import carried
from dmpc.passes.quantization.widths import stored_widths, width_plan
from dmpc.passes.quantize import Quantize
from isa.target import load_target


class QuantizedNetwork(nn.Module):
    """`network` as the compiled program computes it, with gradients for the real weights.

    The forward pass quantizes the network as it is now by the compiler's own passes, as they would
    find it in its export (`dmpc.nn.structure`), and runs the integer graph: its spikes and logits
    are those of the simulator, bit for bit. The backward pass is that of the float network at the
    machine's drives, memory states and membranes: rounding counts as identity (straight-through
    estimator, Bengio et al., 2013).

    Scales and rounding follow the weights. The ranges and second moments on which they rest are
    those of the calibration samples `x` [samples, time, inputs], taken once; they travel with the
    weights (`export_onnx`). Dropout has no place in the machine and is left out. Raises DmpcError
    where the compiler does.

        quantized = QuantizedNetwork(network, x[:256], Options(target="paper"))
        for loss in fit(quantized, x, y, epochs=3, learning_rate=5e-4): ...
        quantized.export_onnx("model.onnx")  # compile it with the same options
    """

    def __init__(self, network: DMPNetwork, x: Tensor, options: Options | None = None) -> None:
        super().__init__()
        self.network = network
        self.options = options or Options()
        self.target = load_target(self.options.target)
        self.structure = Structure()
        flat = np.asarray(network.flat(torch.as_tensor(x)))
        self.ranges = find_ranges(self._float_graph(), flat, self.options)
        self.ranges.origin = f"quantization-aware training, {self.ranges.origin}"
        self.ranges.moments = carried.stored_moments(self.ranges)

    @property
    def layers(self) -> nn.ModuleList:
        """The float network's layers."""
        return self.network.layers

    def train(self, mode: bool = True) -> Self:
        """As torch does, but batch norms keep what they have seen: they are part of the weights."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eval()
        return self

    def integer_graph(self) -> Graph:
        """The graph of level integer that the compiler makes of the present weights."""
        plan = width_plan(self.target, self.options.weight_bits, self.options.widths)
        return Quantize(self.target, self.ranges, plan).run(self._float_graph())

    def _float_graph(self) -> Graph:
        return to_layers(self.structure.layers(self.network), self.options)

    def run(self, x: Tensor) -> Run:
        """Whole sequences: `x` [batch, time, inputs] -> the machine's logits and spikes."""
        graph = self.integer_graph()
        x = self.network.flat(x)
        integers, _ = interface_of(graph).input.integers(np.asarray(x))
        names = _names(self.network.dmp_layers)
        watched = [value for name in names for value in _watched(graph, name)]
        machine = _Trace(graph, interpret(graph, integers, trace=watched))
        spikes = []
        x = as_input(x)
        for name, layer in zip(names, self.network.dmp_layers, strict=True):
            x = _replay(layer, x, machine, name)
            spikes.append(x)
        logits = self.network.answer(x)
        return Run(_as(logits, machine.logits(x.shape[1])), tuple(spikes))

    def export_onnx(self, path: str | Path, form: Form = "scan") -> None:
        """Write the real weights as `dmpc.nn.export_onnx` does, ranges and widths as metadata.

        Compiled with the same target and without calibration, the file gives the program that
        `run` computed: the compiler takes the widths, unless it is told others.
        """
        plan = width_plan(self.target, self.options.weight_bits, self.options.widths)
        metadata = {
            carried.KEY: carried.to_text(self.ranges),
            carried.WIDTHS_KEY: carried.widths_text(stored_widths(plan)),
        }
        export_onnx(self.network, path, form, metadata)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequences: `x` [batch, time, inputs] -> logits [batch, classes]."""
        if torch.compiler.is_exporting():
            raise ValueError("it runs integers, no torch operations: import its export_onnx file")
        return self.run(x).logits


def _names(layers: Iterable[DMPLayer]) -> list[str]:
    """What the compiler calls them: maxima are layers, too, of neurons that forget."""
    names, number = [], 0
    for layer in layers:
        number += 2 if layer.pool is not None and layer.pool.largest else 1
        names.append(f"layer{number}")
    return names


def _watched(graph: Graph, layer: str) -> Iterator[str]:
    """What is looked at of a layer: of a memory what drives it and is read, charges, spikes."""
    for value in (f"{layer}.x", f"{layer}.m.next"):
        if value in graph.types:
            yield value
    yield from (_charged(graph, layer), f"{layer}.spikes")


def _charged(graph: Graph, layer: str) -> str:
    """What the machine compares with thresholds."""
    fire = graph.producer(f"{layer}.spikes")
    assert fire is not None
    return fire.operands[0]


class _Trace:
    """What the machine computed, as real numbers."""

    def __init__(self, graph: Graph, result: Result) -> None:
        self.graph, self.result = graph, result

    def __contains__(self, name: str) -> bool:
        return name in self.result.traces

    def __call__(self, name: str) -> Tensor:
        """A value at every timestep, [batch, time, size]."""
        return self._real(name, self.result.traces[name])

    def limits(self, name: str) -> Limits | None:
        """The rounded limits [size] of a value that has some."""
        clamp = self.graph.producer(name)
        if clamp is None or clamp.kind != "clamp":
            return None
        return Limits(*(self._real(name, self.graph.constants[one]) for one in clamp.operands[1:]))

    def _real(self, name: str, value: Array) -> Tensor:
        """Integers of a value's scale as real numbers."""
        scale, real = self.graph.types[name].scale, torch.get_default_dtype()
        step = self.graph.constants[scale] if isinstance(scale, str) else scale
        made = torch.from_numpy(value).to(real)
        return made if step is None else made * torch.as_tensor(step, dtype=real)

    def logits(self, steps: int) -> Tensor:
        """Logits [batch, classes]."""
        real = self.result.logits * interface_of(self.graph).output.step(steps)
        return torch.from_numpy(real).to(torch.get_default_dtype())


def _replay(layer: DMPLayer, x: Tensor, machine: _Trace, name: str) -> Tensor:
    """`DMPLayer.forward` with the machine's values in place of its own, spikes of all timesteps."""
    x = layer.late(x)
    product = _read if layer.lif.reads_currents(layer.keep()) else unread
    current = product(layer.fast, x)
    if layer.slow_path is not None and f"{name}.x" in machine:  # a silent memory is left out
        drive = _as(layer.driving(x), machine(f"{name}.x"))
        memory = _as(layer.memory(drive.squeeze(2)), machine(f"{name}.m.next"))
        current = current + product(layer.slow, layer.held(memory))
    charged = _charged(machine.graph, name)
    membranes, spikes = (layer.of_machine(machine(of)) for of in (charged, f"{name}.spikes"))
    limits = machine.limits(charged)
    limits = None if limits is None else limits.each(layer.of_machine)
    return layer.lif.replay(current, membranes, spikes, layer.feedback(), layer.keep(), limits)


def _read(module: nn.Module, x: Tensor) -> Tensor:
    read: Tensor = module(x)
    return read


def _as(real: Tensor, value: Tensor) -> Tensor:
    """`value`, with the gradient of `real`."""
    return real + (value - real).detach()
