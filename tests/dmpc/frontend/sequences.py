"""Hand-built ONNX models whose slow states are written for the whole sequence at once.

Two layers share one kernel; their neurons run in a Scan each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dmpc.legendre import legendre_system, zero_order_hold
from tests.dmpc.frontend.spellings import node, value

M, N, D, C, T = 5, 4, 3, 3, 12
WINDOW = 7.0
A, B = zero_order_hold(*legendre_system(D, WINDOW))


def impulse_response(steps: int = T) -> np.ndarray:
    """H [steps, D] in float32, computed in float64."""
    return np.stack([np.linalg.matrix_power(A, k) @ B for k in range(steps)]).astype(np.float32)


def toeplitz(response: np.ndarray) -> np.ndarray:
    """K [T, T, D] with `m[t] = sum over s of K[t, s] x[s]`."""
    steps = len(response)
    lag = np.arange(steps)[:, None] - np.arange(steps)
    return np.where(lag[..., None] >= 0, response[lag.clip(0)], 0).astype(np.float32)


class Nodes:
    """A graph under construction: `nodes("Op", inputs...)` adds a node and names its output."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.protos: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def __call__(self, op: str, *inputs: object, **attributes: object) -> str:
        names = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        output = f"{op.lower()}{len(self.protos)}"
        self.protos.append(helper.make_node(op, names, [output], name=f"/{output}", **attributes))
        return output

    def constant(self, array: object) -> str:
        array = np.asarray(array)
        for name, other in self.constants.items():
            if other.dtype == array.dtype and np.array_equal(other, array):
                return name
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def cut(self, tensor: str, start: int, end: int, axis: int) -> str:
        return self("Slice", tensor, [start], [end], [axis])


Memory = Callable[[Nodes, str, np.ndarray], str]
"""From a drive [batch, T, 1] and H [T, D] to the slow state [batch, T, D]."""


