"""States that hold linear maps of earlier events, as a shift register of charges does."""

import numpy as np
import pytest

from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

HEAD = """dmpir 1
graph "net" level model {
  attr readout = "mean"
  input %x : f32[3] loc("x")
"""
TAIL = """  output %y
}
data {
  %wf = f64 [0.5, -0.25, 0.625, 0.75, 0.5, -0.5]
  %wr = f64 [0.25, 0.5, -0.5, 0.125]
  %wo = f64 [1.0, -1.0, -0.5, 0.5]
  %half = f64 [0.5]
  %low = f64 [-0.125]
  %bias = f64 [0.25, -0.5]
  %theta = f64 [0.75]
}
"""
CONSTANTS = {
    "wf": "2, 3",
    "wr": "2, 2",
    "wo": "2, 2",
    "half": "1",
    "low": "1",
    "bias": "2",
    "theta": "1",
}


def graph_of(states: dict[str, str], ops: dict[str, str]):
    """A graph of two neurons, from states with their next values and ops with their results."""
    lines = [f"  state %{name} : f32[2] = zeros next %{after}" for name, after in states.items()]
    lines += [f"  const %{name} : f32[{shape}]" for name, shape in CONSTANTS.items()]
    for name, op in ops.items():
        type_ = "bool" if op.startswith("g") else "f32"
        lines.append(f"  %{name} = {op} : {type_}[2]")
    return parse("\n".join([HEAD.rstrip(), *lines, TAIL]))


FIRE = {"c": "ge(%h, %theta)", "s": "cast(%c)", "y": "matmul(%s, %wo)"}
TWO = {"a": "f", "b": "a"}  # the charge of the timestep before, and of that before it
WINDOW = {
    "f": "matmul(%x, %wf)",
    "ah": "mul(%a, %half)",
    "bq": "mul(%b, %half)",
    "fa": "add(%f, %ah)",
    "h": "add(%fa, %bq)",
}
CASES = {
    "charges": (TWO, WINDOW),
    "weighed again": (TWO, {**WINDOW, "bq": "matmul(%b, %wr)"}),
    "of their sum": ({"a": "f", "b": "g"}, {**WINDOW, "g": "add(%f, %ah)"}),
    "scaled on the way": ({"a": "f", "b": "ah"}, {**WINDOW, "bq": "neg(%b)"}),
    "with a bias": (TWO, {"e": "matmul(%x, %wf)", **WINDOW, "f": "sub(%e, %low)"}),
    "with a bias of each": (TWO, {"e": "matmul(%x, %wf)", **WINDOW, "f": "add(%bias, %e)"}),
    "with two": (
        {"a": "f", "b": "g"},
        {"e": "matmul(%x, %wf)", **WINDOW, "f": "sub(%e, %low)", "g": "sub(%ah, %bias)"},
    ),
    "of their own spikes": (
        {**TWO, "p": "s"},
        {
            "e": "matmul(%x, %wf)",
            "r": "matmul(%p, %wr)",
            **WINDOW,
            "f": "add(%e, %r)",
        },
    ),
}


@pytest.mark.parametrize(("states", "ops"), CASES.values(), ids=CASES)
def test_neurons_that_look_at_earlier_charges_delay_their_events(states, ops):
    graph = graph_of(states, {**ops, **FIRE})
    layers = apply(Recognise(), graph)
    assert {"delay"} <= {op.kind for op in layers.ops}
    assert {"lif", "rlif"} & {op.kind for op in layers.ops}
    x = (np.random.default_rng(0).random((4, 20, 3)) < 0.4).astype(np.float64)
    wanted = interpret(graph, x).outputs
    assert (wanted != 0).mean() > 0.05
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-12)
