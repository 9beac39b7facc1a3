"""NIR graphs whose lines and columns are found wherever a file says them; loops of convolutions."""

import nir
import numpy as np
import pytest

import dmpc
from dmpc import Options
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import Timing, import_nir
from dmpc.ir.interpret import interpret
from dmpc.passes.base import apply
from dmpc.passes.recognise import Recognise
from dmpc.verification import verify
from tests.dmpc.frontend.in_space import DT, chained
from tests.dmpc.frontend.nir_by_hand import computed, flat

DRAW = np.random.default_rng(11)
PICTURE = (2, 6, 6)


def conv(outputs, channels, size=3, *, stride=1, padding=1, shape=(6, 6), **more):
    weight = DRAW.normal(0.1, 1.0, (outputs, channels, *np.broadcast_to(size, 2)))
    return nir.Conv2d(
        shape, weight, (stride, stride), padding, (1, 1), 1, np.zeros(outputs), **more
    )


def line(outputs, channels, padding: int | str = 1, length=None):
    weight = DRAW.normal(0.1, 1.0, (outputs, channels, 3))
    return nir.Conv1d(length, weight, 1, padding, 1, 1, np.zeros(outputs))


def lif(*shape, tau=4 * DT, threshold=0.7):
    return nir.LIF(*(np.full(shape, float(each)) for each in (tau, 2.0, 0.0, threshold)))


def linear(outputs, inputs):
    return nir.Linear(DRAW.normal(0.0, 0.6, (outputs, inputs)))


def pool(kind, size, stride, padding=0):
    return kind(*(np.array([each, each]) for each in (size, stride, padding)))


def row(shape, *nodes, outputs=3):
    """Nodes in a row, and the order in which they work."""
    graph = chained(shape, nodes, outputs)
    return graph, [name for name in flat(graph)[0] if name != "input"]


def wired(nodes, edges, shape=PICTURE, outputs=3):
    """Named nodes between `input` and `output`, which work in the order of the names."""
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array([outputs]))}
    wires = [tuple(edge.split(">")) for edge in edges.split()]
    return nir.NIRGraph(nodes | ends, wires, type_check=False), [*nodes, "output"]


