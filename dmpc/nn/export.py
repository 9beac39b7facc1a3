"""Networks to ONNX: standard ops only, the same bytes for the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from dmpc.nn.activity import warn_of_stuck
from dmpc.nn.network import DMPNetwork, OverTime
from dmpc.nn.onnx_nodes import layer_nodes, readout_nodes, state_sizes, stored, weights
from dmpc.onnx_scan import IR_VERSION, OPSET, TIME, initial_states, scan, value
from isa.files import write_file

Form = Literal["scan", "step"]
LAST: Final = numpy_helper.from_array(np.array(-1, np.int64), "last_timestep")
NOTHING: Final[Mapping[str, str]] = {}


def export_onnx(
    network: DMPNetwork,
    path: str | Path,
    form: Form = "scan",
    metadata: Mapping[str, str] = NOTHING,
) -> None:
    """Write `network` for inference as an ONNX file of float32.

    `form="scan"`: `x` [batch, time, inputs] -> `logits` [batch, classes], a Scan over time from
    zero states. `form="step"`: one timestep, `x` [batch, inputs] and the states -> `y`
    [batch, classes] and the new states; the logits are the mean of `y` over the timesteps (or the
    last or largest, as the network has it), the first of which gets zero states. States are
    `layers.<i>.membrane` [batch, neurons] and `layers.<i>.memory` [batch, memory states], and of a
    layer with a dilation `layers.<i>.held` [batch, memory states] and `layers.<i>.timestep`
    [batch, 1]; of a recurrent layer `layers.<i>.before` [batch, neurons], its last spikes; of one
    with delays `layers.<i>.past.<age>` [batch, inputs], its input `age` timesteps ago; of one with
    synaptic currents `layers.<i>.synapse` [batch, neurons], or `layers.<i>.synapse.<n>` of each
    receptor from 1; of one that adapts `layers.<i>.adaptation` [batch, neurons]; of one whose
    neurons rest `layers.<i>.resting` [batch, neurons]; of a readout that leaks `readout.membrane`
    [batch, classes]. New ones have `_next` appended.

    Initialisers bear the names of the network's `state_dict`, nodes those of its modules;
    `metadata` is stored in the file, which is written whole or not at all. Warns
    (`TrainingWarning`) of layers none of whose neurons carried anything when these very weights
    were last trained or measured. Raises ValueError as `to_onnx` does, OSError if the file cannot
    be written.
    """
    content = to_onnx(network, form, metadata).SerializeToString(deterministic=True)
    warn_of_stuck("export_onnx", network, 2)
    write_file(path, content)


def to_onnx(
    network: DMPNetwork, form: Form = "scan", metadata: Mapping[str, str] = NOTHING
) -> ModelProto:
    """The ONNX model that `export_onnx` writes.

    Raises ValueError if `network` is no DMPNetwork, `form` is unknown, a weight is NaN or infinite
    or `metadata` is no text.
    """
    if not isinstance(network, DMPNetwork):
        raise ValueError(
            f"export_onnx: network is {type(network).__name__}, not a DMPNetwork (a "
            "QuantizedNetwork has a method export_onnx; other modules: torch.onnx.export, or "
            "dmpc.from_torch)"
        )
    if not all(isinstance(text, str) for item in metadata.items() for text in item):
        raise ValueError(f"export_onnx: metadata {dict(metadata)!r} is not text by text")
    if form not in get_args(Form):
        raise ValueError(f"export_onnx: form is {form!r}; choose one of {get_args(Form)}")
    graph = _scan_graph(network) if form == "scan" else _step_graph(network)
    model = helper.make_model(
        graph,
        producer_name="dmpc.nn",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def load_weights(network: DMPNetwork, path: str | Path) -> None:
    """Set the weights of `network` to those of a file that `export_onnx` wrote.

    Raises ValueError if an initialiser is missing or has another shape; FileNotFoundError.
    """
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    weights = {}
    for name, own in stored(network).items():
        if name not in found:
            raise ValueError(f"{path}: no initialiser {name!r}; was it exported by dmpc.nn?")
        if found[name].shape != own.shape:
            raise ValueError(
                f"{path}: {name!r} has shape {list(found[name].shape)}, the network's has "
                f"{list(own.shape)}; make the network with the sizes it was exported with"
            )
        weights[name] = torch.from_numpy(found[name].copy())
    network.load_state_dict(network.state_dict() | weights)


def _scan_graph(network: DMPNetwork) -> GraphProto:
    sizes = state_sizes(network)
    nodes, constants = initial_states(sizes)
    loop = scan(_timestep(network, "timestep"), sizes, "x", "y")
    return helper.make_graph(
        [*nodes, loop, _answer(network.over_time)],
        "dmp_network",
        [value("x", "batch", "time", network.dmp_layers[0].inputs)],
        [value("logits", "batch", network.readout.out_features)],
        [*weights(network), *constants, *([LAST] if network.over_time == "last" else [])],
    )


def _answer(over_time: OverTime) -> NodeProto:
    """`logits` [batch, classes] of `y` [batch, time, classes]."""
    if over_time == "last":
        return helper.make_node("Gather", ["y", LAST.name], ["logits"], "last", axis=TIME)
    kind = {"mean": "ReduceMean", "max": "ReduceMax"}[over_time]
    return helper.make_node(kind, ["y"], ["logits"], over_time, axes=[TIME], keepdims=0)


def _step_graph(network: DMPNetwork) -> GraphProto:
    graph = _timestep(network, "dmp_network_step")
    # A Scan's body takes the scanned value last; a caller expects the input first.
    inputs = [graph.input[-1], *graph.input[:-1]]
    outputs = [graph.output[-1], *graph.output[:-1]]
    return helper.make_graph(graph.node, graph.name, inputs, outputs, weights(network))


def _timestep(network: DMPNetwork, name: str) -> GraphProto:
    """One timestep, weights from the outer scope: states and x in, new states and y out."""
    nodes: list[NodeProto] = []
    spikes, inputs = "x", network.dmp_layers[0].inputs
    for i, layer in enumerate(network.dmp_layers):
        nodes += layer_nodes(f"layers.{i}", layer, spikes)
        spikes = f"layers.{i}.spikes"
    nodes += readout_nodes(network, spikes)
    sizes = state_sizes(network)
    states = [value(state, "batch", size) for state, size in sizes.items()]
    new_states = [value(f"{state}_next", "batch", size) for state, size in sizes.items()]
    return helper.make_graph(
        nodes,
        name,
        [*states, value("x", "batch", inputs)],
        [*new_states, value("y", "batch", network.readout.out_features)],
    )
