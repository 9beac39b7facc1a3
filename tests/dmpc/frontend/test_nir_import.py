"""NIR graphs in timesteps, against loops written out from NIR's equations."""

import nir
import numpy as np
import pytest

from dmpc.errors import ImportFailure
from dmpc.frontend import Timing, import_nir, load
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise

DT = 1e-3
INPUTS, NEURONS, CLASSES = 4, 6, 3
RANDOM = np.random.default_rng(1)
X = (RANDOM.uniform(size=(5, 25, INPUTS)) < 0.5).astype(np.float64)


def affine(inputs: int, outputs: int, gain: float = 4.0) -> nir.Affine:
    return nir.Affine(RANDOM.normal(0, gain, (outputs, inputs)), RANDOM.uniform(0, 1, outputs))


def lif(size: int, rest: float = 0.0, reset: float = 0.0) -> nir.LIF:
    return nir.LIF(
        tau=RANDOM.uniform(2 * DT, 9 * DT, size), r=RANDOM.uniform(0.5, 2, size),
        v_leak=np.full(size, rest), v_threshold=RANDOM.uniform(0.5, 1, size),
        v_reset=np.full(size, reset),
    )  # fmt: skip


def steps(node: nir.LIF | nir.IF, currents) -> np.ndarray:
    """Spikes [T, n] of one sample: forward Euler of the node's own equation."""
    v = node.v_reset.copy() if isinstance(node, nir.IF) else node.v_leak.copy()
    spikes = []
    for k in range(X.shape[1]):
        current = currents(k, spikes)
        leak = 0 if isinstance(node, nir.IF) else node.v_leak - v
        tau = 1 if isinstance(node, nir.IF) else node.tau
        v = v + DT / tau * (leak + node.r * current)
        spike = v > node.v_threshold
        v = np.where(spike, node.v_reset, v)
        spikes.append(spike.astype(float))
    return np.array(spikes)


def linear(node: nir.Affine, x: np.ndarray) -> np.ndarray:
    return node.weight @ x + node.bias


def assert_spikes(graph, wanted: np.ndarray) -> None:
    assert 0.05 < wanted.mean() < 0.95
    np.testing.assert_allclose(interpret(graph, X).outputs, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "node",
    [
        lif(NEURONS),
        lif(NEURONS, rest=0.3, reset=-0.2),
        nir.IF(np.full(NEURONS, 0.3 / DT), np.full(NEURONS, 2.0), np.full(NEURONS, -0.5)),
    ],
    ids=["lif", "rest and reset", "if"],
)
def test_neurons_follow_their_equation(node):
    first = affine(INPUTS, NEURONS)
    graph = import_nir(nir.NIRGraph.from_list(first, node), timing=Timing(dt=DT))
    wanted = [steps(node, lambda k, _, x=x: linear(first, x[k])) for x in X]
    assert_spikes(graph, np.array(wanted))
    assert_spikes(apply(Recognise(), graph), np.array(wanted))


def test_two_layers_and_a_linear_readout_from_a_file(tmp_path):
    nodes = [affine(INPUTS, NEURONS), lif(NEURONS), affine(NEURONS, 5), lif(5), affine(5, CLASSES)]
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph.from_list(*nodes))
    graph = import_nir(path, timing=Timing(dt=DT), readout="sum")
    wanted = []
    for x in X:
        one = steps(nodes[1], lambda k, _, x=x: linear(nodes[0], x[k]))
        two = steps(nodes[3], lambda k, _, one=one: linear(nodes[2], one[k]))
        wanted.append(sum(linear(nodes[4], spikes) for spikes in two))
    np.testing.assert_allclose(interpret(graph, X).logits, wanted, atol=1e-9)
    assert graph.attrs["readout"] == "sum"
    layers = apply(Recognise(), graph)
    assert [op.loc for op in layers.ops if op.kind == "lif"] == [("lif",), ("lif_1",)]
    assert layers.locs["layer2.fast.weight"] == ("affine_1.weight",)


