"""Recognition of recurrence and delays: which events of earlier timesteps a layer reads."""

import numpy as np
import pytest

from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from tests.dmpc.passes.test_recognise import TEXT, pair_of, recognised

RECURRENT = (
    ("  const %wf", """  state %last : f32[2] = zeros next %s loc("last")
  const %wr : f32[2, 2]
  const %wf"""),
    ("  %i = add(%f, %sl)", """  %fb = matmul(%last, %wr) : f32[2] loc("/recurrent")
  %both = add(%f, %fb) : f32[2] loc("/both")
  %i = add(%both, %sl)"""),
    ("data {", "data {\n  %wr = f64 [0.5, -1.0, -0.5, 0.25]"),
)  # fmt: skip

PAST = {
    "as it is": "",
    "soft reset": """%un = where(%c, %rest, %h) => %drop = mul(%s, %theta) : f32[2] ; \
        %un = sub(%h, %drop)""",
    "beside the input": """%fb = matmul(%last, %wr) => %two = concat(%x, %last) : f32[4] ; \
        %fb = matmul(%two, %wide)
        const %wr : f32[2, 2] => const %wide : f32[2, 4]
        %wr = f64 [0.5, -1.0, -0.5, 0.25] => %wide = f64 [0, 0, 0.5, -1, 0, 0, -0.5, 0.25]""",
    "the other way round": """zeros next %s => zeros next %turned
        %un = where => %turned = matmul(%s, %swap) : f32[2] ; %un = where
        %fb = matmul(%last, %wr) => %back = take(%last) {indices = [1, 0]} : f32[2] ; \
        %fb = matmul(%back, %wr)""",
    "true without spike": """%c = ge(%h, %theta) => %c = gt(%theta, %h)
        %s = cast(%c) => %quiet = cast(%c) : f32[2] ; %s = sub(%one, %quiet)
        where(%c, %rest, %h) => where(%c, %h, %rest)
        const %bias => const %one : f32[1] ; const %bias
        %bias = f64 => %one = f64 [1.0] ; %bias = f64""",
}


@pytest.mark.parametrize("edits", PAST.values(), ids=PAST)
def test_recurrence(edits):
    lines = edits.replace("\\\n", " ").splitlines()
    edits = [*RECURRENT, *map(pair_of, lines)]
    graph = recognised(*edits)
    assert graph.state("layer1.before").next == "layer1.spikes"
    np.testing.assert_array_equal(
        graph.constants["layer1.recurrent.weight"], [[0.5, -1.0], [-0.5, 0.25]]
    )
    text = TEXT
    for old, new in edits:
        text = text.replace(old, new)
    x = np.random.default_rng(0).normal(size=(3, 20, 2)) * 3
    wanted, found = interpret(parse(text), x), interpret(graph, x)
    np.testing.assert_allclose(found.outputs, wanted.outputs, atol=1e-12)
    assert not np.allclose(interpret(recognised(), x).outputs, wanted.outputs)


STRANGE_PAST = {
    "the opposite of spikes": (
        "zeros next %s => zeros next %silent ; state %z : f32[2] = zeros next %silent",
        "%un = where => %silent = sub(%theta, %s) : f32[2] ; %un = where",
        "net: state 'last': holds the opposite of the spikes of '/fire'",
    ),
    "spikes from the start": (
        "%last : f32[2] = zeros => %last : f32[2] = %bias",
        "",
        "net: state 'last': the state holds events of earlier timesteps, but does not start from",
    ),
    "a drive by own spikes": (
        "%d = matmul(%x, %wx) => %d = matmul(%last, %wx)",
        "",
        "net: '/fire': layers feed each other through time: '/fire', '/fire'",
    ),
}


@pytest.mark.parametrize(("first", "second", "message"), STRANGE_PAST.values(), ids=STRANGE_PAST)
def test_what_is_nearly_recurrence_is_said_so(first, second, message):
    with pytest.raises(CompileError) as caught:
        recognised(*RECURRENT, *(pair_of(edit) for edit in (first, second) if edit))
    assert message in str(caught.value)
