"""Train the families that the paper compares, at about equal numbers of parameters.

    python examples/families/train.py            # all three; --family rsnn trains one

reads the spoken digits (`../spoken_digits/train.npz`, `test.npz`), trains by the recipe of that
example and writes `fsnn.onnx`, `rsnn.onnx` and `dsnn.onnx`. DMP is `../spoken_digits/model.onnx`.
Same seed, machine and torch: same bytes.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch

from dmpc.nn import DMPNetwork, export_onnx, fit, measure, parameter_count

HERE = Path(__file__).resolve().parent
SPOKEN = HERE.parent / "spoken_digits"
EPOCHS = 36
FAMILIES: Mapping[str, tuple[int, dict[str, Any]]] = {
    "fsnn": (135, {}),
    "rsnn": (92, {"recurrent": True}),
    "dsnn": (135, {"delays": 40}),
}
"""Neurons of each of the two layers, which makes about 40,226 parameters, and the memory."""


@click.command()
@click.option("--family", "chosen", type=click.Choice([*FAMILIES]), multiple=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE)
@click.option("--epochs", default=EPOCHS, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(chosen: tuple[str, ...], out: Path, epochs: int, seed: int) -> None:
    """Train on the spoken digits, measure on their test set, export."""
    torch.set_num_threads(1)  # with more, sums round in another order: other bytes
    torch.set_flush_denormal(True)
    recipe = runpy.run_path(str(SPOKEN / "train.py"))
    for family in chosen or FAMILIES:
        hidden, memory = FAMILIES[family]
        torch.manual_seed(seed)
        network = DMPNetwork(140, [hidden, hidden], 20, dropout=0.3, **memory)
        training = fit(
            network,
            *recipe["load"](SPOKEN / "train.npz"),
            epochs=epochs,
            batch=64,
            learning_rate=2e-2,
            spike_penalty=0.05,
            augment=recipe["vary"],
            initial_rate=None,
        )
        for epoch, loss in enumerate(training, start=1):
            if sys.stderr.isatty():
                click.echo(f"\r{family}: epoch {epoch}, loss {loss:.3f} ", nl=False, err=True)
        accuracy, densities = measure(network, *recipe["load"](SPOKEN / "test.npz"))
        export_onnx(network, out / f"{family}.onnx")
        shown = ", ".join(f"{density:.1%}" for density in densities)
        click.echo(
            f"{family}: accuracy {accuracy:.2%} on test.npz, {parameter_count(network)} "
            f"parameters, spike densities {shown}"
        )


if __name__ == "__main__":
    main()
