"""Every timestep against the template, from the last to the first."""

from collections import defaultdict
from dataclasses import dataclass, field

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.evaluate import Evaluator
from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind, Value
from dmpc.frontend.normalise.template import (
    UNLIKE_CONSTANTS,
    Place,
    Places,
    Source,
    Template,
)
from dmpc.frontend.onnx_file import label
from dmpc.rules import Stage, rule

UNLIKE_TIMESTEPS = rule(
    "unlike-timesteps",
    Stage.IMPORT,
    "timestep {step} computes {theirs} where timestep {reference} computes {ours}",
    why="""A graph that is unrolled over time is taken for a loop, whose timesteps compute the same.
    The machine's program is one timestep, repeated.""",
    nearest="compute the same at every timestep",
)
Before = tuple[Source, int]
"""A source at a timestep below 0."""


@dataclass(frozen=True)
class Claim:
    """Result `own` of the template, at a timestep, equals a value of the flow."""

    own: int
    step: int
    actual: int


@dataclass
class Trial:
    """What follows if some claims hold.

    `bound` maps results of the template at the claims' timestep to values of the flow; `problem`
    is the first reason why the claims cannot be read off the structure.
    """

    claims: list[Claim] = field(default_factory=list)
    bound: dict[int, int] = field(default_factory=dict)
    initial: dict[Before, int] = field(default_factory=dict)
    problem: ImportFailure | None = None

    def fail(self, problem: ImportFailure) -> None:
        """Keep the first problem."""
        self.problem = self.problem or problem


@dataclass
class Match:
    """How a flow's values follow from a template.

    `unread` are claims about the first timesteps that structure does not show, because an exporter
    has simplified what it computed from initial values; `guesses` are initial values met in them.
    """

    places: Places = field(default_factory=dict)
    initial: dict[Before, int] = field(default_factory=dict)
    guesses: dict[Before, int] = field(default_factory=dict)
    unread: list[Claim] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)  # what each result is when it first is


