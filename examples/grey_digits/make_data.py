"""Make the grey-digits data sets from scikit-learn's 8x8 handwritten digits.

    python examples/grey_digits/make_data.py

writes, beside this script, `train.npz` and `test.npz` (the pixels in order) and
`train_permuted.npz` and `test_permuted.npz` (in one fixed random order), each with `x`
[samples, 64, 1] (float32, pixel / 16: one grey value per timestep) and `y` [samples] (int64).
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
TEST_SAMPLES = 500


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE)
@click.option("--seed", default=0, show_default=True, help="of the split and the permutation")
def main(out: Path, seed: int) -> None:
    """Write train and test sets, in order and permuted."""
    images, labels = load_digits(return_X_y=True)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SAMPLES, stratify=labels, random_state=seed
    )
    x = (images / 16.0).astype(np.float32)[:, :, None]
    y = labels.astype(np.int64)
    permutation = np.random.default_rng(seed).permutation(x.shape[1])
    for suffix, order in (("", slice(None)), ("_permuted", permutation)):
        for name, chosen in (("train", train), ("test", test)):
            np.savez_compressed(out / f"{name}{suffix}.npz", x=x[chosen][:, order], y=y[chosen])
    click.echo(f"{len(train)} images to train on, {len(test)} to test on")


if __name__ == "__main__":
    main()
