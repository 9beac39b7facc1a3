"""Folding changes neither spikes nor logits."""

from dataclasses import replace

import numpy as np
import pytest

import dmpc
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.interpret import interpret
from dmpc.ir.types import event, f32
from dmpc.passes.base import apply
from dmpc.passes.fold import Fold
from runtime.program import Program
from tests.networks import Layer, Shape, network, samples

N, D = 4, 3
SILENT = Shape(3, (Layer(neurons=4, states=3, bias=False, flavour="zero", dilation=2),))
SHAPES = {
    "layer1.drive.weight": (N,), "layer1.drive.bias": (1,), "layer1.memory.A": (D, D),
    "layer1.memory.B": (D,), "layer1.fast.weight": (N, N), "layer1.fast.bias": (N,),
    "layer1.slow.weight": (N, D), "layer1.slow.bias": (N,), "layer1.beta": (N,),
    "layer1.threshold": (N,), "readout.weight": (2, N), "readout.bias": (2,),
}  # fmt: skip


def layer(**zero_or_value: float) -> Graph:
    """One DMP layer, ops in an odd order; named constants are filled with a value."""
    rng = np.random.default_rng(4)
    graph = Graph("g", "layers", ["x"], ["readout"], attrs={"readout": "mean"})
    graph.types["x"] = f32(N)
    for name, shape in SHAPES.items():
        value = rng.uniform(-0.5, 0.5, shape) + (0.3 if name == "layer1.threshold" else 0.0)
        fill = zero_or_value.get(name.replace(".", "_"))
        filled = value if fill is None else np.full(shape, float(fill))
        graph.add_constant(name, filled, f32(*shape), (name,))
    for name, size in (("layer1.u", N), ("layer1.m", D)):
        graph.states.append(State(name, f"{name}.next"))
        graph.types[name] = f32(size)
    at = {"layer": "layer1"}

    def dense(name: str, source: str, size: int, layer_: str = "layer1") -> None:
        operands = (source, f"{name}.weight", f"{name}.bias")
        graph.add(Op("dense", operands, (name,), {"layer": layer_}), f32(size))

    dense("layer1.fast", "x", N)
    drive = ("x", "layer1.drive.weight", "layer1.drive.bias")
    graph.add(Op("drive", drive, ("layer1.x",), dict(at)), f32(1))
    memory = ("layer1.m", "layer1.x", "layer1.memory.A", "layer1.memory.B")
    graph.add(Op("memory", memory, ("layer1.m.next",), dict(at)), f32(D))
    dense("layer1.slow", "layer1.m.next", N)
    parameters = (f"layer1.{name}" for name in ("beta", "threshold", "threshold"))
    lif = ("layer1.u", "layer1.fast", "layer1.slow", *parameters)
    attrs = {**at, "reset_mode": "subtract", "strict": False}
    graph.add(Op("lif", lif, ("layer1.spikes", "layer1.u.next"), attrs), event(N), f32(N))
    dense("readout", "layer1.spikes", 2, "readout")
    return graph


def kinds(graph: Graph) -> list[str]:
    return [op.results[0] for op in graph.ops]


FULL = ["layer1.x", "layer1.m.next", "layer1.fast", "layer1.slow", "layer1.spikes", "readout"]
NO_MEMORY = ["layer1.fast", "layer1.spikes", "readout"]


@pytest.mark.parametrize(
    ("constants", "left"),
    [
        ({}, FULL),
        ({"layer1_slow_weight": 0}, NO_MEMORY),
        ({"layer1_memory_B": 0}, NO_MEMORY),
        ({"layer1_drive_weight": 0, "layer1_drive_bias": -0.5}, NO_MEMORY),
        ({"layer1_drive_weight": 0, "layer1_drive_bias": 0.5}, FULL),  # idle steps do work
        ({"layer1_fast_weight": 0}, [name for name in FULL if name != "layer1.fast"]),
        ({"layer1_fast_weight": 0, "layer1_slow_weight": 0}, NO_MEMORY),
    ],
)
def test_currents_that_carry_nothing_go(constants, left):
    graph = layer(**constants)
    folded = apply(Fold(), graph)
    assert kinds(folded) == left
    x = np.random.default_rng(9).uniform(-1, 1, (5, 15, N))
    before = interpret(graph, x, trace=["layer1.spikes"])
    after = interpret(folded, x, trace=["layer1.spikes"])
    np.testing.assert_array_equal(after.traces["layer1.spikes"], before.traces["layer1.spikes"])
    np.testing.assert_allclose(after.logits, before.logits, atol=1e-12)
    assert 0.02 < before.traces["layer1.spikes"].mean() < 0.98


def test_biases_of_a_neuron_are_merged():
    graph = layer()
    folded = apply(Fold(), graph)
    merged = graph.constants["layer1.fast.bias"] + graph.constants["layer1.slow.bias"]
    np.testing.assert_array_equal(folded.constants["layer1.fast.bias"], merged)
    assert folded.locs["layer1.fast.bias"] == ("layer1.fast.bias", "layer1.slow.bias")
    assert "layer1.slow.bias" not in folded.constants
    assert len(folded.producer("layer1.slow").operands) == 2


def test_a_memory_that_starts_elsewhere_is_not_silent():
    graph = layer(layer1_memory_B=0)
    graph.add_constant("start", np.ones(D), f32(D))
    graph.state("layer1.m").init = "start"
    assert kinds(apply(Fold(), graph)) == FULL


def test_zero_biases_are_dropped():
    folded = apply(Fold(), layer(readout_bias=0, layer1_drive_bias=0))
    assert len(folded.producer("readout").operands) == 2
    assert len(folded.producer("layer1.x").operands) == 2
    assert "readout.bias" not in folded.constants


def test_folding_twice_changes_nothing():
    once = apply(Fold(), layer())
    assert apply(Fold(), once) == once


def test_only_layers_are_folded():
    graph = layer()
    graph.level = "model"
    with pytest.raises(CompileError, match="g: needs a graph of level layers, not model"):
        Fold().run(graph)


def test_what_holds_a_silent_memory_goes_with_it():
    kept = [op.kind for op in network(SILENT).ops]
    assert kept == ["dense", "drive", "memory", "hold", "dense", "lif", "dense"]
    folded = apply(Fold(), network(SILENT))
    assert [op.kind for op in folded.ops] == ["dense", "lif", "dense"]
    assert [state.name for state in folded.states] == ["layer1.u"]


@pytest.mark.parametrize(
    "part", ["fast.weight", "fast.bias", "beta", "threshold", "reset", "u.init"]
)
def test_a_constant_of_several_is_one_of_each(part):
    shape = Shape(4, (Layer(4, starts=True, hard=False), Layer(4, starts=True, hard=False)), 3)
    apart = network(shape)
    own, other = f"layer2.{part}", f"layer1.{part}"
    apart.constants[own] = apart.constants[other]
    shared = apart.copy()
    del shared.constants[own], shared.types[own]
    shared.locs.pop(own, None)
    for at, op in enumerate(shared.ops):
        operands = tuple(other if name == own else name for name in op.operands)
        shared.ops[at] = replace(op, operands=operands)
    for state in shared.states:
        state.init = other if state.init == own else state.init
    x = samples(shape)
    logits = [
        Program(dmpc.compile(graph, calibration=x).image, "net").run(x).logits
        for graph in (apart, shared)
    ]
    np.testing.assert_array_equal(*logits)
