"""Pieces of HTML, for notebooks and reports: text and tables; users' names are escaped here."""

from collections.abc import Iterable, Sequence
from html import escape as _escape


def escape(text: object) -> str:
    """Text that a page shows and does not obey; what has no shape shows as its number."""
    return _escape("".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text)))


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], text: int = 1
) -> str:
    """A table whose first `text` columns are text and whose other columns are numbers."""

    def cell(tag: str, at: int, value: object) -> str:
        kind = "" if at < text else ' class="n"'
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{kind}{scope}>{escape(value)}</{tag}>"

    head = "".join(cell("th", at, name) for at, name in enumerate(columns))
    body = "\n".join(
        f"<tr>{''.join(cell('td', at, value) for at, value in enumerate(row))}</tr>" for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def details(summary: str, inside: str) -> str:
    """Something that is shown when asked for."""
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def share(part: float, whole: float) -> str:
    """Per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"
