"""What of a flow is needed, and to which timestep each operation belongs."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Set

from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind, Operation
from dmpc.frontend.normalise.lag import keep_up
from dmpc.frontend.normalise.template import coloured

Readers = dict[int, list[tuple[int, int]]]
"""Stage and timestep of every operation that reads a value."""
ROUNDS = 2  # timesteps that twins have in common


def needed(flow: Flow, outputs: list[int], *, held: bool = False) -> list[Operation]:
    """The operations on which the outputs depend, in order, each in the timestep that reads it.

    An operation on one value of a timestep whose result nothing reads before a later one moves
    there, so that the value itself is what the timesteps hand on: the memory, not its product with
    a matrix. What makes spikes does not move to late answers: the last, which nothing else reads,
    moves as far as its twin of the timestep before. With `held` so does what is made of values
    that several timesteps read, and of others.
    """
    unheard = keep_up(flow, outputs)
    operations = _live(flow, outputs)
    again = _read_twice(flow, operations) if held else set[int]()
    made = [number for one in operations for number in one.results if number != ABSENT]
    own = {number: flow.values[number].step for number in made}
    heard = {one.results[0] for one in operations if one.number not in unheard and not one.joins}
    read = {operand for one in operations for operand in one.operands}
    stay = dict.fromkeys(set(outputs) - (heard - read), 0)  # an answer of spikes moves as they do
    ends = _move_all(flow, operations, unheard, stay, again)
    late = [end for end in ends if flow.values[end.results[0]].step < flow.steps - 1]
    if not late:
        return operations
    moved = {number: flow.values[number].step - step for number, step in own.items()}
    for number, step in own.items():
        flow.values[number].step = step
    twins = _twins(flow, operations, late)
    stay |= {end.results[0]: moved[twin.results[0]] for end, twin in twins}
    _move_all(flow, operations, unheard, stay, again)
    return operations


def read_again(flow: Flow, operations: Iterable[Operation]) -> bool:
    """Whether like operations of several timesteps read one value, as they do where one is held."""
    return any(len(steps) > 1 for steps in _readers(flow, operations).values())


def _read_twice(flow: Flow, operations: Iterable[Operation]) -> set[int]:
    """The values that several like operations read."""
    return {value for (_, value), steps in _readers(flow, operations).items() if steps.total() > 1}


def _readers(flow: Flow, operations: Iterable[Operation]) -> dict[tuple[object, int], Counter[int]]:
    """How many like operations of each timestep read a value, by what they are and the value."""
    found: dict[tuple[object, int], Counter[int]] = defaultdict(Counter)
    for one in operations:
        step = flow.values[one.results[0]].step
        moving = {o for o in one.operands if o != ABSENT and flow.values[o].kind == Kind.STEP}
        fixed = tuple(None if operand in moving else operand for operand in one.operands)
        for value in moving:
            found[(one.key, fixed), value][step] += 1
    return found


def _live(flow: Flow, outputs: list[int]) -> list[Operation]:
    live = {*outputs, *(cut.source for o in outputs if (cut := flow.values[o].slice))}
    operations = []
    for operation in reversed(flow.operations):
        if live.isdisjoint(operation.results):
            continue
        operations.append(operation)
        live.update(operation.operands)
        cuts = (flow.values[operand].slice for operand in operation.operands)
        live.update(cut.source for cut in cuts if cut is not None)
    return operations[::-1]


def _move_all(
    flow: Flow,
    operations: list[Operation],
    unheard: Container[int],
    moved: Mapping[int, int],
    again: Set[int],
) -> list[Operation]:
    """Move operations to what reads them; those of `moved`, by a result, as far as it says.

    Returns what makes spikes that answers alone read, which stays.
    """
    readers: Readers = defaultdict(list)
    charging = set[int]()  # values that more than answers read
    ends = []
    for operation in reversed(operations):
        value = flow.values[operation.results[0]]
        known = [moved[result] for result in operation.results if result in moved]
        if known:
            value.step += known[0]
        elif operation.number in unheard or not charging.isdisjoint(operation.results):
            _move(flow, operation, readers, again)
        elif value.kind == Kind.STEP:
            ends.append(operation)
        if not operation.joins and operation.number not in unheard:
            charging.update(operation.operands)
        for number, operand in enumerate(operation.operands):
            step = operation.first + number if operation.joins else value.step
            readers[operand].append((value.stage, step))
    return ends


def _move(flow: Flow, operation: Operation, readers: Readers, again: Set[int]) -> None:
    """Move an operation to the first timestep that reads its result, if it is of one value, or of
    one that is read `again`."""
    value, *others = (flow.values[result] for result in operation.results if result != ABSENT)
    operands = {operand for operand in operation.operands if operand != ABSENT}
    computed = [o for o in operands if flow.values[o].kind != Kind.STATIC]
    alone = len(computed) == 1 or not again.isdisjoint(computed)
    if value.kind != Kind.STEP or others or not alone:
        return
    when = readers[value.number]
    if when and all(stage == value.stage for stage, _ in when):
        value.step = max(value.step, min(step for _, step in when))


def _twins(
    flow: Flow, operations: list[Operation], ends: list[Operation]
) -> Iterator[tuple[Operation, Operation]]:
    """Those of `ends` with what computes the same from like values in the timestep before."""
    for stage in dict.fromkeys(flow.values[end.results[0]].stage for end in ends):
        there = [one for one in operations if flow.values[one.results[0]].stage == stage]
        colours: dict[int, int] = {}
        for _ in range(min(ROUNDS, flow.steps // 2)):
            colours = coloured(flow, stage, there, {}, colours)
        place = {
            (colours[one.number], flow.values[one.results[0]].step): one
            for one in there
            if not one.joins
        }
        for end in ends:
            step = flow.values[end.results[0]].step
            twin = place.get((colours.get(end.number, -1), step - 1))
            if twin is not None:
                yield end, twin
