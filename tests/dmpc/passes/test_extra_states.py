"""Neurons with one more state than the machine keeps: the reason is the state, in any spelling."""

import re

import numpy as np
import pytest

from dmpc.errors import CompileError
from dmpc.ir.interpret import interpret
from dmpc.ir.parser import parse
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

CONSTANTS = {
    "wf": ((2, 3), [0.5, 0.25, 0.125, 0.5, -0.5, 0.75]),
    "same": ((2, 3), [0.5, 0.25, 0.125, 0.5, 0.25, 0.125]),
    "wo": ((2, 2), [1.0, -1.0, 0.5, 0.5]),
    "wr": ((2, 2), [0.0, 0.5, 0.25, 0.0]),
    "half": ((1,), [0.5]),
    "most": ((1,), [0.9]),
    "theta": ((1,), [1.0]),
    "zero": ((1,), [0.0]),
    "ones": ((2,), [1.0, 1.0]),
    "uneven": ((2,), [0.5, 0.9]),
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
un = where(%c, %zero, %h)
rd = sub(%r, %ones)
rr = relu(%rd)
three = add(%ones, %ones)
rn = where(%c, %three, %rr)"""
SHUT = """f = matmul(%x, %wf)
l = mul(%u, %most)
h0 = add(%l, %f)
op = gt(%p, %zero)
h = where(%op, %zero, %h0)
c = ge(%h, %theta)
s = cast(%c)
un = where(%c, %zero, %h)"""

# name -> states with their next values, the timestep, the rule, and the state that is to blame
NETWORKS = {
    "readout of a membrane": ((U,), PLAIN + "\ny = matmul(%un, %wo)", "leaky-readout", "u"),
    "readout of a charge": ((U,), PLAIN + "\ny = matmul(%h, %wo)", "leaky-readout", "u"),
    "two receptors": (
        (U, I, W),
        SYNAPSE + "fz = matmul(%x, %same)\nwl = mul(%w, %most)\nwn = add(%wl, %fz)\n"
        "both = add(%in, %wn)\n" + DRIVEN.replace("%in", "%both"),
        "several-currents", "i",
    ),
    "a current and the input itself": (
        (U, I),
        SYNAPSE + "fz = matmul(%x, %same)\nboth = add(%in, %fz)\n" + DRIVEN.replace("%in", "%both"),
        "several-currents", "i",
    ),
    "filters that differ": (
        (U, I),
        SYNAPSE.replace("%half", "%uneven")
        + "m = matmul(%in, %wo)\n" + DRIVEN.replace("%in", "%m"),
        "mixed-decays", "i",
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
}  # fmt: skip


def text_with(states: tuple[tuple[str, str], ...], timestep: str) -> str:
    """A network of two neurons in graph text."""
    lines = ["dmpir 1", 'graph "net" level model {', '  attr readout = "mean"']
    lines.append('  input %x : f32[3] loc("x")')
    lines += [f'  state %{s} : f32[2] = zeros next %{n} loc("{s}")' for s, n in states]
    for name, (shape, _) in CONSTANTS.items():
        lines.append(f"  const %{name} : f32[{', '.join(map(str, shape))}]")
    for name, op in (line.split(" = ") for line in timestep.splitlines()):
        type_ = "bool" if re.match(r"g[et]\(", op) else "f32"
        lines.append(f'  %{name} = {op} : {type_}[2] loc("/{name}")')
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


@pytest.mark.parametrize(
    "timestep",
    [
        READOUT + "add(%o, %zero)",
        READOUT + "add(%on, %half)",
        READOUT.replace("%z)", "%zr)").replace("ol =", "zr = relu(%z)\nol =") + "add(%on, %zero)",
    ],
    ids=["of before", "and a constant", "with a relu"],
)
def test_other_leaky_readouts(timestep):
    with pytest.raises(CompileError) as caught:
        apply(Recognise(), parse(text_with((U, O), timestep)))
    assert caught.value.every[0].rule.name in ("readout", "vector-drive", "no-relu")
