"""A program written by hand, the reference page's own: assembled, run, looked at, taken apart."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[3] / "docs" / "isa.md"
WEIGHT, THRESHOLD = 40, 100


@pytest.fixture
def written(tmp_path, monkeypatch, dmpc):
    """The page's program and its image, and samples for it, in the folder where commands run."""
    monkeypatch.chdir(tmp_path)
    (text,) = re.findall(r"^```asm\n(\.target.*?)^```$", PAGE.read_text("utf-8"), re.S | re.M)
    Path("hand.s").write_text(text)
    x = np.random.default_rng(0).random((6, 20, 4)) < np.array([0.3, 0.9, 0.4, 0.6])
    np.savez("x.npz", x=x)
    dmpc.ok("asm", "hand.s")
    return x


def logits(x):
    """What the program computes, in plain Python: counts of spikes of two neurons a class."""
    found = []
    for sample in x:
        membranes, counts = [0] * 4, [0] * 4
        for step in sample:
            for i in range(4):
                membranes[i] += WEIGHT * int(step[i])
                if membranes[i] >= THRESHOLD:
                    membranes[i], counts[i] = 0, counts[i] + 1
        found.append([counts[0] + counts[1], counts[2] + counts[3]])
    return found


def test_it_runs(written, dmpc):
    dmpc.ok("run", "hand.elf", "--input", "x.npz", "--json", "run.json", "--trace", "a.vcd")
    samples = json.loads(Path("run.json").read_text())["samples"]
    assert [sample["logits"] for sample in samples] == logits(written)
    assert Path("a.vcd").stat().st_size > 100


def test_it_goes_to_text_and_back(written, dmpc):
    del written
    dmpc.ok("disasm", "hand.elf", "-o", "again.s")
    dmpc.ok("asm", "again.s", "-o", "again.elf")
    assert Path("again.elf").read_bytes() == Path("hand.elf").read_bytes()


def test_it_can_be_looked_at(written, dmpc):
    del written
    shown = dmpc.ok("inspect", "hand.elf", "--memory", "--schedule", "--input", "x.npz")
    assert re.search(r"^  neuron +step +7 .* lif dest=e1,", shown, re.M)
    assert "input: 4 events" in dmpc.ok("inspect", "hand.elf")
    for option in (("--ranges",), ("--level", "scheduled")):
        assert dmpc.fails("inspect", "hand.elf", *option).startswith(
            "hand.elf: the image carries no graph (it was assembled by hand; compile the model"
        )


def test_what_is_missing_is_said(written, dmpc):
    del written
    text = Path("hand.s").read_text()
    Path("bare.s").write_text(re.sub(r"\.io.*?(?=\.text)", "", text, flags=re.S))
    dmpc.ok("asm", "bare.s")
    assert "memory map" in dmpc.ok("inspect", "bare.elf", "--memory")
    for verb in (("run", "bare.elf", "--input", "x.npz"), ("inspect", "bare.elf", "--schedule")):
        said = dmpc.fails(*verb)
        assert said.startswith("bare.elf: the image has no .dmpc.io, which says how it is fed")


def test_a_trap_names_the_image(written, dmpc):
    del written
    lines = Path("hand.s").read_text().splitlines()
    text = "\n".join(line for line in lines if "clear.value" not in line)
    Path("trap.s").write_text(text)
    dmpc.ok("asm", "trap.s")
    said = dmpc.fails("run", "trap.elf", "--input", "x.npz")
    assert said.startswith("trap.elf: trap at pc 7, cycle ")
    assert said.endswith("v0 was read before it was written in this sample")


def test_too_long_a_program_names_its_model(written, dmpc, shared):
    """Where the program memory is too small for a model, it is the model that is named."""
    del written
    paper = (Path(__file__).parents[3] / "isa" / "targets" / "paper.toml").read_text()
    Path("small.toml").write_text(re.sub(r"program = \d+", "program = 5", paper))
    said = dmpc.fails("compile", shared.model, "--target", "small.toml", "-o", "a.elf")
    assert said.startswith(f"{shared.model}: ")
    assert "the program memory of target paper has 5 words" in said
