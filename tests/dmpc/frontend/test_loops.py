"""Loops over time of every kind: scripts, neurons of SpikingJelly, hand-built Loop and If."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend import import_onnx
from tests.dmpc.frontend.oracle import assert_same_run, recognised
from tests.dmpc.frontend.spellings import PLAIN, STATES, C, M, model, timestep, value, weights
from tests.dmpc.frontend.test_unrolled import run

T, B = 6, 3
RNG = np.random.default_rng(8)
X = (RNG.random((B, T, M)) < 0.4).astype(np.float32)


def body(*lines: str, outputs: tuple[str, ...], extra=()) -> onnx.GraphProto:
    """The body of a Loop around the hand-written timestep, which reads and writes by `k`."""
    nodes = [*map(parsed, lines[:1]), *timestep(PLAIN), *map(parsed, lines[1:])]
    inputs = [
        helper.make_tensor_value_info("k", TensorProto.INT64, ()),
        helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
        *(value(name, B, size) for name, size in STATES.items()),
        *extra,
    ]
    outs = [helper.make_tensor_value_info("go_on", TensorProto.BOOL, ())]
    outs += [value(f"{name}_next", B, size) for name, size in STATES.items()]
    outs += [onnx.ValueInfoProto(name=name) for name in outputs]
    return helper.make_graph(nodes, "body", inputs, outs)


def parsed(line: str) -> onnx.NodeProto:
    return onnx.parser.parse_node(line)


def loop_model(body_graph, after: tuple[str, ...], initial=(), **constants):
    """The hand-written network as a Loop over x [batch, time, inputs]."""
    zeros = {f"{name}_0": np.zeros((B, size), np.float32) for name, size in STATES.items()}
    finals = [f"{name}_end" for name in STATES]
    kept = len(body_graph.output) - 1 - len(STATES)
    loop = helper.make_node(
        "Loop",
        ["steps", "true", *zeros, *initial],
        [*finals, *(["ys", "more"][:kept])],
        name="/loop",
        body=body_graph,
    )
    known = {"steps": np.array(T), "true": np.array(True), "time": np.array([1])}
    return model(
        [loop, *map(parsed, after)],
        [value("seq", B, T, M)],
        [value("logits", B, C)],
        weights() | zeros | known | constants,
    )


GO = "go_on = Identity(go)"
READ = "x = Gather<axis=1>(seq, k)"
MEAN = ("logits = ReduceMean<axes=[0], keepdims=0>(ys)",)


def test_a_loop_with_outputs_of_every_iteration(tmp_path):
    made = loop_model(body(READ, GO, outputs=("y",)), MEAN)
    graphs = recognised(made, tmp_path)
    assert graphs[2].attrs["readout"] == "mean"
    assert [op.kind for op in graphs[2].ops].count("memory") == 2
    assert_same_run(graphs, X, run(made, X))


def test_a_loop_that_carries_its_sum(tmp_path):
    graph = body(READ, GO, "s_next = Add(s, y)", outputs=("s_next",), extra=[value("s", B, C)])
    after = ("logits = Identity(ys)",)
    made = loop_model(graph, after, ("s_0",), s_0=np.zeros((B, C), np.float32))
    graphs = recognised(made, tmp_path)
    assert graphs[2].attrs["readout"] == "sum"
    assert_same_run(graphs, X, run(made, X))


def test_a_loop_whose_sum_begins_later(tmp_path):
    taken = """s_next = If(late) <
        then_branch = more () => (float[3, 3] added) { added = Add(s, y) },
        else_branch = same () => (float[3, 3] as_before) { as_before = Identity(s) }>"""
    lines = [READ, GO, "late = GreaterOrEqual(k, since)", taken]
    graph = body(*lines, outputs=("s_next",), extra=[value("s", B, C)])
    after, start = ("logits = Identity(ys)",), np.zeros((B, C), np.float32)
    made = loop_model(graph, after, ("s_0",), s_0=start, since=np.array(2))
    graphs = recognised(made, tmp_path)
    assert (graphs[2].attrs["readout"], graphs[2].attrs["since"]) == ("sum", 2)
    assert_same_run(graphs, X, run(made, X))


def test_a_loop_whose_length_follows_from_a_shape(tmp_path):
    made = loop_model(body(READ, GO, outputs=("y",)), MEAN)
    made.graph.node[0].input[0] = "length"
    nodes = [parsed("sizes = Shape(seq)"), parsed("length = Gather<axis=0>(sizes, axis)")]
    made.graph.initializer.append(numpy_helper.from_array(np.array(1), "axis"))
    for node in reversed(nodes):
        made.graph.node.insert(0, node)
    assert_same_run(recognised(made, tmp_path), X, run(made, X))


def test_a_loop_with_a_computed_condition_is_refused():
    graph = body(READ, "m = ReduceMax<keepdims=0>(y)", "go_on = Cast<to=9>(m)", outputs=("y",))
    with pytest.raises(ImportFailure, match=r"^model: /loop: the number of iterations of this Loo"):
        import_onnx(loop_model(graph, MEAN))


def test_an_iteration_that_computes_with_its_number_is_refused():
    shift = "x = Mul(x_, kf)"
    graph = body("x_ = Gather<axis=1>(seq, k)", GO, outputs=("y",))
    graph.node.insert(1, parsed("kf = Cast<to=1>(k)"))
    graph.node.insert(2, parsed(shift))
    with pytest.raises(ImportFailure, match="timestep 4 reads 'kf#4' where timestep 3"):
        import_onnx(loop_model(graph, MEAN))


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_with_a_constant_condition(taken, tmp_path):
    """Both branches name their tensors alike; the other one could not be imported."""
    right = [parsed("half = Mul(ys, one)"), parsed("res = Identity(half)")]
    wrong = [parsed("half = Erf(ys)"), parsed("res = Identity(half)")]
    outputs = [value("res", T, B, C)]
    branches = {
        "then_branch": helper.make_graph(right if taken else wrong, "then", [], outputs),
        "else_branch": helper.make_graph(wrong if taken else right, "else", [], outputs),
    }
    made = loop_model(body(READ, GO, outputs=("y",)), MEAN, chosen=np.array(taken))
    for number, name in enumerate(("once", "twice")):
        source = ("ys", "once")[number]
        for branch in branches.values():
            branch.node[0].input[0] = source
        node = helper.make_node("If", ["chosen"], [name], name=f"/if{number}", **branches)
        made.graph.node.insert(1 + number, node)
    made.graph.node[-1].input[0] = "twice"
    onnx.checker.check_model(made)
    assert_same_run(recognised(made, tmp_path), X, run(made, X))


def test_a_branch_of_one_timestep(tmp_path):
    """A model that is no sequence is normalised too."""
    from tests.dmpc.frontend.spellings import Spelling, step_model

    plain = step_model(Spelling())
    made = step_model(Spelling())
    (readout,) = [node for node in made.graph.node if node.name == "/y"]
    inner = onnx.NodeProto.FromString(readout.SerializeToString())
    branch = helper.make_graph([inner], "branch", [], [value("y", "batch", C)])
    at = list(made.graph.node).index(readout)
    made.graph.node.remove(readout)
    made.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    node = helper.make_node("If", ["always"], ["y"], then_branch=branch, else_branch=branch)
    made.graph.node.insert(at, node)
    found, expected = recognised(made, tmp_path)[2], recognised(plain, tmp_path)[2]
    assert [op.kind for op in found.ops] == [op.kind for op in expected.ops]


torch = pytest.importorskip("torch")
from tests.dmpc.frontend import loops  # noqa: E402

SPELLINGS = [loops.Lists, loops.Writes, loops.Unbound, loops.Ranges]


@pytest.mark.parametrize("scripted", [False, True], ids=["traced", "scripted"])
@pytest.mark.parametrize("module", SPELLINGS, ids=lambda module: module.__name__)
def test_ways_to_collect_outputs(module, scripted, tmp_path):
    """Traced, the loop is unrolled; scripted, it is a Loop, with ONNX's lists and writes."""
    x = RNG.normal(size=(B, T, loops.M)).astype(np.float32)
    made = loops.exported(
        torch.jit.script(module()) if scripted else module(), torch.from_numpy(x), dynamo=False
    )
    assert any(node.op_type == "Loop" for node in made.graph.node) == scripted
    graphs = recognised(made, tmp_path)
    assert [op.kind for op in graphs[2].ops] == ["dense", "lif", "dense"]
    assert_same_run(graphs, x, run(made, x))


def test_neurons_of_spikingjelly(tmp_path):
    """Evaluated with step_mode='m', they are scripts: Loops which write into a tensor."""
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    torch.manual_seed(2)
    lif = neuron.LIFNode
    network = torch.nn.Sequential(
        torch.nn.Linear(loops.M, 7), lif(tau=2.0, step_mode="m"),
        torch.nn.Linear(7, 5), lif(tau=4.0, v_reset=None, v_threshold=0.3, step_mode="m"),
        torch.nn.Linear(5, 4),
    )  # fmt: skip
    x = 4 * RNG.normal(size=(T, B, loops.M)).astype(np.float32)
    made = loops.exported(network, torch.from_numpy(x), dynamo=False)
    assert [node.op_type for node in made.graph.node].count("Loop") == 2
    graphs = recognised(made, tmp_path)
    modes = [op.attrs["reset_mode"] for op in graphs[2].ops if op.kind == "lif"]
    assert modes == ["hard", "subtract"]
    assert_same_run(graphs, x.transpose(1, 0, 2), run(made, x).mean(axis=0))
