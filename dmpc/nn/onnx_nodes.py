"""The ONNX nodes of one timestep of a DMP network, named after the network's modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dmpc.nn.dynamics import Limits
from dmpc.nn.layer import DMPLayer
from dmpc.nn.leak import Leak
from dmpc.nn.lif import LIF
from dmpc.nn.network import DMPNetwork
from dmpc.nn.planes import Convolution, Planes, Pool

COUNTED: Final = ".num_batches_tracked"
CHARGING: Final = ".charging"
"""What several synaptic currents charge membranes with."""
MEMBRANE: Final = "readout.membrane"
"""The state of a readout that leaks."""


def layer_nodes(name: str, layer: DMPLayer, spikes: str) -> list[NodeProto]:
    """Nodes from the tensor `spikes` [batch, inputs] to `<name>.spikes` [batch, neurons].

    They read the states of `state_sizes` and write those of the next timestep, with `_next` behind
    their names. One node per line of the equations of `DMPLayer`.
    """

    op = _Ops(name)
    nodes: list[NodeProto] = []
    if layer.pool is not None:
        nodes += pool_nodes(f"{name}.pool", layer.pool, spikes)
        spikes = f"{name}.pool"
    if layer.delays is not None:
        past = [spikes, *(f".past.{age + 1}" for age in range(longest(layer)))]
        # Which element of the joined timesteps is that of an input: its delay times the inputs.
        nodes += [
            op("Round", ".delays.whole", [".delays.delay"]),
            op("Mul", ".delays.before", [".delays.whole", ".inputs"]),
            op("Add", ".delays.place", [".delays.before", ".axons"]),
            op("Cast", ".delays.index", [".delays.place"], to=TensorProto.INT64),
            op("Concat", ".known", past, axis=1),
            op("Gather", ".late", [".known", ".delays.index"], axis=1),
            *(op("Identity", f".past.{n + 1}_next", [known]) for n, known in enumerate(past[:-1])),
        ]
        spikes = f"{name}.late"
    nodes += fast_nodes(f"{name}.fast", layer.fast, spikes)
    current = ".fast"
    if layer.recurrent is not None:
        nodes += [
            op("Gemm", ".recurrent", [".before", ".recurrent.weight"], transB=1),
            op("Add", ".synapses", [".fast", ".recurrent"]),
        ]
        current = ".synapses"
    if layer.slow_path is not None:
        if layer.linear_drive:
            nodes.append(linear(f"{name}.drive", spikes))
        else:
            nodes.append(linear(f"{name}.drive", spikes, f"{name}.drive.linear"))
            nodes.append(op("Relu", ".drive", [".drive.linear"]))
        nodes += [
            op("Gemm", ".memory.kept", [".memory", ".memory.a_bar"], transB=1),
            op("Mul", ".memory.added", [".drive", ".memory.b_bar"]),
            op("Add", ".memory_next", [".memory.kept", ".memory.added"]),
            *(
                [
                    op("Mod", ".phase", [".timestep", ".dilation"], fmod=1),
                    op("Equal", ".due", [".phase", ".zero"]),
                    op("Where", ".held_next", [".due", ".memory_next", ".held"]),
                    op("Add", ".timestep_next", [".timestep", ".one"]),
                    linear(f"{name}.slow", f"{name}.held_next"),
                ]
                if layer.dilation > 1
                else [linear(f"{name}.slow", f"{name}.memory_next")]
            ),
            op("Add", ".current", [current, ".slow"]),
        ]
        current = ".current"
    if layer.currents:
        nodes += current_nodes(op, list(layer.currents), current)
        current = ".synapse_next" if layer.receptors == 1 else CHARGING
    nodes += neuron_nodes(op, layer.lif, current)
    if layer.recurrent is not None:
        nodes.append(op("Identity", ".before_next", [".spikes"]))
    return nodes


@dataclass(frozen=True)
class _Ops:
    """Makes the nodes of a layer; a leading dot stands for its name."""

    layer: str

    def __call__(self, kind: str, node: str, inputs: list[str], **attributes: int) -> NodeProto:
        """A node; `node` names it and its result."""
        inputs = [self.layer + i if i.startswith(".") else i for i in inputs]
        made = helper.make_node(kind, inputs, [self.layer + node], name=self.layer + node)
        made.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        return made


def current_nodes(op: _Ops, of: list[str], current: str) -> list[NodeProto]:
    """Nodes from what arrives at receptors to their currents, and to the sum of several."""
    nodes: list[NodeProto] = []
    arriving = [current]
    if len(of) > 1:
        arriving = [f".arriving{each}" for each in of]
        given, parts, name = op.layer + current, [op.layer + one for one in arriving], ".arriving"
        nodes.append(helper.make_node("Split", [given], parts, op.layer + name, axis=1))
    for each, brought in zip(of, arriving, strict=True):
        own = f".synapse{each}"
        nodes += [
            op("Mul", f"{own}.kept", [own, f"{own}.keep"]),
            op("Add", f"{own}_next", [f"{own}.kept", brought]),
        ]
    if len(of) > 1:
        nodes.append(op("Sum", CHARGING, [f".synapse{each}_next" for each in of]))
    return nodes


def neuron_nodes(op: _Ops, lif: LIF, current: str) -> list[NodeProto]:
    """Nodes from what charges membranes to spikes and the neurons' new states."""
    raises = lif.adaptation is not None and lif.adaptation.raises
    nodes, threshold = [], ".lif.raised" if raises else ".lif.threshold"
    if raises:
        nodes.append(op("Add", threshold, [".lif.threshold", ".adaptation"]))
    elif lif.adaptation is not None:
        nodes.append(op("Sub", ".lif.pulled", [current, ".adaptation"]))
        current = ".lif.pulled"
    held = _held(op, lif)
    added = [".lif.leaked", ".lif.input"]
    nodes += [
        op("Mul", ".lif.leaked", [".membrane", ".lif.beta"]),
        op("Mul", ".lif.input", [current, ".lif.gain"]),
        op("Add", ".lif.free" if held else ".lif.charged", added),
        *held,
        op("GreaterOrEqual", ".lif.fired", [".lif.charged", threshold]),
        op("Cast", ".spikes", [".lif.fired"], to=TensorProto.FLOAT),
    ]
    if lif.reset is None:
        nodes += [
            op("Mul", ".lif.subtracted", [".spikes", threshold]),
            op("Sub", ".membrane_next", [".lif.charged", ".lif.subtracted"]),
        ]
    else:
        nodes.append(op("Where", ".membrane_next", [".lif.fired", ".lif.reset", ".lif.charged"]))
    if lif.refractory is not None:
        steps = [".lif.fired", ".lif.refractory", ".lif.left"]
        nodes.append(op("Where", ".resting_next", steps))
    return nodes if lif.adaptation is None else [*nodes, *_adapting(op, raises)]


