"""Neurons that rest after a spike, in several spellings of what tells of it."""

import numpy as np
import pytest

from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.ir.types import f32
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

X = np.random.default_rng(0).random((4, 60, 2)) < 0.6

STATES = """  state %v : f32[2] = zeros next %vn loc("mem")
  state %r : f32[2] = zeros next %rn loc("refrac")
  %m = gt(%r, %zero) : bool[2] loc("mask")
  %mf = cast(%m) : f32[2] loc("maskf")
"""
CHARGE = """  %i = matmul(%x, %w) : f32[2] loc("fc")
  %l = mul(%v, %beta) : f32[2] loc("leak")
  %c = add(%l, %i) : f32[2] loc("charge")
"""
# Norse: the membrane and the spikes of neurons that rest are masked.
MASKED = """  %s = gt(%c, %theta) : bool[2] loc("fire")
  %sf = cast(%s) : f32[2] loc("spike")
  %u = where(%s, %low, %c) : f32[2] loc("reset")
  %awake = sub(%one, %mf) : f32[2] loc("awake")
  %z = mul(%awake, %sf) : f32[2] loc("spikes")
  %uu = mul(%awake, %u) : f32[2] loc("moves")
"""
KEPT = """  %vv = mul(%mf, %v) : f32[2] loc("stays")
  %vn = add(%uu, %vv) : f32[2] loc("next")
"""
DOWN = """  %less = sub(%r, %mf) : f32[2] loc("less")
  %left = relu(%less) : f32[2] loc("left")
  %still = sub(%one, %z) : f32[2] loc("still")
  %old = mul(%still, %left) : f32[2] loc("old")
  %new = mul(%z, %long) : f32[2] loc("new")
  %rn = add(%old, %new) : f32[2] loc("rest")
"""
# The charge is replaced by the reset value, which never spikes.
CHOSEN = """  %k = where(%m, %low, %c) : f32[2] loc("kept")
  %s = gt(%k, %theta) : bool[2] loc("fire")
  %z = cast(%s) : f32[2] loc("spikes")
  %vn = where(%s, %low, %k) : f32[2] loc("next")
"""
# The counter is set to what is left below zero, and rises.
RISEN = """  %more = add(%r, %one) : f32[2] loc("more")
  %least = sub(%zero, %long) : f32[2] loc("least")
  %up = sub(%least, %one) : f32[2] loc("up")
  %rn = where(%s, %least, %more) : f32[2] loc("rest")
"""
FAR = STATES.replace("%r = zeros", "%r").replace(
    '%m = gt(%r, %zero) : bool[2] loc("mask")', '%m = gt(%zero, %r) : bool[2] loc("mask")'
)
# The timestep is cut before its end, so that its end is in the states.
CUT = """  state %v : f32[2] = zeros next %vn loc("mem")
  state %mf : f32[2] = zeros next %mfn loc("told")
  state %vv : f32[2] = zeros next %vvn loc("stayed")
  state %less : f32[2] = zeros next %lessn loc("left")
"""
AHEAD = """  %mn = gt(%rn, %zero) : bool[2] loc("mask")
  %mfn = cast(%mn) : f32[2] loc("maskf")
  %vvn = mul(%mfn, %vn) : f32[2] loc("stays")
  %lessn = sub(%rn, %mfn) : f32[2] loc("less")
"""
# snnTorch: the timestep after a spike leaves nothing of the membrane, input included.
LATE = """  state %v : f32[2] = zeros next %vn loc("mem")
  %m = gt(%v, %theta) : bool[2] loc("reset")
  %vn = where(%m, %low, %c) : f32[2] loc("next")
  %s = gt(%vn, %theta) : bool[2] loc("fire")
  %z = cast(%s) : f32[2] loc("spikes")
"""
TOLD = """  state %v : f32[2] = zeros next %vn loc("mem")
  state %mf : f32[2] = zeros next %z loc("told")
  %back = matmul(%mf, %w) : f32[2] loc("recurrent")
  %cc = add(%c, %back) : f32[2] loc("all")
  %lost = mul(%cc, %mf) : f32[2] loc("lost")
  %vn = sub(%cc, %lost) : f32[2] loc("next")
  %s = gt(%vn, %theta) : bool[2] loc("fire")
  %z = cast(%s) : f32[2] loc("spikes")
"""
SPELLINGS = {
    "masked": (STATES + CHARGE + MASKED + KEPT + DOWN, [3, 2]),
    "chosen": (STATES + CHARGE + CHOSEN + DOWN, [3, 2]),
    "risen": (FAR + CHARGE + CHOSEN + RISEN, [3, 2]),
    "cut elsewhere": (
        CUT + CHARGE + MASKED + KEPT.split("\n", 1)[1] + DOWN.split("\n", 1)[1] + AHEAD, [3, 2],
    ),
    "a step late": (LATE + CHARGE, [1, 1]),
    "a step late, recurrent": (TOLD + CHARGE, [1, 1]),
}  # fmt: skip


