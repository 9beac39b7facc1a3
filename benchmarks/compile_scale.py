"""How the compiler grows with the network: time, memory and image of whole compilations.

    OMP_NUM_THREADS=1 python -m benchmarks.compile_scale [--tree FOLDER] [NEURONS ...]

Networks of three layers of so many neurons, with memories, compiled by `dmpc compile` with
calibration, each in a process of its own. The target is a pooled one with room for 12 million
weights. Seconds are the processor's, less those of an interpreter that does nothing. `--tree` takes
the compiler of another checkout, `--target` another target: `paper` streams most of such networks.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.random_networks import Layer, Shape, network
from dmpc.backend.onnx_writer import to_onnx
from dmpc.ir.graph import Graph

HERE = Path(__file__).resolve().parents[1]
NEURONS = (104, 680, 1536, 2176)
INPUTS, STATES, CLASSES, DENSITY = 140, 16, 20, 0.06
SLOW = 2  # layers with memories: more have no room for their drives in 4,096 rows
ROOM = {
    ("", "lanes"): 64,
    ("events", "width"): 4095,
    ("bank", "rows"): 65536,
    ("sequencer", "program"): 65536,
}
"""What a target must have more of than `pooled`, by section and key."""


@dataclass(frozen=True)
class Cost:
    """Processor seconds and peak memory in MB of a process, and what it exited with."""

    seconds: float
    megabytes: float
    status: int


def cost(words: Sequence[str], tree: Path) -> Cost:
    """What Python costs when called with these words, on the sources of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    with subprocess.Popen(
        [sys.executable, *words], cwd=tree, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode)


def large_target(tree: Path) -> str:
    """A checkout's target `pooled` with more room."""
    lines, section = [], ""
    for line in (tree / "isa/targets/pooled.toml").read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.split("]")[0].strip("[")
        key = line.split("=")[0].strip()
        lines.append(f"{key} = {ROOM[section, key]}" if (section, key) in ROOM else line)
    return "\n".join(lines) + "\n"


def network_of(neurons: int, layers: int) -> Graph:
    """A network of layers of so many neurons, with memories, a few of which spike at a time."""
    slow = [Layer(neurons, STATES if number < SLOW else 0) for number in range(layers)]
    shape = Shape(INPUTS, tuple(slow), CLASSES)
    graph = network(shape)
    for name, array in graph.constants.items():
        if name.endswith(".fast.weight"):  # inputs that hold each other back, as trained ones do
            graph.constants[name] = array - array.mean(axis=1, keepdims=True)
    return graph


def samples(number: int, steps: int) -> np.ndarray:
    """Sparse events [number, steps, INPUTS], the same every time."""
    return np.random.default_rng(0).random((number, steps, INPUTS)) < DENSITY


@dataclass(frozen=True)
class Files:
    """What a compilation reads and writes, in a folder."""

    folder: Path

    def words(self, neurons: int, layers: int, target: str | None) -> list[str]:
        """Arguments of Python that compile a network, whose model is written here."""
        model, image = self.folder / "model.onnx", self.image
        model.write_bytes(to_onnx(network_of(neurons, layers)).SerializeToString())
        image.unlink(missing_ok=True)
        named = target or str(self.folder / "target.toml")
        data = str(self.folder / "data.npz")
        words = [str(model), "--calibration", data, "--target", named, "-o", str(image)]
        return ["-m", "dmpc", "compile", *words]

    @property
    def image(self) -> Path:
        """Where the image goes."""
        return self.folder / "model.elf"

    def prepare(self, number: int, steps: int, tree: Path) -> None:
        """Write the target of a checkout and the calibration set."""
        (self.folder / "target.toml").write_text(large_target(tree))
        np.savez(self.folder / "data.npz", x=samples(number, steps))


@click.command()
@click.argument("neurons", nargs=-1, type=int)
@click.option("--tree", type=click.Path(exists=True, file_okay=False, path_type=Path), default=HERE)
@click.option("--samples", "number", default=64, show_default=True)
@click.option("--steps", default=60, show_default=True)
@click.option("--layers", default=3, show_default=True)
@click.option("--target", help="A target that ships.  [default: a large one]")
def main(
    neurons: tuple[int, ...], tree: Path, number: int, steps: int, layers: int, target: str | None
) -> None:
    """Print a row for each number of NEURONS in a layer."""
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        tree = tree.resolve()
        files.prepare(number, steps, tree)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        cost(files.words(8, 1, target), tree)  # whoever uses the command has its bytecode
        start = cost(["-c", "pass"], tree).seconds
        for count in neurons or NEURONS:
            words = files.words(count, layers, target)
            parameters = sum(array.size for array in network_of(count, layers).constants.values())
            found = cost(words, tree)
            made = f"image {files.image.stat().st_size / 1e6:6.1f} MB" if not found.status else ""
            seconds = f"{found.seconds - start:7.2f} s"
            click.echo(f"{parameters:10,}   {seconds}   {found.megabytes:6.0f} MB   {made}")


if __name__ == "__main__":
    main()
