"""Functions at the very end of a program that keep the order of its logits, and a run before them.

See `dmpc.frontend.finish`. A user's module is run as it stands: what goes into the first of these
functions is seen while torch runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmpc.errors import DmpcError
from dmpc.frontend.finish import (
    FACTOR,
    LOG,
    OFFSET,
    OVER_CLASSES,
    RISING,
    Finish,
    Link,
    arithmetic,
    beginning,
)
from dmpc.frontend.torch_program.nodes import kind_of, named_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import torch

FUNCTIONS: Mapping[str, str] = {
    "_log_softmax": "log_softmax", "_softmax": "softmax", "log_sigmoid_forward": "log_sigmoid",
    "special_expit": "sigmoid", "special_log_softmax": "log_softmax",
    "special_softmax": "softmax", **{name: name for name in (*OVER_CLASSES, *RISING, LOG)},
}  # fmt: skip
"""Functions by torch's names: those that programs call, and those that torch makes of them."""
ARITHMETIC = {"add": OFFSET, "div": FACTOR, "mul": FACTOR}
MOVES = (
    "_to_copy", "alias", "clone", "contiguous", "detach", "dropout", "feature_dropout", "flatten",
    "permute", "reshape", "squeeze", "t", "to", "transpose", "unflatten", "unsqueeze", "view",
)  # fmt: skip


def before_finish(answer: Any) -> tuple[Any, Finish]:
    """The node that goes into the functions at the end of a program's answer, and which they are.

    The answer itself where they take nothing that is computed.
    """
    begin, finish = beginning(answer, _maker)
    return (begin, finish) if begin.op == "call_function" else (answer, Finish())


class Watch:
    """Sees what goes into functions that may be the last ones, while a module runs."""

    def __init__(self, finish: Finish) -> None:
        more = set(ARITHMETIC.values()).intersection(finish.functions)  # seen everywhere else, too
        self.known = {**FUNCTIONS, **{k: name for k, name in ARITHMETIC.items() if name in more}}
        self.seen: list[tuple[str, torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def watching(self) -> AbstractContextManager[object]:
        """In which torch shows every operation that it runs."""
        from torch.utils._python_dispatch import TorchDispatchMode

        def run(
            _: object,
            operation: Any,
            _types: Sequence[type],
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> Any:
            return self._run(operation, args, kwargs or {})

        base: Any = TorchDispatchMode
        mode: Any = type("Watching", (base,), {"__torch_dispatch__": run})
        shown: AbstractContextManager[object] = mode()
        return shown

    def _run(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation, and keep operand and result of one that is looked for."""
        kind = str(operation._schema.name).removeprefix("aten::").removesuffix("_")
        function = self.known.get(kind, "")
        if not function and kind not in MOVES:
            return operation(*args, **kwargs)
        operand = args[0].clone()  # it may be written over
        result = operation(*args, **kwargs)
        made = result[0] if isinstance(result, tuple) else result
        self.seen.append((function, args[0], operand, made))
        return result

    def before(self, answer: torch.Tensor, finish: Finish, where: str) -> torch.Tensor:
        """What went into the first of the functions that made an answer; DmpcError if unseen."""
        left, memory = list(finish.functions), _memory(answer)
        for function, operand, before, made in reversed(self.seen):
            if memory != _memory(made):
                continue
            if function and left.pop() != function:
                break
            if not left:
                return before
            memory = _memory(operand)
        what = " and ".join(finish.functions)
        raise DmpcError(f"torch does not show what goes into {what}", where=where)


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _maker(node: Any) -> tuple[Link, Any] | None:
    kind = kind_of(node).removesuffix("_")
    if kind in ARITHMETIC:
        return _arithmetic(kind, node)
    if kind not in FUNCTIONS and kind not in MOVES:
        return None
    arguments = named_arguments(node)
    function = FUNCTIONS.get(kind, "")
    axis = int(arguments["dim"]) if function in OVER_CLASSES else None
    return Link(function, axis), node.all_input_nodes[0]


def _arithmetic(kind: str, node: Any) -> tuple[Link, Any] | None:
    value, number = node.args
    plain = isinstance(number, int | float) and node.kwargs.get("alpha", 1) == 1
    named = plain and arithmetic(kind, float(number), first=True)
    return (Link(named), value) if named and not node.kwargs.get("rounding_mode") else None