class Matcher:
    """Follows a template through all timesteps of its stage."""

    def __init__(self, flow: Flow, template: Template, places: Places, known: Evaluator) -> None:
        self.flow, self.template, self.places, self.known = flow, template, places, known
        self.own = {
            result: operation for operation in template.operations for result in operation.results
        }
        self.match = Match()
        self.claims: dict[int, dict[Claim, None]] = defaultdict(dict)
        self.hunches: dict[int, dict[Claim, None]] = defaultdict(dict)

    def run(self) -> Match:
        """Every value of the stage that outputs need.

        Raises ImportFailure on a timestep that differs, naming its node.
        """
        final = self.template.final
        for own, actual in self.template.last.items():
            self.claims[final][Claim(own, final, actual)] = None
        for join in self.template.joins:
            for step in join.timesteps:
                trial = Trial()
                self._operand(join.of(self.template.step), join.of(step), step, trial)
                if trial.problem:
                    raise trial.problem
                self._adopt(trial, step)
        for step in reversed(range(self.flow.steps)):
            self._timestep(step)
        return self.match

    def _timestep(self, step: int) -> None:
        bound: dict[int, int] = {}
        for claim in self.claims.pop(step, {}):
            trial = self._try(claim, bound)
            if trial.problem is None:
                bound.update(trial.bound)
                self._adopt(trial, step)
            elif step < self.template.step:
                self.match.guesses.update(trial.initial)
                if self.flow.clock:
                    self._suspect(claim, trial)
                self._settle(claim.own, claim.actual, step)
                self.match.unread.append(claim)
            else:
                raise trial.problem
        for claim in self.hunches.pop(step, {}):
            self._suspect(claim, self._try(claim, {}))

    def _suspect(self, claim: Claim, trial: Trial) -> None:
        """Follow a claim that does not hold to what it would have initial values be: at first a
        held value is one."""
        if self.flow.values[claim.actual].kind == Kind.STATIC:
            trial.initial.setdefault((Source("own", claim.own), -1), claim.actual)
        for at, actual in trial.initial.items():
            self.match.guesses.setdefault(at, actual)
        for before in trial.claims:
            self.hunches[before.step][before] = None

    def _adopt(self, trial: Trial, step: int) -> None:
        for claim in trial.claims:
            self.claims[claim.step][claim] = None
        for own, actual in trial.bound.items():
            self._settle(own, actual, step)
            self.match.first[own] = actual
        for before, actual in trial.initial.items():
            first = self.match.initial.setdefault(before, actual)
            if not self.known.alike(first, actual):
                raise self._differs(first, actual, step)

    def _settle(self, own: int, actual: int, step: int) -> None:
        """Note where a value of the flow stands; a constant stands for itself."""
        if self.flow.values[actual].kind == Kind.STEP:
            self.match.places[actual] = Place(self.template.stage, own, step)

    def _try(self, claim: Claim, bound: dict[int, int]) -> Trial:
        """What follows from a claim, given what stands for the template's results already."""
        found, queue = Trial(), [claim]
        while queue:
            claim = queue.pop()
            standing = found.bound.get(claim.own, bound.get(claim.own))
            if standing is None:
                found.bound[claim.own] = claim.actual
                there = Trial()
                self._compare(claim, there)
                queue += (c for c in there.claims if c.step == claim.step)
                found.claims += (c for c in there.claims if c.step < claim.step)
                found.initial.update(there.initial)
                found.problem = found.problem or there.problem
            elif standing != claim.actual:
                found.fail(self._differs(standing, claim.actual, claim.step))
        return found

    def _compare(self, claim: Claim, trial: Trial) -> None:
        """Compare one operation with its counterpart."""
        ours, theirs = self.own[claim.own], self.flow.values[claim.actual].producer
        if (
            theirs is None
            or ours.key != theirs.key
            or len(ours.operands) != len(theirs.operands)
            or ours.results.index(claim.own) != theirs.results.index(claim.actual)
        ):
            trial.fail(self._differs(claim.own, claim.actual, claim.step))
            return
        for operand, actual in zip(ours.operands, theirs.operands, strict=True):
            self._operand(operand, actual, claim.step, trial)

    def _operand(self, operand: int, actual: int, step: int, trial: Trial) -> None:
        """Compare what the template reads with what stands in its place at a timestep."""
        if operand == ABSENT and actual == ABSENT:
            return
        if ABSENT in (operand, actual):
            trial.fail(self._differs(max(operand, actual), max(operand, actual), step))
            return
        ref = self.template.refs[operand]
        source, at = ref.source, step - ref.delay
        if at < 0 and self.flow.values[actual].kind == Kind.STATIC:
            trial.initial[source, at] = actual
        elif at >= 0 and source.kind == "own":
            trial.claims.append(Claim(source.number, at, actual))
        elif at < 0 or not self._same(source, at, actual):
            trial.fail(self._differs(operand, actual, step))

    def _same(self, source: Source, at: int, actual: int) -> bool:
        """Whether a value of the flow is a source that is not the template's own, at a timestep."""
        value = self.flow.values[actual]
        if source.kind == "fixed":
            return actual == source.number or (
                value.kind == Kind.STATIC and self.known.equal(source.number, actual)
            )
        if source.kind == "slice":
            cut = value.slice
            return cut is not None and (cut.source, cut.axis, cut.step) == (
                source.number, source.extra, at
            )  # fmt: skip
        return self.places.get(actual) == Place(source.extra, source.number, at)

    def _differs(self, ours: int, theirs: int, step: int) -> ImportFailure:
        values, known = self.flow.values, self.known
        reference = self.template.step
        if values[ours].kind == values[theirs].kind == Kind.STATIC:
            return ImportFailure.of(
                UNLIKE_CONSTANTS,
                where=values[theirs].name,
                step=step,
                theirs=known.shown(theirs),
                reference=reference,
                ours=known.shown(ours),
            )
        return ImportFailure.of(
            UNLIKE_TIMESTEPS,
            where=_where(values[theirs]),
            step=step,
            theirs=_what(values[theirs]),
            reference=reference,
            ours=_what(values[ours]),
        )


def _where(value: Value) -> str:
    return value.name if value.producer is None else label(value.producer.node)


def _what(value: Value) -> str:
    if value.producer is None:
        return f"'{value.name}'"
    return f"{value.producer.node.op_type} '{label(value.producer.node)}'"
