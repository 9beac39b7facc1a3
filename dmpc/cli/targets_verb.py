"""`dmpc targets`."""

import re
from typing import Any

import click

from dmpc.cli.files import InputFile, OutputFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.tables import kilobytes, table
from dmpc.cli.terminal import Output
from dmpc.fit import memory_bits
from isa.energy import access_price
from isa.target import Target, parse_target, target_names, target_text


@click.command(
    "targets",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc targets
  dmpc targets paper
  dmpc targets mine.toml --json -
  dmpc diff paper edge""",
)
@click.argument("names", nargs=-1, type=InputFile(), metavar="[NAME]...")
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write the descriptions as JSON; - for stdout alone.",
)  # fmt: skip
def targets(names: tuple[str, ...], json_path: str | None) -> None:
    """List the targets that ship, or describe those that are NAMEd: by name, or a TOML file.

    A target is data: lanes, banks, widths, memories, latencies and prices of energy.
    """
    texts = {name: target_text(name) for name in names or target_names()}
    found = {name: parse_target(text, name) for name, text in texts.items()}
    if json_path:
        told = [_plain(target, texts[name]) for name, target in found.items()]
        write_json(json_path, {"targets": told})
    out = Output()
    if not names:
        _list(list(found.values()), out)
    for name in names:
        _describe(found[name], texts[name], out)


def _plain(target: Target, text: str) -> dict[str, Any]:
    memories = [
        {"name": m.name, "rows": m.rows, "bits_a_row": m.row_bits} for m in target.memories.values()
    ]
    about, bits = _about(text), memory_bits(target)
    return {**target.model_dump(), "about": about, "memories": memories, "memory_bits": bits}


def _list(found: list[Target], out: Output) -> None:
    made = table("targets", "target", "lanes", "banks", "pooled", "MHz", "memory", "external")
    for target in sorted(found, key=lambda one: (memory_bits(one), one.name)):
        external = f"{target.external.kilobytes / 1024:g} MB" if target.external else "none"
        made.add_row(
            target.name,
            str(target.lanes),
            str(len(target.bank)),
            "yes" if target.pooled else "no",
            f"{target.frequency_mhz:g}",
            kilobytes(memory_bits(target)),
            external,
        )
    out.print(made)
    out.print("dmpc targets NAME describes one; --target of other verbs takes a TOML file, too")


def _describe(target: Target, text: str, out: Output) -> None:
    """What the file says of the target, its memories and what an access to each costs."""
    from textwrap import wrap

    for line in wrap(_about(text), 78):
        out.print(line)
    banks = {bank.name: bank for bank in target.bank}
    made = table(
        f"{target.name}: {target.lanes} lanes, {target.frequency_mhz:g} MHz",
        "memory", "rows", "bits a row", "size", "pJ a row", "latency", "does", text=1,
    )  # fmt: skip
    made.columns[-1].justify = "left"
    for memory in target.memories.values():
        bank = banks.get(memory.name)
        does = "" if bank is None else "products" if bank.multiplies else "sums"
        latency = bank.latency if bank else getattr(_unit(target, memory.name), "latency", "")
        price = access_price(target, memory.name, "reads")
        size = kilobytes(memory.rows * memory.row_bits)
        row = (str(memory.rows), str(memory.row_bits), size, f"{price:.2f}", str(latency))
        made.add_row(memory.name, *row, does)
    out.print(made)
    registers = (
        f"{target.events.count} event registers of {target.events.width}, {target.values.count} "
        f"value registers of {target.values.width} x {target.values.bits} bits"
    )
    out.print(registers)
    out.print(f"{target.accumulators.slots} slots, queues of {target.sequencer.queue} instructions")
    if target.external:
        far = target.external
        out.print(
            f"external memory: {far.kilobytes / 1024:g} MB, {far.bits_per_cycle} bits a cycle, "
            f"latency {far.latency}, {far.bit:g} pJ a bit"
        )


def _unit(target: Target, memory: str) -> Any:
    """The part of a target that a memory belongs to, if it bears its name."""
    return getattr(target, memory, None)


def _about(text: str) -> str:
    """The comment that a target's file begins with."""
    lines = []
    for line in text.lstrip().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return re.sub(r"\s+", " ", " ".join(lines))
