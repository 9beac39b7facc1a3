"""`dmpc run`."""

from itertools import zip_longest

import click
from rich.table import Table

import runtime
from dmpc.cli.files import InputFile, OutputFile, OutputFolder, write_json
from dmpc.cli.main import Verb
from dmpc.cli.models import refuse_unread
from dmpc.cli.recordings import (
    Numbers,
    check_trace,
    is_perfetto,
    window,
    write_trace,
    write_vectors,
)
from dmpc.cli.samples import data_options, read_samples, samples_of
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output, progress
from isa.engines import ENGINES
from runtime.program import Result

SHOWN = 10


@click.command(
    "run",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc run digits.elf --input test.npz
  dmpc run digits.elf --input test.npz --limit 100 --json run.json""",
)
@click.argument("image", type=InputFile())
@data_options
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="fast",
    show_default=True,
    help="What simulates: compiled code, instructions as they are written, or cycle by cycle.",
)
@click.option(
    "--trace", type=OutputFile(), metavar="FILE",
    help="Write what every unit and port did in every cycle of a sample: as FILE.vcd or FILE.fst "
    "for a wave viewer, as FILE.perfetto-trace for ui.perfetto.dev.",
)  # fmt: skip
@click.option(
    "--vectors", type=OutputFolder(), metavar="FOLDER",
    help="Write input, spikes, states and logits of every timestep of a sample as test vectors, in "
    "text that Verilog's $readmemh reads.",
)  # fmt: skip
@click.option(
    "--samples",
    type=Numbers(),
    metavar="N,A:B",
    help="Which samples to trace or to write as vectors, as 3 or 0:4.  [default: 0]",
)
@click.option(
    "--timesteps",
    type=Numbers(),
    metavar="A:B",
    help="Which timesteps of them: those cycles in which the machine works on one.  [default: all]",
)
@click.option(
    "--show", multiple=True, metavar="NAME",
    help="A value that shows in a wave viewer, too: a name of the graph (layer1.spikes, "
    "'layer1.*'), a register (e1), '*' for all. May be repeated.",
)  # fmt: skip
def run(
    image: str,
    data: str,
    json_path: str | None,
    limit: int | None,
    engine: str,
    trace: str | None,
    vectors: str | None,
    samples: tuple[int, ...] | None,
    timesteps: tuple[int, ...] | None,
    show: tuple[str, ...],
) -> None:
    """Run IMAGE on the simulated accelerator: predictions, accuracy, cycles."""
    refuse_unread(
        {
            "without --trace": () if trace else ("show",),
            "without --trace or --vectors": () if trace or vectors else ("samples", "timesteps"),
            "for a Perfetto trace": ("show",) if is_perfetto(trace) else (),
        }
    )
    check_trace(trace)
    wanted = window(timesteps)
    program = runtime.load(image, engine)
    loaded = read_samples(data).first(limit)
    x, y, lengths = loaded.x, loaded.y, loaded.lengths
    with progress("running", len(x)) as advance, samples_of(data):
        result = program.run(x, y, lengths=lengths, progress=advance)
    if trace:
        with progress("tracing", len(samples or (0,))) as advance, samples_of(data):
            write_trace(
                program, loaded, trace, samples, wanted, show, result.cycles.tolist(), advance
            )
    if vectors:
        with samples_of(data):
            write_vectors(program, loaded, vectors, samples, wanted)
    if json_path:
        write_json(json_path, result.to_json())
    print_result(program, result, Output())


def print_result(program: runtime.Program, result: Result, out: Output) -> None:
    """Predictions of the first samples, accuracy, cycles, and where units spent them."""
    differ = (result.lengths != result.timesteps).any()
    made = table(
        "predictions", "sample", "prediction", "label", "cycles", *["timesteps"] * bool(differ)
    )
    for number in range(min(SHOWN, len(result.predictions))):
        label = "" if result.labels is None else str(result.labels[number])
        row = [number, result.predictions[number], label, result.cycles[number]]
        made.add_row(*map(str, [*row, result.lengths[number]] if differ else row))
    if len(result.predictions) > SHOWN:
        made.add_row(f"... {len(result.predictions) - SHOWN} more")
    out.print(made)
    out.print(_units(result))
    out.print(_energy(result))
    counts = result.counts
    timesteps = int(result.lengths.sum())
    frequency = program.image.target.frequency_mhz
    if result.accuracy is not None:
        out.print(f"accuracy {100 * result.accuracy:.2f} % of {len(result.predictions)} samples")
    out.print(
        f"{counts.cycles:,} cycles, {counts.cycles / timesteps:.1f} per timestep: "
        f"{counts.cycles / timesteps / frequency:.2f} us at {frequency:g} MHz"
    )
    energy = result.energy.total
    out.print(
        f"{energy / timesteps / 1000:.3f} nJ per timestep, "
        f"{energy / len(result.cycles) / 1e6:.3f} uJ per sample, an estimate to rank designs by"
    )
    for item in result.saturated:
        out.print(f"warning: {item}")
    for advice in dict.fromkeys(item.advice for item in result.saturated):
        out.print(f"hint: {advice}")


def _units(result: Result) -> Table:
    """Busy cycles of every unit as a share of all cycles, and what it waited for most."""
    counts = result.counts
    made = table("units", "unit", "busy", "operations", "longest wait for", "of cycles")
    for unit in sorted(counts.busy):
        waits = {cause: n for (u, cause), n in counts.stalls.items() if u == unit and n}
        cause = max(waits, key=lambda c: waits[c], default="")
        share = f"{100 * waits[cause] / counts.cycles:.1f} %" if cause else ""
        made.add_row(
            unit,
            f"{100 * counts.busy[unit] / counts.cycles:.1f} %",
            str(counts.operations[unit]),
            cause,
            share,
        )
    return made


def _energy(result: Result) -> Table:
    """Energy by pathway and by memory, each as a share of all."""
    energy = result.energy
    made = table("energy", "pathway", "share", "memory", "share")
    made.columns[2].justify = "left"
    paths = sorted({**energy.by_path, "clock": energy.idle}.items(), key=lambda item: -item[1])
    memories = sorted(energy.by_memory.items(), key=lambda item: -item[1])
    for path, memory in zip_longest(paths, memories, fillvalue=("", 0.0)):
        cells = [(name, f"{100 * spent / energy.total:.1f} %") for name, spent in (path, memory)]
        made.add_row(*(text if name else "" for name, share in cells for text in (name, share)))
    return made
