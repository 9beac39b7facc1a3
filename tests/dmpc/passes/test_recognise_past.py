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
}


def test_a_memory_that_own_spikes_drive():
    edits = (*RECURRENT, ("%d = matmul(%x, %wx)", "%d = matmul(%last, %wx)"))
    graph = recognised(*edits)
    assert graph.producer("layer1.x").operands[0] == "layer1.before"
    assert_same(graph, edits)


SECOND = (
    ("  const %wf", """  state %u2 : f32[2] = zeros next %v2 loc("second")
  state %later : f32[2] = zeros next %s2 loc("later")
  const %wb : f32[2, 2]
  const %wf"""),
    ("  %i = add(%f, %sl)", """  %back = matmul(%later, %wb) : f32[2] loc("/back")
  %both = add(%f, %back) : f32[2]
  %i = add(%both, %sl)"""),
    ("  %y = matmul(%s, %wf)", """  %kept2 = mul(%u2, %rest) : f32[2]
  %go = matmul(%s, %wb) : f32[2] loc("/go")
  %h2 = add(%kept2, %go) : f32[2]
  %c2 = ge(%h2, %theta) : bool[2] loc("/fire2")
  %s2 = cast(%c2) : f32[2]
  %v2 = where(%c2, %rest, %h2) : f32[2]
  %y = matmul(%s2, %wf)"""),
    ("data {", "data {\n  %wb = f64 [1.5, -1.0, -0.5, 1.25]"),
)  # fmt: skip


@pytest.mark.parametrize("older", [False, True])
def test_spikes_of_a_later_layer(older):
    """Of the timestep before, and of two timesteps before."""
    edits = SECOND
    if older:
        edits = (
            *SECOND,
            ("  const %wb", "  state %oldest : f32[2] = zeros next %later\n  const %wb"),
            ("matmul(%later, %wb)", "matmul(%oldest, %wb)"),
        )
    graph = recognised(*edits)
    read = graph.producer("layer1.recurrent").operands[0]
    assert read == ("layer1.late" if older else "layer2.before")
    assert graph.state("layer2.before").next == "layer2.spikes"
    assert_same(graph, edits)


def assert_same(graph, edits):
    """A recognised graph computes what the network with some edits does."""
    text = TEXT
    for old, new in edits:
        text = text.replace(old, new, 1)
    x = np.random.default_rng(0).normal(size=(3, 20, 2)) * 3
    wanted, found = interpret(parse(text), x), interpret(graph, x)
    assert wanted.outputs.any()
    np.testing.assert_allclose(found.outputs, wanted.outputs, atol=1e-12)


@pytest.mark.parametrize(("first", "second", "message"), STRANGE_PAST.values(), ids=STRANGE_PAST)
def test_what_is_nearly_recurrence_is_said_so(first, second, message):
    with pytest.raises(CompileError) as caught:
        recognised(*RECURRENT, *(pair_of(edit) for edit in (first, second) if edit))
    assert message in str(caught.value)


# -- delays ----------------------------------------------------------------------------------------

# Input 0 arrives two timesteps late, input 1 one timestep late, in several spellings.
SPELT = {
    "a state for each timestep": """  state %old : f32[2] = zeros next %x loc("z1")
  state %older : f32[2] = zeros next %old loc("z2")
  %all = concat(%old, %older) : f32[4] loc("/known")
  %late = take(%all) {indices = [2, 1]} : f32[2] loc("/late")""",
    "masks": """  state %old : f32[2] = zeros next %x loc("z1")
  state %older : f32[2] = zeros next %old loc("z2")
  const %one : f32[2] ; const %two : f32[2]
  %first = mul(%old, %one) : f32[2]
  %second = mul(%two, %older) : f32[2]
  %late = add(%first, %second) : f32[2] loc("/late")
  %one = f64 [0.0, 1.0] ; %two = f64 [1.0, 0.0]""",
    "a shift register": """  state %line : f32[3] = zeros next %moved loc("line")
  const %shift : f32[3, 3] ; const %enter : f32[3, 2] ; const %read : f32[2, 3]
  %kept = matmul(%line, %shift) : f32[3] loc("/S")
  %new = matmul(%x, %enter) : f32[3] loc("/E")
  %moved = add(%kept, %new) : f32[3]
  %late = matmul(%line, %read) : f32[2] loc("/late")
  %shift = f64 [0, 0, 0, 1, 0, 0, 0, 0, 0]
  %enter = f64 [1, 0, 0, 0, 0, 1]
  %read = f64 [0, 1, 0, 0, 0, 1]""",
    "a buffer that is cut": """  state %line : f32[4] = zeros next %moved loc("line")
  %long = concat(%x, %line) : f32[6]
  %moved = take(%long) {indices = [0, 1, 2, 3]} : f32[4]
  %late = take(%line) {indices = [2, 1]} : f32[2] loc("/late")""",
    "weights on the buffer": """  state %line : f32[4] = zeros next %moved loc("line")
  const %wide : f32[2, 4]
  %long = concat(%x, %line) : f32[6]
  %moved = take(%long) {indices = [0, 1, 2, 3]} : f32[4]
  %f = matmul(%line, %wide) : f32[2] loc("/fc")
  %wide = f64 [0.0, 0.25, 0.5, 0.0, 0.0, 0.5, 0.125, 0.0]""",
}


