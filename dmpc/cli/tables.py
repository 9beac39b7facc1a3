"""Tables on a terminal and in a file."""

from typing import Any

from rich import box
from rich.table import Table

from dmpc.cli.terminal import clean

LEAST = 12
"""Columns that a text keeps, however wide its table is."""


class _CleanTable(Table):
    """A table of names that users chose."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row of texts."""
        super().add_row(*(clean(cell, lines=False) for cell in cells), **options)


def cut(text: str, width: int) -> str:
    """Text that is no longer than `width`; `..` stands for what was cut off its end."""
    return text if len(text) <= width else text[: width - 2] + ".."


def kilobytes(bits: int) -> str:
    """A size of memory."""
    return f"{bits / 8192:,.1f} KB"


def table(title: str, *columns: str, text: int = 1) -> Table:
    """A table whose first `text` columns are text and whose other columns are numbers."""
    title, columns = clean(title), tuple(map(clean, columns))
    made = _CleanTable(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        is_text = number < text
        made.add_column(column, justify="left" if is_text else "right", no_wrap=number == 0)
    return made


def fitted(made: Table, width: int, measured: int) -> bool:
    """Cut texts of a table that is `measured` columns wide, from its right; whether any was cut.

    Numbers and the first column are never cut.
    """
    excess, cut = measured - width, False
    for column in reversed(made.columns[1:]):
        size = max((len(str(cell)) for cell in (column.header, *column.cells)), default=0)
        less = min(excess, size - LEAST)
        if column.justify != "left" or less <= 0:
            continue
        column.overflow, column.max_width = "ellipsis", size - less
        excess, cut = excess - less, True
    for column in made.columns if cut else ():
        column.no_wrap = True
    return cut
