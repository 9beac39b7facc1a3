"""Recognition: parameters, ties, windows, and what it says of networks that are something else."""

import numpy as np
import pytest

from benchmarks.random_networks import Layer, Shape
from dmpc.backend.onnx_writer import to_onnx
from dmpc.errors import CompileError
from dmpc.frontend import import_onnx
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.legendre import legendre_system, zero_order_hold
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from dmpc.passes.recognition.affine import Forms
from dmpc.passes.recognition.legendre import legendre_window
from dmpc.passes.recognition.terms import Affine, Term
from tests.networks import network

TEXT = """dmpir 1
graph "net" level model {
  attr readout = "mean"
  input %x : f32[2] loc("x")
  state %u : f32[2] = zeros next %un loc("u")
  state %m : f32[2] = zeros next %mn loc("m")
  const %wf : f32[2, 2]
  const %wx : f32[1, 2]
  const %a : f32[2, 2]
  const %b : f32[2, 1]
  const %wm : f32[2, 2]
  const %beta : f32[2, 2]
  const %theta : f32[1]
  const %rest : f32[1]
  const %bias : f32[2]
  const %swap : f32[2, 2]
  %f = matmul(%x, %wf) : f32[2] loc("/fc")
  %d = matmul(%x, %wx) : f32[1] loc("/drive")
  %r = relu(%d) : f32[1] loc("/relu")
  %am = matmul(%m, %a) : f32[2] loc("/A")
  %bx = matmul(%r, %b) : f32[2] loc("/B")
  %mn = add(%am, %bx) : f32[2] loc("/m_next")
  %sl = matmul(%mn, %wm) : f32[2] loc("/slow")
  %i = add(%f, %sl) : f32[2] loc("/current")
  %l = matmul(%u, %beta) : f32[2] loc("/leak")
  %h = add(%l, %i) : f32[2] loc("/charge")
  %c = ge(%h, %theta) : bool[2] loc("/fire")
  %s = cast(%c) : f32[2] loc("/spikes")
  %un = where(%c, %rest, %h) : f32[2] loc("/reset")
  %y = matmul(%s, %wf) : f32[2] loc("/out")
  output %y
}
data {
  %wf = f64 [0.5, 0.25, 0.125, 0.5]
  %wx = f64 [1.0, -1.0]
  %a = f64 [0.5, 0.25, -0.25, 0.5]
  %b = f64 [1.0, 2.0]
  %wm = f64 [1.0, 0.0, 0.5, 1.0]
  %beta = f64 [0.5, 0.0, 0.0, 0.75]
  %theta = f64 [1.0]
  %rest = f64 [0.0]
  %bias = f64 [0.5, 0.25]
  %swap = f64 [0.0, 1.0, 1.0, 0.0]
}
"""


def recognised(*edits: tuple[str, str]):
    text = TEXT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return apply(Recognise(), parse(text))


SYNAPSE = [
    ("  const %wf", '  state %j : f32[2] = zeros next %jn loc("j")\n  const %wf'),
    ("  %l = ", "  %jl = mul(%j, %theta4) : f32[2]\n  %jn = add(%jl, %i) : f32[2]\n  %l = "),
    ("add(%l, %i)", "add(%l, %jn)"),
    ("  const %theta :", "  const %theta4 : f32[1]\n  const %theta :"),
    ("  %theta = ", "  %theta4 = f64 [0.25]\n  %theta = "),
]


@pytest.mark.parametrize(
    "edits",
    [
        [],
        [("add(%l, %jn)", "add(%l, %j)")],
        [("matmul(%mn, %wm)", "matmul(%m, %wm)")],
        [("  %sl = ", "  %mo = add(%am, %bx) : f32[2]\n  %sl = "), ("(%mn, %wm)", "(%mo, %wm)")],
        [("relu(%d)", "add(%d, %d)"), ("[0.5, 0.25, -0.25, 0.5]", "[0.5, 0.0, 0.0, 0.25]")],
    ],
    ids=["now", "a timestep late", "of the memory before", "its sum written twice", "traces"],
)
def test_a_memory_charges_neurons_through_a_synaptic_current(edits):
    text = TEXT
    for old, new in [*SYNAPSE, *edits]:
        assert old in text
        text = text.replace(old, new)
    graph = parse(text)
    layers = apply(Recognise(), graph)
    assert [op.kind for op in layers.ops if op.kind in ("memory", "li", "lif")] == [
        "memory", "li", "lif",
    ]  # fmt: skip
    x = (np.random.default_rng(3).random((4, 30, 2)) < 0.4).astype(np.float64)
    wanted = interpret(graph, x).outputs
    assert wanted.any()
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-9)


