"""Train the moving-shapes network, two convolutions and a DMP layer, and export it.

    python examples/moving_shapes/train.py

reads `train.npz` and `test.npz` beside this script (`--data` names another folder) and writes
`model.onnx`. Same seed, machine and torch: same bytes.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from dmpc.nn import DMPNetwork, export_onnx, fit, measure, parameter_count, state_ranges

HERE = Path(__file__).resolve().parent
EPOCHS, HIDDEN = 8, 64


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Events [samples, time, 2, lines, columns] and labels [samples] of an .npz file."""
    with np.load(path) as arrays:
        x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    size = math.isqrt(x.shape[2] // 2)
    return x.reshape(*x.shape[:2], 2, size, size), y


@click.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=HERE)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE)
@click.option("--epochs", default=EPOCHS, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(data: Path, out: Path, epochs: int, seed: int) -> None:
    """Train on train.npz, measure on test.npz, export model.onnx."""
    torch.set_num_threads(1)  # with more, sums round in another order: other bytes
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    x, y = load(data / "train.npz")
    network = DMPNetwork(
        x.shape[2:],
        [HIDDEN],
        10,
        memory=8,
        window=40,
        dilation=5,
        dropout=0.1,
        front=[nn.Conv2d(2, 8, 5, stride=2, padding=2), nn.Conv2d(8, 16, 3, stride=2, padding=1)],
    )
    training = fit(network, x, y, epochs=epochs, batch=32, learning_rate=1e-2, spike_penalty=0.3)
    for epoch, loss in enumerate(training, start=1):
        if sys.stderr.isatty():
            click.echo(f"\repoch {epoch} of {epochs}, loss {loss:.3f} ", nl=False, err=True)
    x, y = load(data / "test.npz")
    accuracy, densities = measure(network, x, y)
    export_onnx(network, out / "model.onnx")
    click.echo(f"accuracy {accuracy:.2%} on test.npz, {parameter_count(network)} parameters")
    for i, (density, span) in enumerate(zip(densities, state_ranges(network, x), strict=True)):
        click.echo(f"layer {i}: spike density {density:.1%}, {span}")


if __name__ == "__main__":
    main()
