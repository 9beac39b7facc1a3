"""What quantization costs on every example, over whole test sets.

    OMP_NUM_THREADS=1 python -m benchmarks.quantization_accuracy

Scales and rounding come from the training sets. Spikes are compared with the float network's: in
each layer alone (fed with float spikes) and through the network, per spike of the float network.
Integer graphs, which the simulator equals in every bit.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.compiler import Options
from dmpc.precision.study import Study
from dmpc.precision.yardstick import Difference
from runtime.samples import load_samples

EXAMPLES = Path(__file__).parents[1] / "examples"
NETWORKS = (
    ("spoken_digits/model", ""),
    ("spoken_digits/model_step", ""),
    ("spoken_digits/model_256", ""),
    ("grey_digits/model", ""),
    ("grey_digits/model_permuted", "_permuted"),
)
"""Models, and the ending of the names of their data."""

WEIGHT_BITS = (8, 6, 4)


def measure(name: str, data: str, weight_bits: int) -> Difference:
    """The difference of an example's integer network from its float network, on its test set."""
    model = EXAMPLES / f"{name}.onnx"
    train, test = (load_samples(model.parent / f"{part}{data}.npz") for part in ("train", "test"))
    study = Study.of(model, train.x, train.y, Options(weight_bits=weight_bits))
    return study.difference(test.x, test.y)


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{100 * share:.2f}" for share in shares.values())


@click.command()
@click.option("--json", "path", default="build/benchmarks/quantization.json", show_default=True)
def main(path: str) -> None:
    """Measure every example at every width of event weights."""
    rows: list[dict[str, Any]] = []
    made = table(
        "quantization, per cent",
        "network", "weights", "accuracy", "float", "alone", "through",
    )  # fmt: skip
    for name, data in NETWORKS:
        for bits in WEIGHT_BITS:
            found = measure(name, data, bits)
            rows.append({"network": name, "weight_bits": bits, **asdict(found)})
            accuracies = (100 * (a or 0.0) for a in (found.accuracy, found.float_accuracy))
            spikes = (_shares(shares) for shares in (found.alone, found.through))
            made.add_row(name, str(bits), *(f"{a:.2f}" for a in accuracies), *spikes)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(rows, indent=1) + "\n")
    Output().print(made)


if __name__ == "__main__":
    main()
