"""What a model does to single inputs before its weights: nothing new, if the input is events."""

import numpy as np
import onnxruntime
import pytest

from dmpc.backend.onnx_writer import to_onnx
from dmpc.check import check
from dmpc.compiler import Options, find_ranges
from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.passes.recognise import Recognise

TEXT = """dmpir 1
graph "net" level model {
  attr readout = "mean"
  input %x : f32[3]
  state %u : f32[2] = zeros next %un
  const %w : f32[2, 3]
  const %v : f32[2, 2]
  const %half : f32[1]
  const %beta : f32[1]
  const %one : f32[1]
  BENT
  %i = matmul(%e, %w) : f32[2]
  %k = mul(%u, %beta) : f32[2]
  %c = add(%k, %i) : f32[2]
  %f = ge(%c, %one) : bool[2] loc("fire")
  %s = cast(%f) : f32[2]
  %r = sub(%one, %s) : f32[2]
  %un = mul(%c, %r) : f32[2]
  %y = matmul(%s, %v) : f32[2]
  output %y
}
data {
  %w = f64 [1.0, -0.5, 0.75, 0.25, 0.5, 1.25]
  %v = f64 [1.0, -1.0, 0.5, 2.0]
  %half = f64 [0.5]
  %beta = f64 [0.5]
  %one = f64 [1.0]
}
"""
BENT = {
    "more than a half": '%b = gt(%x, %half) : bool[3] loc("bent")\n  %e = cast(%b) : f32[3]',
    "is one": '%b = eq(%x, %one) : bool[3] loc("bent")\n  %e = cast(%b) : f32[3]',
    "no event": """%b = gt(%x, %half) : bool[3] loc("bent")
  %n = cast(%b) : f32[3]
  %e = sub(%one, %n) : f32[3]""",
    "choice": """%d = sub(%x, %half) : f32[3]
  %b = gt(%d, %half) : bool[3] loc("bent")
  %m = mul(%x, %beta) : f32[3]
  %e = where(%b, %m, %one) : f32[3]""",
    "whole": '%e = floor(%x) : f32[3] loc("bent")',
    "square": '%e = mul(%x, %x) : f32[3] loc("bent")',
}
EVENTS = (np.random.default_rng(0).random((4, 9, 3)) < 0.4).astype(np.float64)


@pytest.mark.parametrize("bent", BENT.values(), ids=BENT)
def test_of_events_it_is_a_weight_and_a_bias(bent):
    model = parse(TEXT.replace("BENT", bent))
    layers = Recognise().run(model)
    assert [op.kind for op in layers.ops] == ["dense", "lif", "dense"]
    np.testing.assert_allclose(
        interpret(layers, EVENTS).logits, interpret(model, EVENTS).logits, atol=1e-12
    )
    assert find_ranges(layers, EVENTS, Options()).events
    for x, options in ((EVENTS * 2, Options()), (None, Options(input_range=(-1.0, 1.0)))):
        with pytest.raises(CompileError, match="'bent' compares or rounds the input, which holds"):
            find_ranges(layers, x, options)


def test_an_export_cannot_be_given_anything_else():
    layers = Recognise().run(parse(TEXT.replace("BENT", BENT["is one"])))
    session = onnxruntime.InferenceSession(to_onnx(layers).SerializeToString())
    (found,) = session.run(None, {"x": EVENTS.astype(np.float32)})
    np.testing.assert_allclose(found, interpret(layers, EVENTS).logits, atol=1e-6)
    again = check(layers, calibration=EVENTS * 3.0)
    assert [finding.rule for finding in again.findings] == ["graded-comparison"]


def test_choices_between_other_values_are_still_refused():
    """Which of two membranes an input takes is a product of computed values."""
    chosen = '%b = gt(%x, %half) : bool[3] loc("bent")\n  %e = relu(%x) : f32[3]'
    text = TEXT.replace("BENT", chosen).replace("f32[2]", "f32[3]").replace("bool[2]", "bool[3]")
    text = text.replace("f32[2, 3]", "f32[3, 3]").replace("f32[2, 2]", "f32[3, 3]")
    text = text.replace("mul(%u, %beta)", "where(%b, %u, %beta)")
    text = text.replace("1.25]", "1.25, 1, 2, 3]").replace("0.5, 2.0]", "0.5, 2.0, 1, 2, 3, 4, 5]")
    with pytest.raises(CompileError):
        Recognise().run(parse(text))
