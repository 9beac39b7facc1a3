"""The timestep that all others must equal: what it computes, and what it reads from before."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from dmpc.errors import ImportFailure
from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind, Operation
from dmpc.frontend.onnx_file import label
from dmpc.rules import Stage, rule

NO_COUNTERPART = rule(
    "no-counterpart",
    Stage.IMPORT,
    "this is not computed at timestep {step}, or with other weights",
    why="""A graph that is unrolled over time is taken for a loop: what one timestep computes, all
    others compute. Only the first may be simpler, since it starts from constants, and the last,
    since nothing follows.""",
    nearest="compute the same at every timestep, with the same weights and statistics",
)
UNLIKE_CONSTANTS = rule(
    "unlike-constants",
    Stage.IMPORT,
    "timestep {step} reads {theirs} where timestep {reference} reads {ours}",
    why="""Weights and parameters are loaded once and used at every timestep. What depends on the
    number of the timestep needs a state that counts.""",
    nearest="the same weights, parameters and statistics at every timestep",
)
TWINS = rule(
    "twins",
    Stage.IMPORT,
    "this and '{other}' compute the same from like values at every timestep",
    why="""Which value of a timestep is which value of the next follows from how they are computed.
    Two states that differ in their first values alone cannot be told apart so.""",
    nearest="more timesteps in the export, or the same initial values",
)

TOO_FEW = rule(
    "too-few-timesteps",
    Stage.IMPORT,
    "{steps} timesteps do not show what they have in common: at timestep {step} this still hangs "
    "on the start, or the answer on no more",
    why="""What timesteps have in common is read off the middle one and those around it. First ones
    are simpler, since they start from constants; so are last ones of networks that answer late. The
    more states follow each other, the more of these there are.""",
    nearest="an example of {enough} timesteps, or more",
)


class TooFewTimesteps(ImportFailure):
    """The error of a loop that is unrolled over too few timesteps; `steps` says how many."""

    steps = 0


@dataclass(frozen=True)
class Source:
    """Something that has a value at every timestep of a loop, or the same value at all.

    `own`: a result of the loop's template, by number. `slice`: the whole value of that number, cut
    along `extra`. `lower`: a result of the template of the earlier stage `extra`. `fixed`: a
    static value.
    """

    kind: str
    number: int
    extra: int = 0


@dataclass(frozen=True)
class Ref:
    """A source, `delay` timesteps ago."""

    source: Source
    delay: int = 0


@dataclass(frozen=True)
class Place:
    """Where an operation of one timestep stands in a template: its result, at a timestep."""

    stage: int
    number: int
    step: int


Places = dict[int, Place]
Held = Set[tuple[int, int]]
"""Operands that operations read, by their numbers: what is held from one timestep to the next."""


@dataclass(frozen=True)
class Template:
    """One timestep of the loop of a stage.

    `refs` says of every value that the operations or joins of this timestep read, by number, what
    it is in any timestep. `last` are results that the timestep `final` computes too, and its.
    """

    stage: int
    step: int
    operations: list[Operation]
    joins: list[Operation]
    refs: dict[int, Ref]
    final: int
    last: dict[int, int]


def find_template(
    flow: Flow, stage: int, operations: list[Operation], joins: list[Operation], places: Places
) -> Template:
    """The middle timestep of a stage.

    `operations` and `joins` are those of the stage; `places` tells where values of earlier stages
    stand. Raises ImportFailure where two computations of the timestep cannot be told apart.
    """
    step = flow.middle
    by_step: dict[int, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_step[flow.values[operation.results[0]].step].append(operation)
    colours = told_apart(flow, stage, operations, places, by_step[step])
    twins = {
        at: {colours[operation.number]: operation for operation in found}
        for at, found in by_step.items()
    }
    refs = {}
    for reader in (*by_step[step], *joins):
        for position, operand in enumerate(reader.operands):
            elsewhere = reader.joins and position != step - reader.first
            if elsewhere or operand in refs or operand == ABSENT:
                continue
            refs[operand] = _ref(flow, stage, step, operand, places)
            delay = refs[operand].delay
            if refs[operand].source.kind == "own" and delay:
                later = _later(reader, position, twins, colours, step + delay)
                if later is None:
                    raise _unlike(flow, stage, operations, places, twins, step + delay)
                refs[operand] = Ref(Source("own", later), delay)
    final, last = flow.steps, dict[int, int]()
    while not last and final > step:  # of a network that lags, the last inputs are not read
        final -= 1
        last = {
            own: its
            for operation in by_step[step]
            if (twin := twins.get(final, {}).get(colours[operation.number]))
            for own, its in zip(operation.results, twin.results, strict=True)
        }
    return Template(stage, step, by_step[step], joins, refs, final, last)


def _ref(flow: Flow, stage: int, step: int, operand: int, places: Places) -> Ref:
    """What a value is, seen from a timestep; a delayed one of this stage still bears its number."""
    value = flow.values[operand]
    if value.kind == Kind.STATIC:
        return Ref(Source("fixed", operand))
    if value.slice is not None:
        source = Source("slice", value.slice.source, value.slice.axis)
        return Ref(source, step - value.slice.step)
    if value.stage == stage:
        return Ref(Source("own", operand), step - value.step)
    if operand not in places:
        raise ImportFailure.of(NO_COUNTERPART, where=value.name, step=value.step)
    place = places[operand]
    return Ref(Source("lower", place.number, place.stage), step - place.step)


def _later(
    reader: Operation,
    position: int,
    twins: dict[int, dict[int, Operation]],
    colours: dict[int, int],
    step: int,
) -> int | None:
    """What the reader's twin at a later timestep reads in the same place; None without a twin."""
    if reader.joins:
        return reader.of(step) if step in reader.timesteps else None
    twin = twins.get(step, {}).get(colours[reader.number])
    return None if twin is None else twin.operands[position]


