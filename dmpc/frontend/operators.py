"""ONNX operators as model-level ops: the table of their handlers."""

from collections.abc import Mapping

from dmpc.frontend import elementwise, movement, planes, products
from dmpc.frontend.context import Arguments, Context, Handler
from dmpc.frontend.maxima import max_pooling
from dmpc.frontend.onnx_file import Node
from dmpc.frontend.reduce import pooling, reduction
from dmpc.frontend.regions import MOVEMENT, WRITES, over_time
from dmpc.frontend.scan import scan
from dmpc.frontend.tensors import MixesTime, Tensor


def temporal(ctx: Context, node: Node, inputs: Arguments) -> list[Tensor]:
    """An operator that exists only to mix elements along an axis."""
    del ctx, inputs
    raise MixesTime(f"{node.op} is supported along the time axis only")


SINGLE: Mapping[str, Handler] = {
    **dict.fromkeys(elementwise.BINARY, elementwise.binary),
    **dict.fromkeys(elementwise.LOGIC, elementwise.logic),
    **dict.fromkeys(MOVEMENT, movement.move),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceSum"), reduction),
    **dict.fromkeys(("CumSum", "DFT", *WRITES), temporal),
    "AveragePool": planes.pooling,
    "GlobalAveragePool": pooling,
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), max_pooling),
    "Abs": elementwise.stepping("abs"),
    "BatchNormalization": elementwise.batch_norm,
    "Cast": elementwise.cast,
    "Ceil": elementwise.stepping("ceil"),
    "Clip": elementwise.clip,
    "Concat": movement.concat,
    "Conv": products.conv,
    "ConvTranspose": planes.transposed,
    "Dropout": movement.dropout,
    "Einsum": products.einsum,
    "Floor": elementwise.floor,
    "Gemm": products.gemm,
    "MatMul": products.matmul,
    "Max": elementwise.maximum,
    "Min": elementwise.minimum,
    "Mod": elementwise.mod,
    "Neg": elementwise.neg,
    "Not": elementwise.invert,
    "Pad": planes.pad,
    "Pow": elementwise.stepping("pow"),
    "Relu": elementwise.relu,
    "Resize": planes.resize,
    "Scan": scan,
    "Round": elementwise.nearest,
    "Shape": movement.shape,
    "Sign": elementwise.stepping("sign"),
    "Sqrt": elementwise.stepping("sqrt"),
    "Sum": elementwise.total,
    "Where": elementwise.where,
}
OPERATORS: Mapping[str, Handler] = {op: over_time(handler) for op, handler in SINGLE.items()}
