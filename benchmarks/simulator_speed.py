"""Speed of the engines: timesteps a second on the spoken-digits network, beside onnxruntime.

    OMP_NUM_THREADS=1 python -m benchmarks.simulator_speed

All counts on; onnxruntime computes the same network in float32, without counting anything. The
machine decides the figures; quote ratios from one run.
"""

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
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
PAIRS, TOGETHER = 15, 250
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
    together = {target: _together(target) for target in TARGETS}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(rows, indent=1) + "\n")
    out = Output()
    out.print(made)
    for target, (threads, processes) in together.items():
        out.print(
            f"{target}: two threads are {threads:.2f} times as fast as one, two processes of one "
            f"thread each {processes:.2f} times (medians of {PAIRS} pairs, batch {TOGETHER})"
        )


def _runners() -> Iterator[tuple[str, str, int, Run]]:
    """What is timed, onnxruntime first: name, target, threads, and how to run samples."""
    yield "onnxruntime", "float32", 1, _onnxruntime()
    calibration = load_samples(EXAMPLE / "train.npz").x
    for target in TARGETS:
        options = dmpc.Options(target=target)
        image = dmpc.compile(EXAMPLE / "model.onnx", calibration=calibration, options=options).image
        for name, threads in (("fast", 1), ("fast", 2), ("reference", 1)):
            yield name, target, threads, _engine(image, name, threads)


def _together(target: str) -> tuple[float, float]:
    """How many times as fast as one thread two threads are, and two processes that share nothing:
    what this machine gives."""
    pipes, processes = [], []
    for _ in range(2):
        mine, theirs = multiprocessing.Pipe()
        processes.append(multiprocessing.Process(target=_serve, args=(theirs, target)))
        pipes.append(mine)
    for process in processes:
        process.start()
    for pipe in pipes:
        pipe.recv()
    found = []
    for _ in range(PAIRS):
        alone = _ask(pipes[:1], 1, SAMPLES)
        found.append((
            alone / _ask(pipes[:1], 2, SAMPLES), alone / _ask(pipes, 1, SAMPLES // 2),
        ))  # fmt: skip
    for pipe in pipes:
        pipe.send(None)
    for process in processes:
        process.join()
    threads, two = (sorted(every)[PAIRS // 2] for every in zip(*found, strict=True))
    return threads, two


def _ask(pipes: Sequence[Connection], threads: int, samples: int) -> float:
    """Seconds until processes have run so many samples each, beside each other."""
    start = time.perf_counter()
    for pipe in pipes:
        pipe.send((threads, samples))
    for pipe in pipes:
        pipe.recv()
    return time.perf_counter() - start


def _serve(pipe: Connection, target: str) -> None:
    calibration = load_samples(EXAMPLE / "train.npz").x
    options = dmpc.Options(target=target)
    image = dmpc.compile(EXAMPLE / "model.onnx", calibration=calibration, options=options).image
    x = load_samples(EXAMPLE / "test.npz").x
    runs = {threads: _engine(image, "fast", threads) for threads in (1, 2)}
    for run in runs.values():
        run(x, TOGETHER)
    pipe.send(None)
    while asked := pipe.recv():
        threads, samples = asked
        runs[threads](x[:samples], TOGETHER)
        pipe.send(None)


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
