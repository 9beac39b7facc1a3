"""`dmpc check`."""

from collections.abc import Iterator
from typing import Any

import click

from dmpc.check import Report
from dmpc.check import check as check_model
from dmpc.cli.compile_verb import compile_options, options_of
from dmpc.cli.files import ModelFile, OutputFile, write_json
from dmpc.cli.main import Verb
from dmpc.cli.samples import calibration_set, samples_of
from dmpc.cli.terminal import Output, working
from dmpc.findings import Finding
from dmpc.rules import Severity

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}


@click.command(
    "check",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc check model.onnx
  dmpc check model.onnx --calibration train.npz --target edge
  dmpc check model.onnx --json""",
)
@click.argument("model", type=ModelFile())
@compile_options
@click.option(
    "--json", "json_path", type=OutputFile(), is_flag=False, flag_value="-", metavar="[FILE]",
    help="Write the findings as JSON; without FILE, or with -, to stdout alone.",
)  # fmt: skip
def check(model: str, calibration: str | None, json_path: str | None, **chosen: Any) -> None:
    """Check MODEL, in any form that compile takes, and report every finding.

    Nothing is written. Each finding names its rule (docs/rules.md), the node, the piece of the
    model's graph that it is about, and the nearest thing that would be accepted. Exits with 0 if
    there are no errors, whatever the warnings, and with 1 otherwise.
    """
    data, options = calibration_set(calibration), options_of(**chosen)
    with working("checking"), samples_of(calibration):
        report = check_model(model, calibration=data.x, lengths=data.lengths, options=options)
    if json_path:
        write_json(json_path, report.to_json())
    _show(report, Output())
    if not report.ok:
        click.get_current_context().exit(1)


def _show(report: Report, out: Output) -> None:
    for found in report.findings:
        out.parts(*_parts(found))
    counts = [
        f"{number} {severity}{'s' if number != 1 else ''}"
        for severity in Severity
        if (number := report.count(severity))
    ]
    out.print(f"{report.model}: {', '.join(counts) or 'no findings'}")


def _parts(found: Finding) -> Iterator[tuple[str, str]]:
    """One finding: what and where, the piece of the graph, the nearest thing, the rule's reason."""
    yield f"{found.severity}", STYLES[found.severity]
    yield f": {found.where}: {found.message}", "default"
    yield f"  [{found.rule}]\n" if found.rule else "\n", "dim"
    yield from ((f"    {line}\n", "default") for line in found.piece.lines())
    for label, said in (("nearest", found.nearest), ("why", found.why)):
        if said:
            yield f"  {label}: ", "bold"
            yield f"{said}\n", "default"