def test_a_memory_of_one_neuron_charges_a_current_beside_another(tmp_path):
    """A rectified multiple of one spike is that multiple: the memory could be a current as well."""
    first = Layer(neurons=1, states=2)
    second = Layer(neurons=3, states=1, bias=False, current="late", other="late", heard=1)
    made = network(Shape(inputs=3, layers=(first, second), classes=2))
    (tmp_path / "net.onnx").write_bytes(to_onnx(made).SerializeToString())
    layers = apply(Recognise(), import_onnx(tmp_path / "net.onnx"))
    assert [op.attrs["layer"] for op in layers.ops if op.kind == "memory"] == ["layer1", "layer2"]


def test_the_network_itself():
    graph = recognised()
    np.testing.assert_array_equal(graph.constants["layer1.beta"], [0.5, 0.75])
    np.testing.assert_array_equal(graph.constants["layer1.drive.weight"], [1.0, -1.0])
    before = parse(TEXT)
    x = np.random.default_rng(0).normal(size=(3, 20, 2))
    wanted, found = interpret(before, x), interpret(graph, x, trace=["layer1.spikes"])
    np.testing.assert_allclose(found.outputs, wanted.outputs, atol=1e-12)
    assert 0.1 < found.traces["layer1.spikes"].mean() < 0.9


LINE = '  %un = where(%c, %rest, %h) : f32[2] loc("/reset")'

# Edits of the network, `old => new` a line (`;` for a line break), and what must be said of it.
STRANGE = {
    "drive by the memory": (
        "%d = matmul(%x, %wx) => %d = matmul(%m, %wx)",
        "net: '/relu': the drive depends on state 'm', expected events or the input",
    ),
    "full leak": (
        "%beta = f64 [0.5, 0.0, => %beta = f64 [0.5, 0.5,",
        "net: state 'u': neurons leak into each other: the leak is a full matrix",
    ),
    "reset to a current": (
        "%un = where(%c, %rest, %h) => %un = where(%c, %f, %h)",
        "net: state 'u': a spike leaves a mix of input 'x'",
    ),
    "reset by a neighbour": (
        """%un = where(%c, %rest, %h) => %o = matmul(%s, %swap) : f32[2] ; \
        %k = sub(%theta, %o) : f32[2] ; %un = mul(%k, %h)""",
        "net: state 'u': neurons are reset by the spikes of other neurons of '/fire'",
    ),
    "threshold on the leak": (
        "%c = ge(%h, %theta) => %c = ge(%l, %rest)",
        (
            "net: '/fire': compares state 'u' before input 'x', state 'm', '/relu' is added to it "
            "(spikes = beta u + currents >= threshold"
        ),
    ),
    "threshold that cancels the input": (
        (
            "%c = ge(%h, %theta) => %t = add(%l, %f) : f32[2] ; %g = sub(%h, %t) : f32[2] ; "
            "%c = ge(%g, %theta)"
        ),
        (
            "net: '/fire': does not compare the charge of state 'u' with a constant threshold: it "
            "looks at state 'm', '/relu', the charge is made of state 'u', input 'x', state 'm', "
        ),
    ),
    "square": (
        (
            '%un = where(%c, %rest, %h) => %q = mul(%h, %h) : f32[2] loc("/square") ; '
            "%un = where(%c, %rest, %q)"
        ),
        (
            "net: state 'u': the membrane's next value is not linear at '/square', even once the "
            "spikes of '/fire' are given"
        ),
    ),
    "a membrane over itself": (
        "%c = ge(%h, %theta) => %q = div(%u, %u) : f32[2] ; %c = ge(%q, %theta)",
        "net: '/fire': does not compare the charge of state 'u' with a constant threshold",
    ),
    "readout of the membrane": (
        "%y = matmul(%s, %wf) => %y = matmul(%h, %wf)",
        (
            "net: state 'u': the last layer keeps a membrane that spikes reset (state 'u') and the "
            "output is made of it, with another state or a reset in between; the machine's readout "
            "leaks by itself alone"
        ),
    ),
    "binarised input": (
        (
            "%f = matmul(%x, %wf) => %p = matmul(%x, %wf) : f32[2] ; %q = relu(%p) : f32[2] ; "
            '%on = gt(%q, %p) : bool[2] loc("/binarise") ; '
            "%xb = cast(%on) : f32[2] ; %f = matmul(%xb, %wf)"
        ),
        "net: '/binarise': the comparison is no neuron's threshold",
    ),
    "a sum held for a timestep": (
        "zeros next %mn => zeros next %f",
        "net: '/fire': the charge depends on '/relu' (u' = beta u + W_f s + W_m m + b)",
    ),
    "memory read twice": (
        (
            "%i = add(%f, %sl) => %ml = matmul(%m, %wm) : f32[2] ; "
            "%both = add(%sl, %ml) : f32[2] ; %i = add(%f, %both)"
        ),
        "net: '/fire': the charge reads state 'm' in more than one way: '/m_next', state 'm'",
    ),
    "nu of another matrix than P": (
        """%sl = matmul(%mn, %wm) => %p = matmul(%m, %a) : f32[2] ; \
        %nu = matmul(%r, %wnu) : f32[2] ; %sl = add(%p, %nu)
        const %swap => const %wnu : f32[2, 1] ; const %swap
        %swap = f64 => %wnu = f64 [1.0, 3.0] ; %swap = f64""",
        "net: '/fire': the charge reads state 'm' in more than one way",
    ),
}


