"""What NIR files can get wrong, and what is said of it: one line that names file and node."""

from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
from click.testing import CliRunner

from dmpc.cli.main import main
from dmpc.errors import ImportFailure
from dmpc.findings import listening
from dmpc.frontend import Timing, import_nir

ONE = np.ones(2)


def lif(**changed) -> nir.LIF:
    given = {"tau": 1e-3 * ONE, "r": ONE, "v_leak": 0 * ONE, "v_threshold": ONE, **changed}
    return nir.LIF(**given)


def cuba(tau_syn: float) -> nir.CubaLIF:
    return nir.CubaLIF(
        tau_syn=tau_syn * ONE, tau_mem=1e-3 * ONE, r=ONE, v_leak=0 * ONE, v_threshold=ONE
    )


def graph(*nodes: nir.NIRNode, edges=None, ends=("Input", "Output")) -> nir.NIRGraph:
    """Nodes n0, n1, ... in a row between `input` and `output`, without NIR's own checks."""
    made = {f"n{number}": node for number, node in enumerate(nodes)}
    chain = list(made)
    if "Input" in ends:
        made["input"] = nir.Input(np.array([3]))
        chain = ["input", *chain]
    if "Output" in ends:
        made["output"] = nir.Output(np.array([2]))
        chain = [*chain, "output"]
    wires = list(pairwise(chain)) if edges is None else edges
    return nir.NIRGraph(made, wires, type_check=False)