def delayed(spelling: str) -> tuple[tuple[str, str], ...]:
    """Edits of the network by a spelling: its states and constants, its ops, its data."""
    lines = SPELT[spelling].replace(" ; ", "\n").splitlines()
    declared = [line for line in lines if "state %" in line or "const %" in line]
    data = [line for line in lines if "= f64" in line]
    ops = [line for line in lines if "%" in line and line not in (*declared, *data)]
    fast = '  %f = matmul({}, %wf) : f32[2] loc("/fc")'
    if not any("%f =" in line for line in ops):
        ops.append(fast.format("%late"))
    return (
        ("  const %wf", "\n".join([*declared, "  const %wf"])),
        (fast.format("%x"), "\n".join(ops)),
        ("data {", "\n".join(["data {", *data])),
    )


@pytest.mark.parametrize("spelling", SPELT)
def test_axonal_delays(spelling):
    edits = delayed(spelling)
    graph = recognised(*edits)
    delay = graph.producer("layer1.late")
    assert (delay.kind, delay.operands[1]) == ("delay", "x")
    assert graph.constants["layer1.late.delays"].tolist() == [2, 1]
    assert graph.types["layer1.late.waiting"].shape == (3, 2)
    np.testing.assert_array_equal(
        graph.constants["layer1.fast.weight"], [[0.5, 0.25], [0.125, 0.5]]
    )
    text = TEXT
    for old, new in edits:
        text = text.replace(old, new)
    x = np.random.default_rng(0).integers(0, 2, (3, 20, 2)) * 1.0
    wanted, found = interpret(parse(text), x), interpret(graph, x)
    np.testing.assert_allclose(found.outputs, wanted.outputs, atol=1e-12)
    assert not np.allclose(interpret(recognised(), x).outputs, wanted.outputs)


def test_own_spikes_that_are_older():
    """Neuron 0 hears neuron 1 of two timesteps ago, neuron 1 hears neuron 0 of the last one."""
    mixed = """  %all = concat(%last, %before) : f32[4]
  %late = take(%all) {indices = [0, 3]} : f32[2]
  %fb = matmul(%late, %wr)"""
    edits = (
        *RECURRENT,
        ("  const %wr", "  state %before : f32[2] = zeros next %last\n  const %wr"),
        ("  %fb = matmul(%last, %wr)", mixed),
    )
    graph = recognised(*edits)
    assert graph.producer("layer1.late").operands[1] == "layer1.before"
    assert graph.constants["layer1.late.delays"].tolist() == [0, 1]
    text = TEXT
    for old, new in edits:
        text = text.replace(old, new, 1)
    x = np.random.default_rng(0).normal(size=(3, 20, 2)) * 3
    wanted, found = interpret(parse(text), x), interpret(graph, x)
    np.testing.assert_allclose(found.outputs, wanted.outputs, atol=1e-12)


def test_the_drive_shares_the_delay():
    graph = recognised(*delayed("a shift register"), ("matmul(%x, %wx)", "matmul(%late, %wx)"))
    assert [op.kind for op in graph.ops].count("delay") == 1
    assert graph.producer("layer1.x").operands[0] == "layer1.late"


def test_a_membrane_is_no_readout():
    """Also where timesteps may be cut elsewhere: the answer moves with the state that it is."""
    edits = [("output %y", "output %u")]
    with pytest.raises(CompileError, match="the output depends on state"):
        recognised(*edits)


OLD = [("%c = ge(%h, %theta)", "%c = ge(%u, %theta)")]


@pytest.mark.parametrize(
    "edits",
    [
        OLD,
        [*OLD, ("where(%c, %rest, %h)", "sub(%h, %drop)"),
         ("  %un = ", "  %drop = mul(%s, %theta) : f32[2]\n  %un = ")],
    ],
    ids=["to zero", "by the threshold"],
)  # fmt: skip
def test_neurons_that_compare_the_membrane_as_it_was_left(edits):
    """Their spikes are heard a timestep late, and take what that timestep brings with them."""
    text = TEXT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    graph, layers = parse(text), recognised(*edits)
    x = np.random.default_rng(0).normal(size=(3, 20, 2)) * 3
    wanted = interpret(graph, x).outputs
    assert len(np.unique(wanted)) > 3
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, atol=1e-12)