@pytest.mark.parametrize(("edits", "message"), STRANGE.values(), ids=STRANGE)
def test_what_is_not_a_dmp_network_is_said_so(edits, message):
    lines = edits.replace("\\\n", " ").splitlines()
    pairs = [line.strip().replace(" ; ", "\n").split(" => ") for line in lines]
    with pytest.raises(CompileError) as caught:
        recognised(*((old, new) for old, new in pairs))
    assert message in str(caught.value)


# Edits of the network, and the attributes of the drives that it then has.
LINEAR, ADDED = {"linear": True}, {"adds": True}
SECOND_STATE = """state %u : => state %m2 : f32[2] = zeros next %m2n loc("m2") ; state %u :
    %mn = add(%am, %bx) => %a2 = matmul(%m2, %a) : f32[2] ; %m2n = add(%a2, %f) : f32[2] ; \
    %mn = add(%am, %bx)
    %i = add(%f, %sl) => %sl2 = matmul(%m2n, %swap) : f32[2] ; %fs = add(%f, %sl2) : f32[2] ; \
    %i = add(%fs, %sl)"""
PAIR = """state %u : => state %p : f32[2] = zeros next %pn loc("p") ; \
    state %q : f32[2] = zeros next %qn loc("q") ; state %u :
    %i = add(%f, %sl) => %pa = matmul(%p, %a) : f32[2] ; %qb = matmul(%q, %beta) : f32[2] ; \
    %pq = sub(%pa, %qb) : f32[2] ; %pn = add(%pq, %f) : f32[2] ; \
    %qn = matmul(%p, %beta) : f32[2] ; %sp = matmul(%pn, %swap) : f32[2] ; \
    %sq = matmul(%qn, %wm) : f32[2] ; %spq = add(%sp, %sq) : f32[2] ; \
    %fs = add(%f, %spq) : f32[2] ; %i = add(%fs, %sl)"""
BANK = """state %u : => state %p : f32[5] = zeros next %pn loc("p") ; state %u :
    const %theta : => const %d5 : f32[5] ; const %w5 : f32[5, 2] ; const %s5 : f32[2, 5] ; \
    const %theta :
    %theta = f64 => %d5 = f64 [0.5, 0.6, 0.7, 0.8, 0.9] ; \
    %w5 = f64 [1, 0.5, 2, 1, 0.5, 0.25, 4, 2, 1, 0.5] ; \
    %s5 = f64 [1, 0.5, -1, 0.25, 0.5, 0.5, 0.25, -0.5, -0.5, 1] ; %theta = f64
    %i = add(%f, %sl) => %pd = mul(%p, %d5) : f32[5] ; %pw = matmul(%x, %w5) : f32[5] ; \
    %pn = add(%pd, %pw) : f32[5] ; %sp = matmul(%pn, %s5) : f32[2] ; \
    %fs = add(%f, %sp) : f32[2] ; %i = add(%fs, %sl)"""
HEARD = """state %u : => state %p : f32[2] = zeros next %pn loc("p") ; state %u :
    %i = add(%f, %sl) => %sp = matmul(%p, %wm) : f32[2] ; %fs = add(%f, %sp) : f32[2] ; \
    %i = add(%fs, %sl)
    %y = matmul(%s, %wf) => %pa = matmul(%p, %a) : f32[2] ; %ps = matmul(%s, %swap) : f32[2] ; \
    %pn = add(%pa, %ps) : f32[2] ; %y = matmul(%s, %wf)"""
