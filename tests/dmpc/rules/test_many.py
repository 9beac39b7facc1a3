"""Several faults in one model: all of them are found, and nothing that only follows from one."""

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings

from dmpc.check import check
from dmpc.cli import main
from dmpc.rules import Severity
from tests.dmpc.frontend.spellings import Form, scan_model
from tests.dmpc.passes.test_recognise import HELD, NEAR_HOLDS, STRANGE, pair_of
from tests.dmpc.rules.graphs import checked as checked_graph
from tests.dmpc.rules.networks import BROKEN, Edits, checked, edits_of, text_of
from tests.dmpc.rules.operators import node_of
from tests.dmpc.rules.wholes import body_of
from tests.networks import network, networks

GOLDEN = Path(__file__).parent / "golden"


def faults(*names: str) -> Edits:
    """Edits of several cases of test_recognise."""
    return tuple(edit for name in names for edit in edits_of(STRANGE[name][0]))


SECOND_MEMORY = (
    (
        "  const %wf :",
        """  state %m2 : f32[2] = zeros next %m2n loc("m2")
  state %v : f32[2] = zeros next %vn loc("v")
  const %wf :""",
    ),
    (
        "  %y = matmul(%s, %wf)",
        """  %d2 = matmul(%m2, %wx) : f32[1] loc("/drive2")
  %r2 = relu(%d2) : f32[1] loc("/relu2")
  %am2 = matmul(%m2, %a) : f32[2]
  %bx2 = matmul(%r2, %b) : f32[2]
  %m2n = add(%am2, %bx2) : f32[2]
  %f2 = matmul(%s, %wf) : f32[2]
  %i2 = add(%f2, %m2n) : f32[2]
  %h2 = add(%v, %i2) : f32[2]
  %c2 = ge(%h2, %theta) : bool[2] loc("/fire2")
  %s2 = cast(%c2) : f32[2]
  %vn = sub(%h2, %s2) : f32[2]
  %y = matmul(%s2, %wf)""",
    ),
)

SEVERAL = {
    "the same in two layers": (
        (*SECOND_MEMORY, *faults("drive by the memory")),
        ["strange-drive", "strange-drive"],
    ),
    "membrane and memory": (
        faults("full leak", "drive by the memory"),
        ["strange-drive", "full-leak"],
    ),
    "memory and input": (
        faults("drive by the memory", "binarised input"),
        ["strange-drive", "free-comparison"],
    ),
    "hold and membrane": (
        (*HELD, pair_of(NEAR_HOLDS["counts by two"][0]), *faults("full leak")),
        ["counter-step", "full-leak"],
    ),
    "threshold and memory": (
        (*BROKEN["adaptive-threshold"], *faults("drive by the memory")),
        ["adaptive-threshold", "strange-drive"],
    ),
}


@pytest.mark.parametrize(("edits", "rules"), SEVERAL.values(), ids=SEVERAL)
def test_independent_faults_are_found_together(edits, rules):
    assert [found.rule for found in checked(edits).findings] == rules


def test_faults_of_a_loop_are_found_together(tmp_path):
    model = scan_model(Form())
    node_of(body_of(model), "x0_").op_type = "Selu"
    node_of(body_of(model), "bu1_").op_type = "Pow"
    node_of(body_of(model), "x1_").op_type = "Selu"  # reads what the first one poisons
    onnx.save(model, tmp_path / "net.onnx")
    found = check(tmp_path / "net.onnx").findings
    assert [(one.rule, one.nodes) for one in found] == [
        ("unknown-operator", ("/x0_",)),
        ("unknown-operator", ("/x1_",)),
        ("bent-charge", ("/bu1_",)),
    ]


def test_nodes_of_a_nir_graph_are_looked_at_each_for_itself(tmp_path):
    found = checked_graph(tmp_path, "two kinds").findings
    assert [one.nodes for one in found] == [("n0",), ("n1",)]
    assert "weight holds nan" in found[0].message
    assert found[1].rule == "node-kind"


@given(shape=networks())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_sound_network_has_no_errors(shape):
    report = check(network(shape))
    errors = [found for found in report.findings if found.severity == Severity.ERROR]
    # What no small network can be blamed for: weights of 1e6 that a target cannot scale.
    assert errors == []
    assert report.reached == "image"


SHOWN: dict[str, Edits] = {
    "adaptive_threshold": BROKEN["adaptive-threshold"],
    "two_faults": faults("full leak", "drive by the memory"),
    "late_current": faults("threshold on the leak"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_user_sees(name, tmp_path, golden):
    path = tmp_path / "net.dmpir"
    path.write_text(text_of(SHOWN[name]))
    result = CliRunner().invoke(main, ["check", str(path)], prog_name="dmpc")
    assert result.exit_code == 1
    golden(GOLDEN / f"{name}.txt", result.stdout.replace(str(path), "net.dmpir"))
