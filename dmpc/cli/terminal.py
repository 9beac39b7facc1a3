"""What the verbs share: standard output and error, progress on a terminal."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # what makes no table must not wait for it
    from rich.console import RenderableType
    from rich.table import Table

UNBROKEN = 10_000  # columns: wider than any line, so that nothing wraps in a pipe or file
SIZE = re.compile("[1-9][0-9]{,4}")  # of a terminal, in columns or lines
WIDTH = 80  # columns that a table takes at most, where no terminal says otherwise

# What a terminal obeys or cannot show: controls, marks that turn the direction of text, and halves
# of characters, which is how names that are no UTF-8 arrive.
_CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_ENDLESS = re.compile(
    r"[^\s/]{300,}"
)  # a word that is a message's, not a file's: those are shorter


def clean(text: str, *, lines: bool = True) -> str:
    """Text that a terminal shows and does not obey; with `lines`, it may have several."""
    text = _CONTROL.sub(_escaped, text)
    return text if lines else text.replace("\n", "\\n").replace("\t", "\\t")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that is no UTF-8
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def say(kind: str, message: str) -> None:
    """One line on standard error."""
    line = _ENDLESS.sub(lambda word: f"{word[0][:60]}...{word[0][-20:]}", " ".join(message.split()))
    with suppress(OSError):
        print(f"dmpc: {kind}: {clean(line)}", file=sys.stderr, flush=True)


# -- standard output ------------------------------------------------------------------------------

_own: list[tuple[TextIO, bool]] = []


@contextmanager
def own_output(quiet: bool) -> Iterator[None]:
    """What the verb prints goes to standard output; what a user's own modules print, to error.

    `quiet`: standard output is for a file that the verb writes there, and for nothing else.
    """
    _own.append((sys.stdout, quiet))
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _own.pop()


def write_out(content: bytes) -> None:
    """Write to standard output what is no text for people."""
    stream, _ = _output()
    stream.flush()
    stream.buffer.write(content)
    stream.buffer.flush()


def write_out_text(text: str) -> None:
    """Write text in a form that programs read: as it is, but for what a terminal would obey."""
    stream, _ = _output()
    if stream.isatty():
        stream.write(clean(text))
    else:
        write_out(text.encode("utf-8", "surrogateescape"))


@contextmanager
def own_terminal() -> Iterator[TextIO | None]:
    """Lets `input` edit lines if both ends are a terminal: it looks at Python's own streams."""
    stream, quiet = _output()
    if quiet or not (sys.stdin and sys.stdin.isatty() and stream.isatty()):
        yield None
        return
    with redirect_stdout(stream):
        yield stream


def _output() -> tuple[TextIO, bool]:
    """Standard output and whether it is quiet; outside of a verb it is Python's own."""
    return _own[-1] if _own else (sys.stdout, False)


def _environment() -> dict[str, str]:
    """The environment, without sizes of a terminal that are none: libraries trust them."""
    sizes = ("COLUMNS", "LINES")
    odd = {name for name in sizes if not SIZE.fullmatch(os.environ.get(name, ""))}
    return {name: value for name, value in os.environ.items() if name not in odd}


class Output:
    """Standard output for people: styled and wrapped on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self._stream, self._quiet = _output()
        self._styled = self._stream.isatty()
        width = None if self._styled else UNBROKEN
        self._console = Console(
            file=self._stream,
            width=width,
            highlight=False,
            markup=False,
            emoji=False,
            _environ=_environment(),
        )

    def print(self, item: "str | Table") -> None:
        """Print lines or a table; elsewhere without the blanks that fill a table's lines up.

        A table that is wider than the terminal, or than 80 columns elsewhere, is cut, and says so;
        COLUMNS in the environment chooses another width.
        """
        if isinstance(item, str):
            self._print(clean(item))
            return
        from dmpc.cli.tables import fitted

        elsewhere = int(_environment().get("COLUMNS", WIDTH))
        width = max(self._console.width, WIDTH) if self._styled else elsewhere
        wide = self._console.measure(item, options=self._console.options.update(width=UNBROKEN))
        cut = fitted(item, width, wide.maximum)
        self._print(item)
        if cut:
            self._print("texts are cut to fit; COLUMNS=200 shows more, --json all of it\n")

    def parts(self, *parts: tuple[str, str]) -> None:
        """Print texts, each with its style."""
        from rich.text import Text

        self._print(Text.assemble(*((clean(text), style) for text, style in parts)))

    def text(self, text: str) -> None:
        """Print text in a form that programs read, unbroken."""
        if not self._quiet:
            write_out_text(text)

    def _print(self, item: "RenderableType") -> None:
        if self._quiet:
            return
        if self._styled:
            self._console.print(item)
            return
        with self._console.capture() as captured:
            self._console.print(item)
        self._stream.write(re.sub(r" +(?=\n)", "", captured.get()))


# -- progress -------------------------------------------------------------------------------------


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if that is a terminal; the callback takes what has been done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    errors = Console(stderr=True, _environ=_environment())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(
        *columns,
        console=errors,
        disable=not errors.is_terminal,
        transient=True,
        redirect_stdout=False,
    ) as bar:
        task = bar.add_task(what, total=total, rate="")

        def advance(done: int) -> None:
            bar.advance(task, done)
            speed = bar.tasks[0].speed
            digits = 0 if speed and speed >= 10 else 1
            bar.update(task, rate=f"{speed:,.{digits}f}/s" if speed else "")

        yield advance


@contextmanager
def working(what: str) -> Iterator[None]:
    """A sign of life on stderr if that is a terminal, for work of unknown length."""
    from rich.console import Console

    errors = Console(stderr=True, _environ=_environment())
    if not errors.is_terminal:
        yield
        return
    with errors.status(what):
        yield