def test_what_a_spike_does_is_a_choice():
    first, node = affine(INPUTS, NEURONS), lif(NEURONS)
    graph = nir.NIRGraph.from_list(first, node)
    beta = 1 - DT / node.tau
    for reset, amount in (("subtract", node.v_threshold), ("late", node.v_threshold / beta)):
        layers = apply(Recognise(), import_nir(graph, timing=Timing(dt=DT, reset=reset)))
        (op,) = (op for op in layers.ops if op.kind == "lif")
        assert op.attrs["reset_mode"] == "subtract"
        np.testing.assert_allclose(layers.constants["layer1.reset"], amount, rtol=1e-12)


def test_a_membrane_at_its_threshold_spikes_if_asked_for():
    one = np.ones(1)
    graph = nir.NIRGraph.from_list(
        nir.Linear(np.eye(1)), nir.LIF(tau=DT * one, r=one, v_leak=0 * one, v_threshold=one)
    )
    for spike_at in (False, True):
        imported = import_nir(graph, timing=Timing(dt=DT, spike_at=spike_at))
        assert interpret(imported, np.ones((1, 1, 1))).outputs.item() == spike_at


# -- loops and delays ------------------------------------------------------------------------------


def recurrent(inner: bool) -> tuple[nir.NIRGraph, dict[str, nir.NIRNode]]:
    """Neurons that feed themselves through weights, at top level or in a nested graph."""
    node = {"w": affine(INPUTS, NEURONS), "lif": lif(NEURONS), "rec": affine(NEURONS, NEURONS, 2)}
    shape = np.array([NEURONS])
    loop = [("lif", "rec"), ("rec", "lif")]
    ends = {"input": nir.Input(np.array([INPUTS])), "output": nir.Output(shape)}
    if not inner:
        edges = [("input", "w"), ("w", "lif"), *loop, ("lif", "output")]
        return nir.NIRGraph({**node, **ends}, edges), node
    nested = nir.NIRGraph(
        {"lif": node["lif"], "rec": node["rec"], "i": nir.Input(shape), "o": nir.Output(shape)},
        [("i", "lif"), *loop, ("lif", "o")],
    )
    edges = [("input", "w"), ("w", "rnn"), ("rnn", "output")]
    return nir.NIRGraph({"w": node["w"], "rnn": nested, **ends}, edges), node


@pytest.mark.parametrize("inner", [False, True], ids=["flat", "nested"])
def test_a_loop_takes_a_timestep(inner, tmp_path):
    graph, node = recurrent(inner)
    path = tmp_path / "net.nir"
    nir.write(path, graph)

    def currents(x):
        return lambda k, spikes: (
            linear(node["w"], x[k])
            + linear(node["rec"], spikes[-1] if spikes else np.zeros(NEURONS))
        )

    wanted = np.array([steps(node["lif"], currents(x)) for x in X])
    imported = import_nir(path, timing=Timing(dt=DT))
    assert_spikes(imported, wanted)
    name = "rnn.lif" if inner else "lif"
    assert [state.loc for state in imported.states] == [(f"{name}.v",), (f"{name}.spikes",)]


def test_feedback_from_a_later_layer_takes_a_timestep():
    first, forth, back = (
        affine(INPUTS, NEURONS), affine(NEURONS, 5), nir.Linear(RANDOM.normal(0, 2, (NEURONS, 5)))
    )  # fmt: skip
    one, two = lif(NEURONS), lif(5)
    graph = nir.NIRGraph(
        {
            "z": nir.Input(np.array([INPUTS])), "w": first, "one": one, "forth": forth,
            "a": two, "back": back, "output": nir.Output(np.array([5])),
        },
        [
            ("z", "w"), ("w", "one"), ("one", "forth"), ("forth", "a"), ("a", "back"),
            ("back", "one"), ("a", "output"),
        ],
    )  # fmt: skip
    wanted = []
    for x in X:
        u, v, last, spikes = np.zeros(NEURONS), np.zeros(5), np.zeros(5), []
        for k in range(X.shape[1]):
            u = u + DT / one.tau * (one.r * (linear(first, x[k]) + back.weight @ last) - u)
            fired = u > one.v_threshold
            u = np.where(fired, 0, u)
            v = v + DT / two.tau * (two.r * linear(forth, fired) - v)
            last = (v > two.v_threshold).astype(float)
            v = np.where(last, 0, v)
            spikes.append(last)
        wanted.append(spikes)
    imported = import_nir(graph, timing=Timing(dt=DT))
    assert_spikes(imported, np.array(wanted))
    assert_spikes(apply(Recognise(), imported), np.array(wanted))


