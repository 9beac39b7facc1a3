"""What NIR files can get wrong, and what is said of it: one line that names file and node."""

from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
from click.testing import CliRunner

from dmpc.cli.main import main
from dmpc.errors import ImportFailure
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
        "the graph has 2 Output nodes: 'n2', 'output'; one is expected",
    ),
    "a convolution": (
        graph(nir.Conv1d(3, np.ones((2, 1, 2)), 1, 0, 1, 1, ONE), lif()),
        "node 'n0': the machine has no Conv1d (multiply it out to a Linear node",
    ),
    "nan": (
        graph(nir.Linear(np.array([[1, np.nan, 0], [0, 0, 0]])), lif()),
        "node 'n0' (Linear): weight holds nan (1 of 6 elements are not finite)",
    ),
    "shape of a weight": (
        graph(nir.Linear(np.ones((2, 4))), lif()),
        "node 'n0' (Linear): weight [2, 4] takes 4 elements, but is fed 3",
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
    "a synapse": (
        graph(W, cuba(5e-3)),
        ("node 'n1' (CubaLIF): keeps a synaptic current for every neuron (tau_syn 0.005 s); the "
        "machine keeps one membrane for every neuron and one slow state for a layer (train with "
        "LIF neurons, or with tau_syn equal to a timestep, 0.0001 s)"),
    ),
    "a leaky readout": (
        graph(W, lif(), nir.LI(5e-3 * ONE, ONE, 0 * ONE)),
        "node 'n2' (LI): keeps a membrane that never spikes",
    ),
    "an integrator inside": (
        graph(W, nir.I(ONE), lif()),
        "node 'n1' (I): keeps a membrane that never spikes",
    ),
    "a threshold": (graph(W, nir.Threshold(ONE)), "node 'n1': the machine has no Threshold"),
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
    assert "--dt, --reset and --spike-at are for NIR files" in refused.stderr
