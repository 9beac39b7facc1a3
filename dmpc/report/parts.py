"""What a report is made of: sections, and the charts in them."""

from dataclasses import dataclass
from typing import Any

from runtime.html import escape


@dataclass(frozen=True)
class Chart:
    """A chart, and the data that it names: parts, or parts by sample."""

    name: str
    spec: dict[str, Any]
    sets: dict[str, Any]
    label: str

    @property
    def html(self) -> str:
        """Where it is drawn."""
        return (
            f'<div class="chart" id="chart-{self.name}" tabindex="0" role="figure" '
            f'aria-label="{escape(self.label)}"></div>'
        )


@dataclass(frozen=True)
class Section:
    """A section of the page; `short` is what leads to it."""

    name: str
    short: str
    title: str
    parts: tuple[str | Chart, ...]

    @property
    def charts(self) -> list[Chart]:
        """Its charts."""
        return [part for part in self.parts if isinstance(part, Chart)]

    @property
    def html(self) -> str:
        """Its text."""
        inside = "\n".join(part.html if isinstance(part, Chart) else part for part in self.parts)
        return f'<section id="{self.name}">\n<h2>{escape(self.title)}</h2>\n{inside}\n</section>'
