"""All sections of a report, and what stands above and below them."""

from collections.abc import Iterator

from dmpc.report import machine_sections as machine
from dmpc.report import memory_sections as memory
from dmpc.report import sample_sections as inside
from dmpc.report.collect import Report
from dmpc.report.parts import Section
from runtime.html import escape

FOOTER = (
    "Cycles and accesses are counted by the simulator, exactly; energy is an estimate that ranks "
    "designs. Charts: Vega-Lite, BSD 3-clause, University of Washington Interactive Data Lab."
)


def all_sections(report: Report) -> Iterator[Section | None]:
    """Every section that has something to show."""
    for make in (
        machine.bounds_section,
        machine.network_section,
        machine.schedule_section,
        machine.units_section,
        machine.where_section,
        memory.roofline_section,
        memory.memory_section,
        inside.samples_section,
        inside.answers_section,
        inside.losses_section,
    ):
        yield make(report)


def heading(report: Report) -> str:
    """Title and the figures that one asks for first."""
    found, result = report.profile, report.result
    per_step = found.cycles / found.timesteps
    energy = result.energy.total / found.timesteps / 1000
    figures = [
        (f"{per_step:,.1f}", "cycles per timestep"),
        (f"{per_step / found.frequency_mhz:.2f} us", f"at {found.frequency_mhz:g} MHz"),
        (f"{energy:.3f} nJ", "per timestep, estimated"),
    ]
    if result.accuracy is not None:
        figures.insert(0, (f"{100 * result.accuracy:.2f} %", "accuracy"))
    boxes = "".join(f"<div><b>{escape(a)}</b>{escape(b)}</div>" for a, b in figures)
    return (
        f"<h1>{escape(found.name)}</h1>\n"
        f'<p class="quiet">target {escape(found.target)}, {found.samples:,} samples, '
        f"{found.timesteps:,} timesteps, {found.cycles:,} cycles</p>\n"
        f'<div class="figures">{boxes}</div>'
    )