def conv(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    kernel = h[::-1].T[:, None].copy()
    channels = nodes("Transpose", drive, perm=[0, 2, 1])
    causal = nodes("Conv", channels, kernel, pads=[len(h) - 1, 0])
    return nodes("Transpose", causal, perm=[0, 2, 1])


def conv_and_slice(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    kernel = h[::-1].T[:, None].copy()
    channels = nodes("Transpose", drive, perm=[0, 2, 1])
    full = nodes("Conv", channels, kernel, pads=[T - 1, T - 1])
    return nodes("Transpose", nodes.cut(full, 0, T, 2), perm=[0, 2, 1])


def pad_and_conv(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    kernel = h[::-1].T[:, None].copy()
    padded = nodes("Pad", drive, [0, T - 1, 0, 0, 0, 0], np.float32(0))
    channels = nodes("Transpose", padded, perm=[0, 2, 1])
    return nodes("Transpose", nodes("Conv", channels, kernel), perm=[0, 2, 1])


def concat_and_conv(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    kernel = h[::-1].T[:, None].copy()
    channels = nodes("Transpose", drive, perm=[0, 2, 1])
    shape = nodes("Concat", nodes.cut(nodes("Shape", drive), 0, 1, 0), [1, T - 1], axis=0)
    padded = nodes("Concat", nodes("ConstantOfShape", shape), channels, axis=2)
    return nodes("Transpose", nodes("Conv", padded, kernel), perm=[0, 2, 1])


def conv_same(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    """A kernel with a future half of zeros, and automatic padding."""
    taps = np.concatenate([h[::-1], np.zeros((T - 1, D), np.float32)]).T[:, None].copy()
    channels = nodes("Transpose", drive, perm=[0, 2, 1])
    same = nodes("Conv", channels, taps, auto_pad="SAME_UPPER")
    return nodes("Transpose", same, perm=[0, 2, 1])


def conv_2d(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    kernel = h[::-1].T[:, None, None].copy()
    image = nodes("Unsqueeze", nodes("Transpose", drive, perm=[0, 2, 1]), [2])
    wide = nodes("Conv", image, kernel, pads=[0, T - 1, 0, 0], kernel_shape=[1, T])
    return nodes("Transpose", nodes("Squeeze", wide, [2]), perm=[0, 2, 1])


def conv_depthwise(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    kernel = h[::-1].T[:, None].copy()
    channels = nodes("Transpose", drive, perm=[0, 2, 1])
    copies = nodes("Tile", channels, [1, D, 1])
    deep = nodes("Conv", copies, kernel, pads=[T - 1, 0], group=D)
    return nodes("Transpose", deep, perm=[0, 2, 1])


def einsum(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    flat = nodes("Squeeze", drive, [2])
    return nodes("Einsum", flat, toeplitz(h), equation="bs,tsd->btd")


def einsum_left(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    return nodes("Einsum", toeplitz(h), drive, equation="tsd, ...si -> ...td")


def matmul(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    """[B, T] times [T, T d]."""
    matrix = toeplitz(h).transpose(1, 0, 2).reshape(T, T * D)
    product = nodes("MatMul", nodes("Squeeze", drive, [2]), matrix)
    return nodes("Reshape", product, [-1, T, D])


def matmul_batched(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    """A matrix [T, T] for each state."""
    matrices = toeplitz(h).transpose(2, 0, 1).copy()
    product = nodes("MatMul", matrices, nodes("Unsqueeze", drive, [1]))
    return nodes("Transpose", nodes("Squeeze", product, [3]), perm=[0, 2, 1])


def dft(nodes: Nodes, drive: str, h: np.ndarray, *, length: int = 2 * T, onesided: int = 1) -> str:
    """rfft, a complex product spelled out, irfft, slice."""
    transform = np.fft.rfft if onesided else np.fft.fft
    stored = transform(h.T, length)
    stored = np.stack([stored.real, stored.imag], -1).astype(np.float32)[None]  # [1, D, F, 2]
    channels = nodes("Unsqueeze", nodes("Transpose", drive, perm=[0, 2, 1]), [3])
    spectrum = _dft(nodes, channels, length, onesided=onesided)
    a, b = (nodes.cut(spectrum, part, part + 1, 3) for part in (0, 1))
    c, d = stored[..., :1].copy(), stored[..., 1:].copy()
    real = nodes("Sub", nodes("Mul", a, c), nodes("Mul", b, d))
    imaginary = nodes("Add", nodes("Mul", a, d), nodes("Mul", b, c))
    product = nodes("Concat", real, imaginary, axis=-1)
    if onesided:  # the other half of the spectrum is this one's mirror image
        inner = nodes.cut(product, 1, (length + 1) // 2, 2)
        mirror = nodes("Slice", inner, [-1], [-(2**31)], [2], [-1])
        mirror = nodes("Mul", mirror, np.array([1, -1], np.float32))
        product = nodes("Concat", product, mirror, axis=2)
    back = _dft(nodes, product, length, inverse=1)
    series = nodes("Gather", nodes.cut(back, 0, T, 2), np.array(0), axis=3)
    return nodes("Transpose", series, perm=[0, 2, 1])


def _dft(nodes: Nodes, tensor: str, length: int, **attributes: int) -> str:
    if nodes.opset < 20:
        return nodes("DFT", tensor, np.array(length), axis=2, **attributes)
    return nodes("DFT", tensor, np.array(length), np.array(-2), **attributes)


def dft_full(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    return dft(nodes, drive, h, onesided=0)


def dft_of_another_length(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    return dft(nodes, drive, h, length=2 * T + 1)


def dft_circular(nodes: Nodes, drive: str, h: np.ndarray) -> str:
    """A user's mistake: no padding."""
    return dft(nodes, drive, h, length=T, onesided=0)


MEMORIES: tuple[Memory, ...] = (
    conv, conv_and_slice, pad_and_conv, concat_and_conv, conv_same, conv_2d, conv_depthwise, einsum,
    einsum_left, matmul, matmul_batched, dft, dft_full, dft_of_another_length,
)  # fmt: skip


def weights(seed: int = 1) -> dict[str, np.ndarray]:
    """Weights by name and layer."""
    rng = np.random.default_rng(seed)
    found = {}
    for layer, inputs in ((0, M), (1, N)):
        shapes = {"wf": (inputs, N), "bf": (N,), "wx": (inputs, 1), "bx": (1,), "wm": (D, N)}
        for name, shape in shapes.items():
            found[f"{name}{layer}"] = rng.normal(0.2, 1, shape).astype(np.float32)
    found |= {"wo": rng.normal(size=(N, C)), "bo": rng.normal(size=C)}
    return {name: array.astype(np.float32) for name, array in found.items()}


@dataclass(frozen=True)
class Variant:
    """A model around a memory.

    `after` changes the slow state, `between` what goes from layer to layer, `readout` makes logits.
    """

    memory: Memory = conv
    opset: int = 20
    response: np.ndarray | None = None
    after: Callable[[Nodes, str], str] | None = None
    readout: Callable[[Nodes, str], str] | None = None
    batch: int | str = "batch"
    time: int | str = T
    between: Callable[[Nodes, str], str] | None = None
    logits: tuple[int | str, ...] | None = None
    neuron: str = "plain"
    weights: dict[str, np.ndarray] | None = None


NEURONS = {
    "plain": {},
    "strict": {"fired = GreaterOrEqual(v, theta)": "fired = Greater(v, theta)"},
    "soft": {"v1 = Mul(v, rest)": "v1 = Sub(v, s)"},
    "no decay of the input": {"part = Mul(over, half)": "part = Sub(i, leaked)"},
}
"""Ways in which the neurons may differ: what stands instead of a line of the plain ones."""


def model(variant: Variant) -> onnx.ModelProto:
    """The network of a variant, for sequences [batch, T, M]."""
    nodes, stored = Nodes(variant.opset), weights() | (variant.weights or {})
    nodes.constants |= stored
    h = impulse_response() if variant.response is None else variant.response
    source = "seq"
    for layer in (0, 1):
        if layer == 1 and variant.between is not None:
            source = variant.between(nodes, source)
        product = nodes("MatMul", source, f"wx{layer}")
        drive = nodes("Relu", nodes("Add", product, f"bx{layer}"))
        m = variant.memory(nodes, drive, h)
        if variant.after is not None:
            m = variant.after(nodes, m)
        fast = nodes("Add", nodes("MatMul", source, f"wf{layer}"), f"bf{layer}")
        source = lif(nodes, nodes("Add", fast, nodes("MatMul", m, f"wm{layer}")), variant)
    readout = variant.readout or mean_of_linear
    readout(nodes, source)
    nodes.protos[-1].output[0] = "logits"
    constants = [numpy_helper.from_array(array, name) for name, array in nodes.constants.items()]
    graph = helper.make_graph(
        nodes.protos,
        "g",
        [value("seq", variant.batch, variant.time, M)],
        [value("logits", *(variant.logits or (variant.batch, C)))],
        constants,
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", variant.opset)], ir_version=9
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def lif(nodes: Nodes, current: str, variant: Variant) -> str:
    """Spikes [batch, T, N]: `v = v + (I - v) / 2`, a spike at 1, hard reset to 0."""
    lines = [
        "over = Sub(i, v0)",
        "leaked = Mul(v0, half)",
        "part = Mul(over, half)",
        "v = Add(v0, part)",
        "fired = GreaterOrEqual(v, theta)",
        "s = Cast(fired) to 1",
        "rest = Sub(theta, s)",
        "v1 = Mul(v, rest)",
    ]
    changed = NEURONS[variant.neuron]
    body = [node(changed.get(line, line), {}, "", ()) for line in lines]
    batch = variant.batch
    nodes.constants |= {"half": np.float32(0.5), "theta": np.float32(1)}
    states = [value(name, batch, N) for name in ("v0", "i")]
    graph = helper.make_graph(body, "lif", states, [value("v1", batch, N), value("s", batch, N)])
    shape = nodes("Concat", nodes.cut(nodes("Shape", current), 0, 1, 0), [N], axis=0)
    zeros = nodes("ConstantOfShape", shape)
    steps = nodes("Transpose", current, perm=[1, 0, 2])
    scan = helper.make_node(
        "Scan", [zeros, steps], [f"{steps}_v", f"{steps}_s"], body=graph, num_scan_inputs=1,
        name=f"/{steps}_lif",
    )  # fmt: skip
    nodes.protos.append(scan)
    return nodes("Transpose", f"{steps}_s", perm=[1, 0, 2])


def mean_of_linear(nodes: Nodes, spikes: str) -> str:
    linear = nodes("Add", nodes("MatMul", spikes, "wo"), "bo")
    return over_time(nodes, "ReduceMean", linear, [1])


def over_time(nodes: Nodes, op: str, tensor: str, axes: Sequence[int]) -> str:
    if nodes.opset < 18 and op != "ReduceSum":
        return nodes(op, tensor, axes=list(axes), keepdims=0)
    return nodes(op, tensor, list(axes), keepdims=0)