@pytest.mark.parametrize("delays", [[2, 2, 2, 2], [0, 1, 3, 0], [0, 0, 0, 0]])
def test_delays_shift_each_input_by_its_own_time(delays):
    delay = nir.Delay(np.array(delays) * DT)
    first, node = affine(INPUTS, NEURONS), lif(NEURONS)
    graph = nir.NIRGraph.from_list(delay, first, node)

    def currents(x):
        def late(k, _):
            columns = [x[k - d, i] if k >= d else 0.0 for i, d in enumerate(delays)]
            return linear(first, np.array(columns))

        return late

    wanted = np.array([steps(node, currents(x)) for x in X])
    assert_spikes(import_nir(graph, timing=Timing(dt=DT)), wanted)


def test_a_delay_in_a_loop_is_the_loops_own_time():
    graph, node = recurrent(inner=False)
    graph.nodes["delay"] = nir.Delay(np.full(NEURONS, 3 * DT))
    graph.edges = [edge for edge in graph.edges if edge != ("lif", "rec")]
    graph.edges += [("lif", "delay"), ("delay", "rec")]

    def currents(x):
        return lambda k, spikes: (
            linear(node["w"], x[k])
            + linear(node["rec"], spikes[k - 3] if k >= 3 else np.zeros(NEURONS))
        )

    wanted = np.array([steps(node["lif"], currents(x)) for x in X])
    assert_spikes(import_nir(graph, timing=Timing(dt=DT)), wanted)


def test_delays_one_after_the_other_add_up():
    first, node = affine(INPUTS, NEURONS), lif(NEURONS)
    parts = [nir.Delay(np.full(INPUTS, n * DT)) for n in (1, 2)]
    one = import_nir(nir.NIRGraph.from_list(*parts, first, node), timing=Timing(dt=DT))
    both = nir.NIRGraph.from_list(nir.Delay(np.full(INPUTS, 3 * DT)), first, node)
    two = import_nir(both, timing=Timing(dt=DT))
    np.testing.assert_array_equal(interpret(one, X).outputs, interpret(two, X).outputs)


@pytest.mark.parametrize("delays", [[3] * NEURONS, [2, 1, 0, 2, 1, 0]])
@pytest.mark.parametrize("first", [True, False], ids=["weights first", "delay first"])
def test_a_delay_behind_weights(delays, first):
    """The k-th input feeds neuron k alone, or all neurons are equally late."""
    late = np.array(delays)
    apart = len(set(delays)) > 1
    weight = np.diag(np.full(NEURONS, 6.0)) if apart else RANDOM.normal(0, 4, (NEURONS, NEURONS))
    linear_, delay, node = nir.Linear(weight), nir.Delay(late * DT), lif(NEURONS)
    pair = (linear_, delay) if first else (delay, linear_)
    spread = affine(INPUTS, NEURONS)
    graph = nir.NIRGraph.from_list(spread, lif(NEURONS), *pair, node)
    before = import_nir(nir.NIRGraph.from_list(spread, graph.nodes["lif"]), timing=Timing(dt=DT))
    wanted = []
    for spikes in interpret(before, X).outputs:

        def currents(k, _, spikes=spikes):
            return weight @ [spikes[k - d, i] if k >= d else 0.0 for i, d in enumerate(late)]

        wanted.append(steps(node, currents))
    imported = import_nir(graph, timing=Timing(dt=DT))
    assert_spikes(imported, np.array(wanted))
    assert_spikes(apply(Recognise(), imported), np.array(wanted))


