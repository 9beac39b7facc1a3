"""Several inputs of a model as one that it splits: the machine's input is one vector a timestep."""

from collections.abc import Sequence
from math import prod

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from dmpc.findings import finding, tell
from dmpc.frontend.onnx_file import initializers
from dmpc.rules import Severity, Stage, rule

INPUTS_JOINED = rule(
    "inputs-joined",
    Stage.IMPORT,
    "the model has several inputs; the network takes them as one of {size}, side by side: {names}",
    why="""The machine reads one vector in each timestep. Inputs that come timestep by timestep are
    parts of it, in the model's own order.""",
    nearest="samples x [samples, timesteps, {size}]: np.concatenate of the inputs along axis 2",
    severity=Severity.NOTE,
)
JOINED = "inputs.joined"
"""What the one input is called."""


def tell_joined(where: str, parts: dict[str, int]) -> None:
    """Tell of what parts a model's input is made."""
    names = ", ".join(f"{name} [{size}]" for name, size in parts.items())
    tell(
        finding(
            INPUTS_JOINED, where=where, nodes=tuple(parts), names=names, size=sum(parts.values())
        )
    )


def joined(model: ModelProto, kept: Sequence[str]) -> tuple[ModelProto, dict[str, int]] | None:
    """A model with one input in place of all that are not `kept`, and their sizes by name.

    Without any `kept` inputs they are sequences [.., .., features], which share both axes in front;
    else those of one timestep, [batch, features] or [features]. None if they are not such, or if
    there is nothing to join.
    """
    stored = initializers(model.graph)
    given = [value for value in model.graph.input if value.name not in stored]
    parts = [value for value in given if value.name not in kept]
    ranks = [len(value.type.tensor_type.shape.dim) for value in parts]
    axes = 2 if not kept else int(min(ranks, default=0) > 1)
    if len(parts) < 2 or min(ranks) <= axes or len({_front(value, axes) for value in parts}) != 1:
        return None
    shapes = [[dim.dim_value for dim in v.type.tensor_type.shape.dim][axes:] for v in parts]
    if any(size <= 0 for shape in shapes for size in shape):
        return None
    made = ModelProto()
    made.CopyFrom(model)
    name, sizes = _unused(made), [prod(shape) for shape in shapes]
    _take(made, parts, axes, name, sum(sizes))
    split = helper.make_node("Split", [name, f"{name}.sizes"], [], axis=axes)
    made.graph.initializer.append(numpy_helper.from_array(np.array(sizes), f"{name}.sizes"))
    nodes = [split]
    for number, (value, shape) in enumerate(zip(parts, shapes, strict=True)):
        flat, target = f"{name}.{number}", f"{name}.shape{number}"
        split.output.append(flat)
        array = np.array([0] * axes + shape)  # as its axes in front are
        made.graph.initializer.append(numpy_helper.from_array(array, target))
        nodes.append(helper.make_node("Reshape", [flat, target], [value.name]))
    rest = list(made.graph.node)
    del made.graph.node[:]
    made.graph.node.extend([*nodes, *rest])
    return made, {value.name: size for value, size in zip(parts, sizes, strict=True)}


def _front(value: ValueInfoProto, axes: int) -> tuple[object, ...]:
    """What inputs that are joined must have in common: their type, and their axes in front."""
    tensor = value.type.tensor_type
    dims = [dim.dim_value or dim.dim_param or None for dim in tensor.shape.dim][:axes]
    return tensor.elem_type, *dims


def _unused(model: ModelProto) -> str:
    """A name with which none of a model's begins."""
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    found = JOINED
    while any(name.startswith(found) for name in names):
        found += "_"
    return found


def _take(model: ModelProto, parts: list[ValueInfoProto], axes: int, name: str, size: int) -> None:
    """Give a model one input in place of some."""
    value = ValueInfoProto()
    value.CopyFrom(parts[0])
    value.name = name
    del value.type.tensor_type.shape.dim[axes:]
    value.type.tensor_type.shape.dim.add().dim_value = size
    gone = {part.name for part in parts}
    others = [one for one in model.graph.input if one.name not in gone]
    del model.graph.input[:]
    model.graph.input.extend([value, *others])