def _held(op: _Ops, lif: LIF) -> list[NodeProto]:
    """Nodes from `.lif.free` to `.lif.charged`, of neurons that rest or have limits."""
    if lif.refractory is not None:
        return _resting(op)
    kinds = zip(("Max", "Min"), Limits._fields, lif.limits, strict=True)
    cuts = [(kind, name) for kind, name, limit in kinds if limit is not None]
    made = [*(f".lif.above_{name}" for _, name in cuts[:-1]), ".lif.charged"]
    return [
        op(kind, after, [before, f".lif.{name}"])
        for (kind, name), before, after in zip(cuts, [".lif.free", *made], made, strict=False)
    ]


def _resting(op: _Ops) -> list[NodeProto]:
    """Membranes of neurons that rest, and for how many timesteps they still do."""
    return [
        op("GreaterOrEqual", ".lif.rests", [".resting", ".lif.timestep"]),
        op("Where", ".lif.charged", [".lif.rests", ".lif.reset", ".lif.free"]),
        op("Sub", ".lif.less", [".resting", ".lif.timestep"]),
        op("Relu", ".lif.left", [".lif.less"]),
    ]


def _adapting(op: _Ops, raises: bool) -> list[NodeProto]:
    own = ".lif.adaptation"
    risen = ".adaptation_next" if raises else f"{own}.risen"
    nodes = [
        op("Mul", f"{own}.kept", [".adaptation", f"{own}.leak.keep"]),
        op("Mul", f"{own}.jumped", [".spikes", f"{own}.jump"]),
        op("Add", risen, [f"{own}.kept", f"{own}.jumped"]),
    ]
    if not raises:
        nodes += [
            op("Mul", f"{own}.coupled", [".membrane_next", f"{own}.coupling"]),
            op("Add", ".adaptation_next", [risen, f"{own}.coupled"]),
        ]
    return nodes


