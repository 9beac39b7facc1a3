"""Convolutions from NIR to the machine: what is computed, and that every form computes the same."""

import nir
import numpy as np
import pytest

import dmpc
from benchmarks.convolution import Front, bound, built
from benchmarks.random_networks import Layer
from dmpc import Options
from dmpc.backend.predict import predict
from dmpc.compiler import to_layers
from dmpc.frontend import Timing, import_nir
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_convolution import Convolution
from dmpc.passes.align import Align
from dmpc.passes.calibration import calibrate
from dmpc.verification import verify
from isa.engines import engine
from isa.instructions import AccumulateEvents, AccumulateValues, DescribeKernel
from isa.target import target_text
from tests.dmpc.frontend.in_space import DT, chained, lif, played

DRAW = np.random.default_rng(4)


def conv(outputs, channels, kernel, stride=1, padding=0, dilation=1, groups=1, bias=0.0):
    shape = (outputs, channels // groups, *kernel)
    kind = nir.Conv2d if len(kernel) == 2 else nir.Conv1d
    numbers = (
        (stride, padding, dilation)
        if len(kernel) == 1
        else ((one, one) if isinstance(one, int) else one for one in (stride, padding, dilation))
    )
    return kind(None, DRAW.normal(0.2, 0.6, shape), *numbers, groups, np.full(outputs, bias))


def linear(outputs, inputs):
    return nir.Linear(DRAW.normal(0.1, 0.5, (outputs, inputs)))


NETS = {
    "plain": ((1, 4, 5), [conv(4, 1, (3, 2)), lif(32), linear(3, 32), lif(3)]),
    "stride and padding": (
        (2, 5, 6),
        [conv(4, 2, (3, 3), (2, 1), (1, 2), bias=0.3), lif(96), linear(3, 96), lif(3)],
    ),
    "padding wider than the kernel": (
        (1, 4, 3), [conv(3, 1, (1, 2), (2, 1), 1, bias=0.2), lif(36), linear(3, 36), lif(3)],
    ),
    "dilation": ((2, 6, 5), [conv(4, 2, (2, 2), 1, 1, 2), lif(120), linear(3, 120), lif(3)]),
    "parts": ((4, 4, 4), [conv(8, 4, (2, 2), groups=2), lif(72), linear(3, 72), lif(3)]),
    "each channel alone": (
        (4, 4, 3), [conv(4, 4, (2, 2), groups=4), lif(24), linear(3, 24), lif(3)]
    ),
    "two, of three and five channels": (
        (1, 6, 6),
        [conv(3, 1, (3, 3)), lif(48), conv(5, 3, (2, 2)), lif(45), linear(3, 45), lif(3)],
    ),
    "three channels in parts behind three": (
        (1, 5, 5),
        [conv(6, 1, (2, 2)), lif(96), conv(8, 6, (2, 2), groups=2), lif(72), linear(2, 72), lif(2)],
    ),
    "sums before a convolution": (
        (2, 7, 6),
        [
            conv(4, 2, (3, 3), padding=1), lif(168), nir.SumPool2d((2, 3), (2, 3), (0, 0)),
            conv(4, 4, (2, 2), padding=1), lif(48), linear(2, 48), lif(2),
        ],
    ),
    "sums of the input": (
        (2, 4, 4),
        [
            nir.SumPool2d((2, 2), (2, 2), (0, 0)), conv(4, 2, (2, 2)), lif(4),
            linear(2, 4), lif(2),
        ],
    ),
    "means before a linear map": (
        (1, 5, 5),
        [
            conv(4, 1, (2, 2)), lif(64), nir.AvgPool2d((2, 2), (2, 2), (0, 0)), nir.Flatten(None),
            linear(6, 16), lif(6, 0.3), linear(2, 6), lif(2, 0.1),
        ],
    ),
    "sums that charge neurons": (
        (1, 5, 5),
        [
            conv(4, 1, (2, 2)), lif(64), nir.SumPool2d((2, 2), (2, 2), (0, 0)), lif(16, 2.0),
            linear(2, 16), lif(2, 0.1),
        ],
    ),
    "sums of sums": (
        (2, 8, 8),
        [
            nir.SumPool2d((2, 2), (2, 2), (0, 0)), nir.AvgPool2d((2, 1), (2, 1), (0, 0)),
            conv(4, 2, (2, 2)), lif(12), linear(2, 12), lif(2),
        ],
    ),
    "a convolution at the end": ((2, 4, 4), [conv(4, 2, (3, 3)), lif(16)]),
    "neurons first": ((2, 4, 4), [lif(32), conv(3, 2, (3, 3)), lif(12), linear(2, 12), lif(2)]),
    "sums at the end": (
        (2, 4, 4), [conv(4, 2, (3, 3), padding=1), lif(64), nir.SumPool2d((2, 2), (2, 2), (0, 0))]
    ),
    "positions side by side": (
        (2, 5, 9),
        [
            conv(8, 2, (2, 3), (1, 2), 1, (1, 2), bias=0.2), lif(192), conv(6, 8, (3, 2)), lif(72),
            linear(2, 72), lif(2),
        ],
    ),
    "one axis": ((2, 9), [conv(4, 2, (3,), 2, 1), lif(20), linear(2, 20), lif(2)]),
}  # fmt: skip


def network(name):
    shape, nodes = NETS[name]
    outputs = 16 if isinstance(nodes[-1], nir.SumPool2d) else nodes[-1].tau.size
    return chained(shape, nodes, outputs)


def drawn(name, samples=3, steps=12, graded=False):
    size = int(np.prod(NETS[name][0]))
    draw = np.random.default_rng(len(name))
    if graded:
        return draw.uniform(-1, 1, (samples, steps, size))
    return (draw.random((samples, steps, size)) < 0.35).astype(float)


def imported(name):
    return import_nir(network(name), timing=Timing(dt=DT))


@pytest.mark.parametrize("name", NETS)
def test_a_graph_computes_what_nir_says(name):
    graph, x = imported(name), drawn(name)
    wanted = np.stack([played(network(name), one) for one in x])
    assert 0 < wanted.mean() < 4
    np.testing.assert_array_equal(interpret(graph, x).outputs, wanted)
    layers = to_layers(graph, Options())
    np.testing.assert_allclose(interpret(layers, x).outputs, wanted, atol=1e-9)
    for lanes in (3, 32):
        wide = Align(lanes).run(layers)
        np.testing.assert_allclose(interpret(wide, x).outputs, wanted, atol=1e-9)
        assert all(
            wide.types[op.operands[1]].shape[0] % lanes == 0 for op in wide.ops if op.kind == "conv"
        )


ON_TARGETS = [
    *(("paper", name) for name in NETS if "neurons" not in name),
    ("pooled", "stride and padding"),
    ("edge", "two, of three and five channels"),
    ("edge", "means before a linear map"),
    ("edge", "positions side by side"),
]


@pytest.mark.parametrize(("target", "name"), ON_TARGETS)
def test_every_form_computes_the_same(name, target):
    x = drawn(name, samples=2, steps=9)  # too few to time choices of banks
    options = Options(target=target)
    compiled = dmpc.compile(imported(name), calibration=x, options=options)
    image = compiled.image
    kernels = [op for op in image.code if isinstance(op, DescribeKernel)]
    assert kernels
    agree(compiled, imported(name), x, options)


def agree(compiled, model, x, options):
    """The integer graph, the fast and the reference engine, and the prediction are one."""
    found = verify(model, compiled.image, x, options=options, max_drop=100.0)
    assert found.ok, found.to_json()


@pytest.mark.parametrize("name", ["stride and padding", "sums of the input", "one axis"])
def test_graded_pictures(name):
    x = drawn(name, graded=True)
    compiled = dmpc.compile(imported(name), calibration=x)
    kinds = [type(op) for op in compiled.image.code if getattr(op, "kernel", None) == 0]
    assert AccumulateValues in kinds
    agree(compiled, imported(name), x, Options())


def test_the_cycle_engine_agrees():
    x = drawn("plain", samples=1, steps=3)
    compiled = dmpc.compile(imported("plain"), calibration=x)
    image, given = compiled.image, x.astype(np.int64)
    fast, slow = (engine(image, name).run(given) for name in ("fast", "cycle"))
    assert vars(fast.counts) == vars(slow.counts)
    assert fast.cycles.tolist() == slow.cycles.tolist() == predict(image, given).tolist()
    assert fast.logits.tolist() == slow.logits.tolist()


def test_only_inputs_that_are_seen_cost_rows():
    """One input in the corner of a picture meets one tap, one in the middle all of them."""
    net = chained((1, 5, 5), [conv(4, 1, (3, 3)), lif(36), linear(2, 36), lif(2)], 2)
    x = np.zeros((1, 4, 25))
    x[0, 1, 0], x[0, 2, 12] = 1, 1
    compiled = dmpc.compile(import_nir(net, timing=Timing(dt=DT)), calibration=x)
    (acc,) = (
        op for op in compiled.image.code if isinstance(op, AccumulateEvents) and op.kernel == 0
    )
    pc = compiled.image.code.index(acc)
    bank = compiled.image.target.bank[acc.bank].name
    counts = engine(compiled.image).run(x.astype(np.int64)).counts
    assert counts.operations_at[pc, bank, "add"] == (1 + 9) * 4


def test_a_dense_layer_with_a_memory_stands_on_convolutions():
    """As in a network for gestures: convolutions, then a layer whose slow current is held."""
    front = (Front(4, 3, 2, 1), Front(8, 2, pool=2))
    graph = built((8, 8, 2), front, (Layer(12, states=3, dilation=2),), 3)
    x = np.random.default_rng(0).random((2, 9, 128)) < 0.3
    compiled = dmpc.compile(graph, calibration=x)
    agree(compiled, graph, x, Options())


def test_neighbouring_positions_fill_a_row_together():
    """On 32 lanes 4 positions of 8 channels are one, and nobody behind them sees a difference."""
    layers = to_layers(imported("positions side by side"), Options())
    wide = Align(32).run(layers)
    first, second = (op for op in wide.ops if op.kind == "conv")
    assert (first.attrs["positions"], first.attrs["beside"]) == ((6, 1), (4, 2))
    assert wide.types["layer1.spikes"].size == 192
    assert second.attrs["grid"] == (6, 4, 8)
    back = Align(4).run(wide)
    assert [op.attrs for op in back.ops][:2] == [op.attrs for op in layers.ops][:2]
    np.testing.assert_array_equal(
        back.constants["layer1.fast.weight"], layers.constants["layer1.fast.weight"]
    )


BOUNDS = {
    "rows": (0.3, Front(4, 3, 1, 1)),
    "membranes, since neurons leak": (0.01, Front(4, 3, 1, 1)),
    "both": (0.05, Front(8, 3, 1, 1)),
}


@pytest.mark.parametrize(
    ("target", "what"), [*(("paper", what) for what in BOUNDS), ("edge", "both")]
)
def test_a_layer_takes_the_cycles_of_its_bound(target, what):
    """Rows of active inputs, or a row of membranes read and written for each group."""
    density, front = BOUNDS[what]
    graph = built((8, 8, 2), (front,), (), 3)
    x = np.random.default_rng(0).random((2, 18, 128)) < density
    one = bound(graph, x, target)
    if what == "rows":
        assert one.least == one.rows
    elif what != "both":
        assert one.least == one.neurons > 3 * one.rows
    assert one.least <= one.cycles < 1.15 * one.least + 2


def test_neurons_with_a_synaptic_current():
    one = np.ones((6, 3, 3))
    cuba = nir.CubaLIF(
        tau_syn=3 * DT * one, tau_mem=5 * DT * one, r=5 * one, v_leak=0 * one,
        v_threshold=one, w_in=3 * one,
    )  # fmt: skip
    net = chained((1, 4, 4), [conv(6, 1, (2, 2)), cuba, linear(2, 54), lif(2)], 2)
    graph = import_nir(net, timing=Timing(dt=DT))
    x = (DRAW.random((2, 9, 16)) < 0.3).astype(float)
    layers = to_layers(graph, Options())
    np.testing.assert_allclose(interpret(layers, x).outputs, interpret(graph, x).outputs)
    agree(dmpc.compile(graph, calibration=x), graph, x, Options())


SMALL = {
    "kernels": (("rows = 32768", "rows = 240"), ("rows = 8192", "rows = 6")),
    "neurons": (("rows = 512", "rows = 30"),),
}


@pytest.mark.parametrize("what", SMALL)
def test_what_does_not_fit_is_worked_on_in_pieces(what, tmp_path):
    """Rows of a kernel come in whole for every piece; neurons some at a time."""
    text = target_text("paper")
    for old, new in SMALL[what]:
        text = text.replace(old, new)
    path = tmp_path / "small.toml"
    path.write_text(text)
    nodes = [nir.SumPool2d((5, 5), (5, 5), (0, 0)), nir.Flatten(None), linear(2, 4), lif(2, 0.1)]
    three = [each for _ in range(3) for each in (conv(4, 4, (5, 5), 1, 2), lif(100))]
    model = import_nir(chained((4, 5, 5), [*three, *nodes], 2), timing=Timing(dt=DT))
    x = (DRAW.random((2, 9, 100)) < 0.1).astype(float)
    options = Options(target=str(path))
    compiled = dmpc.compile(model, calibration=x, options=options)
    wanted = {"kernels": "external.spike", "neurons": "external.parameter"}
    assert wanted[what] in compiled.image.memories
    agree(compiled, model, x, options)


def test_a_kernel_is_rounded_by_what_its_positions_see():
    """Second moments of patches are those of the windows of the input, summed up as they leak."""
    made = Convolution((4, 5), 2, (2, 3), 3, (2, 3), (2, 1), (1, 0))
    x = DRAW.normal(size=(3, 40))
    weight = DRAW.normal(size=(3, 2, 3, 2))
    patches = made.patches(x, np.arange(made.places))
    sums = patches @ weight.reshape(3, -1).T
    np.testing.assert_allclose(sums.reshape(3, -1), made.apply(x, weight))
    several = drawn("plain", samples=4, steps=9)
    ranges = calibrate(to_layers(imported("plain"), Options()), several, samples=4, margin=1.0)
    moments = ranges.moments["layer1.spikes"]
    assert moments.shape == (7, 7)
    assert moments[-1, -1] >= 1
    assert (np.linalg.eigvalsh(moments) > -1e-9).all()