DRIVES = {
    "rectified": ("", [{}]),
    "linear": ("%r = relu(%d) => %r = add(%d, %d)", [LINEAR]),
    "feedback of the memory": (
        "%r = relu(%d) => %e = matmul(%m, %wx) : f32[1] ; %r = add(%d, %e)",
        [LINEAR],
    ),
    "two elements": (
        """const %wx : f32[1, 2] => const %wx : f32[2, 2]
        [1.0, -1.0] => [1.0, -1.0, 1, 1]
        %d = matmul(%x, %wx) : f32[1] => %d = matmul(%x, %wx) : f32[2]
        %r = relu(%d) : f32[1] => %r = relu(%d) : f32[2]
        matmul(%r, %b) => matmul(%r, %a)""",
        [{}, {}],
    ),
    "two linear elements": ("matmul(%r, %b) => matmul(%x, %wf)", [LINEAR, LINEAR]),
    "a constant beside": (
        "%mn = add(%am, %bx) => %mx = add(%am, %bx) : f32[2] ; %mn = add(%mx, %bias)",
        [{}, LINEAR],
    ),
    "an input that comes twice": (
        """state %u : => state %old : f32[2] = zeros next %x ; state %u :
        %d = matmul(%x, %wx) => %two = add(%x, %old) : f32[2] ; %d = matmul(%two, %wx)""",
        [LINEAR, ADDED],
    ),
    "the layer's own spikes beside the input": (
        """state %u : => state %old : f32[2] = zeros next %s ; state %u :
        %r = relu(%d) => %e = matmul(%old, %wx) : f32[1] ; %de = add(%d, %e) : f32[1] ; \
        %r = relu(%de)""",
        [LINEAR, ADDED],
    ),
    "another state beside": (SECOND_STATE, [LINEAR, LINEAR, {}]),
    "states that move each other": (PAIR, [LINEAR, LINEAR, {}]),
    "the spikes that the state charged": (HEARD, [{}, LINEAR, LINEAR]),
    "a bank of traces": (BANK, [LINEAR, {}]),
}


@pytest.mark.parametrize(("edits", "drives"), DRIVES.values(), ids=DRIVES)
def test_what_drives_a_memory(edits, drives):
    pairs = [pair_of(line) for line in edits.replace("\\\n", " ").splitlines()]
    layers = recognised(*pairs)
    found = [op for op in layers.ops if op.kind == "drive"]
    told = [{key: op.attrs[key] for key in op.attrs if key != "layer"} for op in found]
    assert told == drives
    text = TEXT
    for old, new in pairs:
        text = text.replace(old, new)
    x = (np.random.default_rng(3).random((4, 30, 2)) < 0.4).astype(np.float64)
    wanted = interpret(parse(text), x).outputs
    assert wanted.any()
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-9)
    again = apply(Recognise(), import_onnx(to_onnx(layers)))
    assert len([op for op in again.ops if op.kind == "drive"]) == len(drives)
    np.testing.assert_allclose(interpret(again, x).outputs, wanted, rtol=0, atol=1e-5)


def test_a_spike_may_subtract_another_amount_than_the_threshold():
    edit = (LINE, "%o = sub(%h, %bias) : f32[2]\n%un = where(%c, %o, %h) : f32[2]")
    graph = recognised(edit)
    assert graph.ops[-2].attrs["reset_mode"] == "subtract"
    np.testing.assert_array_equal(graph.constants["layer1.reset"], [0.5, 0.25])
    before = parse(TEXT.replace(*edit))
    x = np.random.default_rng(0).normal(size=(3, 20, 2))
    wanted, found = interpret(before, x), interpret(graph, x)
    np.testing.assert_allclose(found.outputs, wanted.outputs, atol=1e-12)


# -- held memories ---------------------------------------------------------------------------------

HELD = (
    ("  const %wf", """  state %held : f32[2] = zeros next %hn loc("h")
  state %k : f32[1] = zeros next %kn loc("k")
  const %three : f32[1]
  const %one : f32[1]
  const %ones : f32[2]
  const %wf"""),
    ("  %sl = matmul(%mn, %wm)", """  %rest_k = mod(%k, %three) : f32[1] loc("/mod")
  %due = eq(%rest_k, %rest) : bool[1] loc("/due")
  %hn = where(%due, %mn, %held) : f32[2] loc("/hold")
  %kn = add(%k, %one) : f32[1] loc("/count")
  %sl = matmul(%hn, %wm)"""),
    ("data {", "data {\n  %three = f64 [3.0]\n  %one = f64 [1.0]\n  %ones = f64 [1.0, 2.0]"),
)  # fmt: skip


