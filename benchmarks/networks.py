"""Random networks to measure, at level layers."""

import numpy as np

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.types import TensorType
from dmpc.legendre import legendre_system, zero_order_hold


def one_layer(inputs: int, neurons: int, states: int, window: float = 40.0, seed: int = 0) -> Graph:
    """One DMP layer with random weights and a readout of four classes."""
    random = np.random.default_rng(seed)
    graph = Graph(f"layer-{inputs}-{neurons}-{states}", "layers", inputs=["x"])
    graph.attrs["readout"] = "mean"
    graph.types["x"] = TensorType("f32", (inputs,))
    vector, memory = TensorType("f32", (neurons,)), TensorType("f32", (states,))
    graph.types["layer1.u"], graph.types["layer1.m"] = vector, memory
    graph.states += [State("layer1.u", "layer1.u.next"), State("layer1.m", "layer1.m.next")]

    def constant(name: str, value: object) -> str:
        array = np.asarray(value, np.float64)
        return graph.add_constant(name, array, TensorType("f32", array.shape))

    def op(
        kind: str, operands: tuple[str, ...], results: dict[str, TensorType], **attrs: object
    ) -> None:
        attrs.setdefault("layer", "layer1")
        graph.add(Op(kind, operands, tuple(results), dict(attrs)), *results.values())

    a, b = zero_order_hold(*legendre_system(states, window))
    fast = constant("layer1.fast.weight", random.normal(size=(neurons, inputs)) * 0.3)
    drive = constant("layer1.drive.weight", random.normal(size=inputs) * 0.3)
    slow = constant("layer1.slow.weight", random.normal(size=(neurons, states)) * 0.3)
    neuron = (
        constant("layer1.beta", np.full(neurons, 0.5)),
        constant("layer1.threshold", np.ones(neurons)),
        constant("layer1.reset", np.zeros(neurons)),
    )
    op("dense", ("x", fast), {"layer1.fast": vector})
    op("drive", ("x", drive), {"layer1.x": TensorType("f32", (1,))})
    update = (
        "layer1.m",
        "layer1.x",
        constant("layer1.memory.A", a),
        constant("layer1.memory.B", b),
    )
    op("memory", update, {"layer1.m.next": memory})
    op("dense", ("layer1.m.next", slow), {"layer1.slow": vector})
    op(
        "lif",
        ("layer1.u", "layer1.fast", "layer1.slow", *neuron),
        {"layer1.spikes": TensorType("event", (neurons,)), "layer1.u.next": vector},
        reset_mode="hard",
        strict=False,
    )
    read = constant("readout.weight", random.normal(size=(4, neurons)))
    op("dense", ("layer1.spikes", read), {"readout": TensorType("f32", (4,))}, layer="readout")
    graph.outputs = ["readout"]
    return graph


def active_inputs(samples: int, steps: int, inputs: int, active: int, seed: int = 0) -> np.ndarray:
    """Events [samples, steps, inputs] with exactly `active` random inputs in every timestep."""
    random = np.random.default_rng(seed)
    ranks = random.random((samples, steps, inputs)).argsort(axis=2)
    return ranks < active
