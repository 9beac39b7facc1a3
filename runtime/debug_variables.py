"""What an editor shows of a program that is stopped: scopes of variables that open on request."""

from collections.abc import Callable
from typing import Any

from runtime.debug_commands import Console
from runtime.debug_values import Vector, look, queues, values
from runtime.errors import RuntimeFailure

Variable = dict[str, Any]
MOST = 4096  # rows of a memory that are listed at once


class Variables:
    """Numbers that stand for what opens, for as long as the program is stopped."""

    def __init__(self, console: Console) -> None:
        self.console, self.debugger = console, console.debugger
        self._behind: list[Callable[[], list[Variable]]] = []

    def scopes(self) -> list[Variable]:
        """The outermost: each with the number that opens it."""
        parts = {
            "Position": self._position,
            "Values": self._values,
            "Registers": self._registers,
            "Memories": self._memories,
        }
        if self.debugger.program.engine.name == "cycle":
            parts["Queues"] = self._queues
        return [
            {"name": name, "variablesReference": self._new(behind), "expensive": name == "Memories"}
            for name, behind in parts.items()
        ]

    def behind(self, number: int) -> list[Variable]:
        """What a number opens."""
        if not 1 <= number <= len(self._behind):
            raise RuntimeFailure("the program went on; its values are others now")
        return self._behind[number - 1]()

    def vector(self, vector: Vector, name: str = "") -> Variable:
        """A vector that opens to its elements."""

        def elements() -> list[Variable]:
            return [
                _plain(f"[{vector.first + n}]", vector.element(n))
                for n in range(len(vector.integers))
            ]

        return {
            "name": name or vector.name,
            "value": vector.summary(),
            "type": vector.where or vector.name,
            "variablesReference": self._new(elements),
            "indexedVariables": len(vector.integers),
        }

    def _new(self, behind: Callable[[], list[Variable]]) -> int:
        self._behind.append(behind)
        return len(self._behind)

    def _position(self) -> list[Variable]:
        told = {**self.console.at(), "timesteps taken": self.debugger.now.timestep}
        return [_plain(name, str(value)) for name, value in told.items()]

    def _values(self) -> list[Variable]:
        found = []
        for name in (*values(self.debugger), "input", "logits"):
            try:
                found.append(self.vector(look(self.debugger, name)[0]))
            except RuntimeFailure:
                found.append(_plain(name, "not written yet"))
        return found

    def _registers(self) -> list[Variable]:
        return [self.vector(look(self.debugger, name)[0]) for name in self.debugger.now.registers]

    def _memories(self) -> list[Variable]:
        sizes = {name: max(rows) + 1 for name, rows in self.debugger.now.memories.items() if rows}
        image = self.debugger.program.image
        sizes |= {name: len(table) for name, table in image.memories.items() if len(table)}

        def rows(name: str, size: int) -> Callable[[], list[Variable]]:
            found = f"0:{min(size, MOST)}"
            return lambda: [self.vector(vector) for vector in look(self.debugger, name, found)]

        return [
            {
                "name": name,
                "value": f"{size} rows",
                "variablesReference": self._new(rows(name, size)),
            }
            for name, size in sizes.items()
        ]

    def _queues(self) -> list[Variable]:
        return [
            _plain(unit, ", ".join(ops) or "idle") for unit, ops in queues(self.debugger).items()
        ]


def _plain(name: str, value: str) -> Variable:
    return {"name": name, "value": value, "variablesReference": 0}
