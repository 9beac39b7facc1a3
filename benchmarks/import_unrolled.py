"""Processor time to import a network whose loop over time is written out.

    OMP_NUM_THREADS=1 python -m benchmarks.import_unrolled

The paper's network for sequential digits: 784 timesteps, two layers of 200 neurons. The machine
decides the figures; they should grow with the number of nodes.
"""

import time

import click
import onnx
from onnx import helper

from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.frontend import import_onnx
from dmpc.nn import DMPNetwork, to_onnx

STEPS = (98, 196, 392, 784)


def unrolled(steps: int) -> onnx.ModelProto:
    """A network of untrained weights, timestep after timestep."""
    import torch

    torch.manual_seed(0)
    step = to_onnx(DMPNetwork(1, [200, 200], 10, memory=40, window=300), "step")
    x, *states = (value.name for value in step.graph.input)
    y, *nexts = (value.name for value in step.graph.output)
    sizes = [value.type.tensor_type.shape.dim[1].dim_value for value in step.graph.input]
    constants = [
        helper.make_tensor(f"{name}@-1", onnx.TensorProto.FLOAT, [1, size], [0.0] * size)
        for name, size in zip(nexts, sizes[1:], strict=True)
    ]
    nodes = []
    for k in range(steps):
        place, old = f"place@{k}", dict(zip(states, nexts, strict=True))
        constants.append(helper.make_tensor(place, onnx.TensorProto.INT64, [], [k]))
        nodes.append(helper.make_node("Gather", ["x", place], [f"{x}@{k}"], f"slice@{k}", axis=1))
        own = {name for node in step.graph.node for name in node.output} | {x}
        for node in step.graph.node:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.name = f"{node.name}@{k}"
            copy.output[:] = [f"{name}@{k}" for name in node.output]
            copy.input[:] = [
                f"{old[name]}@{k - 1}" if name in old else f"{name}@{k}" if name in own else name
                for name in node.input
            ]
            nodes.append(copy)
    nodes.append(helper.make_node("Mean", [f"{y}@{k}" for k in range(steps)], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "unrolled",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, steps, 1])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 10])],
        [*step.graph.initializer, *constants],
    )
    return helper.make_model(graph, opset_imports=step.opset_import, ir_version=step.ir_version)


@click.command()
def main() -> None:
    """Time imports of longer and longer sequences."""
    made = table("import of an unrolled network", "timesteps", "nodes", "seconds of one core")
    for steps in STEPS:
        model = unrolled(steps)
        start = time.process_time()
        import_onnx(model)
        seconds = time.process_time() - start
        made.add_row(str(steps), f"{len(model.graph.node):,}", f"{seconds:.1f}")
    Output().print(made)


if __name__ == "__main__":
    main()