def fast_nodes(name: str, fast: nn.Linear | Convolution, spikes: str) -> list[NodeProto]:
    """Nodes of a layer's fast path; a convolution lays planes out, and flat again."""
    if isinstance(fast, nn.Linear):
        return [linear(name, spikes)]
    planes, made = f"{name}.planes", f"{name}.convolved"
    given = [planes, f"{name}.weight", *([] if fast.bias is None else [f"{name}.bias"])]
    conv = helper.make_node(
        "Conv",
        given,
        [made],
        made,
        strides=fast.stride,
        pads=fast.pads,
        dilations=fast.dilation,
        group=fast.groups,
    )
    nodes = [helper.make_node("Reshape", [spikes, f"{name}.shape"], [planes], planes), conv]
    if fast.norm is not None:
        own = f"{name}.norm"
        read = [f"{own}.{one}" for one in ("weight", "bias", "running_mean", "running_var")]
        nodes.append(
            helper.make_node("BatchNormalization", [made, *read], [own], own, epsilon=fast.norm.eps)
        )
        made = own
    return [*nodes, helper.make_node("Flatten", [made], [name], name, axis=1)]


def pool_nodes(name: str, pool: Pool, spikes: str) -> list[NodeProto]:
    """Nodes that pool planes, laid out and flat again."""
    planes, made = f"{name}.planes", f"{name}.pooled"
    return [
        helper.make_node("Reshape", [spikes, f"{name}.shape"], [planes], planes),
        helper.make_node(
            "MaxPool" if pool.largest else "AveragePool",
            [planes],
            [made],
            made,
            kernel_shape=pool.size,
            strides=pool.stride,
            pads=(*pool.padding, *pool.padding),
        ),
        helper.make_node("Flatten", [made], [name], name, axis=1),
    ]


def readout_nodes(network: DMPNetwork, spikes: str) -> list[NodeProto]:
    """Nodes from `spikes` [batch, neurons] to `y` [batch, classes]; a leaky one has a state."""
    if network.readout_leak is None:
        return [linear("readout", spikes, "y")]
    kept, after = "readout_leak.kept", f"{MEMBRANE}_next"
    return [
        linear("readout", spikes),
        helper.make_node("Mul", [MEMBRANE, "readout_leak.keep"], [kept], kept),
        helper.make_node("Add", [kept, "readout"], ["y"], "y"),
        helper.make_node("Identity", ["y"], [after], after),
    ]


def longest(layer: DMPLayer) -> int:
    """The longest delay that a layer has learned, in timesteps."""
    return 0 if layer.delays is None else int(layer.delays.whole().max())


def linear(module: str, inputs: str, output: str | None = None) -> NodeProto:
    """A `torch.nn.Linear` called `module` as Gemm; its result is called `output` or as it is."""
    weights = [f"{module}.weight", f"{module}.bias"]
    output = module if output is None else output
    return helper.make_node("Gemm", [inputs, *weights], [output], name=output, transB=1)


