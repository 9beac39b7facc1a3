"""Files that verbs write: never what they read, never two into one, and standard output alone."""

import json
import os
import sys

import numpy as np
import onnx
import pytest

from dmpc.cli.files import write_json

COMMANDS = {
    "compile -o model": lambda f: ("compile", f.model, "-o", f.model),
    "compile -o calibration": lambda f: (
        "compile", f.model, "--calibration", f.data, "-o", f.data,
    ),
    "run --json samples": lambda f: ("run", f.image, "--input", f.data, "--json", f.data),
    "run --trace image": lambda f: ("run", f.image, "--input", f.data, "--trace", f.image),
    "check --json model": lambda f: ("check", f.model, "--json", f.model),
    "verify --json image": lambda f: (
        "verify", f.model, f.image, "--input", f.data, "--json", f.image,
    ),
    "quantize --save samples": lambda f: (
        "quantize", f.model, "--calibration", f.data, "--save", f.data,
    ),
    "inspect --json image": lambda f: ("inspect", f.image, "--ranges", "--json", f.image),
    "disasm -o image": lambda f: ("disasm", f.image, "-o", f.image),
    "asm -o source": lambda f: ("asm", f.image, "-o", f.image),
    "asm, whose source ends in .elf": lambda f: ("asm", f.image),
    "export -o model": lambda f: ("export", f.model, "-o", f.model),
    "targets --json": lambda f: ("targets", f.data, "--json", f.data),
    "reproduce --json": lambda f: ("reproduce", "--example", f.folder, "--json", f.data),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_an_input_is_never_written(dmpc, files, command):
    before = {path: path.read_bytes() for path in files.folder.iterdir()}
    said = dmpc.fails(*COMMANDS[command](files))
    assert "would overwrite what the command reads" in said
    assert {path: path.read_bytes() for path in files.folder.iterdir()} == before


@pytest.mark.parametrize("spelt", ["symlink", "hard link", "another way"])
def test_an_input_is_known_by_any_name(dmpc, files, spelt):
    other = files.folder / "other.elf"
    if spelt == "symlink":
        other.symlink_to(files.image)
    elif spelt == "hard link":
        other.hardlink_to(files.image)
    else:
        other = f"{files.folder}/./../{files.folder.name}/{files.image.name}"
    assert "would overwrite" in dmpc.fails("disasm", files.image, "-o", other)


def test_external_data_is_an_input(dmpc, files):
    (files.folder / "weights").mkdir()
    model = onnx.load(files.model)
    onnx.save(
        model, files.model, save_as_external_data=True, location="weights/all.bin", size_threshold=0
    )
    data = files.folder / "weights" / "all.bin"
    before = data.read_bytes()
    said = dmpc.fails("compile", files.model, "-o", data)
    assert said.startswith(f"{data}: -o would overwrite what the command reads (MODEL)")
    assert data.read_bytes() == before


def test_the_module_of_a_factory_is_an_input(dmpc, tmp_path, monkeypatch):
    source = tmp_path / "mynet.py"
    source.write_text("def make(): raise SystemExit\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert "would overwrite" in dmpc.fails("compile", "mynet:make", "-o", source)


def test_two_outputs_are_two_files(dmpc, shared, tmp_path):
    out = tmp_path / "out"
    arguments = ("run", shared.image, "--input", shared.data)
    said = dmpc.fails(*arguments, "--json", out, "--trace", f"{tmp_path}/./out")
    assert said == f"{tmp_path}/./out: --json and --trace would both write it"
    assert "would both write it" in dmpc.fails(*arguments, "--json", "-", "--trace", "-")
    assert not out.exists()


FOLDERS = {
    "compile": lambda f: ("compile", f.model, "-o"),
    "run --json": lambda f: ("run", f.image, "--input", f.data, "--json"),
    "run --trace": lambda f: ("run", f.image, "--input", f.data, "--trace"),
    "check": lambda f: ("check", f.model, "--json"),
    "verify": lambda f: ("verify", f.model, f.image, "--input", f.data, "--json"),
    "quantize --save": lambda f: ("quantize", f.model, "--calibration", f.data, "--save"),
    "quantize --plot": lambda f: ("quantize", f.model, "--calibration", f.data, "--plot"),
    "inspect": lambda f: ("inspect", f.image, "--ranges", "--json"),
    "disasm": lambda f: ("disasm", f.image, "-o"),
    "asm": lambda f: ("asm", f.image, "-o"),
    "export": lambda f: ("export", f.model, "-o"),
    "reproduce": lambda f: ("reproduce", "--example", f.folder, "--json"),
}


@pytest.mark.parametrize("command", FOLDERS)
@pytest.mark.parametrize("name", [".", "/", "", "a\0b", "\ud800"])
def test_a_folder_is_no_output(dmpc, shared, command, name):
    said = dmpc.fails(*FOLDERS[command](shared), name)
    assert "cannot write: " in said


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_folder_needs_a_name_that_files_can_have(dmpc, shared, name):
    assert "cannot write: " in dmpc.fails("export-memories", shared.image, "-o", name)


def test_standard_output_holds_what_is_written_there_alone(dmpc, files):
    image = files.folder / "again.elf"
    dmpc.ok("compile", files.model, "-o", image)
    result = dmpc("compile", files.model, "-o", "-")
    assert result.stdout_bytes == image.read_bytes()
    for arguments in (
        ("run", files.image, "--input", files.data, "--json", "-"),
        ("quantize", files.model, "--calibration", files.data, "--report", "--json", "-"),
        ("inspect", files.image, "--ranges", "--schedule", "--json", "-"),
    ):
        json.loads(dmpc.ok(*arguments))
    text = dmpc.ok("disasm", files.image)
    (files.folder / "a.s").write_text(text)
    assert dmpc("asm", files.folder / "a.s", "-o", "-").stdout_bytes == files.image.read_bytes()


def test_what_a_users_module_prints_is_no_output(dmpc, tmp_path, monkeypatch):
    (tmp_path / "loud.py").write_text("print('loading')\ndef make(): return 3\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 2, 3)))
    result = dmpc("check", "loud:make", "--calibration", tmp_path / "x.npz", "--json", "-")
    assert json.loads(result.stdout)["errors"] == 1
    assert "loading" in result.stderr


def test_a_module_that_ends_the_process_is_an_error(dmpc, tmp_path, monkeypatch):
    (tmp_path / "ends.py").write_text("import sys\nsys.exit()\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 2, 3)))
    said = dmpc.fails("compile", "ends:make", "--calibration", tmp_path / "x.npz")
    assert said == "ends:make: the model's own code ended the process (sys.exit)"


def test_json_holds_numbers_that_json_knows(tmp_path):
    write_json(str(tmp_path / "a.json"), {"a": [float("nan"), 1.5, (float("inf"),)]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 1.5, [None]]}


def test_devices_may_be_written_twice(dmpc, shared):
    null = os.devnull
    dmpc.ok("run", shared.image, "--input", shared.data, "--json", null, "--trace", null)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compile", "a.onnx", "--target", "a", "--target", "b"), "--target is given 2 times"),
        (("check", "a.onnx", "--json", "a", "--json", "b"), "--json is given 2 times"),
        (("compile", "a.onnx", "--input-range", 0, 1, "--input-range", 0, 1), "given 2 times"),
        (("compile", "a.onnx", "--state", "a=b", "--state", "a=c"), "'a' is given twice"),
    ],
)
def test_an_option_of_one_value_is_given_once(dmpc, arguments, said):
    assert said in dmpc.misused(*arguments)