def _unlike(
    flow: Flow,
    stage: int,
    operations: list[Operation],
    places: Places,
    twins: dict[int, dict[int, Operation]],
    step: int,
) -> ImportFailure:
    """The error of a middle timestep that computes something else than a later one.

    There are too few timesteps if they differ in what was before, and that are first ones, or if
    the loop ends there.
    """
    alike = coloured(flow, stage, operations, places, {})
    each = {at: {alike[one.number] for one in found.values()} for at, found in twins.items()}
    middle = flow.middle
    there = twins.get(step, {})
    where = next(label(one.node) for colour, one in twins[middle].items() if colour not in there)
    first = next((at for at in range(middle) if each.get(at) == each[middle]), middle)
    odd = any(each.get(at) != each[middle] for at in (*range(first, middle), step))
    if odd and step < flow.steps - 1:
        other = _other_weights(flow, twins[middle], there, step)
        return other or ImportFailure.of(NO_COUNTERPART, where=where, step=step)
    return too_few(where, flow.steps, step)


def _other_weights(
    flow: Flow, ours: dict[int, Operation], theirs: dict[int, Operation], step: int
) -> ImportFailure | None:
    """The error of two timesteps of which one reads a weight where the other reads another.

    `ours` and `theirs` are their operations by colour, in the order in which they are computed.
    """
    here = [one for colour, one in ours.items() if colour not in theirs]
    there = [one for colour, one in theirs.items() if colour not in ours]
    one, other = here[0], there[0] if there else None
    if other is None or one.key != other.key or len(one.operands) != len(other.operands):
        return None
    pairs = [pair for pair in zip(one.operands, other.operands, strict=True) if ABSENT not in pair]
    for pair in pairs:
        mine, its = (flow.values[operand] for operand in pair)
        if mine.kind == its.kind == Kind.STATIC and mine is not its:
            return ImportFailure.of(
                UNLIKE_CONSTANTS,
                where=its.name,
                step=step,
                theirs=f"'{its.name}'",
                reference=flow.middle,
                ours=f"'{mine.name}'",
            )
    return None


def too_few(where: str, steps: int, step: int) -> TooFewTimesteps:
    """The error of a loop over so few timesteps, of which one is none like the others."""
    error = TooFewTimesteps.of(TOO_FEW, where=where, steps=steps, step=step, enough=2 * (step + 1))
    error.steps = steps
    return error


def told_apart(
    flow: Flow,
    stage: int,
    operations: Sequence[Operation],
    places: Places,
    wanted: Sequence[Operation],
    held: Held = frozenset(),
) -> dict[int, int]:
    """A number for each operation, alike for those that compute the same from like values.

    Values from earlier timesteps are alike at first; then they bear the colours of the round
    before, until the wanted operations, those of one timestep, all differ. Operands that are `held`
    tell nothing. Raises ImportFailure where two of them cannot be told apart.
    """
    colours: dict[int, int] = {}
    for _ in range(max(1, flow.steps // 2)):
        colours = coloured(flow, stage, operations, places, colours, held)
        shared = Counter(colours[operation.number] for operation in wanted)
        if len(shared) == len(wanted):
            return colours
    first = next(o for o in wanted if shared[colours[o.number]] > 1)
    second = next(
        o for o in wanted if o is not first and colours[o.number] == colours[first.number]
    )
    raise ImportFailure.of(TWINS, where=label(first.node), other=label(second.node))


def coloured(
    flow: Flow,
    stage: int,
    operations: Sequence[Operation],
    places: Places,
    before: Mapping[int, int],
    held: Held = frozenset(),
) -> dict[int, int]:
    """A colour for each operation of a stage, given those that values of timesteps before bear.

    Operands that are `held` tell nothing.
    """
    found: dict[int, int] = {}
    numbers: dict[object, int] = {}
    for operation in operations:
        step = flow.values[operation.results[0]].step
        operands = tuple(
            None
            if (operation.number, position) in held
            else described(flow, stage, step, operand, places, found, before)
            for position, operand in enumerate(operation.operands)
        )
        found[operation.number] = numbers.setdefault((operation.key, operands), len(numbers))
    return found


def described(
    flow: Flow,
    stage: int,
    step: int,
    operand: int,
    places: Places,
    found: Mapping[int, int],
    before: Mapping[int, int],
) -> object:
    """What an operand is, told from others by the colours of this timestep and of those before."""
    if operand == ABSENT:
        return None
    value = flow.values[operand]
    producer = value.producer
    if value.kind == Kind.STEP and value.stage == stage and producer is not None:
        colours = before if value.step < step else found
        result = producer.results.index(operand)
        return step - value.step, colours.get(producer.number, 0), result
    if value.stage < stage and operand in places:
        place = places[operand]
        return place.stage, place.number, step - place.step
    return operand if value.slice is None else (value.slice.source, step - value.slice.step)
