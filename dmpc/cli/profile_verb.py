"""`dmpc profile`."""

from collections.abc import Iterator

import click
from rich.table import Table

import runtime
from dmpc.cli.files import InputFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.samples import data_options, read_samples, samples_of
from dmpc.cli.tables import cut, table
from dmpc.cli.terminal import WIDTH, Output, clean, progress
from isa.engines import ENGINES
from runtime.bounds import WAITS
from runtime.profile import Line, Profile, Spent

HEAD = "      unit        busy     longest wait     rows  energy  op < nodes of model"


@click.command(
    "profile",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc profile digits.elf --input test.npz
  dmpc profile digits.elf --input test.npz --limit 100 --json profile.json
  dmpc profile digits.elf --input test.npz --json - | jq '.bounds[].text'""",
)
@click.argument("image", type=InputFile())
@data_options
@click.option(
    "--engine", type=click.Choice(ENGINES), default="fast", show_default=True,
    help="What simulates; all tell the same.",
)  # fmt: skip
def profile(image: str, data: str, json_path: str | None, limit: int | None, engine: str) -> None:
    """Say where the cycles and the energy of IMAGE go, on samples.

    Prints what bounds each layer, totals by layer, op and memory, and the program with what each
    instruction took. Its totals are those of `dmpc run`.
    """
    program = runtime.load(image, engine)
    samples = read_samples(data).first(limit)
    with progress("running", len(samples.x)) as advance, samples_of(data):
        result = program.run(samples.x, samples.y, lengths=samples.lengths, progress=advance)
    found = program.profile(result)
    if json_path:
        write_json(json_path, found.to_json())
    print_profile(found, Output())


def print_profile(found: Profile, out: Output) -> None:
    """Bounds, totals, and the annotated program, in lines of at most 80 columns."""
    per_timestep = found.cycles / found.timesteps
    out.print(
        f"{found.name} on {found.target}, {found.samples} samples: "
        f"{per_timestep:.1f} cycles per timestep\n"
        "busy, waits: shares of all cycles, or cycles of a timestep; rows: of a timestep\n"
    )
    out.print("what bounds each layer\n")
    for bound in found.bounds:
        for text in _wrapped(f"{bound.layer}: {bound.text}"):
            out.print(text)
    out.print("")
    for made in (_layers(found), _ops(found), _units(found), _memories(found)):
        out.print(made)
    out.print(f"  pc  instruction\n{HEAD}")
    out.print("-" * len(HEAD))
    layer = ""
    for line in found.lines:
        if line.layer != layer:
            layer = line.layer
            out.print(f"{layer}:")
        for text in _annotated(line, found):
            out.print(text)


def _wrapped(text: str) -> Iterator[str]:
    from textwrap import wrap

    yield from wrap(
        clean(text, lines=False), WIDTH - 2, initial_indent="  ", subsequent_indent="    ",
        break_on_hyphens=False,
    )  # fmt: skip


def _layers(found: Profile) -> Table:
    """What layers took of each timestep, and which unit bounds them."""
    made = table("layers", "layer", "bound by", "its rows", "all rows", "energy", text=2)
    bound = {item.layer: item for item in found.bounds}
    for name, spent in found.layers.items():
        if not spent.busy:
            continue
        unit = bound[name].unit if name in bound else ""
        mine = sum(x.spent.rows for x in found.lines if x.layer == name and x.unit == unit)
        rows = (f"{number / found.timesteps:.1f}" for number in (mine, spent.rows))
        made.add_row(cut(name, 24), unit, *rows, _energy(spent, found))
    return made


def _ops(found: Profile) -> Table:
    """What products and other ops took of each timestep."""
    made = table("products and other ops", "op", "busy", "longest wait", "rows", "energy")
    for name, spent in found.ops.items():
        if spent.busy:
            busy, rows = (f"{n / found.timesteps:.1f}" for n in (spent.busy, spent.rows))
            made.add_row(cut(name, 24), busy, _wait(spent, found), rows, _energy(spent, found))
    return made


def _units(found: Profile) -> Table:
    """What units spent their cycles on: work, and waiting by cause."""
    made = table("units, shares of all cycles", "unit", "busy", *WAITS)
    for name, spent in found.units.items():
        waits = (_share(spent.stalls.get(cause, 0), found.cycles) for cause in WAITS)
        made.add_row(name, _share(spent.busy, found.cycles), *waits)
    return made


def _memories(found: Profile) -> Table:
    """Rows of each memory in a timestep, and by which ops."""
    made = table("memories", "memory", "reads", "writes", "most by", text=1)
    made.columns[-1].justify = "left"
    for memory, of in found.spent.accesses.items():
        by = {
            op: sum(spent.accesses[memory].values())
            for op, spent in found.ops.items()
            if memory in spent.accesses
        }
        whole = sum(by.values())
        top = sorted(by.items(), key=lambda item: (-item[1], item[0]))[:2]
        made.add_row(
            memory,
            *(f"{of[direction] / found.timesteps:.1f}" for direction in ("reads", "writes")),
            ", ".join(f"{cut(op, 20)} {_share(n, whole)}" for op, n in top if n),
        )
    return made


def _annotated(line: Line, found: Profile) -> Iterator[str]:
    """An instruction and, if it works, what it took and where it comes from."""
    yield cut(f"{line.pc:5}  {clean(line.text, lines=False)}", WIDTH)
    spent = line.spent
    if not spent.busy:
        return
    nodes = ", ".join(line.nodes)
    origin = line.op + (f" < {nodes}" if nodes else "")
    yield cut(
        f"      {line.unit:9}{_share(spent.busy, found.cycles):>7}  {_wait(spent, found):>15}"
        f"{spent.rows / found.timesteps:9.1f}{_energy(spent, found):>8}  "
        f"{clean(origin, lines=False)}",
        WIDTH,
    ).rstrip()


def _wait(spent: Spent, found: Profile) -> str:
    cause, waited = spent.longest()
    return f"{cause} {_share(waited, found.cycles)}" if cause else ""


def _energy(spent: Spent, found: Profile) -> str:
    return _share(spent.energy, found.spent.energy + found.idle)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
