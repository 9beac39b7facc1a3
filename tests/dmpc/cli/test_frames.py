"""Modules of torch that take frames, as the command line gives them: with the axes of the data."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
SHAPE, SAMPLES, STEPS = (2, 6, 5), 6, 7

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.fc = nn.Conv2d(2, 4, 3), nn.Linear(48, 5)
        self.conv.weight.data.mul_(3.0)

    def forward(self, x):  # [timesteps, samples, 2, 6, 5]
        u, out = 0.0, []
        for frame in x:
            u = 0.8 * u + self.conv(frame)
            spikes = (u >= 0.5).float()
            u = u * (1 - spikes)
            out.append(self.fc(spikes.flatten(1)))
        return torch.stack(out).mean(0)
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A package of a module that takes frames, and the same samples as frames and flat."""
    (tmp_path / "frames_net.py").write_text(NET)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "frames_net", raising=False)
    x = np.random.default_rng(0).random((SAMPLES, STEPS, *SHAPE)) < 0.4
    np.savez(tmp_path / "frames.npz", x=x)
    np.savez(tmp_path / "flat.npz", x=x.reshape(SAMPLES, STEPS, -1))
    return tmp_path


MODEL = ("frames_net:Net", "--time-first")
SAID = ("--frame", "2x6x5")


@pytest.mark.parametrize(("data", "said"), [("frames.npz", ()), ("flat.npz", SAID)])
def test_a_module_takes_frames(dmpc, files, data, said):
    image, x = files / "a.elf", files / data
    dmpc.ok("compile", *MODEL, *said, "--calibration", x, "-o", image)
    shown = dmpc.ok("verify", *MODEL, image, *said, "--input", x, "--max-drop", 100)
    assert shown.count("ok  ") == 4
    dmpc.ok("export", *MODEL, *said, "--example-input", x, "-o", files / "a.onnx")
    dmpc.ok("verify", files / "a.onnx", image, "--input", files / "frames.npz", "--max-drop", 100)


def test_a_module_that_takes_frames_says_so(dmpc, files):
    flat = files / "flat.npz"
    said = dmpc.fails("compile", *MODEL, "--calibration", flat, "-o", files / "a.elf")
    assert "forward fails on an input" in said
    assert "or in frames (--frame 2x34x34)" in said
    said = dmpc.fails(
        "compile", *MODEL, "--frame", "2x6x6", "--calibration", flat, "-o", files / "a.elf"
    )
    assert said == f"{flat}: a frame of 2x6x6 is 72 inputs, samples have 60"


@pytest.mark.parametrize("frame", ["", "0x3", "2x", "x2", "-1", "2X3", "9" * 5000, "\u0662"])
def test_what_is_no_frame(dmpc, frame):
    said = dmpc.misused("compile", "net.py:make", "--frame", frame)
    assert "is not like 2x34x34" in said
    assert len(said) < 500
