"""That the first timesteps, which exporters simplify, equal the template from its initial values.

An exporter computes ahead what it can: from a state of zeros, `v + (I - v) / 2` becomes `I / 2`.
What then differs from the template in structure is compared with it on random numbers.
"""

import numpy as np
from onnx import helper

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.evaluate import Arrays, Evaluator, widened
from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind, Value
from dmpc.frontend.normalise.match import Before, Claim
from dmpc.frontend.normalise.template import Places, Source, Template
from dmpc.frontend.onnx_file import label
from dmpc.ir.graph import Array
from dmpc.rules import Stage, rule

FIRST_TIMESTEPS = rule(
    "first-timesteps",
    Stage.IMPORT,
    "timestep {step} does not compute what later ones compute as '{ours}', neither from zeros nor "
    "from the initial values that the model shows",
    why="""The first timestep of a graph that is unrolled over time may be simplified, since it
    starts from constants. It must still be what all timesteps compute, from initial values: zeros,
    or what the network held when it was exported.""",
    nearest="reset the network's state before the export; compute the same at every timestep",
)
SCALES = (0.3, 3.0, 30.0)
"""Of the random numbers: below, around and above usual thresholds."""
TOLERANCE = 1e-6  # relative; timesteps may hold casts to float32


class Rerun:
    """A template and the flow that it stands for, on the same random numbers."""

    def __init__(
        self,
        template: Template,
        initial: dict[Before, Array],
        places: Places,
        known: Evaluator,
        scale: float,
        seed: int = 0,
    ) -> None:
        self.template, self.initial, self.places, self.known = template, initial, places, known
        self.rng, self.scale = np.random.default_rng(seed), scale
        self.random: dict[tuple[Source, int], Array] = {}
        self.series: list[Arrays] = []

    def unproven(self, claims: list[Claim]) -> Claim | None:
        """The first claim that does not hold on these numbers."""
        claims = sorted(claims, key=lambda claim: claim.step)
        both = zip(claims, self.compared(claims), strict=True)
        return next((claim for claim, (ours, theirs) in both if not _close(ours, theirs)), None)

    def compared(self, claims: list[Claim]) -> list[tuple[Array, Array]]:
        """What the template gives for each claim, and the flow."""
        steps = max(claim.step for claim in claims) + 1
        for step in range(steps):
            self.series.append(self._timestep(step))
        given = {**self.known.statics, **self._leaves(steps)}
        self.known.compute([claim.actual for claim in claims], given)
        return [(self.series[claim.step][claim.own], given[claim.actual]) for claim in claims]

    def _timestep(self, step: int) -> Arrays:
        """All results of the template at a timestep."""
        found: Arrays = {}
        for operation in self.template.operations:
            given = {o: self._operand(o, step, found) for o in operation.operands if o != ABSENT}
            found.update(self.known.run(operation, given))
        return found

    def _operand(self, operand: int, step: int, found: Arrays) -> Array:
        ref = self.template.refs[operand]
        source, at = ref.source, step - ref.delay
        if source.kind == "fixed":
            return self.known.static(source.number)
        if at < 0:
            return widened(self.initial[source, at])
        if source.kind == "own":
            return found[source.number] if at == step else self.series[at][source.number]
        return self._read(source, at)

    def _read(self, source: Source, step: int) -> Array:
        """Random numbers for what a timestep reads from outside the loop."""
        key = (source, step)
        if source.kind == "slice" and self._tells(source.number):
            return np.full(shape_of(self.known.flow, source), step, np.float64)
        if key not in self.random:
            value = self.known.flow.values[source.number]
            shape = shape_of(self.known.flow, source)
            dtype = helper.tensor_dtype_to_np_dtype(value.dtype)
            numbers = self.scale * self.rng.standard_normal(shape)
            self.random[key] = numbers if dtype.kind == "f" else (numbers > 0).astype(dtype)
        return self.random[key]

    def _tells(self, number: int) -> bool:
        """Whether a value is the clock."""
        return self.known.flow.values[number].name == self.known.flow.clock

    def _leaves(self, steps: int) -> Arrays:
        """The same numbers as values of the flow."""
        found = {}
        for value in self.known.flow.values:
            source = self._outside(value)
            if source is not None and source[1] < steps:
                found[value.number] = self._read(*source)
        return found

    def _outside(self, value: Value) -> tuple[Source, int] | None:
        cut, stage = value.slice, self.template.stage
        if cut is not None and (value.stage == stage or self._tells(cut.source)):
            return Source("slice", cut.source, cut.axis), cut.step
        if value.kind == Kind.STEP and value.stage < stage and value.number in self.places:
            place = self.places[value.number]
            return Source("lower", place.number, place.stage), place.step
        return None


def shape_of(flow: Flow, source: Source) -> tuple[int, ...]:
    """The shape of what a source is at one timestep; raises ImportFailure if it is unknown."""
    value = flow.values[source.number]
    if value.shape is None:
        raise ImportFailure("has a shape that is not known", where=value.name)
    if source.kind != "slice":
        return value.shape
    return (*value.shape[: source.extra], *value.shape[source.extra + 1 :])


def prove(
    template: Template,
    claims: list[Claim],
    initial: dict[Before, Array],
    places: Places,
    known: Evaluator,
) -> None:
    """Show claims on random numbers; raises ImportFailure if one does not hold."""
    for scale in SCALES:
        found = Rerun(template, initial, places, known, scale).unproven(claims) if claims else None
        if found is not None:
            values = known.flow.values
            theirs = values[found.actual]
            raise ImportFailure.of(
                FIRST_TIMESTEPS,
                where=theirs.name if theirs.producer is None else label(theirs.producer.node),
                step=found.step,
                ours=values[found.own].name,
            )


def _close(ours: Array, theirs: Array) -> bool:
    try:
        ours, theirs = np.broadcast_arrays(ours, theirs)
    except ValueError:
        return False
    if ours.dtype.kind != "f":
        return bool(np.array_equal(ours, theirs))
    largest = max(1.0, float(np.abs(ours).max(initial=0.0)))
    return bool(np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * largest))