def test_a_delay_between_sums_scales_and_delays():
    one, two = nir.Linear(RANDOM.normal(0, 4, (NEURONS, INPUTS))), lif(NEURONS)
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([INPUTS])), "d0": nir.Delay(np.full(INPUTS, DT)), "w": one,
            "scale": nir.Scale(np.full(NEURONS, 0.5)), "d1": nir.Delay(np.full(NEURONS, 2 * DT)),
            "lif": two, "output": nir.Output(np.array([NEURONS])),
        },
        [
            ("input", "d0"), ("d0", "w"), ("w", "scale"), ("w", "d1"), ("scale", "d1"),
            ("d1", "lif"), ("lif", "output"),
        ],
    )  # fmt: skip
    plain = nir.NIRGraph.from_list(
        nir.Delay(np.full(INPUTS, 3 * DT)), nir.Linear(1.5 * one.weight), two
    )
    found, wanted = (import_nir(made, timing=Timing(dt=DT)) for made in (graph, plain))
    assert_spikes(found, interpret(wanted, X).outputs)
    assert_spikes(apply(Recognise(), found), interpret(wanted, X).outputs)


def test_a_delay_behind_weights_in_a_loop():
    graph, node = recurrent(inner=False)
    graph.nodes["rec"] = nir.Linear(node["rec"].weight)
    graph.nodes["delay"] = nir.Delay(np.full(NEURONS, 2 * DT))
    graph.edges = [edge for edge in graph.edges if edge != ("rec", "lif")]
    graph.edges += [("rec", "delay"), ("delay", "lif")]

    def currents(x):
        return lambda k, spikes: (
            linear(node["w"], x[k])
            + node["rec"].weight @ (spikes[k - 2] if k >= 2 else np.zeros(NEURONS))
        )

    wanted = np.array([steps(node["lif"], currents(x)) for x in X])
    assert_spikes(import_nir(graph, timing=Timing(dt=DT)), wanted)


def test_a_delay_for_each_synapse():
    """Behind weights every neuron has its own: each input arrives at as many times."""
    full, node = nir.Linear(RANDOM.normal(0, 4, (NEURONS, INPUTS))), lif(NEURONS)
    late = np.arange(NEURONS) % 3
    graph = import_nir(
        nir.NIRGraph.from_list(full, nir.Delay(late * DT), node), timing=Timing(dt=DT)
    )

    def currents(x):
        def sums(k, _):
            return np.array(
                [w @ x[k - d] if k >= d else 0 for w, d in zip(full.weight, late, strict=True)]
            )

        return sums

    wanted = np.array([steps(node, currents(x)) for x in X])
    layers = apply(Recognise(), graph)
    assert [op.kind for op in layers.ops].count("delay") == 2
    assert_spikes(graph, wanted)
    assert_spikes(layers, wanted)


# -- integration -----------------------------------------------------------------------------------


@pytest.mark.parametrize("integration", ["exponential", "exact", "rockpool"])
def test_integration_as_libraries_do_it(integration):
    first, node = affine(INPUTS, NEURONS), lif(NEURONS)
    kept = np.exp(-DT / node.tau)
    gain = {"exponential": DT / node.tau * node.r, "exact": (1 - kept) * node.r, "rockpool": 1.0}
    if integration == "rockpool":  # as it writes the factor 1
        node.r = node.tau * kept / DT
    wanted = []
    for x in X:
        v, spikes = np.zeros(NEURONS), []
        for k in range(X.shape[1]):
            v = kept * v + gain[integration] * linear(first, x[k])
            spikes.append((v > node.v_threshold).astype(float))
            v = v - spikes[-1] * node.v_threshold
        wanted.append(spikes)
    timing = Timing(dt=DT, reset="subtract", integration=integration)
    imported = import_nir(nir.NIRGraph.from_list(first, node), timing=timing)
    assert 0.05 < np.mean(wanted) < 0.999
    np.testing.assert_array_equal(interpret(imported, X).outputs, wanted)


