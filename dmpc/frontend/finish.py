"""Functions at the very end of a model that keep the order of its logits: none on the machine.

A softmax, its logarithm, a sigmoid: trained networks end in them, and whoever reads the logits can
apply them. The model is cut where they begin, as if what goes into them were its output; its own
library is asked for the same tensor, so that all forms of the network are compared before them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TypeVar

from onnx import ModelProto, NodeProto, numpy_helper

from dmpc.errors import ImportFailure
from dmpc.findings import finding, tell
from dmpc.frontend.answers import Axes
from dmpc.frontend.chosen import inputs_of, with_outputs
from dmpc.frontend.model_rules import ACTIVATION_AXIS, ACTIVATION_EVERY_STEP
from dmpc.frontend.notes import ACTIVATION_LEFT_OUT

SHIFTS = "log_softmax"
"""Subtracts one number from all classes: a mean, sum or last over time keeps the order, too."""
OVER_CLASSES = (SHIFTS, "softmax")
RISING = ("exp", "log_sigmoid", "sigmoid", "softplus", "tanh")
LOG = "log"  # rises as well, but of positive numbers alone: those of another function
FACTOR, OFFSET = "a factor", "an offset"  # behind other functions; elsewhere part of the readout
ONLY_BEHIND = (LOG, FACTOR, OFFSET)
FUNCTIONS = (*OVER_CLASSES, *RISING, LOG)
ONNX_FUNCTIONS = {
    "Exp": "exp", "Log": LOG, "LogSoftmax": SHIFTS, "Sigmoid": "sigmoid", "Softmax": "softmax",
    "Softplus": "softplus", "Tanh": "tanh",
}  # fmt: skip
ONNX_MOVES = (
    "Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip

T = TypeVar("T")


@dataclass(frozen=True)
class Link:
    """What makes a tensor: a function, with its axis if it is one over classes, or a move ("")."""

    function: str = ""
    axis: int | None = None


@dataclass(frozen=True)
class Finish:
    """The functions that a model ends in, in the order of use, and the axis of those over classes.

    The axis is that of the first function's operand.
    """

    functions: tuple[str, ...] = ()
    axis: int | None = None


NOTHING = Finish()


def beginning(answer: T, maker: Callable[[T], tuple[Link, T] | None]) -> tuple[T, Finish]:
    """What goes into the functions at the end of an answer, and which these are.

    `maker` gives what makes a tensor and of which, None for what is neither function nor move.
    """
    found: list[str] = []
    axis: int | None = None
    at, moved, begin, finish = answer, False, answer, NOTHING
    while (made := maker(at)) is not None:
        link, at = made
        moved = moved or not link.function
        if axis is not None and (moved or link.axis is not None):
            break  # whose axis it would be, nobody knows
        if not link.function:
            continue
        found.insert(0, link.function)
        if link.axis is not None:
            axis, moved = link.axis, False
        if link.function not in ONLY_BEHIND:
            begin, finish = at, Finish(tuple(found), axis)
    return begin, finish


def without_finish(model: ModelProto, wanted: str | None) -> tuple[ModelProto, str | None, Finish]:
    """A file's model without functions at the end of its answer, and what is its answer then.

    Of a timestep whose outputs are next states but for one, the answer is the one that ends in a
    function over classes, as no state does.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    numbers = _numbers(model)
    names = [value.name for value in model.graph.output]
    found = {}
    for name in names if wanted is None else [wanted]:
        begin, finish = beginning(name, lambda at: _maker(makers.get(at), numbers))
        if begin in makers and begin not in names and finish.functions:
            found[name] = begin, finish
    sure = wanted is not None or inputs_of(model) == 1
    likely = [name for name, (_, end) in found.items() if sure or end.axis is not None]
    if len(likely) != 1 or (wanted is None and len(names) != inputs_of(model)):
        return model, wanted, NOTHING
    begin, finish = found[likely[0]]
    answers = {likely[0]: begin}
    return with_outputs(model, [answers.get(name, name) for name in names]), begin, finish


def check_finish(finish: Finish, axes: Axes, readout: str, every_step: bool) -> None:
    """Refuse functions that are not of the classes of one answer for each sample.

    `axes` are those of what goes into them. Raises ImportFailure.
    """
    if finish.axis is not None and finish.axis not in axes.classes:
        name = next(name for name in finish.functions if name in OVER_CLASSES)
        raise ImportFailure.of(ACTIVATION_AXIS, function=name, axis=finish.axis)
    bending = tuple(name for name in finish.functions if name not in (FACTOR, OFFSET))
    kept = bending == (SHIFTS,) and readout not in ("max", "max0")
    if every_step and finish.functions and readout != "last" and not kept:
        raise ImportFailure.of(ACTIVATION_EVERY_STEP, functions=listed(finish), readout=readout)


def tell_finish(where: str, finish: Finish) -> None:
    """Tell which functions were left out, if any were."""
    if finish.functions:
        tell(finding(ACTIVATION_LEFT_OUT, where=where, functions=listed(finish)))


def listed(finish: Finish) -> str:
    """The functions by name, in the order of use."""
    return " and ".join(finish.functions)


def shows(model: ModelProto, name: str) -> ModelProto:
    """A model that gives a tensor as one of its outputs."""
    outputs = [value.name for value in model.graph.output]
    return model if name in outputs else with_outputs(model, [*outputs, name])


def arithmetic(kind: str, number: float, first: bool) -> str:
    """What `add`, `mul` or `div` of a value and a number is, if it keeps order and sign; or "".

    `first` says whether the value is the first operand.
    """
    if not isfinite(number) or number < 0 or kind not in ("add", "mul", "div"):
        return ""
    if kind == "add":
        return OFFSET
    return FACTOR if number and (first or kind == "mul") else ""


def _numbers(model: ModelProto) -> dict[str, float]:
    """Constants of one element, by name."""
    stored = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            stored[node.output[0]] = node.attribute[0].t
    single = {name: one for name, one in stored.items() if list(one.dims) in ([], [1])}
    arrays = {name: numpy_helper.to_array(one) for name, one in single.items()}
    return {
        name: float(array.item()) for name, array in arrays.items() if array.dtype.kind in "fiu"
    }


def _maker(node: NodeProto | None, numbers: Mapping[str, float]) -> tuple[Link, str] | None:
    if node is None or node.domain or not node.input:
        return None
    if node.op_type in ONNX_MOVES:
        return Link(), node.input[0]
    if node.op_type in ("Add", "Mul", "Div"):
        for at, number in enumerate(map(numbers.get, node.input)):
            named = number is not None and arithmetic(node.op_type.lower(), number, at == 1)
            if named:
                return Link(named), node.input[1 - at]
        return None
    function = ONNX_FUNCTIONS.get(node.op_type)
    if function is None:
        return None
    given = next((a.i for a in node.attribute if a.name == "axis"), -1)
    return Link(function, given if function in OVER_CLASSES else None), node.input[0]
