"""What a user can get wrong: one line that names the file and the node, nothing left behind."""

import numpy as np
import pytest
from onnx import helper

from tests.dmpc.cli.conftest import INPUTS, NEURONS, STATES, write_model


@pytest.fixture
def output(tmp_path):
    """Where a compilation that fails would have written; checked to be empty afterwards."""
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder / "a.elf"
    assert list(folder.iterdir()) == []


# -- models ---------------------------------------------------------------------------------------


def unsupported(nodes):
    nodes[2] = helper.make_node("Softsign", ["sum"], ["drive"], name="/squash")


def dangling(nodes):
    nodes[0].input[1] = "nothing"


def recurrent(nodes):
    nodes[0].input[0] = "spikes"


def test_an_unsupported_op_is_named_with_its_node(dmpc, tmp_path, output):
    model = write_model(tmp_path / "net.onnx", change=unsupported)
    said = dmpc.fails("compile", model, "-o", output)
    assert said.startswith(f"{model}: ")
    assert "/squash" in said
    assert "Softsign" in said


@pytest.mark.parametrize(
    ("changed", "node"),
    [
        ({"fc_weight": np.ones((INPUTS + 1, NEURONS))}, "/fast"),
        ({"slow_weight": np.ones((STATES, NEURONS + 1))}, ("/half", "/charge", "/slow")),
        ({"A": np.ones((STATES, STATES + 1))}, ("/m_next", "/kept")),
    ],
)
def test_a_wrong_shape_is_named_with_its_node(dmpc, tmp_path, output, changed, node):
    model = write_model(tmp_path / "net.onnx", **changed)
    said = dmpc.fails("compile", model, "-o", output)
    assert said.startswith(f"{model}: ")
    assert any(name in said for name in ([node] if isinstance(node, str) else node))


@pytest.mark.parametrize("missing", ["u_next", "m_next", "u", "m"])
def test_a_missing_state_is_named(dmpc, tmp_path, output, missing):
    model = write_model(tmp_path / "net.onnx", without=(missing,))
    said = dmpc.fails("compile", model, "-o", output)
    assert said.startswith(f"{model}: ")
    assert missing.split("_")[0] in said


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_numbers_are_named(dmpc, tmp_path, output, value):
    weight = np.ones((INPUTS, NEURONS))
    weight[2, 3] = value
    model = write_model(tmp_path / "net.onnx", fc_weight=weight)
    said = dmpc.fails("compile", model, "-o", output)
    assert said.startswith(f"{model}: ")
    assert "fc.weight" in said
    assert str(value) in said


def test_a_graph_with_a_ring_or_a_hole_is_an_error(dmpc, tmp_path, output):
    for change in (dangling, recurrent):
        model = write_model(tmp_path / f"{change.__name__}.onnx", change=change)
        assert dmpc.fails("compile", model, "-o", output).startswith(f"{model}: ")


