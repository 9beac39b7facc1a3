"""What the verbs share: the console, progress on a terminal, files written whole."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dmpc.errors import DmpcError

PLAIN_WIDTH = 100


def console() -> Console:
    """Standard output: styled on a terminal, plain and of fixed width elsewhere."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def table(title: str, *columns: str) -> Table:
    """A table whose first column is text and whose other columns are numbers."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    return made


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if that is a terminal; the callback takes what has been done."""
    errors = Console(stderr=True)
    with Progress(console=errors, disable=not errors.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def write_text(path: str, text: str) -> None:
    """Write a text file, whole or not at all; `-` is standard output. Raises DmpcError."""
    if path == "-":
        sys.stdout.write(text)
        return
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise DmpcError(f"cannot write: {error.strerror or error}", where=path) from error


def write_json(path: str, value: dict[str, Any]) -> None:
    """Write JSON, whole or not at all; `-` is standard output."""
    write_text(path, json.dumps(value, indent=1) + "\n")
