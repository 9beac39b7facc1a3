"""Lists of the outputs of later timesteps alone, as answers take them that leave out the first."""

from collections import defaultdict

from dmpc.frontend.normalise.flow import ABSENT, JOINS, Flow, Kind, Operation
from dmpc.frontend.normalise.slices import FEWEST_STEPS

MOST_LAG = 1
"""Timesteps by which the last of a list may come late: a network lags, or the list ends before."""


def later_lists(flow: Flow) -> dict[str, int]:
    """The first timestep of each list of one value of some timesteps, by the tensor that holds it.

    What a timestep joins of those before it is no such list: the others join as many, or, once a
    window that begins with the same is full.
    """
    ends, begun = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    found: dict[str, list[int]] = {}
    for operation in flow.operations:
        steps = _steps(flow, operation)
        if len(steps) >= FEWEST_STEPS and steps == [*range(steps[0], steps[0] + len(steps))]:
            found[operation.node.output[0]] = steps
            ends[len(steps)].add(steps[-1])
            begun[steps[0]].add(steps[-1])
    lag = {name: flow.steps - 1 - steps[-1] for name, steps in found.items()}
    return {
        name: steps[0] + (lag[name] if lag[name] <= MOST_LAG else 0)
        for name, steps in found.items()
        if len(ends[len(steps)]) == len(ends[max(begun[steps[0]]) + 1 - steps[0]]) == 1
    }


def _steps(flow: Flow, operation: Operation) -> list[int]:
    """The timesteps of like values that an operation joins, if they are not known to be all."""
    if operation.joins or operation.node.op_type not in JOINS or ABSENT in operation.operands:
        return []
    values = [flow.values[operand] for operand in operation.operands]
    alike = {(value.stage, value.shape) for value in values}
    of_steps = all(value.kind == Kind.STEP for value in values)
    return [value.step for value in values] if of_steps and len(alike) == 1 else []
