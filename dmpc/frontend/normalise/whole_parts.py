"""Whole parts as torch's exporter spells them: `sign(x) * floor(abs(x))`, which is two casts.

ONNX has no `Trunc`. Where libraries count how often a membrane holds the threshold
(`torch.div(v, theta, rounding_mode="trunc")`), the size of a membrane would be asked for otherwise,
which the machine does not know.
"""

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from dmpc.frontend.normalise.rewriting import replace_nodes
from dmpc.frontend.onnx_file import graphs

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def with_whole_parts(model: ModelProto) -> ModelProto:
    """The model with such products as casts to integers and back; itself if it has none."""
    if not any(_found(graph) for graph in graphs(model.graph)):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    given = (value.type.tensor_type.elem_type for value in copy.graph.input)
    type_ = next((one for one in given if one in FLOATS), TensorProto.FLOAT)
    for graph in graphs(copy.graph):
        found = _found(graph)

        def replaced(
            node: NodeProto, found: dict[str, str] = found
        ) -> tuple[NodeProto, NodeProto] | None:
            whole = found.get(node.output[0]) if node.op_type == "Mul" else None
            if whole is None:
                return None
            name = f"{node.output[0]}.whole"
            return (
                helper.make_node("Cast", [whole], [name], name, to=TensorProto.INT64),
                helper.make_node("Cast", [name], node.output, node.name, to=type_),
            )

        replace_nodes(graph, replaced)
    return copy


def _found(graph: GraphProto) -> dict[str, str]:
    """The products that are whole parts, and what of."""
    makers = {name: node for node in graph.node for name in node.output}

    def behind(name: str, *kinds: str) -> str | None:
        for kind in kinds:
            node = makers.get(name)
            if node is None or node.op_type != kind:
                return None
            name = node.input[0]
        return name

    found = {}
    for node in graph.node:
        if node.op_type != "Mul":
            continue
        for one, other in (node.input, node.input[::-1]):
            whole = behind(one, "Floor", "Abs")
            if whole is not None and whole == behind(other, "Sign"):
                found[node.output[0]] = whole
    return found
