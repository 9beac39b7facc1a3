"""Values of a flow, computed: constants, and the first timesteps on random numbers."""

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import numpy_helper

from dmpc.errors import ImportFailure
from dmpc.frontend.boundary import at
from dmpc.frontend.normalise.flow import ABSENT, Flow, Operation
from dmpc.frontend.onnx_file import Node, evaluate
from dmpc.ir.graph import Array

Arrays = dict[int, Array]


class Evaluator:
    """Computes values of a flow in float64."""

    def __init__(self, flow: Flow, opset: int) -> None:
        self.flow, self.opset = flow, opset
        self.statics: Arrays = {}

    def static(self, number: int) -> Array:
        """A value that does not depend on the model's input."""
        return self.compute([number], self.statics)[number]

    def compute(self, numbers: Iterable[int], given: Arrays) -> Arrays:
        """Values from those given, to which they are added; nothing else of the input is known.

        Raises ImportFailure if one depends on something that is not given.
        """
        wanted: dict[int, Operation] = {}
        stack = list(numbers)
        while stack:
            number = stack.pop()
            if number == ABSENT or number in given:
                continue
            producer = self.flow.values[number].producer
            if number in self.flow.stored:
                given[number] = widened(numpy_helper.to_array(self.flow.stored[number]))
            elif producer is None:
                raise ImportFailure(f"'{self.flow.values[number].name}' is not a constant")
            elif producer.number not in wanted:
                wanted[producer.number] = producer
                stack += producer.operands
        for _, operation in sorted(wanted.items()):
            given.update(self.run(operation, given))
        return given

    def run(self, operation: Operation, given: Mapping[int, Array]) -> Arrays:
        """The results of one operation."""
        operands = [None if o == ABSENT else given[o] for o in operation.operands]
        with at(operation.node):
            results = evaluate(Node(operation.node, self.opset), operands)
            return {
                number: widened(result)
                for number, result in zip(operation.results, results, strict=True)
            }

    def equal(self, first: int, second: int) -> bool:
        """Whether two static values are the same array."""
        a, b = self.static(first), self.static(second)
        return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b))

    def alike(self, first: int, second: int) -> bool:
        """Whether two static values agree where one is stretched to the other's shape."""
        if first == second:
            return True
        try:
            a, b = np.broadcast_arrays(self.static(first), self.static(second))
        except ValueError:
            return False
        return bool(np.array_equal(a, b))

    def shown(self, number: int) -> str:
        """A static value for a message: the number it is, or its name."""
        array, name = self.static(number), self.flow.values[number].name
        number = array.size == 1 and array.dtype.kind in "biuf"
        return f"{array.reshape(-1)[0]:g}" if number else f"'{name}'"


def widened(array: Array) -> Array:
    """Real numbers in float64."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array
