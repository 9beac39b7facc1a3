"""The levels of a graph, from the user's model to scheduled code.

A level is a set of facts that hold, checked by `dmpc.ir.verify`; it is not another class of graph.

- `model`: float ops as the exporter wrote them, one timestep with states
- `layers`: the field's ops (dense, drive, memory, hold, lif), every op tells its layer
- `integer`: every value has a width and a scale
- `partitioned`: every op is on a pathway of the machine
- `fused`: ops are joined into the machine's layer steps
- `placed`: every constant and state has memory rows
- `scheduled`: the listing holds the instructions
"""

from dmpc.errors import CompileError
from dmpc.ir.registry import did_you_mean

LEVELS = ("model", "layers", "integer", "partitioned", "fused", "placed", "scheduled")


def rank(level: str) -> int:
    """Position of a level in `LEVELS`; raises CompileError on an unknown one."""
    if level not in LEVELS:
        raise CompileError(f"unknown level '{level}'", hint=did_you_mean(level, LEVELS))
    return LEVELS.index(level)


def at_least(level: str, floor: str) -> bool:
    """True if `level` is `floor` or comes after it."""
    return rank(level) >= rank(floor)
