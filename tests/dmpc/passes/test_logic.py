"""Functions of the spikes of a few layers are spikes of neurons that forget, or sums of such."""

import numpy as np
import pytest

from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from dmpc.passes.recognition.logic import told

TEXT = """dmpir 1
graph "net" level model {
  attr readout = "mean"
  input %x : f32[3] loc("x")
  state %u : f32[3] = zeros next %un loc("u")
  state %v : f32[3] = zeros next %vn loc("v")
  const %wu : f32[3, 3]
  const %wv : f32[3, 3]
  const %beta : f32[1]
  const %theta : f32[1]
  const %one : f32[3]
  const %nought : f32[3]
  const %wo : f32[2, 3]
  %iu = matmul(%x, %wu) : f32[3] loc("/fc1")
  %lu = mul(%u, %beta) : f32[3]
  %hu = add(%lu, %iu) : f32[3]
  %a = gt(%hu, %theta) : bool[3] loc("/fire1")
  %s = cast(%a) : f32[3]
  %un = where(%a, %nought, %hu) : f32[3]
  %iv = matmul(%s, %wv) : f32[3] loc("/fc2")
  %lv = mul(%v, %beta) : f32[3]
  %hv = add(%lv, %iv) : f32[3]
  %b = gt(%hv, %theta) : bool[3] loc("/fire2")
  %t = cast(%b) : f32[3]
  %vn = where(%b, %nought, %hv) : f32[3]
  GATE
  %y = matmul(%g, %wo) : f32[2] loc("/out")
  output %y
}
data {
  %wu = f64 [1.0, 0.5, -0.5, -0.75, 1.25, 0.5, 0.25, 0.5, 1.0]
  %wv = f64 [1.0, 0.5, -0.5, 0.5, 1.0, 0.5, -0.5, 0.5, 1.0]
  %beta = f64 [0.5]
  %theta = f64 [0.75]
  %one = f64 [1.0, 1.0, 1.0]
  %nought = f64 [0.0, 0.0, 0.0]
  %wo = f64 [0.5, 0.25, 0.125, 0.5, -0.25, 1.0]
}
"""
NOT = "%{0}n = sub(%one, %{0}) : f32[3] ; "
GATES = {
    "and": "%g = mul(%s, %t)",
    "iand": NOT.format("s") + "%g = mul(%sn, %t)",
    "nor": NOT.format("s") + NOT.format("t") + "%g = mul(%sn, %tn)",
    "choice": "%g = where(%a, %t, %nought)",
    "or": "%g = where(%a, %one, %t)",
    "unless": "%g = where(%b, %nought, %s)",
    "greater": "%d = sub(%s, %t) : f32[3] ; %g = relu(%d)",
    "of others": "%o = take(%t) {indices = [2, 0, 1]} : f32[3] ; %g = mul(%s, %o)",
    "or, by a sum": "%p = add(%s, %t) : f32[3] ; %m = gt(%p, %one) : bool[3] ; "
    "%k = cast(%m) : f32[3] ; %g = sub(%p, %k)",
    "larger": "%d = sub(%t, %s) : f32[3] ; %r = relu(%d) : f32[3] ; %g = add(%s, %r)",
    "cut off": "%p = add(%s, %t) : f32[3] ; %q = sub(%p, %one) : f32[3] ; "
    "%r = relu(%q) : f32[3] ; %g = sub(%p, %r)",
    "one or the other": "%d = sub(%s, %t) : f32[3] ; %g = mul(%d, %d)",
    "one or the other, by rectifiers": "%d = sub(%s, %t) : f32[3] ; %e = neg(%d) : f32[3] ; "
    "%p = relu(%d) : f32[3] ; %q = relu(%e) : f32[3] ; %g = add(%p, %q)",
    "both or none": "%q = eq(%s, %t) : bool[3] ; %g = cast(%q)",
    "halves": "%p = add(%s, %t) : f32[3] ; %q = mul(%p, %beta) : f32[3] ; %g = floor(%q)",
    "weighted": "%k = mul(%s, %t) : f32[3] ; %q = mul(%k, %beta) : f32[3] ; %g = sub(%s, %q)",
    "odd of neighbours": "%o = take(%s) {indices = [1, 2, 0]} : f32[3] ; "
    "%q = eq(%s, %o) : bool[3] ; %g = cast(%q)",
    "majority": "%o = take(%s) {indices = [2, 0, 1]} : f32[3] ; %p = add(%s, %o) : f32[3] ; "
    "%q = add(%p, %t) : f32[3] ; %h = mul(%q, %beta) : f32[3] ; %f = floor(%h) : f32[3] ; "
    "%g = mul(%f, %one)",
    "of three": "%k = mul(%s, %t) : f32[3] ; %q = take(%t) {indices = [2, 0, 1]} : f32[3] ; "
    "%o = sub(%one, %q) : f32[3] ; %g = mul(%o, %k)",
}


def with_gate(gate: str) -> Graph:
    lines = [line.strip() for line in gate.split(";")]
    typed = [line if " : " in line else f'{line} : f32[3] loc("/gate")' for line in lines]
    return parse(TEXT.replace("GATE", "\n  ".join(typed)))


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_gates(gate):
    graph = with_gate(gate)
    layers = apply(Recognise(), graph)
    assert sum(op.kind == "lif" for op in layers.ops) == 2 + ("%t" in gate or "%b" in gate)
    x = (np.random.default_rng(0).random((8, 40, 3)) < 0.5).astype(np.float64)
    wanted = interpret(graph, x).outputs
    assert len(np.unique(wanted.sum(axis=1), axis=0)) > 2
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-9)


def test_one_or_the_other_of_three():
    """The product of all and those of each two, beside the spikes themselves."""
    graph = with_gate(
        "%o = take(%t) {indices = [2, 0, 1]} : f32[3] ; %d = sub(%s, %t) : f32[3] ; "
        "%e = mul(%d, %d) : f32[3] ; %h = sub(%e, %o) : f32[3] ; %g = mul(%h, %h)"
    )
    layers = apply(Recognise(), graph)
    assert sum(op.kind == "lif" for op in layers.ops) == 2 + 4
    x = (np.random.default_rng(0).random((8, 40, 3)) < 0.5).astype(np.float64)
    wanted = interpret(graph, x).outputs
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-9)


def test_every_function_of_two_and_of_three_spikes():
    """A sum of whole weights tells 14 of 16, and 104 of 256: the threshold functions."""
    for spikes, found in ((2, 14), (3, 104)):
        rows = 1 << spikes
        functions = [[(number >> row) & 1 for row in range(rows)] for number in range(1 << rows)]
        sums = [told(np.array(one, np.float64)[:, None]) for one in functions]
        assert sum(one is not None for one in sums) == found
        bits = (np.arange(rows)[:, None] >> np.arange(spikes)) & 1
        for function, one in zip(functions, sums, strict=True):
            if one is not None:
                assert ((bits @ one[0] + one[1])[:, 0] > 0.5).astype(int).tolist() == function
