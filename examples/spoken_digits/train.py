"""Train the spoken-digits network and export it.

    python examples/spoken_digits/train.py

reads `train.npz` and `test.npz` beside this script and writes `model.onnx` (a whole sequence, as
a Scan) and `model_step.onnx` (one timestep, states outside). `--hidden 256` writes `model_256.onnx`
alone, to measure what a wider network costs. Same seed, machine and torch: same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from dmpc.nn import DMPNetwork, export_onnx, fit, measure, parameter_count, state_ranges

HERE = Path(__file__).resolve().parent
EPOCHS, HIDDEN = 36, 128


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Events [samples, time, inputs] and labels [samples] of an .npz file."""
    with np.load(path) as arrays:
        return torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])


def vary(x: Tensor) -> Tensor:
    """Another hearing of the words `x` [batch, time, bands]: slower, later, higher, gappy.

    Each word is stretched by up to 10 % in time and in bands, moved by up to 4 timesteps and 4
    bands (a longer or shorter vocal tract), and loses one event in seven.
    """
    batch, steps, bands = x.shape
    step, band = _resample(steps, batch)[:, :, None], _resample(bands, batch)[:, None]
    inside = (step >= 0) & (step < steps) & (band >= 0) & (band < bands)
    sample = torch.arange(batch)[:, None, None]
    moved = x[sample, step.clamp(0, steps - 1), band.clamp(0, bands - 1)] * inside
    return moved * (torch.rand_like(moved) >= 1 / 7)


def _resample(size: int, batch: int) -> Tensor:
    """Where each place of an axis of `size` takes its event from: [batch, size] indices."""
    stretch = 1 + 0.1 * (2 * torch.rand(batch, 1) - 1)
    return (torch.arange(size) * stretch + torch.randint(-4, 5, (batch, 1))).round().long()


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE)
@click.option("--epochs", default=EPOCHS, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--hidden", default=HIDDEN, show_default=True, help="Neurons of each layer.")
def main(out: Path, epochs: int, seed: int, hidden: int) -> None:
    """Train on train.npz, measure on test.npz, export model.onnx and model_step.onnx."""
    torch.set_num_threads(1)  # with more, sums round in another order: other bytes
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    network = DMPNetwork(140, [hidden, hidden], 20, memory=10, window=40, dropout=0.3)
    training = fit(
        network,
        *load(HERE / "train.npz"),
        epochs=epochs,
        batch=64,
        learning_rate=2e-2,
        spike_penalty=0.05,
        augment=vary,
        initial_rate=None,  # from the weights that torch draws, as they are
    )
    for epoch, loss in enumerate(training, start=1):
        if sys.stderr.isatty():
            click.echo(f"\repoch {epoch} of {epochs}, loss {loss:.3f} ", nl=False, err=True)
    x, y = load(HERE / "test.npz")
    accuracy, densities = measure(network, x, y)
    if hidden == HIDDEN:
        export_onnx(network, out / "model.onnx", form="scan")
        export_onnx(network, out / "model_step.onnx", form="step")
    else:
        export_onnx(network, out / f"model_{hidden}.onnx", form="scan")
    click.echo(f"accuracy {accuracy:.2%} on test.npz, {parameter_count(network)} parameters")
    for i, (density, span) in enumerate(zip(densities, state_ranges(network, x), strict=True)):
        click.echo(f"layer {i}: spike density {density:.1%}, {span}")


if __name__ == "__main__":
    main()
