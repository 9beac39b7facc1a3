"""Neurons with one more state than the machine keeps: the reason is the state, in any spelling."""

import re

import numpy as np
import pytest

from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from dmpc.passes.recognition.currents import MOST

CONSTANTS = {
    "wf": ((2, 3), [0.5, 0.25, 0.125, 0.5, -0.5, 0.75]),
    "same": ((2, 3), [0.5, 0.25, 0.125, 0.5, 0.25, 0.125]),
    "wo": ((2, 2), [1.0, -1.0, 0.5, 0.5]),
    "wr": ((2, 2), [0.0, 0.5, 0.25, 0.0]),
    "half": ((1,), [0.5]),
    "most": ((1,), [0.9]),
    "theta": ((1,), [1.0]),
    "zero": ((1,), [0.0]),
    "low": ((1,), [-0.25]),
    "ones": ((2,), [1.0, 1.0]),
    "uneven": ((2,), [0.5, 0.9]),
    "swapped": ((2, 3), [-0.25, 0.5, 0.5, 0.125, 0.25, -0.125]),
    "third": ((2, 3), [0.75, 0.125, -0.5, 0.25, -0.25, 0.5]),
    "pairs": ((2, 5), [0.5, 0.0, 0.25, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5]),
    "rates": ((5,), [0.1, 0.3, 0.5, 0.7, 0.9]),
    "wq": ((5, 3), [0.1 * n for n in range(-3, 12)]),
    "qm": ((2, 5), [1.0, 0.5, 0.25, -0.5, 0.75, 0.0, 0.0, 0.0, 0.0, 0.0]),
}
LIF = """l = mul(%u, %most)
h = add(%l, CURRENT)
c = ge(%h, THRESHOLD)
s = cast(%c)
un = where(%c, %zero, %h)"""
FED = "f = matmul(%x, %wf)\n" + LIF.replace("CURRENT", "%f")
PLAIN = FED.replace("THRESHOLD", "%theta")
OUT = "\ny = matmul(%s, %wo)"
U, O, I, W, B, R, P = (  # noqa: E741
    (name, f"{name}n" if name != "p" else "s") for name in "uoiwbrp"
)
READOUT = PLAIN + "\nz = matmul(%s, %wo)\nol = mul(%o, %most)\non = add(%ol, %z)\ny = "
SYNAPSE = "fx = matmul(%x, %wf)\nil = mul(%i, %half)\nin = add(%il, %fx)\n"
DRIVEN = LIF.replace("CURRENT", "%in").replace("THRESHOLD", "%theta") + OUT
MOVING = "bt = mul(%b, %half)\nth = add(%bt, %theta)\n" + FED.replace("THRESHOLD", "%th")
SPIKES = "\nbl = mul(%b, %most)\nbn = add(%bl, %s)" + OUT
PULLED = "fx = matmul(%x, %wf)\nfw = sub(%fx, %w)\n" + LIF.replace("CURRENT", "%fw").replace(
    "THRESHOLD", "%theta"
)
LATE = """bl = mul(%b, %most)
bn = add(%bl, %p)
bt = mul(%bn, %half)
th = add(%bt, %theta)
fx = matmul(%x, %wf)
op = gt(%p, %zero)
dr = where(%op, %th, %zero)
g = sub(%fx, %dr)
l = mul(%u, %most)
un = add(%l, %g)
c = ge(%un, %th)
s = cast(%c)"""
PULLED_LATE = """wl = mul(%w, %most)
wm = mul(%u, %half)
wa = add(%wl, %wm)
wp = mul(%p, %half)
wn = add(%wa, %wp)
fx = matmul(%x, %wf)
fw = sub(%fx, %wn)
up = sub(%u, %p)
l = mul(%up, %most)
un = add(%l, %fw)
c = gt(%un, %theta)
s = cast(%c)"""
COUNTED = """f = matmul(%x, %wf)
free = gt(%theta, %r)
fm = where(%free, %f, %zero)
l = mul(%u, %most)
h = add(%l, %fm)
c = ge(%h, %theta)
s = cast(%c)
un = where(%c, %half, %h)
rd = sub(%r, %ones)
rr = relu(%rd)
three = add(%ones, %ones)
rn = where(%c, %three, %rr)"""
SHUT = """f = matmul(%x, %wf)
l = mul(%u, %most)
h0 = add(%l, %f)
op = gt(%p, %zero)
h = where(%op, %l, %h0)
c = ge(%h, %theta)
s = cast(%c)
un = where(%c, %half, %h)"""