def pair_of(edit: str) -> tuple[str, str]:
    """`old => new`, with `;` for a line break."""
    old, new = edit.strip().replace(" ; ", "\n").split(" => ")
    return old, new


SPELLINGS = {
    "as it is": "",
    "sign of the dividend": "= mod(%k, => = fmod(%k,",
    "constant first": "eq(%rest_k, %rest) => eq(%rest, %rest_k)",
    "one before": "%rest_k = mod(%k, => %ahead = add(%k, %three) : f32[1] ; %rest_k = mod(%ahead,",
    "counted from above": (
        "%due = eq(%rest_k, %rest) => %gap = sub(%rest, %rest_k) : f32[1] ; %due = eq(%gap, %rest)"
    ),
    "floor": """%rest_k = mod(%k, %three) => %part = div(%k, %three) : f32[1] ; \
        %low = floor(%part) : f32[1] ; %back = mul(%low, %three) : f32[1] ; \
        %rest_k = sub(%k, %back)""",
    "floor, one period before": """%rest_k = mod(%k, %three) => \
        %ahead = add(%k, %three) : f32[1] ; %part = div(%ahead, %three) : f32[1] ; \
        %low = floor(%part) : f32[1] ; %back = mul(%low, %three) : f32[1] ; \
        %rest_k = sub(%ahead, %back)""",
    "the current is held": """%hn = where(%due, %mn, %held) => \
        %cur = matmul(%mn, %wm) : f32[2] ; %moved = add(%cur, %ones) : f32[2] ; \
        %hn = where(%due, %moved, %held)
        %sl = matmul(%hn, %wm) => %sl = sub(%hn, %ones)""",
}


@pytest.mark.parametrize("edits", SPELLINGS.values(), ids=SPELLINGS)
def test_a_held_memory(edits):
    lines = edits.replace("\\\n", " ").splitlines()
    graph = recognised(*HELD, *map(pair_of, lines))
    hold = graph.producer("layer1.held.next")
    assert (hold.kind, hold.operands) == ("hold", ("layer1.held", "layer1.m.next"))
    assert (hold.attrs["period"], hold.loc) == (3, ("/hold",))
    assert graph.state("layer1.held").loc == ("h",)
    text = TEXT
    for old, new in (*HELD, *map(pair_of, lines)):
        text = text.replace(old, new)
    x = np.random.default_rng(0).normal(size=(3, 20, 2))
    wanted, found = interpret(parse(text), x), interpret(graph, x)
    np.testing.assert_allclose(found.outputs, wanted.outputs, atol=1e-12)
    assert not np.allclose(interpret(recognised(), x).outputs, wanted.outputs)


@pytest.mark.parametrize(
    ("edit", "since"),
    [
        ("eq(%rest_k, %rest) => eq(%rest_k, %one)", 1),
        ("%k : f32[1] = zeros => %k : f32[1] = %one", 2),
    ],
)
def test_a_memory_that_is_held_from_a_later_timestep_on(edit, since):
    graph = recognised(*HELD, pair_of(edit))
    assert graph.producer("layer1.held.next").attrs["since"] == since
    text = TEXT
    for old, new in (*HELD, pair_of(edit)):
        text = text.replace(old, new)
    x = np.random.default_rng(0).normal(size=(3, 20, 2))
    wanted = interpret(parse(text), x).outputs
    np.testing.assert_allclose(interpret(graph, x).outputs, wanted, atol=1e-12)
    again = apply(Recognise(), import_onnx(to_onnx(graph)))
    np.testing.assert_allclose(interpret(again, x).outputs, wanted, atol=1e-5)


def test_a_period_of_one_holds_nothing():
    assert recognised(*HELD, ("[3.0]", "[1.0]")).ops == recognised().ops


