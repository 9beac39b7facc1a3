"""What of a flow is needed, and to which timestep each operation belongs."""

from collections import defaultdict

from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind, Operation
from dmpc.frontend.normalise.lag import keep_up

Readers = dict[int, list[tuple[int, int]]]
"""Stage and timestep of every operation that reads a value."""


def needed(flow: Flow, outputs: list[int]) -> list[Operation]:
    """The operations on which the outputs depend, in order, each in the timestep that reads it.

    An operation on one value of a timestep whose result nothing reads before a later one moves
    there, so that the value itself is what the timesteps hand on: the memory, not its product with
    a matrix. What makes spikes does not move to late answers.
    """
    unheard = keep_up(flow, outputs)
    answers = set(outputs)
    live = answers | {cut.source for o in outputs if (cut := flow.values[o].slice)}
    readers: Readers = defaultdict(list)
    charging = set[int]()  # values that more than answers read
    operations = []
    for operation in reversed(flow.operations):
        if live.isdisjoint(operation.results):
            continue
        operations.append(operation)
        live.update(operation.operands)
        answers_alone = operation.number not in unheard and charging.isdisjoint(operation.results)
        if answers.isdisjoint(operation.results) and not answers_alone:
            _move(flow, operation, readers)
        if not operation.joins and operation.number not in unheard:
            charging.update(operation.operands)
        value = flow.values[operation.results[0]]
        for number, operand in enumerate(operation.operands):
            cut = flow.values[operand].slice
            if cut is not None:
                live.add(cut.source)
            step = number if operation.joins else value.step
            readers[operand].append((value.stage, step))
    return operations[::-1]


def _move(flow: Flow, operation: Operation, readers: Readers) -> None:
    """Move an operation to the first timestep that reads its result, if it is of one value."""
    value, *others = (flow.values[result] for result in operation.results if result != ABSENT)
    operands = {operand for operand in operation.operands if operand != ABSENT}
    computed = [o for o in operands if flow.values[o].kind != Kind.STATIC]
    if value.kind != Kind.STEP or others or len(computed) != 1:
        return
    when = readers[value.number]
    if when and all(stage == value.stage for stage, _ in when):
        value.step = max(value.step, min(step for _, step in when))