# name -> states with their next values, the timestep, the rule, and the state that is to blame
NETWORKS = {
    "readout of a membrane": ((U,), PLAIN + "\ny = matmul(%un, %wo)", "leaky-readout", "u"),
    "readout of a charge": ((U,), PLAIN + "\ny = matmul(%h, %wo)", "leaky-readout", "u"),
    "too many receptors": (
        (U, *((f"i{n}", f"i{n}n") for n in range(MOST + 1))),
        "fx = matmul(%x, %wf)\na0 = add(%fx, %zero)\n"
        + "".join(
            f"l{n} = mul(%i{n}, %half)\ni{n}n = add(%l{n}, %fx)\na{n + 1} = add(%a{n}, %i{n}n)\n"
            for n in range(MOST + 1)
        ) + DRIVEN.replace("%in", f"%a{MOST + 1}"),
        "several-currents", "i0",
    ),
    "filters that differ": (
        (U, ("q", "qn")),
        "qx = matmul(%x, %wq)\nql = mul(%q, %rates)\nqn = add(%ql, %qx)\nm = matmul(%qn, %qm)\n"
        + DRIVEN.replace("%in", "%m"),
        "mixed-decays", "q",
    ),
    "threshold that others move": (
        (U, B),
        MOVING + SPIKES.replace("mul(%b, %most)", "matmul(%b, %wo)"),
        "adaptive-threshold", "b",
    ),
    "threshold that is a charge of its own": (
        (U, B), MOVING + SPIKES.replace("%s)", "%f)", 1), "adaptive-threshold", "b",
    ),
    "refractory": ((U, R), COUNTED + OUT, "refractory", "r"),
    "refractory for one timestep": ((U, P), SHUT + OUT, "refractory", "p"),
    "floor of neurons that adapt": (
        (U, B),
        "lo = sub(%u, %low)\nre = relu(%lo)\nv = add(%re, %low)\n"
        + MOVING.replace("mul(%u", "mul(%v") + SPIKES,
        "limits-beside", "u",
    ),
    "quadratic": (
        (U, B),
        "fx = matmul(%x, %wf)\nfb = add(%fx, %b)\n"
        + LIF.replace("CURRENT", "%fb").replace("THRESHOLD", "%theta")
        + "\nbn = mul(%un, %un)" + OUT,
        "nonlinear-state", "b",
    ),
    "filter that keeps all of itself where a spike comes": (  # SpikingJelly's SynapseFilter
        (U, B, W),
        PLAIN
        + "\nks = sub(%ones, %s)\nkb = mul(%ks, %b)\nkh = mul(%kb, %half)\nbm = sub(%b, %kh)\n"
        "bn = add(%bm, %s)\nwl = mul(%w, %most)\nwh = add(%wl, %bn)\nwc = ge(%wh, %theta)\n"
        "ws = cast(%wc)\nwn = where(%wc, %zero, %wh)\ny = matmul(%ws, %wo)",
        "nonlinear-state", "b",
    ),
    "part of the charge that a spike takes off a timestep late": (  # SpikingJelly's GatedLIFNode
        (U, B),
        "f = matmul(%x, %wf)\nl = mul(%u, %most)\nlf = add(%l, %f)\nun = sub(%lf, %b)\n"
        "c = ge(%un, %theta)\ns = cast(%c)\nhu = mul(%un, %half)\nbn = mul(%hu, %s)" + OUT,
        "reset-mix", "b",
    ),
    "current that spikes cut off": (
        (U, I),
        "fx = matmul(%x, %wf)\nil = mul(%i, %half)\nic = add(%il, %fx)\n"
        + LIF.replace("CURRENT", "%ic").replace("THRESHOLD", "%theta")
        + "\nin = where(%c, %zero, %ic)" + OUT,
        "several-resets", "i",
    ),
}  # fmt: skip