@pytest.mark.parametrize("content", [b"", b"\x08", b"not a model at all", b"\0" * 100])
def test_a_file_that_is_no_model(dmpc, tmp_path, output, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert dmpc.fails("compile", path, "-o", output).startswith(f"{path}: ")


def test_a_missing_model(dmpc, tmp_path, output):
    path = tmp_path / "none.onnx"
    said = dmpc.fails("compile", path, "-o", output)
    assert said.startswith(f"{path}: ")
    assert "no such file" in said.lower()


def test_text_that_is_no_graph_names_line_and_column(dmpc, tmp_path, output):
    path = tmp_path / "net.dmpir"
    path.write_text('dmpir 1\ngraph "g" level layers {\n  nonsense\n}\n')
    said = dmpc.fails("compile", path, "-o", output)
    assert said.startswith(f"{path}:3:")


def test_a_memory_that_does_not_decay_names_the_node(dmpc, tmp_path, output):
    model = write_model(tmp_path / "net.onnx", A=np.eye(STATES))
    said = dmpc.fails("compile", model, "-o", output)
    assert said.startswith(f"{model}: /kept")
    assert "the memory of layer1 does not decay" in said
    for verb in ("--memory", "--level=integer"):
        assert dmpc.fails("inspect", model, verb) == said


# -- targets and outputs --------------------------------------------------------------------------


def test_an_unknown_target_names_those_that_ship(dmpc, shared, output):
    said = dmpc.fails("compile", shared.model, "-o", output, "--target", "papre")
    assert "target 'papre'" in said
    assert "paper" in said


def test_a_target_that_is_too_small_names_the_node(dmpc, shared, tmp_path, output):
    from isa.target import target_text

    path = tmp_path / "small.toml"
    path.write_text(target_text("paper").replace("rows = 4096", "rows = 4"))
    said = dmpc.fails("compile", shared.model, "-o", output, "--target", path)
    assert said == (
        f"{shared.model}: drive.weight: %layer1.drive.weight needs 6 rows of the drive memory; "
        "4 of 4 are free on target paper, and the network needs 6 in all (use a smaller layer, or "
        "a target with a larger memory; target 'paper' holds this network)"
    )


def test_a_target_with_a_wrong_key(dmpc, shared, tmp_path, output):
    path = tmp_path / "odd.toml"
    path.write_text("lanse = 4\n")
    said = dmpc.fails("compile", shared.model, "-o", output, "--target", path)
    assert said.startswith(f"{path}: ")
    assert "lanse: no such key" in said


VERBS_THAT_WRITE = {
    "compile": lambda f: ("compile", f.model, "-o"),
    "run": lambda f: ("run", f.image, "--input", f.data, "--json"),
    "verify": lambda f: (
        "verify", f.model, f.image, "--input", f.data, "--max-drop", 100, "--json",
    ),
    "disasm": lambda f: ("disasm", f.image, "-o"),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS_THAT_WRITE)
def test_an_output_that_cannot_be_written(dmpc, shared, tmp_path, verb):
    missing = tmp_path / "missing" / "a.elf"
    said = dmpc.fails(*VERBS_THAT_WRITE[verb](shared), missing)
    assert said.startswith(f"{missing}: ")
    assert "cannot" in said
    folder = tmp_path / "folder"
    folder.mkdir()
    assert dmpc.fails(*VERBS_THAT_WRITE[verb](shared), folder).startswith(f"{folder}: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]
    assert list(folder.iterdir()) == []


def test_a_failed_compilation_leaves_an_older_image_as_it_was(dmpc, files):
    before = files.image.read_bytes()
    broken = write_model(files.model, change=unsupported)
    dmpc.fails("compile", broken, "-o", files.image)
    assert files.image.read_bytes() == before


# -- images ---------------------------------------------------------------------------------------


def cut(data):
    return data[: len(data) // 2]


def edited(data):
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    return bytes(changed)


DAMAGE = {
    "truncated": (cut, "truncated"),
    "edited": (edited, "checksum differs"),
    "empty": (lambda data: data[:0], "an empty file, not an image"),
    "text": (lambda data: b"hello\n" * len(data), "text, not an image"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("verb", ["run", "verify", "inspect", "disasm"])
def test_a_damaged_image_is_refused_by_every_verb(dmpc, files, damage, verb):
    change, reason = DAMAGE[damage]
    files.image.write_bytes(change(files.image.read_bytes()))
    arguments = {
        "run": (files.image, "--input", files.data),
        "verify": (files.model, files.image, "--input", files.data),
        "inspect": (files.image,),
        "disasm": (files.image,),
    }[verb]
    said = dmpc.fails(verb, *arguments)
    assert said.startswith(f"{files.image}: ")
    assert reason in said


def test_an_image_of_another_network_is_not_verified(dmpc, files):
    other = write_model(files.folder / "other.onnx", out_weight=np.ones((NEURONS, 7)))
    said = dmpc.fails("verify", other, files.image, "--input", files.data)
    assert "another network" in said


def test_assembly_that_is_none_names_line_and_column(dmpc, files):
    path = files.folder / "a.s"
    text = dmpc.ok("disasm", files.image)
    path.write_text(text.replace("lif ", "lyf "))
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "lif " in row)
    said = dmpc.fails("asm", path, "-o", files.folder / "b.elf")
    assert said.startswith(f"{path}:{line}:")
    assert not (files.folder / "b.elf").exists()


def test_missing_assembly(dmpc, tmp_path):
    assert dmpc.fails("asm", tmp_path / "a.s").startswith(f"{tmp_path / 'a.s'}: ")


# -- samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "verify", "compile"])
def test_samples_of_the_wrong_width_name_their_file(dmpc, files, verb):
    np.savez(files.data, x=np.zeros((2, 3, INPUTS + 1)))
    arguments = {
        "run": ("run", files.image, "--input"),
        "verify": ("verify", files.model, files.image, "--input"),
        "compile": ("compile", files.model, "--calibration"),
    }[verb]
    said = dmpc.fails(*arguments, files.data)
    assert said.startswith(f"{files.data}: ")
    assert str(INPUTS + 1) in said
    assert str(INPUTS) in said.replace(str(INPUTS + 1), "")


def test_graded_samples_for_an_event_image_name_their_file(dmpc, files):
    np.savez(files.data, x=np.full((2, 3, INPUTS), 0.5))
    said = dmpc.fails("run", files.image, "--input", files.data)
    assert said.startswith(f"{files.data}: x holds 0.5")


@pytest.mark.parametrize("verb", ["run", "verify", "compile", "inspect"])
def test_samples_that_are_missing(dmpc, files, verb):
    files.data.unlink()
    arguments = {
        "run": ("run", files.image, "--input"),
        "verify": ("verify", files.model, files.image, "--input"),
        "compile": ("compile", files.model, "--calibration"),
        "inspect": ("inspect", files.image, "--input"),
    }[verb]
    said = dmpc.fails(*arguments, files.data)
    assert said == f"{files.data}: cannot read samples: No such file or directory"


@pytest.mark.parametrize(
    "options", [("--sample", 99), ("--timestep", 99)], ids=["sample", "timestep"]
)
def test_a_sample_or_timestep_that_does_not_exist(dmpc, shared, options):
    said = dmpc.fails("inspect", shared.image, "--input", shared.data, "--schedule", *options)
    assert "99" in said


def test_an_image_holds_no_earlier_level(dmpc, shared):
    said = dmpc.fails("inspect", shared.image, "--level", "integer")
    assert said.startswith(f"{shared.image}: the image holds its graph at level scheduled alone")


def test_an_input_range_that_is_none(dmpc, shared, output):
    said = dmpc.fails("compile", shared.model, "-o", output, "--input-range", 1, 1)
    assert "input range 1.0 .. 1.0 is empty" in said


# -- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compile", "a.onnx", "--print-after", "fuze"), "no pass 'fuze'"),
        (("compile", "a.onnx", "--state", "u"), "'u' is not IN=OUT"),
        (("compile", "a.onnx", "--readout", "median"), "'median' is not one of"),
        (("compile",), "compile: missing argument 'MODEL'"),
        (("run", "a.elf"), "run: missing option '--input'"),
        (("run", "a.elf", "--input", "a.npz", "--limit", "0"), "not in the range"),
        (("inspect", "a.elf", "--level", "top"), "'top' is not one of"),
        (("inspect", "a.elf", "--sample", "-1"), "not in the range"),
        (("rnu",), "no verb 'rnu'"),
        (("run", "--colour"), "run: no such option"),
    ],
)
def test_usage_errors(dmpc, arguments, message):
    said = dmpc.misused(*arguments)
    assert said.startswith("dmpc: error: ")
    assert said.count("\n") == 1
    assert message in said


def test_a_misspelt_verb_or_pass_is_told_the_nearest(dmpc):
    assert "did you mean run?" in dmpc.misused("rnu")
    assert "did you mean fuse?" in dmpc.misused("compile", "a.onnx", "--print-after", "fuze")


@pytest.mark.parametrize("verb", ["run", "verify", "quantize"])
def test_labels_of_no_class_name_their_file(dmpc, files, tmp_path, verb):
    data = tmp_path / "wrong.npz"
    samples = np.load(files.data)
    np.savez(data, x=samples["x"], y=np.full(len(samples["x"]), 4))
    said = dmpc.fails(
        *{
            "run": ("run", files.image, "--input", data),
            "verify": ("verify", files.model, files.image, "--input", data),
            "quantize": ("quantize", files.model, "--calibration", data),
        }[verb]
    )
    assert said.startswith(f"{data}: ")
    assert "4" in said
    assert "is no class; the network has 4, numbered from 0" in said
