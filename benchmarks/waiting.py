"""What a user waits for: processor seconds of whole commands, start-up included.

    python -m benchmarks.waiting [--before FOLDER] [NAME ...]

With `--before`, another checkout of the repository, each command runs there as well, the two in
turn, and the ratio is that of their seconds: on a machine that is busy otherwise, what ran in one
sitting is all that can be compared. The least of the runs counts. Images are compiled first,
unmeasured.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

HERE = Path(__file__).resolve().parents[1]
EXAMPLE = "examples/spoken_digits"
MODEL, DATA = f"{EXAMPLE}/model.onnx", f"--input {EXAMPLE}/test.npz"
CALIBRATED = f"{MODEL} --calibration {EXAMPLE}/train.npz"
TRAINING = f"""
import numpy, torch
from dmpc.nn import DMPNetwork, QuantizedNetwork, fit
data = numpy.load("{EXAMPLE}/train.npz")
x, y = torch.from_numpy(data["x"].astype("f4")), torch.from_numpy(data["y"].astype("i8"))
torch.manual_seed(0)
torch.set_num_threads(1)
network = DMPNetwork(140, [128, 128], 20, memory=10, window=40)
WRAPPED
list(fit(network, x, y, epochs=1, batch=64))
"""
QUANTIZED = TRAINING.replace("WRAPPED", "network = QuantizedNetwork(network, x[:256])")


def dmpc(arguments: str) -> list[str]:
    """What follows `python` in a call of `dmpc`."""
    return ["-m", "dmpc", *arguments.split()]


COMMANDS: Mapping[str, Sequence[str]] = {
    "--help": dmpc("--help"),
    "run, 1 sample": dmpc(f"run IMAGE {DATA} --limit 1"),
    "run": dmpc(f"run IMAGE {DATA}"),
    "verify": dmpc(f"verify {MODEL} IMAGE {DATA}"),
    "compile": dmpc(f"compile {CALIBRATED} -o OUT"),
    "quantize --report": dmpc(f"quantize {CALIBRATED} --report"),
    "quantize --max-drop": dmpc(f"quantize {CALIBRATED} --max-drop 1"),
    "reproduce": dmpc("reproduce"),
    "fit, float": ["-c", TRAINING.replace("WRAPPED", "")],
    "fit, quantized": ["-c", QUANTIZED],
    "fit, quantized, two epochs": ["-c", QUANTIZED.replace("epochs=1", "epochs=2")],
    "fit, before the first batch": ["-c", QUANTIZED.rpartition("list(")[0]],
}
"""What follows `python`, by what the table calls it; an epoch of training is one of its own."""


def seconds(tree: Path, words: Sequence[str]) -> float:
    """Processor seconds of Python with these arguments, on the sources of a checkout."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command()
@click.option("--before", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--runs", default=3, show_default=True)
@click.argument("names", nargs=-1)
def main(before: Path | None, runs: int, names: tuple[str, ...]) -> None:
    """Print a row for each command, or for those whose names begin with one of NAMES."""
    trees = [HERE, *([before.resolve()] if before else [])]
    with tempfile.TemporaryDirectory() as folder:
        images = {tree: str(Path(folder) / f"{number}.elf") for number, tree in enumerate(trees)}
        for tree, image in images.items():
            seconds(tree, [*dmpc(f"compile {CALIBRATED} -o"), image])
        out = str(Path(folder) / "out.elf")
        for name, words in COMMANDS.items():
            if names and not name.startswith(names):
                continue
            least = {tree: float("inf") for tree in trees}
            for tree in trees * runs:
                own = [{"IMAGE": images[tree], "OUT": out}.get(word, word) for word in words]
                least[tree] = min(least[tree], seconds(tree, own))
            now, *was = least.values()
            ratio = f"   before {was[0]:6.2f} s   {was[0] / now:5.1f} times" if was else ""
            click.echo(f"{name:20} {now:6.2f} s{ratio}")


if __name__ == "__main__":
    main()
