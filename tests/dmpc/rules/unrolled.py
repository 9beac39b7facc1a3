"""Networks with their loop over time written out, each of which breaks one rule."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from dmpc.check import Report, check
from tests.dmpc.frontend.spellings import model, value

T, M, N, C = 6, 5, 4, 3
CONSTANTS = {
    "w": np.linspace(-1, 1, M * N, dtype=np.float32).reshape(M, N),
    "w2": np.linspace(-1, 2, M * N, dtype=np.float32).reshape(M, N),
    "wo": np.linspace(-1, 1, N * C, dtype=np.float32).reshape(N, C),
    "beta": np.float32(0.5),
    "one": np.float32(1),
    "zeros": np.zeros((2, N), np.float32),
    "ones": np.ones((2, N), np.float32),
    "early": np.full((2, 1, C), 0.5, np.float32),
    "axis": np.array([1]),
    **{f"k{step}": np.array(step) for step in range(T)},
}


def lines(step: int) -> list[str]:
    """The nodes of one timestep, in ONNX's own text."""
    before = f"v{step - 1}" if step else "zeros"
    return [
        f"x{step} = Gather<axis=1>(x, k{step})",
        f"c{step} = MatMul(x{step}, w)",
        f"l{step} = Mul({before}, beta)",
        f"u{step} = Add(l{step}, c{step})",
        f"o{step} = GreaterOrEqual(u{step}, one)",
        f"s{step} = Cast<to=1>(o{step})",
        f"n{step} = Sub(one, s{step})",
        f"v{step} = Mul(n{step}, u{step})",
        f"y{step} = MatMul(s{step}, wo)",
        f"z{step} = Unsqueeze(y{step}, axis)",
    ]


def network(
    change: Callable[[int, list[str]], list[str]], first: str = "", over: str = "ReduceMean"
) -> onnx.ModelProto:
    """The network with each timestep's nodes changed; its outputs may begin with another."""
    texts = [text for step in range(T) for text in change(step, lines(step))]
    stacked = ", ".join([first] * bool(first) + [f"z{step}" for step in range(T)])
    texts += [f"all = Concat<axis=1>({stacked})", f"y = {over}<axes=[1], keepdims=0>(all)"]
    nodes = [onnx.parser.parse_node(text) for text in texts]
    for node in nodes:
        node.name = f"/{node.output[0]}"
    return model(nodes, [value("x", 2, T, M)], [value("y", 2, C)], CONSTANTS)


def rectified(at: int, step: int, texts: list[str]) -> list[str]:
    """One timestep rectifies its input."""
    if step != at:
        return texts
    texts[1] = f"c{step} = MatMul(r{step}, w)"
    return [texts[0], f"r{step} = Relu(x{step})", *texts[1:]]


def rectified_state(step: int, texts: list[str]) -> list[str]:
    """The middle timestep rectifies what it takes over."""
    if step != T // 2:
        return texts
    before = f"v{step - 1}"
    texts[2] = f"l{step} = Mul(r{step}, beta)"
    return [*texts[:2], f"r{step} = Relu({before})", *texts[2:]]


def other_weight(step: int, texts: list[str]) -> list[str]:
    if step == T - 1:
        texts[1] = f"c{step} = MatMul(x{step}, w2)"
    return texts


def twins(step: int, texts: list[str]) -> list[str]:
    """A second current, filtered alike, from another initial value."""
    before = [
        f"{name}{step - 1}" if step else start for name, start in (("a", "zeros"), ("b", "ones"))
    ]
    texts[3] = f"u{step} = Sum(l{step}, a{step}, b{step})"
    filtered = [
        text
        for name, old in zip("ab", before, strict=True)
        for text in (
            f"h{name}{step} = Mul({old}, beta)",
            f"{name}{step} = Add(h{name}{step}, c{step})",
        )
    ]
    return [*texts[:3], *filtered, *texts[3:]]


def old_spikes(step: int, texts: list[str]) -> list[str]:
    """Each timestep reads the spikes of the third before, which is half of them ago."""
    late = f"s{step - T // 2}" if step >= T // 2 else "zeros"
    texts[3] = f"u{step} = Sum(l{step}, c{step}, {late})"
    return texts


def unchanged(step: int, texts: list[str]) -> list[str]:
    del step
    return texts


def mixed(step: int, texts: list[str]) -> list[str]:
    if step:
        return texts
    texts[-1] = "z0 = Add(zz, wide)"
    whole = ["mean = ReduceMean<axes=[2], keepdims=1>(x)", "wide = ReduceSum(mean, axis)"]
    return [*texts[:-1], "zz = Unsqueeze(y0, axis)", *whole, texts[-1]]


def endless() -> onnx.ModelProto:
    """A Loop that ends when a membrane is high enough."""
    inputs = [
        helper.make_tensor_value_info("k", onnx.TensorProto.INT64, ()),
        helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, ()),
        value("v", 2, C),
    ]
    nodes = [
        onnx.parser.parse_node("now = Gather<axis=1>(x, k)"),
        onnx.parser.parse_node("c = MatMul(now, w3)"),
        onnx.parser.parse_node("w = Add(v, c)"),
        onnx.parser.parse_node("top = ReduceMax<keepdims=0>(w)"),
        onnx.parser.parse_node("more = Less(top, one)"),
    ]
    outputs = [helper.make_tensor_value_info("more", onnx.TensorProto.BOOL, ()), value("w", 2, C)]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    loop = helper.make_node("Loop", ["steps", "true", "start"], ["y"], name="/loop", body=body)
    constants = {
        "steps": np.array(T),
        "true": np.array(True),
        "start": np.zeros((2, C), np.float32),
        "one": np.float32(1),
        "w3": np.ones((M, C), np.float32),
    }
    return model([loop], [value("x", 2, T, M)], [value("y", 2, C)], constants)


def uncounted() -> onnx.ModelProto:
    """A Loop with an output more than its body gives."""
    made = endless()
    made.graph.node[0].output.append("more")
    return made


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "unlike-timesteps": lambda: network(partial(rectified, T - 1)),
    "unlike-constants": lambda: network(other_weight),
    "no-counterpart": lambda: network(rectified_state),
    "too-few-timesteps": lambda: network(old_spikes),
    "first-timesteps": lambda: network(partial(rectified, 0)),
    "twins": lambda: network(twins),
    "mixed-times": lambda: network(mixed),
    "initial-output": lambda: network(unchanged, "early", "ReduceMax"),
    "loop-length": endless,
    "loop-counts": uncounted,
}


def cases(folder: Path) -> dict[str, Callable[[], Report]]:
    """Every model, written to a folder and checked."""

    def checked(name: str) -> Report:
        path = folder / f"{name}.onnx"
        onnx.save(MODELS[name](), path)
        return check(path)

    return {name: lambda name=name: checked(name) for name in MODELS}
