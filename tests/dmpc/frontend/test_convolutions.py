"""Convolutions in ONNX files: ops of their own, with what stands around them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import dmpc
from dmpc import Options
from dmpc.backend.onnx_writer import to_onnx
from dmpc.compiler import to_layers
from dmpc.errors import DmpcError
from dmpc.frontend import import_onnx
from dmpc.ir.interpret import interpret
from dmpc.verification import verify
from tests.dmpc.test_convolution import drawn, imported

STEPS, CLASSES = 5, 3
DRAW = np.random.default_rng(2)
SIZE = {"batch": 2, "channels": 2, "y": 6, "x": 5}


class Writer:
    """An unrolled network of LIF layers in ONNX, and what it computes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.nodes, self.weights = shape, [], {}

    def node(self, op: str, inputs: list[str], output: str, **attrs: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attrs))
        return output

    def weight(self, name: str, value: object, dtype: type = np.float32) -> str:
        self.weights[name] = numpy_helper.from_array(np.asarray(value, dtype), name)
        return name

    def spiking(self, name: str, current: str, step: int) -> str:
        """Leak, charge, spike and hard reset; returns the spikes."""
        charge = current
        if step:
            kept = self.node(
                "Mul", [f"{name}.v{step - 1}", self.weight("beta", 0.5)], f"{name}.k{step}"
            )
            charge = self.node("Add", [kept, current], f"{name}.u{step}")
        fired = self.node("GreaterOrEqual", [charge, self.weight("one", 1.0)], f"{name}.f{step}")
        spikes = self.node("Cast", [fired], f"{name}.s{step}", to=TensorProto.FLOAT)
        self.node("Where", [fired, self.weight("zero", 0.0), charge], f"{name}.v{step}")
        return spikes

    def model(self, timestep) -> onnx.ModelProto:
        """The model whose logits are the mean over what `timestep(writer, input, k)` gives."""
        made = []
        for k in range(STEPS):
            at = self.weight(f"at{k}", k, np.int64)
            one = self.node("Gather", ["x", at], f"x{k}", axis=1)
            shape = self.weight("shape", [-1, *self.shape], np.int64)
            logits = timestep(self, self.node("Reshape", [one, shape], f"picture{k}"), k)
            axes = self.weight("axes", [1], np.int64)
            made.append(self.node("Unsqueeze", [logits, axes], f"logits{k}"))
        every = self.node("Concat", made, "every", axis=1)
        self.node("ReduceMean", [every], "logits", axes=[1], keepdims=0)
        given = helper.make_tensor_value_info(
            "x", TensorProto.FLOAT, ["batch", STEPS, int(np.prod(self.shape))]
        )
        answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
        graph = helper.make_graph(
            self.nodes, "pictures", [given], [answer], [*self.weights.values()]
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def flat(writer: Writer, value: str, size: int, k: int) -> str:
    line = writer.node("Flatten", [value], f"flat{k}", axis=1)
    return writer.node("MatMul", [line, writer.weight("dense", W[:size])], f"out{k}")


W = DRAW.normal(0.2, 0.5, (200, CLASSES))
KERNELS = {n: DRAW.normal(0.3, 0.5, n) for n in ((6, 2, 3, 3), (4, 3, 2, 2), (4, 2, 2, 3))}


def parts_behind_means(writer: Writer, picture: str, k: int) -> str:
    """Padding at one end only, a batch norm's factors, means, and a convolution in parts."""
    kernel = writer.weight("k1", KERNELS[6, 2, 3, 3])
    bias = writer.weight("b1", np.linspace(-0.2, 0.3, 6))
    one = writer.node("Conv", [picture, kernel, bias], f"c{k}", pads=[1, 0, 0, 1])
    factor = writer.weight("factor", np.linspace(0.5, 1.5, 6).reshape(6, 1, 1))
    spikes = writer.spiking("a", writer.node("Mul", [one, factor], f"n{k}"), k)
    means = writer.node("AveragePool", [spikes], f"p{k}", kernel_shape=[2, 2], strides=[2, 2])
    kernel = writer.weight("k2", KERNELS[4, 3, 2, 2])
    two = writer.node("Conv", [means, kernel], f"d{k}", group=2, pads=[1, 1, 0, 0])
    return flat(writer, writer.spiking("b", two, k), 16, k)


def means_behind(writer: Writer, picture: str, k: int) -> str:
    """A stride, means that a linear map reads."""
    kernel = writer.weight("k1", KERNELS[4, 2, 2, 3])
    one = writer.node("Conv", [picture, kernel], f"c{k}", strides=[1, 1], auto_pad="SAME_UPPER")
    spikes = writer.spiking("a", one, k)
    means = writer.node("AveragePool", [spikes], f"p{k}", kernel_shape=[3, 2], strides=[3, 2])
    line = writer.node("Flatten", [means], f"l{k}", axis=1)
    hidden = writer.node("MatMul", [line, writer.weight("hidden", HIDDEN)], f"h{k}")
    return flat(writer, writer.spiking("b", hidden, k), 8, k)


def map_behind(writer: Writer, picture: str, k: int) -> str:
    """A convolution, and right behind it a linear map: one dense product."""
    one = writer.node("Conv", [picture, writer.weight("k1", KERNELS[4, 2, 2, 3])], f"c{k}")
    line = writer.node("Flatten", [one], f"l{k}", axis=1)
    hidden = writer.node("MatMul", [line, writer.weight("wide", WIDE)], f"h{k}")
    return flat(writer, writer.spiking("b", hidden, k), 8, k)


def memory_behind(writer: Writer, picture: str, k: int) -> str:
    """Means that drive a slow state as well as the neurons: a DMP layer on a convolution."""
    one = writer.node("Conv", [picture, writer.weight("k1", KERNELS[4, 2, 2, 3])], f"c{k}")
    spikes = writer.spiking("a", one, k)
    means = writer.node("AveragePool", [spikes], f"p{k}", kernel_shape=[5, 3])
    line = writer.node("Flatten", [means], f"l{k}", axis=1)
    drive = writer.node("MatMul", [line, writer.weight("wx", HIDDEN[:4, :1])], f"w{k}")
    m = writer.node("Mul", [writer.node("Relu", [drive], f"r{k}"), writer.weight("b", B)], f"n{k}")
    if k:
        kept = writer.node(
            "MatMul", [f"m{k - 1}", writer.weight("a", np.diag([0.9, 0.8]))], f"q{k}"
        )
        m = writer.node("Add", [kept, m], f"m{k}")
    else:
        writer.node("Identity", [m], "m0")
    hidden = writer.node("MatMul", [line, writer.weight("hidden", HIDDEN[:4])], f"h{k}")
    slow = writer.node("MatMul", [f"m{k}", writer.weight("slow", HIDDEN[4:6])], f"o{k}")
    return flat(writer, writer.spiking("b", writer.node("Add", [hidden, slow], f"i{k}"), k), 8, k)


B = np.array([0.3, 0.4])
WIDE = DRAW.normal(0.05, 0.2, (60, 8))
HIDDEN = DRAW.normal(0.5, 1.0, (16, 8))
NETS = {
    "parts behind means": (parts_behind_means, 2),
    "means behind": (means_behind, 2),
    "a map behind": (map_behind, 0),
    "a memory behind": (memory_behind, 1),
}


@pytest.mark.parametrize("name", NETS)
def test_onnx_files_with_convolutions(name, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(Writer((2, 6, 5)).model(NETS[name][0]), path)
    x = (np.random.default_rng(1).random((4, STEPS, 60)) < 0.4).astype(np.float32)
    graph = import_onnx(path)
    layers = to_layers(graph, Options())
    assert [op.kind for op in layers.ops].count("conv") == NETS[name][1]
    np.testing.assert_allclose(
        interpret(layers, x).outputs.mean(1), interpret(graph, x).outputs.mean(1), atol=1e-9
    )
    compiled = dmpc.compile(path, calibration=x)
    found = verify(path, compiled.image, x, max_drop=100.0)
    assert found.ok, found.to_json()
    assert found.rungs[0].name == "onnxruntime ~ float graph"


def test_a_convolution_that_does_not_fit_is_refused(tmp_path):
    def wrong(writer: Writer, picture: str, k: int) -> str:
        kernel = writer.weight("k1", KERNELS[4, 3, 2, 2])
        return flat(
            writer, writer.spiking("a", writer.node("Conv", [picture, kernel], f"c{k}"), k), 8, k
        )

    path = tmp_path / "model.onnx"
    onnx.save(Writer((2, 6, 5)).model(wrong), path)
    with pytest.raises(DmpcError, match="Conv"):
        import_onnx(path)


@pytest.mark.parametrize("name", ["sums before a convolution", "dilation", "parts"])
def test_what_is_written_as_onnx_is_the_same_network(name, tmp_path):
    """Layers that stand position by position are found again between Transposes."""
    graph, x = imported(name), drawn(name)
    layers = to_layers(graph, Options())
    path = tmp_path / "again.onnx"
    onnx.save(to_onnx(layers), path)
    again = import_onnx(path)
    found = to_layers(again, Options())
    assert [op.kind for op in found.ops] == [op.kind for op in layers.ops]
    wanted = interpret(layers, x).outputs.mean(1)
    np.testing.assert_allclose(interpret(found, x).outputs.mean(1), wanted, atol=1e-6)
    session = onnxruntime.InferenceSession(str(path))
    (given,) = session.run(None, {layers.inputs[0]: x.astype(np.float32)})
    np.testing.assert_allclose(given, wanted, atol=1e-5)