def graph_of(body, low=(0.0, 0.0)):
    """States come first, then ops in any order."""
    lines = body.splitlines()
    states = [line for line in lines if line.startswith("  state")]
    ops = [line for line in lines if not line.startswith("  state")]
    names = ("w", "beta", "theta", "low", "one", "zero", "long")
    shape = {"w": "2, 2"}
    text = "\n".join([
        'dmpir 1\ngraph "net" level model {\n  attr readout = "mean"',
        '  input %x : f32[2] loc("x")', *states,
        *(f"  const %{name} : f32[{shape.get(name, '2')}]" for name in names),
        *_sorted(ops, {"x", *names, *(line.split("%")[1].split()[0] for line in states)}),
        '  %y = matmul(%z, %w) : f32[2] loc("out")', "  output %y\n}", "data {",
        "  %w = f64 [0.6, 0.25, 0.3, 0.5]", "  %beta = f64 [0.5, 0.75]",
        "  %theta = f64 [0.8, 0.5]", f"  %low = f64 [{low[0]}, {low[1]}]",
        "  %one = f64 [1.0, 1.0]", "  %zero = f64 [0.0, 0.0]", "  %long = f64 [3.0, 2.0]", "}\n",
    ])  # fmt: skip
    return parse(text)


def _sorted(ops, known):
    while ops:
        ready = [
            line
            for line in ops
            if {n.strip(" %") for n in line.split("(")[1].split(")")[0].split(",")} <= known
        ]
        assert ready, ops
        yield from ready
        known |= {line.split("%")[1].split()[0] for line in ready}
        ops = [line for line in ops if line not in ready]


@pytest.mark.parametrize(("body", "rest"), SPELLINGS.values(), ids=SPELLINGS)
def test_spellings(body, rest):
    graph = graph_of(body)
    layers = apply(Recognise(), graph)
    (neurons,) = (op for op in layers.ops if op.kind == "rlif")
    assert layers.constants[neurons.operands[-1]].tolist() == rest
    assert [state.name for state in layers.states if state.name.endswith(".r")] == ["layer1.r"]
    wanted = interpret(graph, X.astype(float)).outputs
    assert len(np.unique(wanted)) > 2
    np.testing.assert_allclose(interpret(layers, X.astype(float)).outputs, wanted, atol=1e-12)


def test_a_reset_at_the_threshold_is_no_rest():
    with pytest.raises(CompileError, match=r"mem.*shut off"):
        apply(Recognise(), graph_of(SPELLINGS["masked"][0], low=(0.9, 0.6)))


def test_neurons_whose_reset_is_above_the_threshold_spike_in_every_timestep_of_their_rest():
    """As pruning a threshold leaves them."""
    same_as_written(graph_of(SPELLINGS["chosen"][0], low=(0.9, 0.2)), [1, 2])


def test_a_rest_of_no_timestep_is_none():
    graph = graph_of(SPELLINGS["chosen"][0])
    graph.constants["long"] = np.array([0.0, 0.0])
    layers = apply(Recognise(), graph)
    assert "rlif" not in [op.kind for op in layers.ops]
    wanted = interpret(graph, X.astype(float)).outputs
    np.testing.assert_allclose(interpret(layers, X.astype(float)).outputs, wanted, atol=1e-12)
    graph.constants["long"] = np.array([0.0, 2.0])
    same_as_written(graph, [0, 2])


@pytest.mark.parametrize("long", [(3.0, 2.0), (0.0, 2.0), (0.0, 0.0)])
@pytest.mark.parametrize("low", [(0.0, 0.0), (0.9, 0.2)])
def test_neurons_may_rest_at_the_start(long, low):
    graph = graph_of(SPELLINGS["chosen"][0], low=low)
    graph.constants["long"] = np.array(long)
    graph.state("r").init = graph.add_constant("r.start", np.array([1.5, 0.0]), f32(2))
    rest = [1 if low[0] and long[0] else long[0], long[1]]
    layers = same_as_written(graph, rest)
    (start,) = (state.init for state in layers.states if state.name == "layer1.r")
    assert layers.constants[start].tolist() == [2, 0]


@pytest.mark.parametrize("low", [(0.0, 0.0), (0.9, 0.2)])
def test_neurons_that_keep_nothing_of_their_membranes_rest(low):
    graph = graph_of(SPELLINGS["chosen"][0], low=low)
    graph.constants["beta"] = np.zeros(2)
    same_as_written(graph, [1 if low[0] else 3, 2])


def same_as_written(graph, rest):
    """The layers of a graph, whose neurons rest for so many timesteps."""
    layers = apply(Recognise(), graph)
    (neurons,) = (op for op in layers.ops if op.kind == "rlif")
    assert layers.constants[neurons.operands[-1]].tolist() == list(rest)
    wanted = interpret(graph, X.astype(float)).outputs
    assert len(np.unique(wanted)) > 2
    np.testing.assert_allclose(interpret(layers, X.astype(float)).outputs, wanted, atol=1e-12)
    return layers


def test_neurons_whose_membranes_go_on_while_they_rest_are_refused():
    onward = MASKED.replace("%uu = mul(%awake, %u)", "%vn = where(%z1, %low, %c)").replace(
        '%z = mul(%awake, %sf) : f32[2] loc("spikes")',
        '%z = mul(%awake, %sf) : f32[2] loc("spikes")\n  %z1 = gt(%z, %zero) : bool[2] loc("is")',
    )
    with pytest.raises(CompileError):
        apply(Recognise(), graph_of(STATES + CHARGE + onward + DOWN))
