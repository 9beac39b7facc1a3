"""The command as a process of its own: signals, broken standard streams, the last boundary."""

import os
import signal
import subprocess
import sys

import pytest

RUN = "from dmpc.__main__ import run; run()"


def process(program, *arguments, stdout=subprocess.PIPE, **environment):
    """The command, run by a program that may arrange something before."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment},
    )


def one_line(found, status):
    said = found.stderr.decode()
    assert found.returncode == status, said
    assert said.startswith("dmpc: error: ")
    assert said.count("\n") == 1
    return said.removeprefix("dmpc: error: ").rstrip()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_an_error(shared, unbuffered):
    with open("/dev/full", "wb") as full:
        found = process(RUN, "disasm", shared.image, stdout=full, PYTHONUNBUFFERED=unbuffered)
    assert one_line(found, 1) == "standard output: cannot write: No space left on device"


def test_a_full_disk_cuts_nothing_in_silence(shared):
    """A write that takes a part only, as the last one before a disk is full, is not the end."""
    part = "import os; w = os.write; os.write = lambda fd, data: w(fd, bytes(data)[:1000]); "
    found = process(part + RUN, "disasm", shared.image, PYTHONUNBUFFERED="1")
    assert found.returncode == 0
    assert found.stdout == process(RUN, "disasm", shared.image).stdout
    assert len(found.stdout) > 2000


def test_a_reader_that_has_seen_enough_ends_the_command(shared):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        found = process(RUN, "inspect", shared.image, stdout=closed)
    assert (found.returncode, found.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_closed_standard_output_takes_no_other_file(shared, tmp_path):
    image = tmp_path / "a.elf"
    program = "import os, sys; os.close(1); sys.stdout = None; " + RUN
    found = process(program, "compile", shared.model, "-o", image)
    assert one_line(found, 1) == "standard output: cannot write: it is closed"
    assert image.read_bytes().startswith(b"\x7fELF")


def test_an_interrupt_while_libraries_load_is_silent():
    program = f"""
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "numpy":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
{RUN}
"""
    found = process(program, "run", "--help")
    assert (found.returncode, found.stdout, found.stderr) == (130, b"", b"")


@pytest.mark.parametrize(("signal", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_leaves_no_temporary_file(shared, tmp_path, signal, status):
    program = f"""
import os, signal
def replace(source, target):
    assert os.path.exists(source)
    os.kill(os.getpid(), signal.{signal})
os.replace = replace
{RUN}
"""
    found = process(program, "disasm", shared.image, "-o", tmp_path / "a.s")
    assert (found.returncode, found.stdout, found.stderr) == (status, b"", b"")
    assert not list(tmp_path.iterdir())


def test_a_mistake_of_the_project_is_said_in_one_line(shared):
    broken = f"""
import dmpc.cli.assembly_verbs as verbs
verbs.disassemble = lambda image, data: {{}}[3]
{RUN}
"""
    said = one_line(process(broken, "disasm", shared.image), 70)
    assert said.startswith(f"disasm: {shared.image}: KeyError: 3 (")
    assert "mistake in dmpc" in said
    assert "DMPC_DEBUG=1" in said
    debugged = process(broken, "disasm", shared.image, DMPC_DEBUG="1")
    assert debugged.returncode == 70
    assert b"Traceback" in debugged.stderr


def test_any_terminal_can_show_any_name(shared, tmp_path):
    model = tmp_path / "netz_größe.onnx"
    model.write_bytes(shared.model.read_bytes())
    found = process(RUN, "compile", model, PYTHONIOENCODING="ascii")
    assert found.returncode == 0, found.stderr
    assert rb"netz_gr\xf6\xdfe" in found.stdout
    assert model.with_suffix(".elf").exists()
