"""Findings: what is to be said of a model, with the piece of its graph that it is about.

Errors are raised and caught; warnings and notes are told to whoever listens:

    with listening() as findings:
        graph = import_onnx("net.onnx")
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from dmpc.rules import Rule, Severity

PIECE_LENGTH = 12  # steps that are shown
PIECE_HEAD = 4  # of them, those before what is left out


MOST_INPUTS = 5  # of a step that are shown
LONGEST_NAME = 28


def _short(name: str) -> str:
    """A name in a line of a piece; of a long one, its end."""
    return name if len(name) <= LONGEST_NAME else f"..{name[2 - LONGEST_NAME :]}"


@dataclass(frozen=True)
class Step:
    """One operation of the user's model: `op(inputs) -> output`, computed by their node `node`."""

    op: str
    inputs: tuple[str, ...]
    output: str
    node: str = ""

    def __str__(self) -> str:
        inputs = [_short(name) for name in self.inputs]
        if len(inputs) > MOST_INPUTS:
            inputs = [*inputs[: MOST_INPUTS - 1], "..."]
        return f"{self.op}({', '.join(inputs)}) -> {_short(self.output)}"


@dataclass(frozen=True)
class Piece:
    """Steps in the order of execution, the one that a finding is about last.

    `omitted` steps lie between the first `PIECE_HEAD` and the others.
    """

    steps: tuple[Step, ...] = ()
    omitted: int = 0

    def lines(self) -> list[str]:
        """The steps as text, nodes in a column of their own."""
        width = max((len(str(step)) for step in self.steps), default=0)
        lines = [
            f"{step!s:{width}}  [{step.node}]" if step.node else f"{step}" for step in self.steps
        ]
        if self.omitted:
            lines.insert(PIECE_HEAD, f"... {self.omitted} more ...")
        return lines


NO_PIECE = Piece()


def piece_of(steps: Iterable[Step]) -> Piece:
    """A piece of at most PIECE_LENGTH steps; what is in the middle of more is left out."""
    every = tuple(steps)
    omitted = max(0, len(every) - PIECE_LENGTH)
    return Piece(every[:PIECE_HEAD] + every[PIECE_HEAD + omitted :], omitted)


@dataclass(frozen=True)
class Finding:
    """One thing to say of a model.

    `rule` is the name of the rule that it breaks ("" for what no rule covers), `where` the place in
    the user's terms, `nodes` the names of the nodes alone.
    """

    rule: str
    severity: Severity
    where: str
    message: str
    nearest: str = ""
    why: str = ""
    nodes: tuple[str, ...] = ()
    piece: Piece = NO_PIECE

    def inside(self, place: str) -> "Finding":
        """The same finding, its place within another."""
        return replace(self, where=f"{place}: {self.where}" if self.where else place)

    def to_json(self) -> dict[str, Any]:
        """As `dmpc check --json` writes it; see docs/rules.md."""
        return {
            "rule": self.rule,
            "severity": str(self.severity),
            "where": self.where,
            "nodes": list(self.nodes),
            "message": self.message,
            "nearest": self.nearest,
            "why": self.why,
            "piece": [
                {"op": s.op, "inputs": list(s.inputs), "output": s.output, "node": s.node}
                for s in self.piece.steps
            ],
            "omitted": self.piece.omitted,
        }


def finding(
    rule: Rule,
    *,
    where: str,
    nodes: tuple[str, ...] = (),
    piece: Piece = NO_PIECE,
    **fields: object,
) -> Finding:
    """What a rule says of a place; raises TypeError unless all the rule's fields are given."""
    message, nearest = rule.fill(fields)
    return Finding(rule.name, rule.severity, where, message, nearest, rule.why, nodes, piece)


_LISTENER: ContextVar[list[Finding] | None] = ContextVar("listener", default=None)


@contextmanager
def listening() -> Iterator[list[Finding]]:
    """A list that fills with what is told meanwhile; the same thing told twice is in it once."""
    heard: list[Finding] = []
    token = _LISTENER.set(heard)
    try:
        yield heard
    finally:
        _LISTENER.reset(token)


def tell(found: Finding) -> None:
    """Tell a warning or note to whoever listens, if anybody does."""
    heard = _LISTENER.get()
    if heard is not None and found not in heard:
        heard.append(found)
