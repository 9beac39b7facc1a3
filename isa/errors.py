"""Errors of the instruction set: malformed input, and a trap of the machine."""

import re

LONGEST = 1500  # characters of a message
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+(?=>)")  # of an object of Python, another in every run


def one_line(text: str) -> str:
    """A text as one line to print: no control characters, and cut in its middle if it is endless.

    Messages quote what a user wrote, which may be anything, and what libraries say of it.
    """
    text = ADDRESS.sub("", " ".join(text.split()))
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


class IsaError(Exception):
    """A program, image or target that the hardware cannot take; the message is one line."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class Trap(IsaError):
    """The machine stopped: says program counter, cycle where known, and cause."""

    def __init__(self, cause: str, *, pc: int | None = None, cycle: int | None = None) -> None:
        self.cause, self.pc, self.cycle = cause, pc, cycle
        at = [
            f"{name} {value}" for name, value in (("pc", pc), ("cycle", cycle)) if value is not None
        ]
        super().__init__(f"trap at {', '.join(at)}: {cause}" if at else f"trap: {cause}")


class named:  # noqa: N801  a class, since a generator would cost a stream as much as its timestep
    """Errors of an image's parts, and traps of its program, name the file that it came from."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        del kind, trace
        if error is None or not self.origin or not isinstance(error, IsaError):
            return
        if not str(error).startswith(f"{self.origin}:"):
            error.args = (f"{self.origin}: {error}",)
