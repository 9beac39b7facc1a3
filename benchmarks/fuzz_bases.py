"""Whole inputs, one small example of each kind and more: what a campaign damages."""

import io
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

import dmpc
from benchmarks.random_networks import Layer, Shape, network, samples
from dmpc.backend.onnx_writer import to_onnx
from dmpc.ir.printer import to_text
from isa.disassembler import disassemble
from isa.image import Image, image_bytes

if TYPE_CHECKING:
    from torch import nn

INPUTS, STEPS, COUNT, CLASSES = 6, 5, 4, 3
FACTORY = "benchmarks.fuzz_bases:module"
SHAPES = (
    Shape(INPUTS, (Layer(4),), CLASSES, samples=COUNT, steps=STEPS, seed=1),
    Shape(
        INPUTS, (Layer(5, 3, recurrent=True), Layer(4, 2, hard=False, dilation=2)), CLASSES,
        samples=COUNT, steps=STEPS, seed=2,
    ),
    Shape(
        INPUTS, (Layer(3, 3, legendre=False),), CLASSES, readout="max", graded=True,
        samples=COUNT, steps=STEPS, seed=3,
    ),
    Shape(
        INPUTS, (Layer(4, delays=2), Layer(3, echo=2, recurrent=True)), CLASSES, readout="last",
        samples=COUNT, steps=STEPS, seed=4,
    ),
)  # fmt: skip


def options(shape: Shape) -> dmpc.Options:
    """What it takes to compile a shape's network."""
    return dmpc.Options(input_range=(-1.0, 1.0) if shape.graded else None)


# -- ONNX -----------------------------------------------------------------------------------------


@cache
def models() -> tuple[ModelProto, ...]:
    """The networks as Scans, some as one timestep, and one as a sequence without a loop."""
    scans = tuple(to_onnx(network(shape)) for shape in SHAPES)
    return (*scans, *map(timestep, scans[:2]), *map(unrolled, scans[0:3:2]))


def timestep(model: ModelProto) -> ModelProto:
    """The body of a Scan as a model of its own: one timestep, its states as inputs and outputs."""
    scan = _scan(model)
    body = GraphProto()
    body.CopyFrom(scan.attribute[0].g)
    body.initializer.extend(model.graph.initializer)
    return helper.make_model(body, opset_imports=model.opset_import, ir_version=model.ir_version)


def unrolled(model: ModelProto) -> ModelProto:
    """A model whose Scan over time is written out, timestep after timestep."""
    scan, graph = _scan(model), GraphProto()
    graph.CopyFrom(model.graph)
    del graph.node[:]
    body = scan.attribute[0].g
    carried = dict(zip((value.name for value in body.input), scan.input, strict=True))
    x = carried.popitem()
    outputs = []
    for step in range(STEPS):
        graph.initializer.append(numpy_helper.from_array(np.array(step, np.int64), f"at{step}"))
        graph.node.append(
            helper.make_node("Gather", [x[1], f"at{step}"], [f"{x[0]}@{step}"], axis=1)
        )
        names = {**carried, x[0]: f"{x[0]}@{step}"}
        made = {name: f"{name}@{step}" for node in body.node for name in node.output}
        graph.node.extend(_renamed(node, names | made) for node in body.node)
        ends = [made[value.name] for value in body.output]
        carried = dict(zip(carried, ends, strict=False))
        outputs.append(f"{ends[-1]}.row")
        graph.node.append(helper.make_node("Unsqueeze", [ends[-1], "axis"], [outputs[-1]]))
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    graph.node.append(helper.make_node("Concat", outputs, [scan.output[-1]], axis=1))
    at = list(model.graph.node).index(scan)
    before, after = model.graph.node[:at], model.graph.node[at + 1 :]
    steps = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *steps, *after])
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph.input[0].type.tensor_type.shape.dim[1].dim_value = STEPS
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _scan(model: ModelProto) -> NodeProto:
    return next(node for node in model.graph.node if node.op_type == "Scan")


