"""What a user waits for: processor seconds of whole commands, start-up included.

    python -m benchmarks.waiting [--before FOLDER] [VERB ...]

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
COMMANDS: Mapping[str, str] = {
    "--help": "--help",
    "run, 1 sample": f"run IMAGE {DATA} --limit 1",
    "run": f"run IMAGE {DATA}",
    "verify": f"verify {MODEL} IMAGE {DATA}",
    "compile": f"compile {CALIBRATED} -o OUT",
    "quantize --report": f"quantize {CALIBRATED} --report",
    "quantize --max-drop": f"quantize {CALIBRATED} --max-drop 1",
    "reproduce": "reproduce",
}
"""Arguments of `dmpc` by what the table calls them."""


def seconds(tree: Path, words: Sequence[str]) -> float:
    """Processor seconds of `dmpc` with these arguments, from the sources of a checkout."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "dmpc", *words],
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
@click.argument("verbs", nargs=-1)
def main(before: Path | None, runs: int, verbs: tuple[str, ...]) -> None:
    """Print a row for each command, or for those whose names begin with one of VERBS."""
    trees = [HERE, *([before.resolve()] if before else [])]
    with tempfile.TemporaryDirectory() as folder:
        images = {tree: str(Path(folder) / f"{number}.elf") for number, tree in enumerate(trees)}
        for tree, image in images.items():
            seconds(tree, [*f"compile {CALIBRATED} -o".split(), image])
        for name, arguments in COMMANDS.items():
            if verbs and not name.startswith(verbs):
                continue
            words = arguments.replace("OUT", str(Path(folder) / "out.elf")).split()
            least = {tree: float("inf") for tree in trees}
            for tree in trees * runs:
                own = [images[tree] if word == "IMAGE" else word for word in words]
                least[tree] = min(least[tree], seconds(tree, own))
            now, *was = least.values()
            ratio = f"   before {was[0]:6.2f} s   {was[0] / now:5.1f} times" if was else ""
            click.echo(f"{name:20} {now:6.2f} s{ratio}")


if __name__ == "__main__":
    main()