CHANNELS = np.array([0.5, 0.9, 1.3])
SHAPES = {
    "neurons that declare a picture": row(
        (4,), linear(36, 4), lif(1, 6, 6), conv(2, 1, shape=None), lif(2), linear(3, 72)
    ),
    "a convolution that declares what it reads": row(
        (4,), linear(36, 4), lif(36), conv(2, 1), lif(2), linear(3, 72)
    ),
    "lines and columns made one": row(
        (2, 2, 4), nir.Flatten({"input": np.array([2, 2, 4])}, 1, -1), line(3, 2), lif(3),
        linear(3, 24),
    ),
    "lines of a convolution made one": row(
        (2, 2, 4), conv(3, 2, shape=(2, 4)), lif(3), nir.Flatten(None, 1, -1), line(3, 3), lif(3),
        linear(3, 24),
    ),
    "channels and lines made one": row(
        (2, 2, 4), nir.Flatten(None, 0, 1), line(3, 4), lif(3), linear(3, 12)
    ),
    "a vector as one channel": row((8,), line(3, 1, "same"), lif(3, 8), linear(3, 24)),
    "parameters of channels": row(
        (2, 9), line(3, 2), nir.Scale(CHANNELS.reshape(3, 1)),
        nir.LIF(*(each * np.ones(3) for each in (4 * DT, 2.0, 0.0, CHANNELS))), linear(3, 27),
    ),
    "parameters of the input's channels": row(
        PICTURE, nir.Scale(CHANNELS[:2].reshape(2, 1, 1)), conv(3, 2), lif(3), linear(3, 108)
    ),
    "sums that overlap": row(
        PICTURE, conv(3, 2), lif(3), pool(nir.SumPool2d, 3, 2), linear(3, 12)
    ),
    "padded means": row(
        PICTURE, conv(3, 2), lif(3), pool(nir.AvgPool2d, 2, 2, 1), linear(3, 48)
    ),
    "sums that leave places out": row(
        PICTURE, conv(3, 2), lif(3), pool(nir.SumPool2d, 1, 2), lif(3), linear(3, 27)
    ),
    "sums that overlap of sums": row(
        (2, 8, 8), pool(nir.SumPool2d, 2, 2), pool(nir.AvgPool2d, 2, 1), lif(2), linear(3, 18)
    ),
    "a delay between convolutions": row(
        PICTURE, conv(4, 2), lif(4, 6, 6), nir.Delay(DRAW.integers(0, 4, (4, 6, 6)) * DT),
        conv(4, 4), lif(4), linear(3, 144),
    ),
    "a delay of a picture": row(
        PICTURE, nir.Delay(np.full(PICTURE, 2 * DT)), conv(3, 2), lif(3), linear(3, 108)
    ),
    "input beside a convolution": wired(
        {"a": conv(2, 2), "la": lif(2), "out": linear(3, 72)},
        "input>a a>la input>la la>out out>output",
    ),
    "a pooled shortcut": wired(
        {
            "a": conv(4, 2), "la": lif(4), "b": conv(4, 4, stride=2),
            "p": pool(nir.AvgPool2d, 2, 2), "lb": lif(4), "out": linear(3, 36),
        },
        "input>a a>la la>b la>p b>lb p>lb lb>out out>output",
    ),
    "maps of other lines and columns": wired(
        {
            "a": conv(3, 2), "la": lif(3), "b": conv(12, 2, stride=2), "lb": lif(12),
            "out": linear(3, 108),
        },
        "input>a a>la la>out input>b b>lb lb>out out>output",
    ),
    "a convolution of its own spikes": wired(
        {"a": conv(7, 2), "la": lif(7), "r": conv(7, 7), "out": linear(3, 252)},
        "input>a a>la la>r r>la la>out out>output",
    ),
    "spikes straight back": wired(
        {"a": conv(4, 2), "la": lif(), "out": linear(3, 144)},
        "input>a a>la la>la la>out out>output",
    ),
    "weights back to a convolution": wired(
        {
            "a": conv(3, 2), "la": lif(3), "o": linear(6, 108), "lo": lif(6),
            "back": linear(108, 6), "out": linear(3, 6),
        },
        "input>a a>la la>o o>lo lo>back back>la lo>out out>output",
    ),
    "two convolutions in a loop": wired(
        {
            "a": conv(4, 2), "la": lif(4), "b": conv(4, 4, stride=2), "lb": lif(4, 3, 3),
            "p": pool(nir.SumPool2d, 2, 1), "back": linear(144, 16), "out": linear(3, 36),
        },
        "input>a a>la la>b b>lb lb>p p>back back>la lb>out out>output",
    ),
    "neurons of one number in a loop": wired(
        {"w": linear(6, 4), "lif": lif(), "s": nir.Scale(np.array(-0.5))},
        "input>w w>lif lif>s s>lif lif>output", (4,), 6,
    ),
}  # fmt: skip


def nested() -> tuple[nir.NIRGraph, list[str]]:
    """A loop of a convolution inside a graph of a graph, as exporters of recurrent layers nest."""
    ends = {"i": nir.Input(np.array([4, 6, 6])), "o": nir.Output(np.array([4, 6, 6]))}
    core = nir.NIRGraph(
        {"lif": lif(1), "r": conv(4, 4, shape=None), **ends},
        [("i", "lif"), ("lif", "r"), ("r", "lif"), ("lif", "o")], type_check=False,
    )  # fmt: skip
    whole = nir.NIRGraph({"core": core, **ends}, [("i", "core"), ("core", "o")], type_check=False)
    graph, _ = wired(
        {"a": conv(4, 2), "rnn": whole, "out": linear(3, 144)},
        "input>a a>rnn rnn>out out>output",
    )
    inside = ["i", "core.i", "core.lif", "core.r", "core.o", "o"]
    return graph, ["a", *(f"rnn.{name}" for name in inside), "out", "output"]


