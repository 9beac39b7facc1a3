"""A `.pt2` file is data: whatever stands in it, reading it runs nothing of it."""

import sys
import zipfile
from contextlib import suppress

import pytest
import torch
from click.testing import CliRunner

from dmpc.cli import main
from dmpc.errors import ImportFailure
from dmpc.frontend import open_model
from dmpc.frontend.torch_program.archive import read_program
from dmpc.frontend.torch_program.program import as_module, load
from dmpc.frontend.torch_program.results import results_of
from dmpc.frontend.torch_program.vetting import expression, operation, structure
from dmpc.frontend.torch_program.weights import load_weights
from tests.dmpc.frontend.torch_program import hostile


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.pt2"
    hostile.program(path)
    return path


def changed(sound, folder, edit):
    """A file with one part changed, and what its payload would create."""
    content, marker, path = hostile.parts(sound), folder / "marker", folder / "net.pt2"
    edit(content, str(marker))
    hostile.write(path, content)
    return path, marker


def test_a_sound_program_means_what_torch_says(sound):
    x = torch.rand(2, hostile.T, hostile.M)
    expected = torch.export.load(sound).module()(x)
    assert torch.equal(as_module(load(sound))(x), expected)
    assert torch.equal(as_module(load(sound, trust=True))(x), expected)


@pytest.mark.parametrize(("edit", "message"), hostile.REFUSED.values(), ids=hostile.REFUSED)
def test_what_could_run_is_refused_by_the_name_of_its_part(edit, message, sound, tmp_path):
    path, marker = changed(sound, tmp_path, edit)
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(ImportFailure) as info:
            load(path)
    finally:
        sys.path.remove(str(tmp_path))
    assert message in str(info.value)
    assert str(info.value).startswith(str(path))
    assert "\n" not in str(info.value)
    assert not marker.exists()


@pytest.mark.parametrize("edit", hostile.IGNORED.values(), ids=hostile.IGNORED)
def test_what_is_not_needed_is_not_read(edit, sound, tmp_path):
    path, marker = changed(sound, tmp_path, edit)
    x = torch.rand(2, hostile.T, hostile.M)
    assert torch.equal(as_module(load(path))(x), as_module(load(sound))(x))
    assert not marker.exists()


def test_a_trusted_file_runs_what_it_holds(sound, tmp_path):
    """The payloads of these tests do run where nothing keeps them from it."""
    path, marker = changed(sound, tmp_path, hostile.IGNORED["sample inputs"])
    with suppress(ImportFailure):  # what the payload leaves is no sample
        load(path, trust=True)
    assert marker.exists()


def test_check_runs_nothing_and_says_how_to_trust(sound, tmp_path):
    edit, _ = hostile.REFUSED["pickled weight"]
    path, marker = changed(sound, tmp_path, edit)
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 1
    assert "code-in-program" in result.output
    assert "--trust" in result.output
    assert not marker.exists()


def test_trust_is_an_option_of_every_verb_that_reads_models():
    for verb in ("compile", "check", "verify", "quantize", "inspect", "export"):
        assert "--trust" in CliRunner().invoke(main, [verb, "--help"]).output


def test_trust_is_not_ignored_where_nothing_can_be_trusted(tmp_path):
    with pytest.raises(ImportFailure, match=r"--trust is for \.pt2 files and for --weights"):
        open_model(tmp_path / "net.onnx", trust=True)


def test_weights_that_are_code_run_only_if_trusted(tmp_path):
    path, marker = tmp_path / "w.pt", tmp_path / "marker"
    torch.save({"net": torch.nn.Linear(3, 2), "run": hostile.Runs(str(marker))}, path)
    module = torch.nn.Linear(3, 2)
    with pytest.raises(ImportFailure, match=r"it holds a pickled [\w.]+ \(save .* --trust"):
        load_weights(module, path)
    assert not marker.exists()
    load_weights(module, path, trust=True)
    assert marker.exists()


def test_directories_that_are_damaged_are_one_line(sound, tmp_path):
    """Names, versions, sizes and flags of the last parts: zipfile has an exception for each."""
    path, whole = tmp_path / "net.pt2", sound.read_bytes()
    last = whole.rindex(b"PK\x01\x02")
    for at in range(last, min(last + 60, len(whole))):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xC0]) + whole[at + 1 :])
        with suppress(ImportFailure):
            read_program(str(path))


