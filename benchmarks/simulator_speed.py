"""Speed of the engines: timesteps a second on the spoken-digits network, beside onnxruntime.

    OMP_NUM_THREADS=1 python -m benchmarks.simulator_speed

All counts on; onnxruntime computes the same network in float32, without counting anything. The
machine decides the figures; quote ratios from one run.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

import dmpc
from benchmarks.network_cycles import EXAMPLE
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from isa.engines import engine
from isa.image import Image
from runtime.samples import load_samples

BATCHES = (1, 8, 64, 256, 1000)
TARGETS = ("paper", "pooled")
RUNS = 3
SAMPLES, SLOW, ALONE = 1000, 64, 8
"""Samples that are timed: by default, of the slow reference engine, and there one by one."""

Run = Callable[[np.ndarray[Any, Any], int], object]


@click.command()
@click.option("--json", "path", default="build/benchmarks/simulator_speed.json", show_default=True)
def main(path: str) -> None:
    """Time runs of the same samples in batches of several sizes, on one thread and on two."""
    x = load_samples(EXAMPLE / "test.npz").x
    rows = []
    float_speed: dict[int, float] = {}
    made = table(
        "timesteps a second", "engine", "target", "threads",
        *(f"batch {batch}" for batch in BATCHES), text=2,
    )  # fmt: skip
    for name, target, threads, run in _runners():
        speeds = {batch: _speed(run, x[: _samples(name, batch)], batch) for batch in BATCHES}
        if name == "onnxruntime":
            float_speed = speeds
        cells = (f"{s:,.0f} ({s / float_speed[b]:.2f})" for b, s in speeds.items())
        made.add_row(name, target, str(threads), *cells)
        rows.append({"engine": name, "target": target, "threads": threads, "speeds": speeds})
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(rows, indent=1) + "\n")
    Output().print(made)


def _runners() -> Iterator[tuple[str, str, int, Run]]:
    """What is timed, onnxruntime first: name, target, threads, and how to run samples."""
    yield "onnxruntime", "float32", 1, _onnxruntime()
    calibration = load_samples(EXAMPLE / "train.npz").x
    for target in TARGETS:
        options = dmpc.Options(target=target)
        image = dmpc.compile(EXAMPLE / "model.onnx", calibration=calibration, options=options).image
        for name, threads in (("fast", 1), ("fast", 2), ("reference", 1)):
            yield name, target, threads, _engine(image, name, threads)


def _onnxruntime() -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(EXAMPLE / "model.onnx"), options)
    name = session.get_inputs()[0].name

    def run(x: np.ndarray[Any, Any], batch: int) -> None:
        floats = x.astype(np.float32)
        for first in range(0, len(x), batch):
            session.run(None, {name: floats[first : first + batch]})

    return run


def _engine(image: Image, name: str, threads: int) -> Run:
    loaded = engine(image, name)
    return lambda x, batch: loaded.run(x.astype(np.uint8), batch=batch, threads=threads)


def _samples(name: str, batch: int) -> int:
    if name != "reference":
        return SAMPLES if batch > 1 else SAMPLES // 5
    return max(batch, SLOW) if batch > 1 else ALONE


def _speed(run: Run, x: np.ndarray[Any, Any], batch: int) -> float:
    """The median of some runs, after one that does not count."""
    found = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        run(x, batch)
        found.append(x.shape[0] * x.shape[1] / (time.perf_counter() - start))
    return sorted(found[1:])[RUNS // 2]


if __name__ == "__main__":
    main()
