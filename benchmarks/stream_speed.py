"""Speed of streams: timesteps a second of the spoken digits, fed in chunks, beside whole samples.

    OMP_NUM_THREADS=1 python -m benchmarks.stream_speed

Each chunk is answered: logits, cycles and spikes so far. `push` takes timesteps one by one and is
asked once, at the end. The machine decides the figures; quote ratios from one run.
"""

import time
from collections.abc import Callable

import click
import numpy as np

import dmpc
from benchmarks.network_cycles import EXAMPLE
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from isa.interface import Numbers
from runtime import Program, Stream
from runtime.samples import load_samples

CHUNKS = (100, 50, 20, 10, 5, 1)
TARGETS = ("paper", "pooled")
SAMPLES, RUNS = 20, 15


@click.command()
def main() -> None:
    """Time the same samples as runs of one sample each, and as streams."""
    x, calibration = (load_samples(EXAMPLE / f"{part}.npz").x for part in ("test", "train"))
    chunks = (f"chunks of {size}" for size in CHUNKS)
    made = table("timesteps a second, one sample at a time", "target", "run", *chunks, "push")
    for target in TARGETS:
        options = dmpc.Options(target=target)
        image = dmpc.compile(EXAMPLE / "model.onnx", calibration=calibration, options=options).image
        program = Program(image, target)
        speeds = [_speed(lambda s, p=program: p.run(s[None], threads=1), x)]
        with program.stream() as stream:
            speeds += [_speed(lambda s, n=size: _feed(stream, s, n), x) for size in CHUNKS]
            speeds.append(_speed(lambda s: _push(stream, s), x))
        made.add_row(target, *(f"{s:,.0f} ({s / speeds[0]:.2f})" for s in speeds))
    Output().print(made)


def _feed(stream: Stream, sample: Numbers, size: int) -> None:
    stream.reset()
    for at in range(0, len(sample), size):
        stream.feed(sample[at : at + size])


def _push(stream: Stream, sample: Numbers) -> None:
    stream.reset()
    for timestep in sample:
        stream.push(timestep)
    stream.answer()


def _speed(take: Callable[[Numbers], object], x: np.ndarray) -> float:
    """The best of some runs of each sample, so that another process does not count."""
    seconds = 0.0
    for sample in x[:SAMPLES]:
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            take(sample)
            times.append(time.perf_counter() - start)
        seconds += min(times)
    return SAMPLES * x.shape[1] / seconds


if __name__ == "__main__":
    main()