def test_files_that_are_damaged_are_one_line(sound, tmp_path):
    path, whole = tmp_path / "net.pt2", sound.read_bytes()
    content = hostile.parts(sound)
    weights = hostile.named(content, "data/weights/weight_0")
    config = hostile.named(content, "model_weights_config.json")
    model = hostile.named(content, "models/model.json")
    written = {
        "empty": b"",
        "no zip": b"PK\x03\x04 but no more",
        "cut": whole[: len(whole) // 2],
        **{f"end cut by {n}": whole[:-n] for n in (1, 30, 400)},
    }
    made = {
        "no model": {k: v for k, v in content.items() if k != model},
        "no weight": {k: v for k, v in content.items() if k != weights},
        "no list": {k: v for k, v in content.items() if k != config},
        "short weight": {**content, weights: content[weights][:-3]},
        "no json": {**content, model: b"{" * 50000},
        "a list": {**content, model: b"[]"},
        "no utf-8": {**content, model: b"\xff\xfe"},
        "empty model": {**content, model: b"{}"},
        "no parts": {},
    }
    for name, data in written.items():
        path.write_bytes(data)
        _one_line(path, name)
    for name, parts in made.items():
        hostile.write(path, parts)
        _one_line(path, name)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    _one_line(path, "compressed")


def _one_line(path, name):
    with pytest.raises(ImportFailure) as info:
        load(path)
    assert "\n" not in str(info.value), name
    assert len(str(info.value)) < 500, name


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("s0", True),
        ("2*s0 + 1", True),
        ("FloorDiv(Symbol('s77', positive=True, integer=True), Integer(2))", True),
        ("Mul(Integer(-1), Symbol('s27', positive=True, integer=True))", True),
        ("s0.args", False),
        ("9**9**9**9", False),
        ("Integer(99999999999999999999)", False),
        ("Symbol('s0', cls=eval)", False),
        ("Symbol('__import__')", False),
        ("eval('1')", False),
        ("lambda: 0", False),
        ("[].__class__", False),
        ("(" * 3000, False),
        ("s0\x00", False),
    ],
)
def test_an_expression_of_sizes_is_arithmetic_and_nothing_else(text, harmless):
    assert expression(text) is harmless


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("torch.ops.aten.einsum.default", True),
        ("torch.ops.aten.add.Tensor", True),
        ("_operator.getitem", True),
        ("torch.ops.aten.save.default", False),
        ("torch.ops.aten.from_file.default", False),
        ("torch.ops.higher_order.cond", False),
        ("torch.ops.load_library", False),
        ("torch.hub.load", False),
        ("_operator.attrgetter", False),
        ("_operator.methodcaller", False),
        ("torch.ops.aten.add.Tensor\n", False),
        ("math.__loader__.load_module", False),
    ],
)
def test_an_operation_is_one_on_tensors_or_sizes(name, harmless):
    assert operation(name) is harmless


def test_containers_that_torch_would_import_something_for_are_refused():
    leaf = '{"type": null, "context": null, "children_spec": []}'
    tree = '[1, {"type": "%s", "context": %s, "children_spec": [%s]}]'
    assert structure(tree % ("builtins.tuple", '"null"', leaf))
    assert structure(tree % ("builtins.dict", '"[\\"logits\\"]"', leaf))
    assert not structure(tree % ("builtins.dict", '"[\\"x=[1]\\"]"', leaf))
    assert not structure(tree % ("collections.defaultdict", '"null"', leaf))
    assert structure(tree % ("builtins.dict", '"[\\"x=[1]\\", 0]"', leaf), data=True)
    assert not structure(tree % ("builtins.dict", '"[\\"\\u001b[2J\\"]"', leaf), data=True)
    for imported in ('"\\"os.path\\""', '"{\\"fqn\\": 1}"', '"[{\\"__enum__\\": true}]"'):
        assert not structure(tree % ("builtins.tuple", imported, leaf), data=True)
    assert not structure("[1, 2")


class Odd(torch.nn.Module):
    """Names that are none of Python's, one of which looks like another; an input by keyword."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        names = ("layer-1", "layer_1", "class", "2nd out!", "\u03c0", 'a"]+b')
        self.parts = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.randn(hostile.M, hostile.M)) for name in names}
        )
        self.register_buffer("off set", torch.ones(hostile.M))

    def forward(self, *, x):
        for part in self.parts.values():
            x = x @ part + getattr(self, "off set")
        return {"my logits": x.mean(1), 0: x}


def test_names_are_the_users(tmp_path):
    """Tensors, arguments and results may be called anything; generated source calls them else."""
    path, x = tmp_path / "odd.pt2", torch.rand(2, hostile.T, hostile.M)
    torch.export.save(torch.export.export(Odd().eval(), (), {"x": x}), path)
    program = load(path)
    assert len(program.state_dict) == 7
    assert all(part.isidentifier() for name in program.state_dict for part in name.split("."))
    found, expected = as_module(program)(x), Odd()(x=x)
    assert torch.equal(found["my logits"], expected["my logits"])
    assert [one.name for one in results_of(program)] == ["my logits", "0"]