@pytest.mark.parametrize("integration", ["euler", "exponential", "exact", "rockpool"])
def test_a_synapse_keeps_a_current(integration):
    """`tau_syn di/dt = w_in I - i`, integrated as the membrane is."""
    tau_syn, tau, w_in, step = 3 * DT, 5 * DT, 2.0, 1 / 3
    one = np.ones(NEURONS)
    cuba = nir.CubaLIF(tau_syn * one, tau * one, one, 0 * one, 1e9 * one, w_in=w_in * one)
    linear = affine(INPUTS, NEURONS)
    made = import_nir(
        nir.NIRGraph.from_list(linear, cuba), timing=Timing(dt=DT, integration=integration)
    )
    kept = 1 - step if integration == "euler" else np.exp(-step)
    taken = {"exact": 1 - np.exp(-step), "rockpool": np.exp(-step)}.get(integration, step)
    fed = w_in * (X @ linear.weight.T + linear.bias)
    i = np.zeros_like(fed[:, 0])
    name = made.states[0].next
    trace = interpret(made, X, trace=[name]).traces[name]
    for timestep in range(X.shape[1]):
        i = kept * i + taken * fed[:, timestep]
        np.testing.assert_allclose(trace[:, timestep], i, rtol=1e-6, atol=1e-9)


def test_a_synapse_without_memory_is_none():
    one = np.ones(NEURONS)
    for integration, tau_syn in (("euler", DT), ("exact", 0.0)):
        cuba = nir.CubaLIF(tau_syn * one, 5 * DT * one, one, 0 * one, one)
        made = import_nir(
            nir.NIRGraph.from_list(affine(INPUTS, NEURONS), cuba),
            timing=Timing(dt=DT, integration=integration),
        )
        assert len(made.states) == 1


@pytest.mark.parametrize("rest", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["LI", "CubaLI"])
def test_a_leaky_readout(kind, rest):
    first, node, out = affine(INPUTS, NEURONS), lif(NEURONS), affine(NEURONS, CLASSES)
    one = np.ones(CLASSES)
    leaky = nir.LI(4 * DT * one, 2 * one, rest * one)
    if kind == "CubaLI":
        leaky = nir.CubaLI(2 * DT * one, 4 * DT * one, 2 * one, rest * one)
    found = import_nir(nir.NIRGraph.from_list(first, node, out, leaky), timing=Timing(dt=DT))
    plain = import_nir(nir.NIRGraph.from_list(first, node, out), timing=Timing(dt=DT))
    fed, v, i = interpret(plain, X).outputs, rest, 0.0
    outputs = interpret(found, X).outputs
    for timestep in range(X.shape[1]):
        i = 0.5 * i + 0.5 * fed[:, timestep] if kind == "CubaLI" else fed[:, timestep]
        v = 0.75 * v + 0.25 * (rest + 2 * i)
        np.testing.assert_allclose(outputs[:, timestep], v, atol=1e-9)
    layers = interpret(apply(Recognise(), found), X).outputs
    np.testing.assert_allclose(layers, outputs, atol=1e-9)


def test_a_threshold_is_a_neuron_without_membrane():
    first, out = affine(INPUTS, NEURONS), affine(NEURONS, CLASSES)
    fires = nir.Threshold(np.linspace(0.1, 0.9, NEURONS))
    found = import_nir(nir.NIRGraph.from_list(first, fires, out), timing=Timing(dt=DT))
    spikes = (X @ first.weight.T + first.bias > fires.threshold).astype(float)
    assert 0.05 < spikes.mean() < 0.95
    np.testing.assert_allclose(interpret(found, X).outputs, spikes @ out.weight.T + out.bias)


