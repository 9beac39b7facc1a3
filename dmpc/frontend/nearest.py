"""What a model may use in the place of an operator that has none."""

import difflib
from collections.abc import Iterable, Mapping

INSTEAD: Mapping[tuple[str, ...], str] = {
    ("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "TopK"): (
        "leave it out of the model: the largest logit is the same without it"
    ),
    (
        "Celu", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu",
        "Sigmoid", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu",
    ): "Relu, in the scalar drive of a slow state, or a threshold that makes spikes",
    ("GRU", "LSTM", "RNN"): (
        "LIF neurons that read their own last spikes, or a slow state m' = A m + B relu(W_x s + b)"
    ),
    (
        "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization",
        "MeanVarianceNormalization", "RMSNormalization", "SimplifiedLayerNormalization",
    ): "BatchNormalization, whose statistics are constants",
    ("Abs", "Acos", "Cos", "Erf", "Exp", "Log", "Pow", "Reciprocal", "Sin", "Sqrt"): (
        "a linear map; what depends on weights alone is computed ahead"
    ),
    ("Ceil", "Round"): "GreaterOrEqual; of computed values they are part of a threshold only",
    ("LpPool", "MaxPool", "MaxRoiPool", "RoiAlign", "Resize"): (
        "pool the input before it reaches the network"
    ),
    ("ConvTranspose", "DeformConv", "ConvInteger", "QLinearConv"): (
        "Conv along the time axis, or a Linear"
    ),
    ("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul"): (
        "export the network before quantization: the compiler chooses its own integers"
    ),
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike"): "encode the input as spikes before it reaches the network",
    ("Loop",): "Scan, or a loop that the exporter unrolls",
    ("If",): "Where",
}  # fmt: skip
BY_OPERATOR = {op: text for ops, text in INSTEAD.items() for op in ops}
OTHERWISE = "linear maps, Relu, comparisons with a threshold, Where, and moving elements"


def nearest(op: str, known: Iterable[str]) -> str:
    """What comes nearest to an operator among those that are `known`."""
    if op in BY_OPERATOR:
        return BY_OPERATOR[op]
    near = difflib.get_close_matches(op, list(known), n=3, cutoff=0.6)
    return " or ".join(near) if near else OTHERWISE
