"""What a model may use in the place of an operator that has none."""

import difflib
from collections.abc import Iterable, Mapping

RECTIFIED = (
    "Celu", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "LogSigmoid", "Mish",
    "PRelu", "Selu", "Sigmoid", "Silu", "Softplus", "Softsign", "Swish", "Tanh",
    "ThresholdedRelu",
)  # fmt: skip
CURVED = (
    "Abs", "Acos", "Cos", "Erf", "Exp", "Expm1", "Log", "Log1p", "Pow", "Reciprocal", "Rsqrt",
    "Sin", "Sqrt", "Square",
)  # fmt: skip
CURVES = (*RECTIFIED, *CURVED)
"""Functions of single numbers that are no straight lines, nor made of some."""
LEFT_TO_READERS = (
    "leave it to whoever reads the logits: of one answer the largest is the same without it; "
    "of a sum over timesteps it may not be, so train on the sum of what goes into it; between "
    "layers, as in attention, weights that are constants"
)
FUSED = "sj_"  # SpikingJelly 2's operations for whole sequences
INSTEAD: Mapping[tuple[str, ...], str] = {
    ("Softmax", "LogSoftmax", "SafeSoftmax", "Hardmax"): LEFT_TO_READERS,
    ("ArgMax", "TopK"): (
        f"{LEFT_TO_READERS}; between neurons, inhibition by spikes of the timestep before"
    ),
    ("Attention", "MultiHeadAttention", "ScaledDotProductAttention"): (
        "weights that are constants: the machine multiplies no two computed values"
    ),
    RECTIFIED: "Relu, in the scalar drive of a slow state, or a threshold that makes spikes",
    (
        "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNRelu", "RNNReluCell", "RNNTanh",
        "RNNTanhCell",
    ): (
        "LIF neurons that read their own last spikes, or a slow state m' = A m + B relu(W_x s + b)"
    ),
    (
        "GroupNorm", "GroupNormalization", "InstanceNorm", "InstanceNormalization", "LayerNorm",
        "LayerNormalization", "LpNormalization", "MeanVarianceNormalization", "NativeGroupNorm",
        "NativeLayerNorm", "RMSNorm", "RMSNormalization", "SimplifiedLayerNormalization",
    ): "batch normalisation, whose statistics are constants",
    CURVED: "a linear map; what depends on weights alone is computed ahead",
    ("Ceil", "Round"): "GreaterOrEqual; of computed values they are part of a threshold only",
    ("LpPool", "MaxRoiPool", "RoiAlign", "GridSample"): (
        "pool the input before it reaches the network"
    ),
    ("DeformConv", "ConvInteger", "QLinearConv"): (
        "Conv along the time axis, or a Linear"
    ),
    ("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul"): (
        "export the network before quantization: the compiler chooses its own integers"
    ),
    (
        "Bernoulli", "Multinomial", "Rand", "RandLike", "RandomNormal", "RandomNormalLike",
        "RandomUniform", "RandomUniformLike",
    ): "encode the input as spikes before it reaches the network",
    ("Loop",): "Scan, or a loop that the exporter unrolls",
    ("If",): "Where",
}  # fmt: skip


def _key(op: str) -> str:
    """An operator's name however a library spells it."""
    return op.rpartition("::")[2].replace("_", "").lower()


BY_OPERATOR = {_key(op): text for ops, text in INSTEAD.items() for op in ops}
OTHERWISE = "linear maps, Relu, comparisons with a threshold, Where, and moving elements"


def nearest(op: str, known: Iterable[str]) -> str:
    """What comes nearest to an operator among those that are `known`."""
    if _key(op) in BY_OPERATOR:
        return BY_OPERATOR[_key(op)]
    if op.startswith(FUSED):
        return (
            "SpikingJelly's IFNode, LIFNode, ParametricLIFNode or ILIFNode, or torch's operations"
        )
    near = difflib.get_close_matches(
        op.rpartition("::")[2], [name for name in known if name != op], n=3, cutoff=0.6
    )
    return " or ".join(near) if near else OTHERWISE