def weights(network: DMPNetwork) -> list[TensorProto]:
    """Initialisers of `layer_nodes`: the network's `state_dict` and its neurons' parameters.

    Raises ValueError if a weight is NaN or infinite.
    """
    tensors, limited = [], {}
    for name, module in network.named_modules():
        if isinstance(module, Leak):
            limited[f"{name}.keep"] = module.kept()
        elif isinstance(module, LIF):
            limited |= {f"{name}.{key}": value for key, value in _limited(module)}
    for name, tensor in (stored(network) | limited).items():
        tensor = tensor.detach().cpu().float()
        if not tensor.isfinite().all():
            raise ValueError(f"export_onnx: {name!r} holds NaN or infinity; did training diverge?")
        tensors.append(_constant(name, tensor.numpy()))
    for i, layer in enumerate(network.dmp_layers):
        tensors += _neuron(f"layers.{i}.lif", layer.lif)
        shapes: dict[str, Planes] = {} if layer.pool is None else {"pool": layer.pool.planes}
        if isinstance(layer.fast, Convolution):
            shapes["fast"] = layer.fast.planes
        for part, planes in shapes.items():
            shape = np.array([0, *planes], np.int64)  # 0: the batch, as it is
            tensors.append(_constant(f"layers.{i}.{part}.shape", shape))
        if layer.states and layer.dilation > 1:
            numbers = {"dilation": layer.dilation, "zero": 0, "one": 1}
            for key, number in numbers.items():
                tensors.append(_constant(f"layers.{i}.{key}", np.array(number, np.float32)))
        if layer.delays is not None:
            axons = np.arange(layer.axons, dtype=np.float32)
            tensors.append(_constant(f"layers.{i}.axons", axons))
            tensors.append(_constant(f"layers.{i}.inputs", np.array(layer.axons, np.float32)))
    return tensors


def stored(network: nn.Module) -> dict[str, Tensor]:
    """The numbers of its `state_dict` that a file holds: not how much a norm has seen."""
    every: dict[str, Tensor] = network.state_dict()
    return {name: one for name, one in every.items() if not name.endswith(COUNTED)}


def _limited(lif: LIF) -> Iterator[tuple[str, Tensor]]:
    """The learned numbers of neurons, within their limits."""
    numbers = lif.dynamics()
    if isinstance(numbers.beta, Tensor):
        yield "beta", numbers.beta
    if numbers.coupling is not None:
        yield "adaptation.coupling", numbers.coupling


def _neuron(name: str, lif: LIF) -> list[TensorProto]:
    values = {"gain": lif.gain, "threshold": lif.threshold}
    if not isinstance(lif.beta, Tensor):
        values = {"beta": lif.beta, **values}
    if lif.reset is not None:
        values["reset"] = lif.reset
    if lif.refractory is not None:
        values["timestep"] = 1.0
    return [
        _constant(f"{name}.{key}", torch.as_tensor(v).detach().numpy().astype(np.float32))
        for key, v in values.items()
    ]


def state_sizes(network: DMPNetwork) -> dict[str, int]:
    """Names of the states in order, and how many values per sample each holds."""
    sizes = {}
    for i, layer in enumerate(network.dmp_layers):
        sizes[f"layers.{i}.membrane"] = layer.neurons
        if layer.states:
            sizes[f"layers.{i}.memory"] = layer.states
        if layer.states and layer.dilation > 1:
            sizes[f"layers.{i}.held"] = layer.states
            sizes[f"layers.{i}.timestep"] = 1
        if layer.recurrent is not None:
            sizes[f"layers.{i}.before"] = layer.neurons
        for age in range(longest(layer)):
            sizes[f"layers.{i}.past.{age + 1}"] = layer.axons
        for each in layer.currents:
            sizes[f"layers.{i}.synapse{each}"] = layer.neurons
        if layer.lif.adaptation is not None:
            sizes[f"layers.{i}.adaptation"] = layer.neurons
        if layer.lif.refractory is not None:
            sizes[f"layers.{i}.resting"] = layer.neurons
    if network.readout_leak is not None:
        sizes[MEMBRANE] = network.readout.out_features
    return sizes


def _constant(name: str, array: NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(array, name)
