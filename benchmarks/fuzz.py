"""A fuzzing campaign: damaged inputs of every kind, and three judges.

    python -m benchmarks.fuzz --kind onnx,npz --count 10000 --seed 1 --jobs 2
    python -m benchmarks.fuzz --reproduce onnx:4711

What is tried, who judges, and what was found: docs/robustness.md.
"""

import json
import multiprocessing
import os
import resource
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import click

from benchmarks.fuzz_judges import Verdict, find
from benchmarks.fuzz_kinds import KINDS, tried
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output

WALL_SECONDS = 300  # for one input; a worker that is silent for longer hangs where no alarm reaches
MEMORY = 6 << 30  # bytes of address space that an input may ask for, beside what libraries took
GREEDY = 1 << 20  # kilobytes by which memory may grow for one input
CHUNK = 200  # inputs that one worker tries in a row
SHOWN = 20  # places of a kind that are printed


@dataclass
class Tally:
    """What became of the inputs of one kind: numbers by outcome, and places with their seeds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[int]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    def add(self, seed: int, verdict: Verdict) -> None:
        """Count one input."""
        self.outcomes[verdict.outcome] += 1
        if verdict.outcome in ("find", "caught"):
            place = verdict.place or f"caught: {verdict.detail.strip()[:100]}"
            self.places.setdefault(place, []).append(seed)
            self.details.setdefault(place, verdict.detail)


# -- one process that may die ---------------------------------------------------------------------


def _serve(pipe: Connection) -> None:
    """Try what comes in, in a process of limited memory."""
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    limited = False
    while True:
        kind, seed = pipe.recv()
        with tempfile.TemporaryDirectory() as folder:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            verdict = tried(kind, seed, Path(folder))
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if limited and grown > GREEDY and verdict.outcome != "find":
            verdict = find("memory", f"{grown >> 10} MB")
        if not limited:  # the first input loads libraries, which take what they take
            limited = True
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        pipe.send(verdict)


class Worker:
    """A process that tries inputs; one that dies or hangs is a find, and another takes over."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.start()

    def start(self) -> None:
        """Start a process."""
        self.pipe, theirs = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()

    def try_one(self, kind: str, seed: int) -> Verdict:
        """The verdict on one input."""
        self.pipe.send((kind, seed))
        try:
            if self.pipe.poll(WALL_SECONDS):
                verdict: Verdict = self.pipe.recv()
                return verdict
            verdict = find("hang: longer than any alarm")
        except (EOFError, ConnectionResetError):
            self.process.join()
            verdict = find(f"crash: exit code {self.process.exitcode}")
        self.stop()
        self.start()
        return verdict


# -- many -----------------------------------------------------------------------------------------


def campaign(kinds: list[str], seeds: range, jobs: int) -> dict[str, Tally]:
    """Try the inputs of these seeds of each kind in `jobs` processes."""
    chunks = [
        (kind, range(seeds.start, seeds.stop)[at : at + CHUNK])
        for kind in kinds
        for at in range(0, len(seeds), CHUNK)
    ]
    tallies = {kind: Tally() for kind in kinds}
    workers = [Worker() for _ in range(jobs)]

    def run(chunk: tuple[str, range]) -> tuple[str, list[tuple[int, Verdict]]]:
        worker = workers.pop()
        try:
            return chunk[0], [(seed, worker.try_one(chunk[0], seed)) for seed in chunk[1]]
        finally:
            workers.append(worker)

    with ThreadPoolExecutor(jobs) as pool:
        for number, (kind, verdicts) in enumerate(pool.map(run, chunks), 1):
            for seed, verdict in verdicts:
                if verdict.outcome == "find" and verdict.place not in tallies[kind].places:
                    print(f"{kind}:{seed} {verdict.place}", file=sys.stderr)
                tallies[kind].add(seed, verdict)
            print(f"{number}/{len(chunks)} {kind} {_counts(tallies[kind])}", file=sys.stderr)
    for worker in workers:
        worker.stop()
    return tallies


def _counts(tally: Tally) -> str:
    return ", ".join(f"{outcome} {number}" for outcome, number in sorted(tally.outcomes.items()))


def report(tallies: dict[str, Tally], out: Output) -> None:
    """A row for each kind, then the places of finds with the first seed that leads there."""
    made = table("campaign", "kind", "inputs", "refused", "caught", "accepted", "finds", "places")
    for kind, tally in tallies.items():
        found = sum(not place.startswith("caught") for place in tally.places)
        numbers = [tally.outcomes[name] for name in ("refused", "caught", "accepted", "find")]
        made.add_row(kind, *(f"{n:,}" for n in (tally.outcomes.total(), *numbers, found)))
    out.print(made)
    for kind, tally in tallies.items():
        by_number = sorted(tally.places.items(), key=lambda item: -len(item[1]))
        for place, seeds in by_number[:SHOWN]:
            last = tally.details[place].strip().splitlines()[-1:]
            out.print(f"{kind}:{seeds[0]}  {len(seeds)} times  {place}  {''.join(last)[:120]}")


@click.command()
@click.option("--kind", default="all", show_default=True, help=f"Of {', '.join(KINDS)}; or all.")
@click.option("--count", default=1000, show_default=True, help="Inputs of each kind.")
@click.option("--seed", default=0, show_default=True, help="The first input's number.")
@click.option("--jobs", default=1, show_default=True, help="Processes at the same time.")
@click.option("--json", "path", metavar="FILE", help="Write every place with all its seeds.")
@click.option("--reproduce", metavar="KIND:SEED", help="Try one input, here, and keep its files.")
def main(
    kind: str, count: int, seed: int, jobs: int, path: str | None, reproduce: str | None
) -> None:
    """Try damaged inputs; exit code 1 if there are finds."""
    if reproduce:
        name, _, number = reproduce.partition(":")
        folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-{number}-"))
        verdict = tried(name, int(number), folder)
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        print(f"{verdict.outcome} {verdict.place}\n{verdict.detail}\nfiles in {folder}")
        sys.exit(verdict.outcome == "find")
    kinds = list(KINDS) if kind == "all" else kind.split(",")
    unknown = [name for name in kinds if name not in KINDS]
    if unknown:
        raise click.BadParameter(f"no kind '{unknown[0]}'; there are {', '.join(KINDS)}")
    tallies = campaign(kinds, range(seed, seed + count), jobs)
    report(tallies, Output())
    if path:
        document = {
            kind: {"outcomes": tally.outcomes, "places": tally.places, "details": tally.details}
            for kind, tally in tallies.items()
        }
        Path(path).write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(any(tally.outcomes["find"] for tally in tallies.values()))


if __name__ == "__main__":
    main()