NEAR_HOLDS = {
    "kept and replaced the wrong way": (
        "where(%due, %mn, %held) => where(%due, %held, %mn)",
        "net: state 'h': the held state is kept in timesteps that count, replaced in others",
    ),
    "sampled by the input": (
        "%rest_k = mod(%k, %three) => %rest_k = matmul(%x, %wx)",
        (
            "net: '/due': the timestep of a held state depends on input 'x', expected the "
            "remainder of one counter"
        ),
    ),
    "remainder of the input": (
        "%rest_k = mod(%k, => %odd = matmul(%x, %wx) : f32[1] ; %rest_k = mod(%odd,",
        "net: '/mod': the remainder is of input 'x', expected a counter",
    ),
    "counts by two": (
        "%kn = add(%k, %one) => %kn = add(%k, %three)",
        "net: state 'k': the counter does not add 1 in each timestep",
    ),
    "counts events": (
        "%kn = add(%k, %one) => %kn = add(%k, %d)",
        "net: state 'k': the counter does not add 1 in each timestep",
    ),
    "begins with something else": (
        (
            '%due = eq(%rest_k, %rest) : bool[1] loc("/due") ;   %hn = where(%due, %mn, %held) => '
            '%due = eq(%rest_k, %one) : bool[1] loc("/due") ; '
            "%more = add(%mn, %ones) : f32[2] ; %hn = where(%due, %more, %held)"
        ),
        "net: state 'h': what is held until timestep 1 is not what a slow state of zeros gives",
    ),
    "half a timestep": ("[3.0] => [2.5]", "net: '/mod': the period is 2.5 timesteps, no whole"),
    "no period": ("[3.0] => [0.0]", "net: '/mod': the period is 0 timesteps, no whole number"),
    "never": (
        "eq(%rest_k, %rest) => eq(%rest_k, %three)",
        "net: '/due': the held state is replaced never, not within 3 timesteps",
    ),
    "once, and never again": (
        (
            '%rest_k = mod(%k, %three) : f32[1] loc("/mod") ;   %due = eq(%rest_k, %rest) => '
            "%back = sub(%k, %one) : f32[1] ; %rest_k = fmod(%back, %three) : f32[1] ; "
            "%less = sub(%rest, %one) : f32[1] ; %due = eq(%rest_k, %less)"
        ),
        "net: '/due': the held state is replaced first in timestep 0, not within 3 timesteps and",
    ),
    "a floor of another period": (
        (
            "%rest_k = mod(%k, %three) => %low = floor(%k) : f32[1] ; "
            "%back = mul(%low, %three) : f32[1] ; %rest_k = sub(%k, %back)"
        ),
        "net: %low: the floor leaves no remainder of the counter",
    ),
    "a period that is counted": (
        "mod(%k, %three) => mod(%k, %k)",
        "net: '/mod': the period is not a constant number",
    ),
    "a held input": (
        "where(%due, %mn, %held) => where(%due, %x, %held)",
        "net: state 'h': what is held depends on input 'x', expected a slow state",
    ),
    "held and read at once": (
        (
            "%i = add(%f, %sl) => %ml = matmul(%mn, %wm) : f32[2] ; %fm = add(%f, %ml) : f32[2] ; "
            "%i = add(%fm, %sl)"
        ),
        "net: '/fire': the charge reads state 'm' in more than one way",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "message"), NEAR_HOLDS.values(), ids=NEAR_HOLDS)
def test_what_is_nearly_a_hold_is_said_so(edit, message):
    with pytest.raises(CompileError) as caught:
        recognised(*HELD, pair_of(edit))
    assert message in str(caught.value)


SECOND = """  state %v : f32[2] = zeros next %vn loc("v")
  %sum = add(%s, %x) : f32[2] loc("/skip")
  %h2 = add(%v, %sum) : f32[2] loc("/charge2")
  %c2 = ge(%h2, %theta) : bool[2] loc("/fire2")
  %s2 = cast(%c2) : f32[2]
  %vn = sub(%h2, %s2) : f32[2]
"""


def test_two_sources_of_one_layer():
    """A skip connection: the spikes of the layer before, and the input."""
    edits = ("  %y = matmul(%s, %wf)", SECOND + "  %y = matmul(%s2, %wf)")
    layers = recognised(edits)
    second = [op for op in layers.ops if op.attrs["layer"] == "layer2" and op.kind == "dense"]
    assert {op.operands[0] for op in second} == {"x", "layer1.spikes"}
    x = (np.random.default_rng(0).random((4, 9, 2)) < 0.5).astype(np.float64)
    wanted = interpret(parse(TEXT.replace(*edits)), x).outputs
    assert wanted.any()
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, atol=1e-9)


