"""Speed of the simulator: timesteps a second on the spoken-digits network, on one core.

    OMP_NUM_THREADS=1 python -m benchmarks.simulator_speed

All counts on. The machine decides the figure; quote ratios from one run.
"""

import json
import time
from pathlib import Path

import click

import dmpc
from benchmarks.network_cycles import EXAMPLE
from dmpc.cli.terminal import Output, table
from runtime.program import Program
from runtime.samples import Numbers, load_samples

RUNS, SAMPLES = 5, 256
BATCHES = (1, 16, 256)


@click.command()
@click.option("--json", "path", default="build/benchmarks/simulator_speed.json", show_default=True)
def main(path: str) -> None:
    """Time runs of the same samples, one at a time and in lockstep."""
    calibration, x = (load_samples(EXAMPLE / f"{n}.npz").x for n in ("train", "test"))
    rows = []
    made = table("simulator, timesteps a second", "target", "batch", "best", "median", "slowest")
    for target in ("paper", "pooled"):
        options = dmpc.Options(target=target)
        image = dmpc.compile(EXAMPLE / "model.onnx", calibration=calibration, options=options).image
        program = Program(image, target)
        for batch in BATCHES:
            few = x[: min(SAMPLES, 8 * batch)]
            speeds = sorted(_speed(program, few, batch) for _ in range(RUNS))
            rows.append({"target": target, "batch": batch, "timesteps_per_second": speeds})
            figures = (speeds[-1], speeds[RUNS // 2], speeds[0])
            made.add_row(target, str(batch), *(f"{figure:,.0f}" for figure in figures))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(rows, indent=1) + "\n")
    Output().print(made)


def _speed(program: Program, x: Numbers, batch: int) -> float:
    start = time.perf_counter()
    result = program.run(x, batch=batch)
    return result.timesteps * len(result.cycles) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
