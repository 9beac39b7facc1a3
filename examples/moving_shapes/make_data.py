"""Make the moving-shapes data set: what an event camera of few pixels sees of shapes that move.

    python examples/moving_shapes/make_data.py                # 2 x 16 x 16; --size 32 makes larger

writes `train.npz` and `test.npz` beside this script, each with `x` [samples, 60, 2 * size * size]
(bool: an event of a polarity, line and column) and `y` [samples] (int64: which of ten ways a shape
moves). The same NumPy gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
HERE = Path(__file__).resolve().parent
STEPS = 60
TRAIN_PER_CLASS, TEST_PER_CLASS = 80, 40
CONTRAST = 0.25  # change of brightness that makes an event
NOISE = 0.005  # events of a pixel and timestep that nothing caused

TURN = 2 * np.pi
STILL = np.zeros(STEPS)


def swept(turns: Real) -> Real:
    """From -1 to 1, and at once from -1 again."""
    across: Real = 2 * (turns % 1) - 1
    return across


MOTIONS: dict[str, Callable[[Real], tuple[Real, Real, Real]]] = {
    "to the right": lambda k: (swept(k), STILL, STILL),
    "to the left": lambda k: (-swept(k), STILL, STILL),
    "downwards": lambda k: (STILL, swept(k), STILL),
    "upwards": lambda k: (STILL, -swept(k), STILL),
    "from side to side": lambda k: (np.sin(TURN * k), STILL, STILL),
    "up and down": lambda k: (STILL, np.sin(TURN * k), STILL),
    "clockwise": lambda k: (np.cos(TURN * k), np.sin(TURN * k), STILL),
    "counter-clockwise": lambda k: (np.cos(TURN * k), -np.sin(TURN * k), STILL),
    "growing": lambda k: (STILL, STILL, swept(k)),
    "shrinking": lambda k: (STILL, STILL, -swept(k)),
}
"""By class: where a shape is, to the right and down, and how it grows, after so many turns."""

SHAPES: tuple[Callable[[Real, Real], Real], ...] = (
    np.hypot,  # a disk
    lambda x, y: np.maximum(abs(x), abs(y)),  # a square
    lambda x, y: 0.75 * (abs(x) + abs(y)),  # a rhomb
)
"""How far a place is from a shape's middle."""


def brightness(motion: int, size: int, draw: np.random.Generator) -> Real:
    """A shape that moves, [timesteps + 1, size, size] between 0 and 1."""
    period, phase = draw.uniform(16, 48), draw.random()
    right, down, growth = MOTIONS[list(MOTIONS)[motion]](np.arange(STEPS) / period + phase)
    reach = draw.uniform(0.2, 0.32) * size
    middle = size / 2 + draw.uniform(-0.08, 0.08, 2) * size
    radius = draw.uniform(0.08, 0.2) * size * (1 + 0.7 * growth)
    places = np.arange(size) + 0.5
    x = places[None, None, :] - (middle[0] + reach * right)[:, None, None]
    y = places[None, :, None] - (middle[1] + reach * down)[:, None, None]
    kind = SHAPES[draw.integers(len(SHAPES))]
    distance = kind(x, y) - radius[:, None, None]
    bright: Real = np.clip(0.5 - distance, 0, 1)
    return np.concatenate([bright[:1], bright])


def events(bright: Real, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Events [timesteps, 2, size, size] of pixels that became brighter, and darker."""
    seen, found = bright[0], np.zeros((STEPS, 2, *bright.shape[1:]), np.bool_)
    for k, now in enumerate(bright[1:]):
        found[k] = now - seen >= CONTRAST, seen - now >= CONTRAST
        seen = np.where(found[k].any(axis=0), now, seen)
    return found | (draw.random(found.shape) < NOISE)


def made(per_class: int, size: int, draw: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    """A data set with as many samples of every class, shuffled."""
    y = draw.permutation(np.repeat(np.arange(len(MOTIONS)), per_class))
    x = [events(brightness(motion, size, draw), draw).reshape(STEPS, -1) for motion in y]
    return {"x": np.stack(x), "y": y.astype(np.int64)}


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE)
@click.option("--size", type=click.IntRange(8), default=16, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(out: Path, size: int, seed: int) -> None:
    """Write train and test sets."""
    draw = np.random.default_rng(seed)
    for name, per_class in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
        data = made(per_class, size, draw)
        np.savez_compressed(out / f"{name}.npz", **data)
        density = data["x"].mean(dtype=float)
        click.echo(f"{name}: {len(data['y'])} samples, {density:.2%} of x are events")


if __name__ == "__main__":
    main()
