"""`dmpc diff`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import runtime
from dmpc.cli.files import ModelFile, OutputFile, SampleFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.models import errors_of, refuse_unread
from dmpc.cli.samples import read_samples, samples_of
from dmpc.cli.tables import cut
from dmpc.cli.terminal import WIDTH, Output, clean, progress
from dmpc.compiler import Options, import_model, to_layers
from dmpc.errors import DmpcError
from dmpc.frontend.models import is_factory
from dmpc.ir.graph import Graph
from dmpc.ir.levels import rank
from dmpc.report.graph_changes import of_graphs
from isa.files import read_file, read_text
from isa.image import read_image
from isa.target import load_target, target_names
from runtime.changes import Change, by_section, of_images, of_runs, of_targets

SHOWN = 12
"""Changes of a section that are printed."""


@click.command(
    "diff",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc diff a.elf b.elf
  dmpc diff a.elf b.elf --input test.npz
  dmpc diff paper pooled
  dmpc diff monday.json tuesday.json --json - | jq '.changes[].what'""",
)
@click.argument("before", type=ModelFile())
@click.argument("after", type=ModelFile())
@click.option(
    "--input", "data", type=SampleFile(), metavar="DATA",
    help="Run two images on these samples, too, and say what that changes.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples only."
)
@click.option("--all", "everything", is_flag=True, help="Print every change of every section.")
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write all changes as JSON; - for stdout alone.",
)  # fmt: skip
def diff(
    before: str,
    after: str,
    data: str | None,
    limit: int | None,
    everything: bool,
    json_path: str | None,
) -> None:
    """Say what changed from BEFORE to AFTER, and by how much; exit with 1 if anything did.

    Two images (.elf): by section and instruction, and with --input what the change costs, by layer,
    op and unit. Two models or graphs: by op. Two targets, by name or .toml. Two runs or profiles,
    as their --json wrote them.
    """
    kind, other = _kind(before), _kind(after)
    if kind != other:
        raise DmpcError(f"one is {kind}, the other is {other}", where=f"{before}, {after}")
    unread = () if kind == IMAGE else ("data", "limit")
    refuse_unread({f"on {kind}": unread, "without --input": () if data else ("limit",)})
    changes = list(_changes(kind, before, after))
    if data:
        changes += _of_runs_on(before, after, data, limit)
    if json_path:
        write_json(json_path, {"kind": kind, "changes": [one.to_json() for one in changes]})
    _show(changes, None if everything else SHOWN, Output())
    if changes:
        click.get_current_context().exit(1)


IMAGE, TARGET, RUN, MODEL = "an image", "a target", "a run", "a model"


def _kind(name: str) -> str:
    """What a file holds; raises DmpcError if it is not there."""
    path = Path(name)
    if name in target_names() and not path.is_file():
        return TARGET
    if is_factory(name):
        return MODEL
    try:
        start = read_file(path)[:4]
    except OSError as error:
        raise DmpcError(f"cannot read: {error.strerror or error}", where=name) from None
    if start == b"\x7fELF":
        return IMAGE
    return {".toml": TARGET, ".json": RUN}.get(path.suffix, MODEL)


def _changes(kind: str, before: str, after: str) -> Iterator[Change]:
    if kind == IMAGE:
        yield from of_images(read_image(before), read_image(after))
    elif kind == TARGET:
        yield from of_targets(load_target(before), load_target(after))
    elif kind == RUN:
        yield from of_runs(_run(before), _run(after))
    else:
        yield from of_graphs(*_graphs(before, after))


def _run(name: str) -> dict[str, Any]:
    """What a verb wrote with --json."""
    try:
        found = json.loads(read_text(name, "utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DmpcError(f"no JSON: {error}", where=name) from None
    samples = found.get("samples", []) if isinstance(found, dict) else None
    told = samples if isinstance(samples, list) else []
    if (
        not isinstance(found, dict)
        or not ({"totals", "total"} & found.keys())
        or not all(isinstance(one, dict) and {"cycles", "logits"} <= one.keys() for one in told)
    ):
        raise DmpcError(
            "neither a run nor a profile", where=name,
            hint="give what dmpc run --json or dmpc profile --json wrote",
        )  # fmt: skip
    return found


def _graphs(before: str, after: str) -> list[Graph]:
    """Two models' graphs at one level: layers, or later if both are."""
    found = []
    for name in (before, after):
        with errors_of(name):
            found.append(import_model(name, Options()).graph)
    if found[0].level == found[1].level:
        return found
    for at, name in enumerate((before, after)):
        if rank(found[at].level) < rank("layers"):
            with errors_of(name):
                found[at] = to_layers(found[at], Options())
    return found


def _of_runs_on(before: str, after: str, data: str, limit: int | None) -> list[Change]:
    """What running two images on samples changes: by layer, op, unit, and in what they answer."""
    samples = read_samples(data).first(limit)
    told = []
    with progress("running", 2 * len(samples.x)) as advance, samples_of(data):
        for name in (before, after):
            program = runtime.load(name)
            result = program.run(samples.x, samples.y, lengths=samples.lengths, progress=advance)
            profile = program.profile(result).to_json()
            told.append(
                {
                    "cycles per timestep": profile["cycles"] / profile["timesteps"],
                    "energy per timestep, pJ": result.energy.total / profile["timesteps"],
                    "accuracy": result.accuracy,
                    **{key: profile[key] for key in ("layers", "ops", "units")},
                    "samples": result.to_json()["samples"],
                }
            )
    return [
        Change(f"run: {one.section}", one.what, one.before, one.after) for one in of_runs(*told)
    ]


def _show(changes: list[Change], most: int | None, out: Output) -> None:
    for section, found in by_section(changes).items():
        out.print(f"{section}: {len(found)} changed")
        first = found if most is None else _most_telling(found)[:most]
        for change in first:
            for line in _lines(change):
                out.print(line)
        if len(found) > len(first):
            out.print(f"  ... {len(found) - len(first)} more (--all, --json)")
    out.print(f"{len(changes)} changes" if changes else "no difference")


def _most_telling(found: list[Change]) -> list[Change]:
    """Of a run's counts, work and energy before waits and rows."""
    return sorted(found, key=lambda one: ".stalls." in one.what or ".accesses." in one.what)


def _lines(change: Change) -> Iterator[str]:
    """A change in a line if it fits, else in three."""
    what = clean(change.what, lines=False)
    before, after = (clean(_text(value), lines=False) for value in (change.before, change.after))
    if before == "''":
        yield cut(f"  {what}: {after}", WIDTH)
        return
    line = f"  {what}: {before} -> {after}" + (f"  {change.by}" if change.by else "")
    if len(line) <= WIDTH:
        yield line
        return
    yield cut(f"  {what}:", WIDTH)
    yield cut(f"    - {before}", WIDTH)
    yield cut(f"    + {after}", WIDTH)


def _text(value: Any) -> str:
    if value is None:
        return "(nothing)"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"'{value}'" if value == "" else str(value)
