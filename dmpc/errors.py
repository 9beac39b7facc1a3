"""Errors that a user of the compiler sees: one line that says where, what, and what would help."""


class DmpcError(Exception):
    """A user's model, text or option that the compiler cannot accept.

    `where` names the place in the user's own terms (a file, a node); `message` says what is wrong
    and why; `hint` says what would help. `detail` may hold further lines (a caret under a line of
    text, every single problem of a graph) for those who ask for them.
    """

    def __init__(self, message: str, *, where: str = "", hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = " ".join(message.split())
        self.where = where
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        help_ = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{help_}"


class ImportFailure(DmpcError):
    """A model file that cannot be turned into a graph."""


class ParseError(DmpcError):
    """Text of the IR that does not follow its grammar; `where` is file:line:column."""


class VerifyError(DmpcError):
    """A graph that breaks a fact of its level; `problems` lists every one of them."""

    def __init__(self, problems: list[str], *, where: str = "") -> None:
        count = f"{len(problems)} problems: " if len(problems) > 1 else ""
        super().__init__(count + "; ".join(problems), where=where, detail="\n".join(problems))
        self.problems = problems


class CompileError(DmpcError):
    """A graph that a pass cannot bring to the next level, or the target cannot hold."""


class SampleError(DmpcError):
    """A calibration set that is no input of the network; `where` is for whoever knows its file."""
