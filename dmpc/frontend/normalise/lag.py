"""Answers of a network that lags behind its input, put in the timesteps whose answers they are.

A value's timestep is that of the latest input that it hangs on. Where neurons fire on currents
that take in the input behind the spike, what is made of the spikes of timestep k hangs on the input
of timestep k - 1. What no comparison hears of is a readout: all of it moves by as many timesteps as
its answers come late, and reads spikes of timesteps before.
"""

from collections.abc import Iterator

from onnx import TensorProto

from dmpc.frontend.normalise.flow import ABSENT, Flow, Kind, Operation

ROUNDINGS = ("Ceil", "Floor", "Round", "Sign")  # which make spikes as comparisons do


def keep_up(flow: Flow, outputs: list[int]) -> set[int]:
    """Move what makes a model's late answers to the timesteps that these are of.

    Returns the numbers of the operations on timesteps of which no comparison hears.
    """
    unheard = set(_unheard(flow))
    late: dict[int, int] = {}
    for stage, number, step in _answers(flow, outputs):
        value = flow.values[number]
        if value.producer is not None and value.producer.number in unheard:
            late[stage] = min(late.get(stage, flow.steps), step - value.step)
    for number in unheard:
        for result in flow.operations[number].results:
            if result != ABSENT and (by := late.get(flow.values[result].stage)):
                flow.values[result].step += by
    return unheard


def _unheard(flow: Flow) -> Iterator[int]:
    """The operations of which no comparison hears; of those on truth values themselves, later ones
    hear, but for the last."""
    heard: set[int] = set()
    for operation in reversed(flow.operations):
        if _compares(flow, operation) or not heard.isdisjoint(operation.results):
            heard.update(operation.operands)
        elif flow.values[operation.results[0]].kind == Kind.STEP:
            yield operation.number


def _compares(flow: Flow, operation: Operation) -> bool:
    """Whether an operation makes truth values, or numbers of them."""
    values = (
        flow.values[number]
        for number in (*operation.operands, *operation.results)
        if number != ABSENT
    )
    return operation.node.op_type in ROUNDINGS or TensorProto.BOOL in {v.dtype for v in values}


def _answers(flow: Flow, outputs: list[int]) -> Iterator[tuple[int, int, int]]:
    """Stage, number and own timestep of the last values that loops give."""
    for operation in flow.operations:
        last = flow.values[operation.operands[-1]] if operation.joins else None
        if last is not None and last.kind == Kind.STEP:
            yield last.stage, last.number, operation.timesteps[-1]
    for number in outputs:
        if flow.values[number].kind == Kind.STEP:
            yield flow.values[number].stage, number, flow.steps - 1