def test_a_layer_reads_a_concatenation():
    """Of the spikes of the layer before, and of the input, one after the other."""
    product = "%two = concat(%x, %s) : f32[4]\n  %sum = matmul(%two, %wide) : f32[2]"
    joined = SECOND.replace("%sum = add(%s, %x) : f32[2]", product)
    edits = (
        ("  %y = matmul(%s, %wf)", joined + "  %y = matmul(%s2, %wf)"),
        ("  const %wf", "  const %wide : f32[2, 4]\n  const %wf"),
        ("data {", "data {\n  %wide = f64 [0.5, 1, 0.25, 0.75, -0.5, 1, 1.5, 0.25]"),
    )
    layers = recognised(*edits)
    read = {
        op.operands[0]: layers.constants[op.operands[1]].tolist()
        for op in layers.ops
        if op.attrs["layer"] == "layer2" and op.kind == "dense"
    }
    assert read == {"x": [[0.5, 1], [-0.5, 1]], "layer1.spikes": [[0.25, 0.75], [1.5, 0.25]]}


def test_two_layers_read_out_together():
    second = SECOND.replace("%sum = add(%s, %x)", "%sum = add(%s, %s)")
    both = "  %both = add(%s, %s2) : f32[2]\n  %y = matmul(%both, %wf)"
    layers = recognised(("  %y = matmul(%s, %wf)", second + both))
    *_, last, first, total = layers.ops
    assert [op.operands[0] for op in (last, first)] == ["layer2.spikes", "layer1.spikes"]
    assert (total.kind, total.operands) == ("sum", (*last.results, *first.results))
    np.testing.assert_array_equal(*(layers.constants[op.operands[1]] for op in (last, first)))


def test_a_readout_of_spikes_and_of_what_is_none():
    """Of all that the output depends on, what is wrong is named."""
    bend = "  %mixed = matmul(%x, %wf) : f32[2]\n"
    bend += '  %bent = relu(%mixed) : f32[2] loc("/bend")\n'
    both = bend + "  %out = matmul(%s, %wf) : f32[2]\n  %y = add(%out, %bent)"
    with pytest.raises(CompileError, match=r"the output depends on '/bend' \(a readout is"):
        recognised(("  %y = matmul(%s, %wf)", both))


def test_two_comparisons_of_one_membrane():
    twice = (
        '  %low = gt(%rest, %h) : bool[2] loc("/low")\n'
        '  %cut = where(%low, %theta, %h) : f32[2] loc("/cut")\n'
    )
    with pytest.raises(CompileError, match=r"state 'u': several comparisons look at this state: "):
        recognised((LINE, twice + LINE.replace("%h)", "%cut)")))


def test_a_layer_without_fast_path_keeps_its_bias():
    graph = recognised(("%i = add(%f, %sl)", "%i = add(%sl, %bias)"))
    assert [op.kind for op in graph.ops] == ["drive", "memory", "dense", "lif", "dense"]
    np.testing.assert_array_equal(graph.constants["layer1.slow.bias"], [0.5, 0.25])


def test_a_product_that_is_computed_twice_is_recovered():
    """`W_m (A m + B x)` from a second computation of the memory instead of its next value."""
    again = "%again = add(%am, %bx) : f32[2]\n  %sl = matmul(%again, %wm)"
    found, plain = recognised(("%sl = matmul(%mn, %wm)", again)), recognised()
    for name, array in plain.constants.items():
        np.testing.assert_allclose(found.constants[name], array, atol=1e-12)


def test_equal_comparisons_are_one_spike():
    """The reset looks at a comparison of its own, which is the opposite of the spikes'."""
    own = '  %c3 = gt(%theta, %h) : bool[2] loc("/below")\n  %un = where(%c3, %h, %rest)'
    found = recognised(("  %un = where(%c, %rest, %h)", own))
    assert found.producer("layer1.spikes").attrs["strict"] is False
    assert (
        found == recognised((LINE, LINE)) or found.constants.keys() == recognised().constants.keys()
    )


@pytest.mark.parametrize(
    ("comparison", "spikes"), [("ge(%h, %theta)", True), ("gt(%h, %theta)", False)]
)
def test_a_tie(comparison, spikes):
    """Input 2 from membrane 0 with beta 0.5 and gain 0.5: charge and threshold are both 1."""
    graph = recognised(
        ("%c = ge(%h, %theta)", f"%c = {comparison}"),
        ("%wf = f64 [0.5, 0.25, 0.125, 0.5]", "%wf = f64 [0.5, 0.0, 0.0, 0.5]"),
        ("%wm = f64 [1.0, 0.0, 0.5, 1.0]", "%wm = f64 [0.0, 0.0, 0.0, 0.0]"),
    )
    result = interpret(graph, np.array([[[2.0, 1.9]]]), trace=["layer1.spikes"])
    assert result.traces["layer1.spikes"].tolist() == [[[spikes, False]]]


