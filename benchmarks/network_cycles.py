"""Cycles of the spoken-digits network on each target, beside the published RTL's.

    python -m benchmarks.network_cycles [--slots]

The same events go through both. Input, all layers, readout and output are included. `--slots` also
shows what each number of accumulator slots is worth; "dedicated banks" keeps each pathway in its
own (`--dedicated-banks`).
"""

import json
import re
import tempfile
from pathlib import Path

import click
import numpy as np

import dmpc
from benchmarks.rtl import network_cycles
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_layers import FIRING
from isa.target import target_text
from runtime.program import Program
from runtime.samples import load_samples

EXAMPLE = Path(__file__).parents[1] / "examples" / "spoken_digits"
BOUNDS = {"paper": 0.53, "pooled": 0.43}
SLOTS = (1, 2, 4, 8, 16, 32)


def events(compiled: dmpc.Compiled, x: np.ndarray) -> list[np.ndarray]:
    """Active inputs of each layer and of the readout, [samples, timesteps] each."""
    spikes = [op.results[0] for op in compiled.layers.ops if op.kind in FIRING]
    traces = interpret(compiled.graph, x.astype(np.int64), trace=spikes).traces
    return [x.sum(axis=2), *(traces[name].sum(axis=2) for name in spikes)]


def with_slots(target: str, slots: int, folder: str) -> str:
    """A target file like `target` but for its accumulator slots."""
    path = Path(folder) / f"{target}-{slots}.toml"
    path.write_text(re.sub(r"(?m)^slots = \d+", f"slots = {slots}", target_text(target)))
    return str(path)


@click.command()
@click.option("--slots", is_flag=True, help="Also vary the number of accumulator slots.")
@click.option("--json", "path", default="build/benchmarks/network_cycles.json", show_default=True)
def main(slots: bool, path: str) -> None:
    """Measure the whole test set on both targets."""
    calibration, x = (load_samples(EXAMPLE / f"{n}.npz").x for n in ("train", "test"))
    model = EXAMPLE / "model.onnx"
    rows: list[dict[str, object]] = []
    made = table(
        "spoken digits, cycles per timestep",
        "target", "variant", "cycles", "RTL", "of RTL", "bound",
    )  # fmt: skip
    rtl = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, limit in BOUNDS.items():
            choices = [("", dmpc.Options(target=name))]
            if name == "paper":
                choices.append(("dedicated banks", dmpc.Options(target=name, balance=False)))
            if slots:
                choices += [
                    (f"{n} slots", dmpc.Options(target=with_slots(name, n, folder))) for n in SLOTS
                ]
            for label, options in choices:
                compiled = dmpc.compile(model, calibration=calibration, options=options)
                rtl = rtl or float(network_cycles(events(compiled, x), [128, 128], 10).mean())
                cycles = float(Program(compiled.image, name).run(x).cycles.mean()) / x.shape[1]
                rows.append(
                    {"target": name, "variant": label, "cycles": cycles, "rtl": rtl}
                    | {"of_rtl": cycles / rtl, "bound": limit}
                )
                made.add_row(
                    name,
                    label or "as shipped",
                    f"{cycles:.1f}",
                    f"{rtl:.1f}",
                    f"{cycles / rtl:.3f}",
                    f"{limit}",
                )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(rows, indent=1) + "\n")
    Output().print(made)


if __name__ == "__main__":
    main()