W = nir.Linear(np.ones((2, 3)))
WRONG = {
    "no input": (graph(lif(), ends=("Output",)), "the graph has 0 Input nodes; one is expected"),
    "no output": (graph(W, lif(), ends=("Input",)), "the graph has 0 Output nodes; one"),
    "two outputs": (
        graph(W, lif(), nir.Output(np.array([2]))),
        "the model has 2 outputs: 'n2', 'output' (say which is the answer: --output n2 or --output",
    ),
    "a convolution of a vector": (
        graph(nir.Conv2d((2, 2), np.ones((2, 1, 2, 2)), 1, 0, 1, 1, ONE), lif()),
        "node 'n0' (Conv2d): what it reads has no lines and columns",
    ),
    "nan": (
        graph(nir.Linear(np.array([[1, np.nan, 0], [0, 0, 0]])), lif()),
        "node 'n0' (Linear): weight holds nan (1 of 6 elements are not finite)",
    ),
    "shape of a weight": (
        graph(nir.Linear(np.ones((2, 4))), lif()),
        "node 'n0' (Linear): weight [2, 4] takes 4 elements, but is fed 3",
    ),
    "a transposed weight": (
        graph(nir.Linear(np.ones((3, 2))), lif()),
        ("node 'n0' (Linear): weight [3, 2] takes 2 elements, but is fed 3 (NIR's weights are "
        "[outputs, inputs]; are all of this file transposed, as old versions of Spyx write them?)"),
    ),
    "axes of a weight": (
        graph(nir.Linear(np.ones((1, 2, 3))), lif()),
        "node 'n0' (Linear): weight has shape [1, 2, 3], not two axes",
    ),
    "size of a bias": (
        graph(nir.Affine(np.ones((2, 3)), np.ones(4)), lif()),
        "node 'n0' (Affine): bias has 4 elements, expected 1 or 2",
    ),
    "number of neurons": (
        graph(lif()),
        "node 'n0' (LIF): takes 2 elements, but is fed 3",
    ),
    "size of the output": (
        graph(nir.Linear(np.ones((4, 3)))),
        "node 'output' (Output): takes 2 elements, but is fed 4",
    ),
    "tau below dt": (
        graph(W, lif(tau=1e-5 * ONE)),
        ("node 'n1' (LIF): tau is 1e-05 s, shorter than a timestep of 0.0001 s, where forward "
        "Euler overshoots (give the timestep that the network was trained with, at most "
            "--dt 1e-05)"),
    ),
    "tau zero": (
        graph(W, lif(tau=0 * ONE)),
        "node 'n1' (LIF): tau is 0 s; a time constant is above zero",
    ),
    "a synapse shorter than a timestep": (
        graph(W, cuba(5e-5)),
        "node 'n1' (CubaLIF): tau_syn is 5e-05 s, shorter than a timestep of 0.0001 s, where",
    ),
    "an integrator inside": (
        graph(W, nir.I(ONE), lif()),
        "node 'n1' (I): keeps a sum of all that came; the machine has one at the network",
    ),
    "part of a timestep": (
        graph(nir.Delay(1.5e-4 * np.ones(3)), W, lif()),
        ("node 'n0' (Delay): a delay of 0.00015 s is no whole number of timesteps of 0.0001 s "
        "(choose --dt so that it divides every delay)"),
    ),
    "a long delay": (
        graph(nir.Delay(np.full(3, 1.0)), W, lif()),
        "node 'n0' (Delay): keeps 30000 events of the past at timesteps of 0.0001 s, more",
    ),
    "size of no delay": (
        graph(nir.Delay(np.zeros(2)), W, lif()),
        "node 'n0' (Delay): takes 2 elements, but is fed 3",
    ),
    "size of a delay": (
        graph(nir.Delay(np.full(4, 1e-4)), nir.Linear(np.ones((2, 4))), lif()),
        "node 'n0' (Delay): takes 4 elements, but is fed 3",
    ),
    "negative delay": (
        graph(nir.Delay(-1e-4 * np.ones(3)), W, lif()),
        "node 'n0' (Delay): a delay of -0.0001 s is before its time",
    ),
    "a loop without neurons": (
        graph(W, nir.Scale(ONE), edges=[("input", "n0"), ("n0", "n1"), ("n1", "n1"),
                                        ("n1", "output")]),
        "node 'n1' (Scale): the loop n1 has neither neurons nor a delay (put a Delay into it)",
    ),
    "nothing feeds": (
        graph(W, lif(), edges=[("input", "n0"), ("n1", "output")]),
        "node 'n1' (LIF): nothing feeds this node",
    ),
    "an edge to nowhere": (
        graph(W, lif(), edges=[("input", "n0"), ("n0", "n7")]),
        "edge 'n0' -> 'n7' names no node 'n7' (known: input, n0",
    ),
    "an edge twice": (
        graph(W, lif(), edges=[("input", "n0"), ("n0", "n1"), ("n0", "n1"), ("n1", "output")]),
        "edge 'n0' -> 'n1' is there twice",
    ),
    "sources that differ": (
        graph(W, nir.Linear(np.ones((4, 3))), lif(),
              edges=[("input", "n0"), ("input", "n1"), ("n0", "n2"), ("n1", "n2"),
                     ("n2", "output")]),
        "node 'n2' (LIF): its sources differ in size: 2, 4",
    ),
    "a graph without an end": (
        graph(W, nir.NIRGraph({"input": nir.Input(ONE), "x": lif()}, [("input", "x")],
                              type_check=False)),
        "node 'n1': the nested graph has 0 Output nodes, expected one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("padding", [2**40, 1e30])
def test_a_convolution_padded_without_measure(padding):
    wide = nir.Conv2d((3, 3), np.ones((2, 1, 2, 2)), 1, 1, 1, 1, np.zeros(2))
    wide.padding = (padding, padding)
    picture = nir.Input({"input": np.array([1, 3, 3])})
    nodes = {"input": picture, "wide": wide, "lif": lif(), "output": nir.Output(ONE)}
    edges = list(pairwise(nodes))
    with pytest.raises(ImportFailure, match="makes more than 16,777,216 sums"):
        import_nir(nir.NIRGraph(nodes, edges, type_check=False))


@pytest.mark.parametrize(("wrong", "message"), WRONG.values(), ids=WRONG)
def test_wrong_graphs(wrong, message, tmp_path):
    path = tmp_path / "net.nir"
    nir.write(path, wrong)
    with pytest.raises(ImportFailure) as caught:
        import_nir(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def broken(tmp_path, edit) -> str:
    path = tmp_path / "net.nir"
    nir.write(path, graph(W, lif()))
    with h5py.File(path, "r+") as file:
        edit(file)
    return str(path)


EDITS = {
    "unknown kind": (
        lambda file: file["node/nodes/n1/type"].write_direct(np.array(b"LIFF", object)),
        "node 'n1': unknown kind of node 'LIFF' (did you mean",
    ),
    "missing parameter": (
        lambda file: file["node/nodes/n1"].pop("tau"),
        "node 'n1' (LIF): has no tau",
    ),
    "missing shape": (
        lambda file: file["node/nodes/input"].pop("shape"),
        "node 'input' (Input): has no shape",
    ),
    "no nodes": (lambda file: file["node"].pop("nodes"), "this is no NIR graph: nodes and edges"),
    "no graph": (lambda file: file.pop("node"), "this HDF5 file holds no NIR graph"),
    "a node that is a number": (
        lambda file: (file["node/nodes"].pop("n1"), file["node/nodes"].update({"n1": 7})),
        "node 'n1': unknown kind of node 'None'",
    ),
    "text for numbers": (
        lambda file: (file["node/nodes/n1"].pop("r"), file["node/nodes/n1"].update({"r": "one"})),
        "node 'n1' (LIF): r is not made of numbers",
    ),
}


@pytest.mark.parametrize(("edit", "message"), EDITS.values(), ids=EDITS)
def test_files_that_were_edited(edit, message, tmp_path):
    path = broken(tmp_path, edit)
    with pytest.raises(ImportFailure) as caught:
        import_nir(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("cut", [0, 10, 200, 900])
def test_damaged_files(cut, tmp_path):
    path = tmp_path / "net.nir"
    nir.write(path, graph(W, lif()))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ImportFailure, match="this is not a NIR file, or it is damaged"):
        import_nir(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ImportFailure, match="no such file"):
        import_nir(tmp_path / "net.nir")


def test_a_late_reset_needs_something_that_is_late():
    one = graph(W, lif(tau=1e-4 * ONE))
    with pytest.raises(ImportFailure, match="neurons keep nothing of their membrane"):
        import_nir(one, timing=Timing(reset="late"))


def test_the_commands_options_reach_the_importer(tmp_path):
    path = tmp_path / "net.nir"
    nir.write(path, graph(W, lif()))
    run = CliRunner().invoke
    shown = run(main, ["inspect", str(path), "--dt", "5e-4", "--reset", "subtract", "--spike-at"])
    assert shown.exit_code == 0
    assert 'reset_mode = "subtract", strict = false' in shown.output
    path.rename(tmp_path / "net.dmpir")
    refused = run(main, ["inspect", str(tmp_path / "net.dmpir"), "--dt", "5e-4"])
    assert "--dt, --reset, --spike-at and --integration are for NIR files" in refused.stderr


# -- odd contents ----------------------------------------------------------------------------------


def replaced(name: str, value: object, *more: tuple[str, object]):
    """An edit that puts other values in the places of some."""

    def edit(file: h5py.File) -> None:
        for place, new in ((name, value), *more):
            file.pop(place, None)
            file[place] = new

    return edit


def text_of(words) -> np.ndarray:
    return np.array(words, h5py.string_dtype())


def endless(file: h5py.File) -> None:
    inner = file.create_group("node/nodes/n2")
    inner.update({"type": "NIRGraph", "edges": text_of([["a", "b"]])})
    inner["nodes"] = file["node/nodes"]


def deep(file: h5py.File) -> None:
    group = file["node/nodes"]
    for _ in range(40):
        group = group.create_group("n2")
        group.update({"type": "NIRGraph", "edges": text_of([["a", "b"]])})
        group = group.create_group("nodes")


def outside(file: h5py.File) -> None:
    file.pop("node/nodes/n0/weight")
    file["node/nodes/n0"].create_dataset(
        "weight", (2, 3), "f8", external=[("/etc/hostname", 0, 48)]
    )


COMPLEX = np.ones((2, 3)) + 1j
N0 = "node/nodes/n0/weight"
ODD = {
    "complex weights": (
        replaced(N0, COMPLEX),
        "node 'n0' (Linear): weight is made of complex numbers, which the machine has not",
    ),
    "complex parameters without an imaginary part": (
        replaced("node/nodes/n1/r", COMPLEX[0] * 0),
        "node 'n1' (LIF): r is made of complex numbers",
    ),
    "numbers as text": (
        replaced("node/nodes/n1/tau", text_of(["0.001", "0.002"])),
        "node 'n1' (LIF): tau is not made of numbers",
    ),
    "records": (
        replaced(N0, np.zeros((2, 3), [("a", "f4"), ("b", "f4")])),
        "node 'n0' (Linear): weight is not made of numbers",
    ),
    "an empty weight": (replaced(N0, np.ones((2, 0))), "node 'n0' (Linear): weight is empty"),
    "no value at all": (
        replaced(N0, h5py.Empty("f4")),
        "node 'n0' (Linear): has no weight",
    ),
    "beyond float32": (
        replaced(N0, np.full((2, 3), 1e300)),
        "node 'n0' (Linear): weight holds 1e+300 (6 of 6 elements are not finite)",
    ),
    "a weight that is a group": (
        lambda file: (file.pop(N0), file.create_group(N0)),
        "node 'n0' (Linear): weight is not made of numbers",
    ),
    "a soft link": (replaced(N0, h5py.SoftLink("/node/nodes/n1/r")), f"'/{N0}': is a link"),
    "an external link": (
        replaced(N0, h5py.ExternalLink("/etc/hostname", "/x")),
        f"'/{N0}': is a link",
    ),
    "a broken link": (replaced(N0, h5py.SoftLink("/nowhere")), f"'/{N0}': is a link"),
    "a linked graph": (
        lambda file: (file.move("node", "other"), file.update({"node": h5py.SoftLink("/other")})),
        "'/node': is a link",
    ),
    "storage in another file": (outside, f"'/{N0}': is stored in another file"),
    "a group in itself": (endless, "'/node/nodes/n2/nodes': contains itself"),
    "graphs without end": (deep, "'/node/nodes/n2/nodes/n2/"),
    "an edge that is a number": (
        replaced("node/edges", np.arange(6).reshape(3, 2)),
        "an edge is no pair of names: array([0, 1])",
    ),
    "edges that are one text": (
        replaced("node/edges", "input"),
        "an edge is no pair of names: b'input'",
    ),
    "edges of one end": (
        replaced("node/edges", text_of([["input"]])),
        "an edge is no pair of names: array([b'input']",
    ),
    "edges of three ends": (
        replaced("node/edges", text_of([["input", "n0", "n1"]])),
        "an edge is no pair of names: array([b'input'",
    ),
    "edges in a row": (
        replaced("node/edges", text_of(["input", "n0"])),
        "an edge is no pair of names: b'input'",
    ),
    "edges in a group": (
        lambda file: (file["node"].pop("edges"), file.create_group("node/edges")),
        "an edge is no pair of names: {}",
    ),
    "a shape of text": (
        replaced("node/nodes/input/shape", "three"),
        "node 'input' (Input): shape is not made of numbers",
    ),
    "a negative shape": (
        replaced("node/nodes/input/shape", np.array([-3, -1])),
        "node 'input' (Input): shape [-3.0, -1.0] is none of 1 to",
    ),
    "half an input": (
        replaced("node/nodes/input/shape", np.array([2.5])),
        "node 'input' (Input): shape [2.5] is none of 1 to",
    ),
    "a shape that is no number": (
        replaced("node/nodes/input/shape", np.array([np.nan])),
        "node 'input' (Input): shape [nan] is none of 1 to",
    ),
    "an endless shape": (
        replaced("node/nodes/input/shape", np.array([1 << 62, 1 << 62])),
        "node 'input' (Input): shape [4.611686018427388e+18,",
    ),
    "a shape of two axes": (
        replaced("node/nodes/input/shape", np.array([[3]])),
        "node 'input' (Input): shape [[3.0]] is none of 1 to",
    ),
    "a kind that is a number": (
        replaced("node/nodes/n1/type", 7),
        "node 'n1': unknown kind of node 'None'",
    ),
    "kinds of a graph": (
        replaced("node/type", text_of(["NIRGraph", "NIRGraph"])),
        "this is no NIR graph: nodes and edges are expected",
    ),
    "a name with a line break": (
        lambda file: file["node/nodes"].move("n1", "n\n1"),
        "'/node/nodes': holds the name 'n\\n1'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "message"), ODD.values(), ids=ODD)
def test_odd_contents(edit, message, tmp_path):
    path = broken(tmp_path, edit)
    with pytest.raises(ImportFailure) as caught:
        import_nir(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: {message}")
    assert said.isprintable()


def test_nothing_in_the_metadata_matters(tmp_path):
    def edit(file: h5py.File) -> None:
        file["node/nodes/n1/metadata"] = h5py.SoftLink("/nowhere")

    with pytest.raises(ImportFailure, match="is a link"):
        import_nir(broken(tmp_path, edit))
    plain = import_nir(broken(tmp_path, lambda _: None))
    path = broken(tmp_path, lambda file: file["node"].create_group("metadata").update({"a": "b"}))
    assert import_nir(path) == plain


def test_two_nodes_of_one_name():
    inner = nir.NIRGraph(
        {"b": lif(), "i": nir.Input(ONE), "o": nir.Output(ONE)}, [], type_check=False
    )
    both = nir.NIRGraph({"a": inner, "a.b": lif()}, [], type_check=False)
    with pytest.raises(ImportFailure, match=r"two nodes are called 'a\.b'"):
        import_nir(both)


def test_a_graph_in_itself():
    whole = graph(W, lif())
    whole.nodes["n2"] = whole
    with pytest.raises(ImportFailure, match="this NIR graph cannot be read"):
        import_nir(whole)


@pytest.mark.parametrize(
    ("found", "said"),
    [(None, "None"), (nir.LIF, "the class LIF"), ({}, "an object of class dict")],
)
@pytest.mark.parametrize("nested", [False, True])
def test_what_stands_in_the_place_of_a_node(found, said, nested):
    inner = graph(W, lif())
    whole = graph(W, lif())
    whole.nodes["deep"] = inner
    (inner if nested else whole).nodes["odd"] = found
    place = "deep.odd" if nested else "odd"
    with pytest.raises(ImportFailure, match=rf"graph: node '{place}': {said} is no node of NIR"):
        import_nir(whole)


def test_a_long_row_of_nodes():
    scales = [nir.Scale(2 * np.ones(3)) for _ in range(3000)]
    with pytest.raises(ImportFailure, match="its nodes stand in too long a row"):
        import_nir(graph(*scales, W, lif()))


BIAS = nir.Affine(np.ones((2, 3)), np.array([0.0, 0.5]))
LATE = {
    "a bias": (
        graph(BIAS, nir.Delay(1e-4 * ONE), lif()),
        "node 'n1' (Delay): delays a bias: element 1 is 0.5 without any event",
    ),
    "an echo": (
        graph(W, nir.Delay(1e-4 * ONE), nir.Scale(0.5 * ONE), lif(),
              edges=[("input", "n0"), ("n0", "n1"), ("n1", "n2"), ("n2", "n1"), ("n2", "n3"),
                     ("n3", "output")]),
        "node 'n1' (Delay): the loop n2 -> n1 has a delay, but no neurons",
    ),
    "a weight that does not fit": (
        graph(nir.Linear(np.ones((2, 4))), nir.Delay(1e-4 * ONE), lif()),
        "node 'n0' (Linear): weight [2, 4] takes 4 elements, but is fed 3",
    ),
    "an integrator": (
        graph(W, nir.I(ONE), nir.Delay(1e-4 * ONE), lif()),
        "node 'n1' (I): stands before a delay",
    ),
    "one delay for many": (
        graph(nir.Delay(np.array([0.6])), W, lif()),
        "node 'n0' (Delay): keeps 18000 events of the past",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), LATE.values(), ids=LATE)
def test_delays_that_no_machine_has(wrong, message):
    with pytest.raises(ImportFailure) as caught:
        import_nir(wrong)
    assert str(caught.value).startswith(f"NIR graph: {message}")


# -- the timestep ----------------------------------------------------------------------------------

ODD_PACE = {
    "time in steps": (graph(W, lif(tau=20 * ONE), nir.Linear(np.eye(2)), lif(tau=20 * ONE)), 1e-4,
                      "node 'n1', and 1 more: tau is 2e+05 timesteps at a timestep of 0.0001 s"),
    "IF of small steps": (graph(W, nir.IF(ONE, ONE)), 1e-4,
                          "even with all inputs active, no neuron fires within 3.33e+03 timesteps"),
    "IF of large steps": (graph(W, nir.IF(1e4 * ONE, ONE)), 1.0,
                          "one input event overcomes the threshold 1e+04 times over"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "dt", "message"), ODD_PACE.values(), ids=ODD_PACE)
def test_a_timestep_that_does_not_fit(made, dt, message):
    with listening() as told:
        import_nir(made, timing=Timing(dt=dt))
    (found,) = told
    assert (found.rule, found.severity) == ("timestep", "warning")
    assert message in f"{found.where.removeprefix('NIR graph: ')}: {found.message}"
    assert "--dt" in found.nearest


def test_time_constants_far_below_the_timestep():
    with listening() as told:
        import_nir(graph(W, lif()), timing=Timing(dt=1.0, integration="exact"))
    assert [found.message for found in told] == ["tau is 0.001 timesteps at a timestep of 1 s"]


@pytest.mark.parametrize("dt", [1e-3, 1e-4, 1e-5])
def test_usual_time_constants_are_no_news(dt):
    with listening() as told:
        import_nir(graph(W, lif(tau=2e-2 * ONE)), timing=Timing(dt=dt))
        import_nir(graph(W, nir.IF(ONE / dt, ONE)), timing=Timing(dt=dt))
    assert told == []