def test_only_models_are_recognised():
    with pytest.raises(CompileError, match="net: needs a graph of level model, not layers"):
        Recognise().run(recognised())


@pytest.mark.parametrize(
    ("states", "window", "gain"),
    [(3, 7.0, 1.0), (10, 40.0, 0.5), (16, 33.3, 2.0), (40, 300.0, 1.0)],
)
def test_the_window_of_a_legendre_memory_is_recovered(states, window, gain):
    a, b = zero_order_hold(*legendre_system(states, window))
    single = a.astype(np.float32).astype(np.float64), (gain * b).astype(np.float32).astype(float)
    assert legendre_window(*single) == pytest.approx(window, rel=1e-6)
    assert legendre_window(a + 0.01 * np.eye(states), b) is None
    assert legendre_window(a, b[::-1].copy()) is None


def test_zero_order_hold_is_the_exact_solution():
    """Against many small explicit steps of the differential equation."""
    a, b = legendre_system(4, 12.0)
    discrete_a, discrete_b = zero_order_hold(a, b)
    steps, m, response = 200_000, np.eye(4), np.zeros(4)
    step_a = np.eye(4) + a / steps
    m = np.linalg.matrix_power(step_a, steps)
    response = np.linalg.solve(a, (m - np.eye(4)) @ b)
    np.testing.assert_allclose(discrete_a, m, atol=1e-4)
    np.testing.assert_allclose(discrete_b, response, atol=1e-4)


def test_a_window_becomes_an_attribute():
    a, b = zero_order_hold(*legendre_system(2, 9.0))
    graph = parse(TEXT)
    graph.constants |= {"a": a, "b": b[:, None]}
    found = apply(Recognise(), graph)
    assert found.producer("layer1.m.next").attrs["window"] == 9.0
    assert "window" not in recognised().producer("layer1.m.next").attrs


OPS = """dmpir 1
graph "ops" level model {
  attr readout = "mean"
  input %x : f32[2]
  const %k : f32[2]
  const %one : f32[1]
  const %yes : bool[2]
  %n = neg(%x) : f32[2]
  %t = take(%n) {indices = [1, 0, 1]} : f32[3]
  %j = concat(%t, %x) : f32[5]
  %last = take(%j) {indices = [3, 4]} : f32[2]
  %q = div(%last, %k) : f32[2]
  %w = where(%yes, %q, %k) : f32[2]
  %r = relu(%k) : f32[2]
  %z = add(%w, %r) : f32[2]
  %e = sub(%z, %one) : f32[2]
  output %e
}
data {
  %k = f64 [-2.0, 4.0]
  %one = f64 [1.0]
  %yes = bool [1, 0]
}
"""


def test_affine_forms_equal_the_interpreter():
    graph = parse(OPS)
    form = Forms(graph).form("e")
    x = np.random.default_rng(1).normal(size=(1, 5, 2))
    np.testing.assert_allclose(
        interpret(graph, x).outputs[0], x[0] @ form.terms["x"].T + form.bias, atol=1e-12
    )


def test_what_does_not_depend_on_an_assumed_spike_is_found_once():
    graph = parse(TEXT)
    forms = Forms(graph)
    whole = forms.form("un"), forms.form("y"), forms.form("i")
    for spikes in ([0.0, 0.0], [1.0, 0.0]):
        told = forms.assuming("c", np.array(spikes))
        afresh = Forms(graph)
        afresh.assumed = {"c": np.array(spikes)}
        for name in graph.types:
            form, other = told.form(name), afresh.form(name)
            assert form.bias.tobytes() == other.bias.tobytes()
            assert {leaf: m.tobytes() for leaf, m in form.terms.items()} == {
                leaf: m.tobytes() for leaf, m in other.terms.items()
            }
        assert told.form("i") is forms.form("i")
        assert not told.form("s").terms
    assert whole == (forms.form("un"), forms.form("y"), forms.form("i"))


def test_diagonal_forms_multiply_as_matrices_do():
    random = np.random.default_rng(2)
    left = random.normal(size=(3, 4)) * (random.random((3, 4)) < 0.7)
    for right in (np.diag(random.normal(size=4)), np.eye(4), np.diag([0.0, -1.0, 0.0, 2.0])):
        form = Affine(np.zeros(4), {"x": Term.of(np.eye(4)).through(right)})
        made = form.mapped(left)
        assert made.terms["x"].tobytes() == (left @ right).tobytes()
