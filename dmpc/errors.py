"""Errors that a user of the compiler sees: one line that says where, what, and what would help."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from dmpc.findings import NO_PIECE, Finding, Piece
from dmpc.rules import Rule, Severity
from isa.errors import one_line


class DmpcError(Exception):
    """A user's model, text or option that the compiler cannot accept.

    `where` names the place in the user's own terms (a file, a node); `message` says what is wrong
    and why; `hint` says what would help. `detail` may hold further lines (a caret under a line of
    text, every single problem of a graph) for those who ask for them. `rule` is the rule that is
    broken, `nodes` and `piece` the nodes and the piece of the user's graph that break it. `others`
    are further errors that were found independently of this one, `more` a command that shows them.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        hint: str = "",
        detail: str = "",
        rule: Rule | None = None,
        nodes: tuple[str, ...] = (),
        piece: Piece = NO_PIECE,
    ) -> None:
        super().__init__(message)
        self.message = one_line(message)
        self.where = where
        self.hint = hint
        self.detail = detail
        self.rule = rule
        self.nodes = nodes
        self.piece = piece
        self.others: tuple[DmpcError, ...] = ()
        self.more = ""

    @classmethod
    def of(
        cls,
        rule: Rule,
        *,
        where: str = "",
        nodes: tuple[str, ...] = (),
        piece: Piece = NO_PIECE,
        **fields: object,
    ) -> Self:
        """The error of a broken rule; raises TypeError unless all the rule's fields are given."""
        message, nearest = rule.fill(fields)
        return cls(message, where=where, hint=nearest, rule=rule, nodes=nodes, piece=piece)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        help_ = f" ({self.hint})" if self.hint else ""
        others = f" (and {len(self.others)} more: {self.more})" if self.others and self.more else ""
        return f"{place}{self.message}{help_}{others}"

    @property
    def every(self) -> tuple["DmpcError", ...]:
        """This error and all that were found with it."""
        return (self, *self.others)

    @property
    def finding(self) -> Finding:
        """This error, without the others, as a finding."""
        return Finding(
            self.rule.name if self.rule else "",
            Severity.ERROR,
            self.where,
            self.message,
            self.hint,
            self.rule.why if self.rule else "",
            self.nodes,
            self.piece,
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """This error and the others, as findings."""
        return tuple(one.finding for one in self.every)

    def inside(self, place: str) -> Self:
        """The same error, and those found with it, their places within another."""
        for error in self.every:
            error.where = f"{place}: {error.where}" if error.where else place
        return self


class ErrorList:
    """Errors that are independent of each other, gathered so that all are reported at once."""

    def __init__(self) -> None:
        self.errors: list[DmpcError] = []

    def __bool__(self) -> bool:
        return bool(self.errors)

    def add(self, error: DmpcError) -> None:
        """Add an error and those found with it; one that says the same as another is left out."""
        for one in error.every:
            if str(one) not in map(str, self.errors):
                self.errors.append(one)
        error.others = ()

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Take what is raised inside, and go on after it."""
        try:
            yield
        except DmpcError as error:
            self.add(error)

    def check(self) -> None:
        """Raise the first error, with the others, if there is one."""
        if self.errors:
            first, *others = self.errors
            first.others = tuple(others)
            raise first


def raise_all(errors: Iterable[DmpcError]) -> None:
    """Raise the first of some errors, with the others, if there is one."""
    found = ErrorList()
    for error in errors:
        found.add(error)
    found.check()


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

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One for each problem."""
        return tuple(Finding("", Severity.ERROR, self.where, text) for text in self.problems)


class CompileError(DmpcError):
    """A graph that a pass cannot bring to the next level, or the target cannot hold."""


class SampleError(DmpcError):
    """A calibration set that is no input of the network; `where` is for whoever knows its file."""
