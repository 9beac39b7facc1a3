"""Answers that leak: where their biases are, from where they start, and what comes late."""

from itertools import product

import numpy as np
import pytest

from dmpc.errors import CompileError
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.passes.recognise import Recognise

X = np.random.default_rng(0).integers(0, 2, (3, 12, 2)) * 1.0
TEXT = """dmpir 1
graph "net" level model {
  attr readout = "READOUT"
  input %x : f32[2] loc("x")
  state %u : f32[2] = zeros next %un loc("u")
STATES  const %wf : f32[2, 2]
  const %beta : f32[2]
  const %theta : f32[1]
  const %rest : f32[1]
  const %w : f32[3, 2]
  const %p : f32[2]
  const %q : f32[3]
  const %b : f32[2]
  const %c : f32[3]
  const %e : f32[3]
  const %begin : f32[2]
  %f = matmul(%x, %wf) : f32[2] loc("/fc")
  %l = mul(%u, %beta) : f32[2] loc("/leak")
  %h = add(%l, %f) : f32[2] loc("/charge")
  %fired = ge(%h, %theta) : bool[2] loc("/fire")
  %s = cast(%fired) : f32[2] loc("/spikes")
  %un = where(%fired, %rest, %h) : f32[2] loc("/reset")
OPS  output %y
}
data {
  %wf = f64 [0.75, 0.25, 0.125, 1.0]
  %beta = f64 [0.5, 0.75]
  %theta = f64 [0.6]
  %rest = f64 [0.0]
  %w = f64 [1.0, -0.5, 0.25, 0.5, 2.0, -1.0]
  %p = f64 [0.5, 0.5]
  %q = f64 [0.75, 0.5, 0.875]
  %b = f64 [0.25, -1.0]
  %c = f64 [1.0, -2.0, 0.5]
  %e = f64 [-3.0, 0.5, 4.0]
  %begin = f64 [2.0, -1.0]
}
"""
TRACE = ("t", 2, "p")
LEAKY = ("v", 3, "q")


def model(ops: str, *states: tuple[str, int], readout: str = "mean", start: str = "zeros") -> Graph:
    """The graph of neurons whose spikes %s become %y; a state %t has the next value %tn."""
    declared = "".join(
        f'  state %{name} : f32[{size}] = {start} next %{name}n loc("{name}")\n'
        for name, size in states
    )
    text = TEXT.replace("STATES", declared).replace("READOUT", readout)
    return parse(text.replace("OPS", "".join(f"  {line}\n" for line in ops.splitlines())))


def same(graph: Graph) -> Graph:
    """The layers of a graph, which compute in every timestep what it computes."""
    found = Recognise().run(graph)
    wanted, given = interpret(graph, X).outputs, interpret(found, X).outputs
    assert np.ptp(wanted, axis=1).any()  # it fires
    np.testing.assert_allclose(given, wanted, atol=1e-12)
    return found


def leaks(late: tuple[bool, bool]) -> str:
    """A trace of spikes, weights, a readout that leaks: the two may be read before their update,
    and there is a bias at each of three places."""
    read = "t" if late[0] else "tn"
    return f"""%tp = mul(%t, %p) : f32[2]
%td = add(%tp, %s) : f32[2]
%tn = add(%td, %b) : f32[2]
%i = matmul(%{read}, %w) : f32[3]
%j = add(%i, %c) : f32[3]
%vq = mul(%v, %q) : f32[3]
%vn = add(%vq, %j) : f32[3]
%y = add(%{"v" if late[1] else "vn"}, %e) : f32[3]"""


@pytest.mark.parametrize("start", ["zeros", "begun"])
@pytest.mark.parametrize("late", list(product([False, True], repeat=2)))
def test_biases_before_between_and_behind_leaks(late, start):
    graph = model(leaks(late), TRACE[:2], LEAKY[:2])
    if start == "begun":
        for state in graph.states[1:]:
            size = graph.types[state.name].size
            state.init = graph.add_constant(
                f"{state.name}0", np.arange(1.0, size + 1), graph.types[state.name]
            )
    found = same(graph)
    assert [op.kind for op in found.ops].count("li") == 2
    assert [op.kind for op in found.ops].count("delay") == any(late)
    if any(late):
        assert (found.constants[found.ops[-4].operands[2]] == sum(late)).all()


BEHIND = """%tp = mul(%t, %p) : f32[2]
%tn = add(%tp, %s) : f32[2]
%i = matmul(%tn, %w) : f32[3]
%y = add(%i, %c) : f32[3]"""


def test_a_bias_behind_a_leak_is_one_inside_it_and_a_start():
    found = same(model(BEHIND, TRACE[:2]))
    (li,) = (op for op in found.ops if op.kind == "li")
    (dense,) = (op for op in found.ops if op.results[0] == li.operands[1])
    np.testing.assert_array_equal(found.constants[dense.operands[2]], [0.5, -1.0, 0.25])
    np.testing.assert_array_equal(found.constants[found.state(li.operands[0]).init], [1, -2, 0.5])


HELD = """%tn = add(%s, %b) : f32[2]
%i = matmul(%t, %w) : f32[3]
%y = add(%i, %c) : f32[3]"""


def test_what_was_held_starts_without_a_bias():
    """It shows wherever more than the last timestep is looked at."""
    biased = model(HELD, TRACE[:2])
    with pytest.raises(CompileError, match="the output depends on '/fire'"):
        Recognise().run(biased)
    same(model(HELD.replace("add(%s, %b)", "cast(%fired)"), TRACE[:2]))
    last = model(HELD, TRACE[:2], readout="last")
    wanted, given = interpret(last, X).logits, interpret(Recognise().run(last), X).logits
    np.testing.assert_allclose(given, wanted, atol=1e-12)
