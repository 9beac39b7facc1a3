"""A report as one HTML file: text, tables and charts, with the library that draws them inside.

The library is Vega-Lite (vendor/, under its license): charts are data, so that none of our code
draws; it writes SVG, which prints sharply and is read aloud; and it needs no network.
"""

import html
import json
from functools import cache
from importlib.resources import files
from typing import Any

from dmpc.report import sections, tables
from dmpc.report.collect import Report
from runtime.html import details, escape

VENDOR = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")


def page(report: Report) -> str:
    """The text of the file."""
    shown = [section for section in sections.all_sections(report) if section]
    drawn = [chart for section in shown for chart in section.charts]
    data = {
        "cycles": report.timestep.last - report.timestep.first,
        "instructions": tables.instructions(report),
        "charts": {chart.name: chart.spec for chart in drawn},
        "of": {chart.name: list(chart.sets) for chart in drawn},
        "sets": {name: parts for chart in drawn for name, parts in chart.sets.items()},
    }
    title = escape(f"{report.profile.name} on {report.profile.target}")
    body = "\n".join(section.html for section in shown)
    links = " ".join(f'<a href="#{s.name}">{s.short}</a>' for s in shown)
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{title}</title>\n<style>\n{_file('page.css')}</style>\n</head>\n<body>\n",
            f"<header>\n{sections.heading(report)}\n</header>\n",
            f'<nav aria-label="Sections"><div>{links}',
            '<button id="theme" type="button">light or dark</button></div></nav>\n',
            f"<main>\n{body}\n</main>\n<footer>{sections.FOOTER}{_licenses()}</footer>\n",
            f'<script type="application/json" id="data">{_json(data)}</script>\n',
            *(f"<script>{_script(name)}</script>\n" for name in VENDOR),
            f"<script>\n{_file('page.js')}</script>\n</body>\n</html>\n",
        )
    )


def _json(data: Any) -> str:
    """JSON that a page holds: nothing in it ends a script."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c")


def _licenses() -> str:
    """What whoever passes the library on must pass on with it."""
    return details("Licenses", f"<pre>{html.escape(_file('vendor/LICENSE'))}</pre>")


@cache
def _file(name: str) -> str:
    return files("dmpc.report").joinpath(name).read_text("utf-8")


@cache
def _script(name: str) -> str:
    text = files("dmpc.report").joinpath("vendor", name).read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("//# sourceMappingURL"))
    return "\n".join(lines).replace("</script", "<\\/script")