@pytest.mark.parametrize("rest", [0.0, 0.2])
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("fires", ["Threshold", "LIF"])
def test_a_leaky_integrator_feeds_neurons(between, fires, rest):
    """What is compared alone is never reset; what weights mix is a filter of spikes."""
    first, out = affine(INPUTS, NEURONS), affine(NEURONS, CLASSES)
    leaky = nir.LI(np.full(NEURONS, 4 * DT), np.full(NEURONS, 3.0), np.full(NEURONS, rest))
    last = lif(NEURONS) if fires == "LIF" else nir.Threshold(np.full(NEURONS, 0.5))
    mixed = affine(NEURONS, NEURONS)
    nodes = [first, leaky, *([mixed] if between else []), last, out]
    found = import_nir(nir.NIRGraph.from_list(*nodes), timing=Timing(dt=DT))
    fed, i, u = X @ first.weight.T + first.bias, rest, 0.0
    outputs = interpret(found, X).outputs
    for step in range(X.shape[1]):
        i = 0.75 * i + 0.25 * (rest + 3 * fed[:, step])
        current = i @ mixed.weight.T + mixed.bias if between else i
        if fires == "LIF":
            kept = 1 - DT / last.tau
            u = kept * u + (1 - kept) * last.r * (current + last.v_leak)
        else:
            u = current
        spikes = u > (last.v_threshold if fires == "LIF" else last.threshold)
        np.testing.assert_allclose(outputs[:, step], spikes @ out.weight.T + out.bias)
        u = np.where(spikes, last.v_reset, u) if fires == "LIF" else u
    layers = apply(Recognise(), found)
    np.testing.assert_allclose(interpret(layers, X).outputs, outputs, atol=1e-9)


@pytest.mark.parametrize("straight", [False, True])
def test_several_filters_feed_neurons(straight):
    """Each with weights of its own, and some weights without a filter."""
    taus, one = (2 * DT, 8 * DT), np.ones(NEURONS)
    weights = [affine(INPUTS, NEURONS, gain) for gain in (4.0, 1.0, 0.5)]
    last, out = lif(NEURONS), affine(NEURONS, CLASSES)
    nodes = {"in": nir.Input(np.array([INPUTS])), "end": nir.Output(np.array([CLASSES]))}
    nodes |= {"last": last, "out": out, **({"w2": weights[2]} if straight else {})}
    edges = [("last", "out"), ("out", "end"), *([("in", "w2"), ("w2", "last")] * straight)]
    for number, tau in enumerate(taus):
        nodes |= {f"w{number}": weights[number], f"f{number}": nir.LI(tau * one, 3 * one, 0 * one)}
        edges += [("in", f"w{number}"), (f"w{number}", f"f{number}"), (f"f{number}", "last")]
    found = import_nir(nir.NIRGraph(nodes, edges), timing=Timing(dt=DT))
    fed = [X @ node.weight.T + node.bias for node in weights]
    filtered, u, outputs = [0.0, 0.0], 0.0, interpret(found, X).outputs
    for step in range(X.shape[1]):
        for number, tau in enumerate(taus):
            keep = 1 - DT / tau
            filtered[number] = keep * filtered[number] + (1 - keep) * 3 * fed[number][:, step]
        current = sum(filtered) + (fed[2][:, step] if straight else 0)
        kept = 1 - DT / last.tau
        u = kept * u + (1 - kept) * last.r * current
        spikes = u > last.v_threshold
        np.testing.assert_allclose(outputs[:, step], spikes @ out.weight.T + out.bias)
        u = np.where(spikes, last.v_reset, u)
    layers = apply(Recognise(), found)
    assert [op.kind for op in layers.ops].count("li") == 2
    np.testing.assert_allclose(interpret(layers, X).outputs, outputs, atol=1e-9)


