"""Train the grey-digits networks, pixels in order and permuted, and export them.

    python examples/grey_digits/train.py

reads the `.npz` files beside this script and writes `model.onnx` and `model_permuted.onnx`. Same
seed, machine and torch: same bytes.
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
EPOCHS = 50


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Grey values [samples, time, 1] and labels [samples] of an .npz file."""
    with np.load(path) as arrays:
        return torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])


def vary(x: Tensor) -> Tensor:
    """The images `x` [batch, 64, 1] with a little noise, still between 0 and 1."""
    return (x + 0.05 * torch.randn_like(x)).clamp(0, 1)


def train(suffix: str, out: Path, epochs: int) -> None:
    """Train, measure and export the network of one pixel order."""
    network = DMPNetwork(1, [200, 200], 10, memory=16, window=64, dropout=0.1)
    x, y = load(HERE / f"train{suffix}.npz")
    training = fit(
        network,
        x,
        y,
        epochs=epochs,
        batch=16,
        learning_rate=2e-2,
        spike_penalty=0.05,
        augment=vary,
        initial_rate=None,  # from the weights that torch draws, as they are
    )
    for epoch, loss in enumerate(training, start=1):
        if sys.stderr.isatty():
            click.echo(f"\repoch {epoch} of {epochs}, loss {loss:.3f} ", nl=False, err=True)
    export_onnx(network, out / f"model{suffix}.onnx")
    x, y = load(HERE / f"test{suffix}.npz")
    accuracy, densities = measure(network, x, y)
    click.echo(
        f"model{suffix}.onnx: accuracy {accuracy:.2%} on test{suffix}.npz, "
        f"{parameter_count(network)} parameters"
    )
    for i, (density, span) in enumerate(zip(densities, state_ranges(network, x), strict=True)):
        click.echo(f"layer {i}: spike density {density:.1%}, {span}")


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE)
@click.option("--epochs", default=EPOCHS, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(out: Path, epochs: int, seed: int) -> None:
    """Train and export model.onnx (pixels in order) and model_permuted.onnx."""
    torch.set_num_threads(1)  # with more, sums round in another order: other bytes
    torch.set_flush_denormal(True)
    for suffix in ("", "_permuted"):
        torch.manual_seed(seed)
        train(suffix, out, epochs)


if __name__ == "__main__":
    main()
