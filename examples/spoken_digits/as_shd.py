"""Writes samples of this example as the Spiking Heidelberg Digits lie on disk.

    python examples/spoken_digits/as_shd.py examples/spoken_digits/test.npz digits.h5

Each timestep becomes 10 ms and each input 5 of 700 channels, so that bins of 10 ms and 140 channels
give back what the file was made of.
"""

import argparse

import h5py
import numpy as np

import runtime

SECONDS, CHANNELS = 0.01, 5


def write(path: str, x: np.ndarray, y: np.ndarray) -> None:
    """Events `x` [samples, timesteps, inputs] as lists of times and units, and their labels."""
    with h5py.File(path, "w") as file:
        shape = (len(x),)
        times = file.create_dataset("spikes/times", shape, h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", shape, h5py.vlen_dtype(np.uint16))
        for number, sample in enumerate(x):
            step, channel = np.nonzero(sample)
            times[number] = ((step + 0.5) * SECONDS).astype(np.float16)
            units[number] = (channel * CHANNELS + number % CHANNELS).astype(np.uint16)
        file["labels"] = y.astype(np.uint16)


def main() -> None:
    """Read samples, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples")
    parser.add_argument("path")
    parser.add_argument("--limit", type=int, help="Write the first so many samples alone.")
    given = parser.parse_args()
    samples = runtime.load_samples(given.samples).first(given.limit)
    assert samples.y is not None
    write(given.path, samples.x, samples.y)


if __name__ == "__main__":
    main()