def test_a_leaky_readout_that_keeps_nothing_adds_its_rest():
    first, node, out = affine(INPUTS, NEURONS), lif(NEURONS), affine(NEURONS, CLASSES)
    rest = nir.LI(np.full(CLASSES, DT), np.full(CLASSES, 2.0), np.full(CLASSES, 0.5))
    found = import_nir(nir.NIRGraph.from_list(first, node, out, rest), timing=Timing(dt=DT))
    plain = import_nir(nir.NIRGraph.from_list(first, node, out), timing=Timing(dt=DT))
    wanted = 0.5 + 2 * interpret(plain, X).outputs
    np.testing.assert_allclose(interpret(found, X).outputs, wanted, atol=1e-9)


# -- other nodes -----------------------------------------------------------------------------------


def test_scale_flatten_and_several_sources():
    first, second, node = affine(INPUTS, NEURONS), affine(INPUTS, NEURONS), lif(NEURONS)
    scale = nir.Scale(RANDOM.uniform(0.5, 1, INPUTS))
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([2, 2])),
            "flat": nir.Flatten({"input": np.array([2, 2])}, 0, -1),
            "scale": scale, "first": first, "second": second, "lif": node,
            "output": nir.Output(np.array([NEURONS])),
        },
        [
            ("input", "flat"), ("flat", "scale"), ("scale", "first"), ("flat", "second"),
            ("first", "lif"), ("second", "lif"), ("lif", "output"),
        ],
    )  # fmt: skip
    wanted = [
        steps(
            node,
            lambda k, _, x=x: linear(first, scale.scale * x[k]) + linear(second, x[k]),
        )
        for x in X
    ]
    imported = import_nir(graph, timing=Timing(dt=DT))
    assert_spikes(imported, np.array(wanted))
    assert_spikes(apply(Recognise(), imported), np.array(wanted))


def test_an_integrator_at_the_end_is_a_sum_over_time():
    first, node, out = affine(INPUTS, NEURONS), lif(NEURONS), affine(NEURONS, CLASSES)
    graph = nir.NIRGraph.from_list(first, node, out, nir.I(np.full(CLASSES, 2.0)))
    imported = import_nir(graph, timing=Timing(dt=DT))
    wanted = []
    for x in X:
        v = np.zeros(CLASSES)
        for spikes in steps(node, lambda k, _, x=x: linear(first, x[k])):
            v = v + DT * 2.0 * linear(out, spikes)
        wanted.append(v)
    np.testing.assert_allclose(interpret(imported, X).logits, wanted, atol=1e-12)


def test_one_number_stands_for_all_neurons():
    first = affine(INPUTS, NEURONS)
    whole = nir.LIF(*(np.full(NEURONS, value) for value in (4 * DT, 1.5, 0.0, 0.7)))
    one = nir.NIRGraph(
        {
            "input": nir.Input(np.array([INPUTS])), "w": first,
            "lif": nir.LIF(*(np.array(value) for value in (4 * DT, 1.5, 0.0, 0.7))),
            "output": nir.Output(np.array([NEURONS])),
        },
        [("input", "w"), ("w", "lif"), ("lif", "output")], type_check=False,
    )  # fmt: skip
    found = interpret(import_nir(one, timing=Timing(dt=DT)), X).outputs
    same = import_nir(nir.NIRGraph.from_list(first, whole), timing=Timing(dt=DT))
    np.testing.assert_array_equal(found, interpret(same, X).outputs)


def test_load_knows_nir_files(tmp_path):
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph.from_list(affine(INPUTS, NEURONS), lif(NEURONS)))
    assert load(path) == import_nir(path)


@pytest.mark.parametrize("dt", [0.0, -1e-4, float("nan"), float("inf")])
def test_the_timestep_must_be_above_zero(dt, tmp_path):
    path = tmp_path / "net.nir"
    nir.write(path, nir.NIRGraph.from_list(affine(INPUTS, NEURONS), lif(NEURONS)))
    with pytest.raises(ImportFailure) as caught:
        import_nir(path, timing=Timing(dt=dt))
    assert str(caught.value).startswith(f"{path}: the timestep is {dt:g} s; it must be above zero")