SHAPES["a loop in a graph in a graph"] = nested()


def drawn(graph, samples=3, steps=14):
    size = int(np.prod(graph.nodes["input"].input_type["input"]))
    return (np.random.default_rng(5).random((samples, steps, size)) < 0.35).astype(float)


@pytest.mark.parametrize(("graph", "order"), SHAPES.values(), ids=SHAPES)
def test_a_graph_computes_what_nir_says(graph, order):
    x = drawn(graph)
    wanted = np.stack([computed(graph, one, order) for one in x])
    assert np.unique(wanted).size > 1
    imported = import_nir(graph, timing=Timing(dt=DT))
    np.testing.assert_allclose(interpret(imported, x).outputs, wanted, atol=1e-9)
    layers = apply(Recognise(), imported)
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, atol=1e-9)


ON_TARGETS = {
    "a convolution of its own spikes": ("paper", "pooled"),
    "weights back to a convolution": ("paper",),
    "two convolutions in a loop": ("edge",),
    "a delay between convolutions": ("paper",),
    "lines of a convolution made one": ("paper",),
    "a pooled shortcut": ("paper",),
}


@pytest.mark.parametrize(
    ("name", "target"), [(name, one) for name, every in ON_TARGETS.items() for one in every]
)
def test_every_form_computes_the_same(name, target):
    graph = import_nir(SHAPES[name][0], timing=Timing(dt=DT))
    x, options = drawn(SHAPES[name][0], samples=2, steps=9), Options(target=target)
    image = dmpc.compile(graph, calibration=x, options=options).image
    found = verify(graph, image, x, options=options, max_drop=100.0)
    assert found.ok, found.to_json()


def test_padding_same_beside_a_stride_is_refused():
    graph, _ = row(PICTURE, conv(3, 2, stride=2, padding="same"), lif(3), linear(3, 27))
    with pytest.raises(
        ImportFailure, match=r"'n0' \(Conv2d\): padding 'same' with a stride of \(2"
    ):
        import_nir(graph)


def test_nodes_that_no_output_depends_on_are_left_out():
    """Unfed or not: a dead end says nothing."""
    nodes = {"w": linear(6, 4), "a": lif(6), "out": linear(3, 6)}
    edges = "input>w w>a a>out out>output"
    plain, _ = wired(nodes, edges, (4,))
    more, _ = wired(
        nodes | {"unfed": lif(5), "end": lif(6), "late": nir.Delay(np.array([DT]))},
        f"{edges} w>end end>end", (4,),
    )  # fmt: skip
    found, wanted = (import_nir(each, timing=Timing(dt=DT)) for each in (more, plain))
    assert [state.name for state in found.states] == [state.name for state in wanted.states]
    x = drawn(plain)
    np.testing.assert_array_equal(interpret(found, x).outputs, interpret(wanted, x).outputs)


def test_one_of_several_outputs_is_chosen():
    nodes = {"w": linear(6, 4), "a": lif(6), "spikes": nir.Output(np.array([6])),
             "out": linear(3, 6)}  # fmt: skip
    graph, _ = wired(nodes, "input>w w>a a>spikes a>out out>output", (4,))
    with pytest.raises(ImportFailure) as caught:
        import_nir(graph)
    said = "the model has 2 outputs: 'spikes', 'output' (say which is the answer: --output spikes"
    assert said in str(caught.value)
    with pytest.raises(ImportFailure, match="the model has no output 'spike'"):
        import_nir(graph, output="spike")
    x = drawn(graph)
    for name in ("spikes", "output"):
        with listening() as told:
            found = import_nir(graph, timing=Timing(dt=DT), output=name)
        assert told[0].rule == "outputs-left-out"
        wanted = [computed(graph, one, ["w", "a", "spikes", "out", "output"], name) for one in x]
        np.testing.assert_allclose(interpret(found, x).outputs, wanted, atol=1e-9)
