"""Compile the families that the paper compares, run them, and say what each costs.

    python examples/families/compare.py                   # the whole test set; --limit 100 is quick

FSNN has no memory, RSNN recurrent synapses, DSNN a delay for each input, DMP a slow shared memory;
all have about equally many parameters and are compiled for the same machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
from rich.console import Console
from rich.table import Table

import dmpc
import runtime

HERE = Path(__file__).resolve().parent
SPOKEN = HERE.parent / "spoken_digits"
MODELS = {
    "FSNN": HERE / "fsnn.onnx",
    "RSNN": HERE / "rsnn.onnx",
    "DSNN": HERE / "dsnn.onnx",
    "DMP": SPOKEN / "model.onnx",
}
TRAINED = ("weight", "bias", "delay")
KINDS = {
    "weights": ("spike", "memory_a", "memory_b", "drive", "update"),
    "neurons": ("parameter", "neuron"),
    "delays": ("axon", "ring"),
    "logits": ("readout",),
}
"""Memories by what they hold, which are those of the target; update's are coefficients."""
PATHS = {
    "spike path": ("spike", "input"),
    "delays": ("delay",),
    "memory path": ("memory_a", "memory_b"),
    "memory update": ("update",),
    "neurons": ("neuron",),
    "readout": ("readout",),
    "control": ("control",),
}


@dataclass(frozen=True)
class Measured:
    """What a network costs: bits by kind of memory, picojoules by pathway and in all per sample."""

    parameters: int
    float_accuracy: float
    accuracy: float
    cycles: float  # per timestep
    bits: dict[str, int]
    energy: dict[str, float]
    total: float


def measure(model: Path, target: str, test: runtime.Samples) -> Measured:
    """Compile a model for a target and run it on labelled samples."""
    calibration = runtime.load_samples(SPOKEN / "train.npz").x
    compiled = dmpc.compile(model, calibration=calibration, options=dmpc.Options(target=target))
    result = runtime.Program(compiled.image, str(model)).run(test.x, test.y)
    samples = len(test.x)
    assert test.y is not None
    assert result.accuracy is not None
    spent = {
        name: sum(result.energy.by_path.get(path, 0.0) for path in paths) / samples
        for name, paths in PATHS.items()
    }
    return Measured(
        parameters=parameters(model),
        float_accuracy=float(np.mean(float_logits(model, test.x).argmax(1) == test.y)),
        accuracy=result.accuracy,
        cycles=float(result.cycles.mean()) / result.timesteps,
        bits=bits(compiled),
        energy={**spent, "clock": result.energy.idle / samples},
        total=result.energy.total / samples,
    )


def parameters(model: Path) -> int:
    """The trained parameters of a file that `dmpc.nn` wrote."""
    found = onnx.load(model).graph.initializer
    return sum(int(np.prod(t.dims)) for t in found if t.name.rpartition(".")[2] in TRAINED)


def float_logits(model: Path, x: np.ndarray, batch: int = 250) -> np.ndarray:
    """Logits [samples, classes] of the file itself, in float32."""
    session = onnxruntime.InferenceSession(str(model))
    parts = [x[i : i + batch].astype(np.float32) for i in range(0, len(x), batch)]
    return np.concatenate([session.run(None, {"x": part})[0] for part in parts])


def bits(compiled: dmpc.Compiled) -> dict[str, int]:
    """Bits of the memory rows that a program uses, by kind; registers are the machine's own."""
    used: dict[str, int] = {}
    for place in compiled.graph.placement.values():
        used[place.memory] = max(used.get(place.memory, 0), place.row + place.rows)
    memories = compiled.image.target.memories
    size = {name: memory.lanes * memory.bits for name, memory in memories.items()}
    return {
        kind: sum(used.get(name, 0) * size[name] for name in names) for kind, names in KINDS.items()
    }


def table(found: dict[str, Measured], target: str, samples: int) -> Table:
    """A column for each family."""
    made = Table(title=f"{samples} spoken digits on target {target}", title_justify="left")
    made.add_column("")
    for family in found:
        made.add_column(family, justify="right")

    row = made.add_row
    every = found.values()
    row("parameters", *(f"{one.parameters:,}" for one in every))
    row("accuracy, float", *(f"{one.float_accuracy:.1%}" for one in every))
    row("accuracy, simulated", *(f"{one.accuracy:.1%}" for one in every))
    row("cycles per timestep", *(f"{one.cycles:.0f}" for one in every))
    made.add_section()
    for kind in KINDS:
        row(f"kbit, {kind}", *(f"{one.bits[kind] / 1000:.1f}" for one in every))
    row("kbit, all", *(f"{sum(one.bits.values()) / 1000:.1f}" for one in every))
    made.add_section()
    for path in next(iter(every)).energy:
        row(f"nJ, {path}", *(f"{one.energy[path] / 1000:.1f}" for one in every))
    row("nJ per sample", *(f"{one.total / 1000:.1f}" for one in every))
    return made


@click.command()
@click.option("--target", default="paper", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Samples of the test set; all of them.")
def main(target: str, limit: int | None) -> None:
    """Print the comparison as a table."""
    test = runtime.load_samples(SPOKEN / "test.npz")
    assert test.y is not None
    test = runtime.Samples(test.x[:limit], test.y[:limit])
    found = {family: measure(model, target, test) for family, model in MODELS.items()}
    Console(width=100).print(table(found, target, len(test.x)))


if __name__ == "__main__":
    main()
