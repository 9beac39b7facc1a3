"""What lanes are worth: the target `edge` with 8 to 64 of them, its memories as large as before.

    python -m benchmarks.lanes [LANES ...]

A row is as wide as a group, so a memory of the same words has fewer rows. Networks are those of the
spoken digits, and two random ones: 700-512-512-35 with d = 16, and one layer of 200 with d = 100.
"""

import tempfile
import tomllib
from pathlib import Path

import click
import numpy as np

import dmpc
from benchmarks.random_networks import Layer, Shape, network
from dmpc.backend.onnx_writer import to_onnx
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.reproduce import toml
from isa.target import Target, load_target, target_text
from runtime.program import Program
from runtime.samples import load_samples

EXAMPLE = Path(__file__).parents[1] / "examples" / "spoken_digits"
SAMPLES = 32
RANDOM = {
    "700-512-512-35, d = 16": Shape(700, (Layer(512, 16), Layer(512, 16)), 35, density=0.03),
    "140-200-10, d = 100": Shape(140, (Layer(200, 100, legendre=False),), 10, density=0.06),
}


def with_lanes(lanes: int) -> str:
    """Text of the target `edge` with so many lanes and the same words in each memory."""
    table = tomllib.loads(target_text("edge"))
    factor = table["lanes"] / lanes
    table["lanes"] = lanes
    for section in (*table["bank"], table["neuron"], table["readout"]):
        section["rows"] = int(section["rows"] * factor)
    table["accumulators"]["spill_rows"] = int(table["accumulators"]["spill_rows"] * factor)
    return toml(table)


def random_model(name: str, shape: Shape, folder: Path) -> Path:
    """A network whose inputs hold each other back, as trained ones do, as a file."""
    graph = network(shape)
    for constant, array in graph.constants.items():
        if constant.endswith(".fast.weight"):
            graph.constants[constant] = array - array.mean(axis=1, keepdims=True)
    path = folder / f"{name.replace(' ', '')}.onnx"
    path.write_bytes(to_onnx(graph).SerializeToString())
    return path


def area(target: Target) -> float:
    """Kilobytes of all memories, what a target takes most of."""
    return sum(m.rows * m.lanes * m.bits for m in target.memories.values()) / 8192


@click.command()
@click.argument("lanes", nargs=-1, type=int)
def main(lanes: tuple[int, ...]) -> None:
    """Print a row for each network and number of LANES (8 16 32 64)."""
    made = table("a timestep", "network", "lanes", "memories", "cycles", "nJ")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = [load_samples(EXAMPLE / f"{part}.npz").x[:SAMPLES] for part in ("train", "test")]
        cases = [(f"{m}.onnx", EXAMPLE / f"{m}.onnx", digits) for m in ("model", "model_256")]
        for label, shape in RANDOM.items():
            draws = np.random.default_rng(0).random((2, SAMPLES, 60, shape.inputs))
            cases.append((label, random_model(label, shape, folder), list(draws < shape.density)))
        for label, model, (calibration, x) in cases:
            for number in lanes or (8, 16, 32, 64):
                path = folder / f"{number}.toml"
                path.write_text(with_lanes(number))
                options = dmpc.Options(target=str(path))
                compiled = dmpc.compile(model, calibration=calibration, options=options)
                run = Program(compiled.image, label).run(x)
                steps = int(run.lengths.sum())
                cycles, energy = run.cycles.sum() / steps, run.energy.total / steps / 1000
                cells = (f"{area(load_target(str(path))):.0f} KB", f"{cycles:.0f}", f"{energy:.2f}")
                made.add_row(label, str(number), *cells)
    Output().print(made)


if __name__ == "__main__":
    main()
