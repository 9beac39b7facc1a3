"""Resets that come a step late, or not at all, become resets in the timestep of their spike."""

import numpy as np
import pytest

from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

X = np.random.default_rng(0).normal(size=(4, 40, 2))

# snnTorch's default: v' = beta v + I - theta [v > theta], spikes where v' > theta.
TEXT = """dmpir 1
graph "net" level model {
  attr readout = "mean"
  input %x : f32[2] loc("x")
  state %v : f32[2] = zeros next %vn loc("mem")
  const %w : f32[2, 2]
  const %beta : f32[2]
  const %theta : f32[2]
  const %rest : f32[2]
  const %one : f32[1]
  const %zero : f32[1]
  const %swap : f32[2, 2]
  const %start : f32[2]
  %i = matmul(%x, %w) : f32[2] loc("fc")
  %over = sub(%v, %theta) : f32[2] loc("over")
  %late = gt(%over, %zero) : bool[2] loc("late")
  %r = cast(%late) : f32[2] loc("r")
  %l = mul(%v, %beta) : f32[2] loc("leak")
  %c = add(%l, %i) : f32[2] loc("charge")
  %off = mul(%r, %theta) : f32[2] loc("off")
  %vn = sub(%c, %off) : f32[2] loc("next")
  %s = gt(%vn, %theta) : bool[2] loc("fire")
  %sf = cast(%s) : f32[2] loc("spikes")
  %y = matmul(%sf, %w) : f32[2] loc("out")
  output %y
}
data {
  %w = f64 [1.5, 0.25, 0.5, 1.0]
  %beta = f64 [0.5, 0.75]
  %theta = f64 [1.0, 0.5]
  %rest = f64 [-0.25, 0.25]
  %one = f64 [1.0]
  %zero = f64 [0.0]
  %swap = f64 [0.0, 1.0, 1.0, 0.0]
  %start = f64 [2.0, 0.25]
}
"""

# Edits of the network, and the reset of its neurons: mode, strict, value.
WAYS = {
    "subtracted after the leak": ([], ("subtract", True, [2.0, 0.5 / 0.75])),
    "asked the other way round": (
        [("%late = gt(%over, %zero)", "%late = ge(%theta, %v)"), ("cast(%late) : f32[2]",
          "cast(%late) : f32[2]\n%rr = sub(%one, %r) : f32[2]"), ("mul(%r, %theta)",
          "mul(%rr, %theta)")],
        ("subtract", True, [2.0, 0.5 / 0.75]),
    ),
    "at the threshold too": (
        [("%late = gt(", "%late = ge("), ("%s = gt(", "%s = ge(")],
        ("subtract", False, [2.0, 0.5 / 0.75]),
    ),
    "another amount": ([("mul(%r, %theta)", "mul(%r, %rest)")],
                       ("subtract", True, [-0.5, 0.25 / 0.75])),
    "to zero": (
        [("%l = mul(%v, %beta)",
          "%kept = sub(%one, %r) : f32[2]\n%vk = mul(%v, %kept) : f32[2]\n%l = mul(%vk, %beta)"),
         ("sub(%c, %off)", "add(%c, %zero)")],
        ("hard", True, [0.0, 0.0]),
    ),
    "to a value": (
        [("%l = mul(%v, %beta)", "%vk = where(%late, %rest, %v) : f32[2]\n%l = mul(%vk, %beta)"),
         ("sub(%c, %off)", "add(%c, %zero)")],
        ("hard", True, [-0.25, 0.25]),
    ),
    "never": ([("sub(%c, %off)", "add(%c, %zero)")], ("subtract", True, [0.0, 0.0])),
    "never, asked the other way round": (
        [("sub(%c, %off)", "add(%c, %zero)"), ("%s = gt(%vn, %theta)", "%s = ge(%theta, %vn)")],
        ("subtract", True, [0.0, 0.0]),
    ),
    "never, compared in another unit": (
        [("sub(%c, %off)", "add(%c, %zero)"),
         ("%s = gt(%vn, %theta)", "%vg = mul(%vn, %beta) : f32[2]\n%s = gt(%vg, %theta)")],
        ("subtract", True, [0.0, 0.0]),
    ),
    "from a membrane above the threshold": (
        [("state %v : f32[2] = zeros", "state %v : f32[2] = %start")],
        ("subtract", True, [2.0, 0.5 / 0.75]),
    ),
    "at once, and nothing late": (
        [("next %vn loc", "next %vw loc"),
         ("%sf = cast", "%vw = where(%s, %rest, %vn) : f32[2]\n%sf = cast")],
        ("hard", True, [-0.25, 0.25]),
    ),
}  # fmt: skip
AT_ONCE = WAYS["at once, and nothing late"][0]
TWICE = {
    "from a membrane above the threshold": ("= zeros", "= %start"),
    "to a value above the threshold": ("%rest = f64 [-0.25,", "%rest = f64 [1.25,"),
    "late from less": ("sub(%v, %theta)", "sub(%v, %rest)"),
}


@pytest.mark.parametrize("edit", TWICE.values(), ids=TWICE)
def test_what_may_be_true_of_an_old_membrane_is_no_vain_comparison(edit):
    with pytest.raises(CompileError, match="several comparisons look at this state"):
        apply(Recognise(), edited([*AT_ONCE, edit]))


def edited(edits):
    text = TEXT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


@pytest.mark.parametrize(("edits", "wanted"), WAYS.values(), ids=WAYS)
def test_every_way_is_recognised_and_computes_the_same(edits, wanted):
    graph = edited(edits)
    layers = apply(Recognise(), graph)
    (lif,) = (op for op in layers.ops if op.kind == "lif")
    assert (lif.attrs["reset_mode"], lif.attrs["strict"]) == wanted[:2]
    np.testing.assert_allclose(layers.constants["layer1.reset"], wanted[2], rtol=1e-12)
    before, after = interpret(graph, X), interpret(layers, X, trace=["layer1.spikes"])
    np.testing.assert_allclose(after.outputs, before.outputs, atol=1e-9)
    assert 0.05 < after.traces["layer1.spikes"].mean() < 0.95


OTHERS = {
    "the late spikes are the network's": [("matmul(%sf, %w)", "matmul(%r, %w)")],
    "a leak of zero": [("%beta = f64 [0.5,", "%beta = f64 [0.0,")],
    "reset by a neighbour": [("mul(%r, %theta)", "matmul(%r, %swap)")],
}


@pytest.mark.parametrize("edits", OTHERS.values(), ids=OTHERS)
def test_what_is_no_reset_of_the_spike_is_heard_a_timestep_late(edits):
    """Recurrence, or a readout of delayed spikes: the comparison of old states is held."""
    graph = edited(edits)
    layers = apply(Recognise(), graph)
    before, after = interpret(graph, X), interpret(layers, X, trace=["layer1.spikes"])
    np.testing.assert_allclose(after.outputs, before.outputs, atol=1e-9)
    assert 0.05 < after.traces["layer1.spikes"].mean() < 0.95
