"""Errors of the instruction set: malformed input, and a trap of the machine."""

from collections.abc import Iterator
from contextlib import contextmanager


class IsaError(Exception):
    """A program, image or target that the hardware cannot take; the message is one line."""


class Trap(IsaError):
    """The machine stopped: says program counter, cycle where known, and cause."""

    def __init__(self, cause: str, *, pc: int | None = None, cycle: int | None = None) -> None:
        self.cause, self.pc, self.cycle = cause, pc, cycle
        at = [
            f"{name} {value}" for name, value in (("pc", pc), ("cycle", cycle)) if value is not None
        ]
        super().__init__(f"trap at {', '.join(at)}: {cause}" if at else f"trap: {cause}")


@contextmanager
def named(origin: str) -> Iterator[None]:
    """Errors of an image's parts, and traps of its program, name the file that it came from."""
    try:
        yield
    except IsaError as error:
        if origin and not str(error).startswith(f"{origin}:"):
            error.args = (f"{origin}: {error}",)
        raise