def text_with(states: tuple[tuple[str, str], ...], timestep: str) -> str:
    """A network of two neurons in graph text; what begins with q has five elements."""
    lines = ["dmpir 1", 'graph "net" level model {', '  attr readout = "mean"']
    lines.append('  input %x : f32[3] loc("x")')
    size = {True: 5, False: 2}
    lines += [
        f'  state %{s} : f32[{size[s[0] == "q"]}] = zeros next %{n} loc("{s}")' for s, n in states
    ]
    for name, (shape, _) in CONSTANTS.items():
        lines.append(f"  const %{name} : f32[{', '.join(map(str, shape))}]")
    for name, op in (line.split(" = ") for line in timestep.splitlines()):
        type_ = "bool" if re.match(r"g[et]\(", op) else "f32"
        lines.append(f'  %{name} = {op} : {type_}[{size[name[0] == "q"]}] loc("/{name}")')
    lines += ["  output %y", "}", "data {"]
    lines += [f"  %{name} = f64 {values}" for name, (_, values) in CONSTANTS.items()]
    return "\n".join([*lines, "}", ""])


def test_the_network_without_another_state():
    assert apply(Recognise(), parse(text_with((U,), PLAIN + OUT))).level == "layers"


@pytest.mark.parametrize("case", NETWORKS.values(), ids=NETWORKS)
def test_the_state_is_the_reason(case):
    states, timestep, rule, blamed = case
    with pytest.raises(CompileError) as caught:
        apply(Recognise(), parse(text_with(states, timestep)))
    (only,) = caught.value.every
    assert only.rule.name == rule
    assert f"state '{blamed}'" in str(only)


def test_faults_that_do_not_follow_from_it_are_still_told():
    second = """
fz = matmul(%s, %wo)
vl = matmul(%v, %wr)
vh = add(%vl, %fz)
vc = ge(%vh, %theta)
vs = cast(%vc)
vn = where(%vc, %zero, %vh)
y = matmul(%vs, %wo)"""
    timestep = MOVING + SPIKES.replace(OUT, second).replace("mul(%b, %most)", "matmul(%b, %wo)")
    with pytest.raises(CompileError) as caught:
        apply(Recognise(), parse(text_with((U, B, ("v", "vn")), timestep)))
    assert [one.rule.name for one in caught.value.every] == ["adaptive-threshold", "full-leak"]