def _renamed(node: NodeProto, names: dict[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    for values in (copy.input, copy.output):
        renamed = [names.get(name, name) for name in values]
        del values[:]
        values.extend(renamed)
    copy.name = names.get(node.output[0], node.name)
    return copy


# -- text and images ------------------------------------------------------------------------------


@cache
def images() -> tuple[Image, ...]:
    """The networks, compiled."""
    return tuple(dmpc.compile(network(s), options=options(s)).image for s in SHAPES)


@cache
def image_files() -> tuple[bytes, ...]:
    """The files of the images."""
    return tuple(map(image_bytes, images()))


@cache
def assembly() -> tuple[str, ...]:
    """The images as assembly text."""
    return tuple(map(disassemble, images()))


@cache
def graph_texts() -> tuple[str, ...]:
    """The networks as graph text, at several levels."""
    made: list[str] = [to_text(network(shape), data=True) for shape in SHAPES]
    levels: dict[str, str] = {}

    def keep(name: str, graph: Any) -> None:
        del name
        levels[graph.level] = to_text(graph, data=True)

    dmpc.compile(network(SHAPES[1]), options=options(SHAPES[1]), observe=keep)
    return (*made, *levels.values())


# -- other formats --------------------------------------------------------------------------------


@cache
def arrays() -> dict[str, Any]:
    """Samples that every one of the networks takes, and their labels."""
    x = samples(SHAPES[0]).astype(np.float32)
    return {"x": x, "y": np.arange(len(x)) % CLASSES}


def samples_bytes() -> bytes:
    """The samples as an `.npz` file."""
    file = io.BytesIO()
    np.savez(file, **arrays())
    return file.getvalue()


def nir_graphs() -> tuple[Any, ...]:
    """Graphs of the neurons and connections that NIR has."""
    import nir

    def chain(*nodes: Any) -> Any:
        names = [f"n{number}" for number in range(len(nodes))]
        return nir.NIRGraph(dict(zip(names, nodes, strict=True)), list(pairwise(names)))

    random, one = np.random.default_rng(7), np.ones(4)
    w, v = random.normal(0.3, 1, (4, INPUTS)), random.normal(0.3, 1, (CLASSES, 4))
    k, o = random.normal(0.3, 1, (2, 1, 3, 3)), random.normal(0.3, 1, (CLASSES, 8))
    c, f = random.normal(0.3, 1, (3, 2, 3)), random.normal(0.3, 1, (CLASSES, 9))
    flat = np.ones((3, 3))
    leak = {"r": one, "v_leak": 0 * one, "v_threshold": one}
    ends = nir.Input(np.array([INPUTS])), nir.Output(np.array([CLASSES]))
    return (
        chain(ends[0], nir.Linear(w), nir.LIF(2e-3 * one, **leak), nir.Linear(v), ends[1]),
        chain(
            ends[0], nir.Affine(w, 0.1 * one), nir.IF(one, one),
            nir.Affine(v, np.zeros(CLASSES)), ends[1],
        ),
        chain(
            ends[0], nir.Delay(1e-4 * np.arange(INPUTS)), nir.Linear(w),
            nir.CubaLIF(1e-3 * one, 2e-3 * one, **leak), nir.Linear(v), ends[1],
        ),
        chain(
            nir.Input(np.array([1, 5, 4])), nir.Conv2d((5, 4), k, 1, 1, 1, 1, np.zeros(2)),
            nir.IF(np.ones((2, 5, 4)), np.ones((2, 5, 4))), nir.SumPool2d(2, 2, 0),
            nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1), nir.Linear(o),
            nir.LI(5e-4 * np.ones(CLASSES), np.ones(CLASSES), np.zeros(CLASSES)), ends[1],
        ),
        chain(
            nir.Input(np.array([2, 7])), nir.Conv1d(7, c, 2, 0, 1, 1, np.zeros(3)),
            nir.LIF(2e-3 * flat, r=flat, v_leak=0 * flat, v_threshold=flat),
            nir.Flatten({"input": np.array([3, 3])}, 0, -1), nir.Linear(f), ends[1],
        ),
    )  # fmt: skip


@cache
def nir_files() -> tuple[bytes, ...]:
    """The NIR graphs as files."""
    import nir

    made = []
    for graph in nir_graphs():
        file = io.BytesIO()
        nir.write(file, graph)
        made.append(file.getvalue())
    return tuple(made)


def module() -> "nn.Module":
    """A torch module: what checkpoints are loaded into."""
    import torch

    from dmpc.nn import DMPNetwork

    torch.manual_seed(0)
    return DMPNetwork(INPUTS, [4, 3], CLASSES, memory=2, window=9.0).eval()


@cache
def program_file() -> bytes:
    """The module as `torch.export.save` writes it."""
    import torch

    x = torch.from_numpy(arrays()["x"][:1])
    file = io.BytesIO()
    torch.export.save(torch.export.export(module(), (x,)), file)
    return file.getvalue()


def write(path: Path, data: bytes | str) -> Path:
    """Write a file; returns its path."""
    path.write_bytes(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
    return path
