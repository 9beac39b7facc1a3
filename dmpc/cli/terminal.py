"""What the verbs share: the console, progress on a terminal, files written whole."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress import Progress
from rich.table import Table

from dmpc.errors import DmpcError
from isa.files import write_file

UNBROKEN = 10_000  # columns: wider than any line, so that nothing wraps in a pipe or file


class Output:
    """Standard output: styled and wrapped on a terminal, plain lines of any length elsewhere."""

    def __init__(self) -> None:
        self._styled = sys.stdout.isatty()
        width = None if self._styled else UNBROKEN
        self._console = Console(width=width, highlight=False, markup=False, emoji=False)

    def print(self, item: RenderableType) -> None:
        """Print a line of text or a table; elsewhere without the blanks that fill its lines up."""
        if self._styled:
            self._console.print(item)
            return
        with self._console.capture() as captured:
            self._console.print(item)
        sys.stdout.write(re.sub(r" +(?=\n)", "", captured.get()))


def table(title: str, *columns: str, text: int = 1) -> Table:
    """A table whose first `text` columns are text and whose other columns are numbers."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        is_text = number < text
        made.add_column(column, justify="left" if is_text else "right", no_wrap=number == 0)
    return made


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if that is a terminal; the callback takes what has been done."""
    errors = Console(stderr=True)
    with Progress(console=errors, disable=not errors.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A sign of life on stderr if that is a terminal, for work of unknown length."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield
        return
    with errors.status(what):
        yield


def write_text(path: str, text: str) -> None:
    """Write a text file, whole or not at all; `-` is standard output. Raises DmpcError."""
    if path == "-":
        sys.stdout.write(text)
    else:
        write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str, content: bytes) -> None:
    """Write a file, whole or not at all. Raises DmpcError."""
    try:
        write_file(path, content)
    except OSError as error:
        raise DmpcError(f"cannot write: {error.strerror or error}", where=path) from error


def write_json(path: str, value: dict[str, Any]) -> None:
    """Write JSON, whole or not at all; `-` is standard output."""
    write_text(path, json.dumps(value, indent=1) + "\n")