CURRENTS = {
    "now": ((U, I), SYNAPSE + DRIVEN),
    "late": ((U, I), SYNAPSE + DRIVEN.replace("%in", "%i")),
    "of one sum": ((U, I), SYNAPSE.replace("%wf", "%same") + DRIVEN),
    "each neuron its own": ((U, I), SYNAPSE.replace("%half", "%uneven") + DRIVEN),
    "scaled": ((U, I), SYNAPSE + "g = mul(%in, %uneven)\n" + DRIVEN.replace("%in", "%g")),
    "twice as it was": (
        (U, I),
        "fx = matmul(%x, %wf)\nij = add(%i, %fx)\nin = mul(%ij, %half)\n"
        + DRIVEN.replace("%in", "%ij"),
    ),
    "mixed by the weights": (
        (U, I), SYNAPSE + "m = matmul(%in, %wo)\n" + DRIVEN.replace("%in", "%m"),
    ),
    "beside a constant": (
        (U, I), SYNAPSE + "g = add(%in, %half)\n" + DRIVEN.replace("%in", "%g"),
    ),
    "recurrent": (
        (U, I, P),
        SYNAPSE.replace("il =", "rx = matmul(%p, %wr)\nfr = add(%fx, %rx)\nil =").replace(
            "%il, %fx", "%il, %fr"
        ) + DRIVEN,
    ),
    "with a late reset": (
        (U, I, P),
        SYNAPSE + "tp = mul(%p, %uneven)\ng = sub(%in, %tp)\n"
        + DRIVEN.replace("%in", "%g").replace("where(%c, %zero, %h)", "add(%h, %zero)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CURRENTS.values(), ids=CURRENTS)
def test_a_synaptic_current_in_any_spelling(case):
    states, timestep = case
    graph = parse(text_with(states, timestep))
    layers = apply(Recognise(), graph)
    assert [op.kind for op in layers.ops if op.kind in ("li", "lif")] == ["li", "lif"]
    x = (np.random.default_rng(3).random((8, 40, 3)) < 0.4).astype(np.float64)
    wanted = interpret(graph, x).outputs
    assert np.abs(wanted).sum() > 10  # spikes
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-9)


OTHER = "fz = matmul(%x, %swapped)\nwl = mul(%w, %most)\nwn = add(%wl, %fz)\n"
BOTH = SYNAPSE + OTHER + "both = add(%in, %wn)\n" + DRIVEN.replace("%in", "%both")
STRAIGHT = "fz = matmul(%x, %swapped)\nboth = add(%in, %fz)\n" + DRIVEN.replace("%in", "%both")
RECEPTORS = {  # with the currents and products that they are
    "two": ((U, I, W), BOTH, (2, 2)),
    "of one sum": ((U, I, W), BOTH.replace("%swapped", "%wf"), (2, 2)),
    "one of them late": ((U, I, W), BOTH.replace("%in, %wn", "%i, %wn"), (2, 2)),
    "both late": ((U, I, W), BOTH.replace("%in, %wn", "%i, %w"), (2, 2)),
    "each neuron its own": ((U, I, W), BOTH.replace("%half", "%uneven"), (2, 2)),
    "one inhibits": ((U, I, W), BOTH.replace("add(%in, %wn)", "sub(%in, %wn)"), (2, 2)),
    "beside a constant": (
        (U, I, W), BOTH.replace("both =", "wc = add(%wn, %half)\nboth =").replace(
            "%in, %wn", "%in, %wc"), (2, 3),
    ),
    "in one state": (
        (U, ("q", "qn")),
        "qx = matmul(%x, %wq)\nql = mul(%q, %rates)\nqn = add(%ql, %qx)\nm = matmul(%qn, %pairs)\n"
        + DRIVEN.replace("%in", "%m"),
        (2, 2),
    ),
    "and the input itself": ((U, I), SYNAPSE + STRAIGHT, (1, 2)),
    "late, and the input itself": (
        (U, I), SYNAPSE + STRAIGHT.replace("%in, %fz", "%i, %fz"), (1, 2),
    ),
    "late, and a share of what it takes in": (
        (U, I),
        SYNAPSE + STRAIGHT.replace("matmul(%x, %swapped)", "mul(%fx, %uneven)").replace(
            "%in, %fz", "%i, %fz").replace("un =", "ht = sub(%h, %theta)\nun =").replace(
            "%zero, %h", "%ht, %h"), (1, 2),
    ),
    "that keeps nothing": (
        (U, I),
        SYNAPSE.replace("%half", "%zero") + STRAIGHT.replace("%in, %fz", "%i, %fz"), (1, 2),
    ),
    "and recurrence": (
        (U, I, P), SYNAPSE + STRAIGHT.replace("matmul(%x, %swapped)", "matmul(%p, %wr)"), (1, 2),
    ),
    "two, and the input itself": (
        (U, I, W), BOTH.replace("both =", "fy = matmul(%x, %third)\nwz = add(%wn, %fy)\nboth =")
        .replace("%in, %wn)", "%in, %wz)"), (2, 3),
    ),
    "with a late reset": (
        (U, I, W, P),
        BOTH.replace("both =", "tp = mul(%p, %uneven)\ng = sub(%in, %tp)\nboth =").replace(
            "%in, %wn", "%g, %wn").replace("where(%c, %zero, %h)", "add(%h, %zero)"), (2, 2),
    ),
    "and thresholds that adapt": (
        (U, I, W, B),
        "bt = mul(%b, %half)\nth = add(%bt, %theta)\n"
        + BOTH.replace("%theta)\ns", "%th)\ns").replace(OUT, SPIKES), (2, 2),
    ),
    "never reset": (
        (I, W),
        SYNAPSE + OTHER + "h = add(%in, %wn)\nc = ge(%h, %theta)\ns = cast(%c)" + OUT, (2, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RECEPTORS.values(), ids=RECEPTORS)
def test_several_currents_in_any_spelling(case):
    states, timestep, (currents, products) = case
    graph = parse(text_with(states, timestep))
    layers = apply(Recognise(), graph)
    kinds = [op.kind for op in layers.ops]
    assert (kinds.count("li"), kinds.count("dense") - 1) == (currents, products)
    x = (np.random.default_rng(3).random((8, 40, 3)) < 0.4).astype(np.float64)
    wanted = interpret(graph, x).outputs
    assert np.abs(wanted).sum() > 10  # spikes
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-9)


ADAPTING = {
    "threshold": ((U, B), MOVING + SPIKES),
    "threshold that is taken off": (
        (U, B),
        MOVING.replace("un = where(%c, %zero, %h)", "d = sub(%h, %th)\nun = where(%c, %d, %h)")
        + SPIKES,
    ),
    "threshold that is taken off late": ((U, B, P), LATE + OUT),
    "threshold of spikes before": (
        (U, B, P), LATE.replace("where(%op, %th, %zero)", "mul(%p, %half)") + OUT,
    ),
    "threshold and recurrence": (
        (U, B, P),
        LATE.replace("%x, %wf)", "%x, %wf)\nrx = matmul(%p, %wr)\nfr = add(%fx, %rx)").replace(
            "sub(%fx", "sub(%fr"
        ) + OUT,
    ),
    "each neuron its own": (
        (U, B), MOVING.replace("%b, %half", "%b, %uneven") + SPIKES.replace("%most", "%uneven"),
    ),
    "true without a spike": (
        (U, B),
        MOVING.replace("ge(%h, %th)", "gt(%th, %h)").replace("%c, %zero, %h", "%c, %h, %zero")
        .replace("cast(%c)", "where(%c, %zero, %ones)") + SPIKES,
    ),
    "current of spikes": ((U, W), PULLED + "\nwl = mul(%w, %most)\nwn = add(%wl, %s)" + OUT),
    "current of the membrane": (
        (U, W),
        PULLED + "\nwl = mul(%w, %most)\nwm = mul(%un, %half)\nwa = add(%wl, %wm)"
        "\nwn = add(%wa, %s)" + OUT,
    ),
    "current, late": ((U, W, P), PULLED_LATE + OUT),
}  # fmt: skip


@pytest.mark.parametrize("case", ADAPTING.values(), ids=ADAPTING)
def test_neurons_that_adapt_in_any_spelling(case):
    states, timestep = case
    graph = parse(text_with(states, timestep))
    layers = apply(Recognise(), graph)
    assert [op.kind for op in layers.ops if op.kind in ("li", "lif", "alif")] == ["alif"]
    x = (np.random.default_rng(3).random((8, 40, 3)) < 0.4).astype(np.float64)
    wanted = interpret(graph, x).outputs
    assert np.abs(wanted).sum() > 10  # spikes
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-9)


READOUTS = {
    "a leaky integrator": ((U, O), READOUT + "add(%on, %zero)"),
    "then weights": ((U, O), READOUT + "matmul(%on, %wr)"),
    "then a constant": ((U, O), READOUT + "add(%on, %half)"),
    "of before": ((U, O), READOUT + "add(%o, %zero)"),
    "behind a synapse": (
        (U, I, O),
        READOUT.replace("%ol, %z)", "%ol, %in)").replace(
            "ol =", "il = mul(%i, %half)\nin = add(%il, %z)\nol ="
        ) + "add(%on, %zero)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READOUTS.values(), ids=READOUTS)
def test_a_readout_that_leaks(case):
    states, timestep = case
    graph = parse(text_with(states, timestep))
    layers = apply(Recognise(), graph)
    assert [op.kind for op in layers.ops].count("li") == len(states) - 1
    x = (np.random.default_rng(3).random((8, 40, 3)) < 0.4).astype(np.float64)
    wanted = interpret(graph, x).outputs
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, rtol=0, atol=1e-9)


def test_a_readout_that_hears_what_is_rectified():
    timestep = READOUT.replace("%z)", "%zr)").replace("ol =", "zr = relu(%z)\nol =")
    with pytest.raises(CompileError) as caught:
        apply(Recognise(), parse(text_with((U, O), timestep + "add(%on, %zero)")))
    assert caught.value.every[0].rule.name in ("readout", "strange-drive")
