"""Tables on a terminal and in a file."""

from typing import Any

from rich import box
from rich.table import Table

from dmpc.cli.terminal import clean


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
