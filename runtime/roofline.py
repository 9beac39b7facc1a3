"""Layers against what their units can do: operations for each row that a port serves.

A unit does at most `lanes` operations in a cycle, and its memory serves at most one row. So what it
reaches in a cycle lies under the lower of two roofs: its lanes, and its port times the operations
that a row is good for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from isa.target import Target
from runtime.profile import Profile


@dataclass(frozen=True)
class Point:
    """What a layer does on a unit: operations for a row, operations in a cycle, and the roof there.

    `reached` counts all cycles of the run, `working` those alone in which the unit worked for it.
    """

    layer: str
    unit: str
    intensity: float
    reached: float
    working: float
    lanes: int

    @property
    def roof(self) -> float:
        """Operations in a cycle that the unit could do."""
        return min(float(self.lanes), self.intensity)


def roofline(profile: Profile, target: Target) -> list[Point]:
    """A point for each layer and each unit that computes for it from rows of its own memory."""
    lanes = lanes_of(target)
    found: dict[tuple[str, str], list[int]] = {}
    for line in profile.lines:
        of = line.spent.accesses.get(line.unit, {})
        key = (line.layer, line.unit)
        if line.unit in lanes and line.spent.operations and any(of.values()):
            sums = found.setdefault(key, [0, 0, 0])
            for at, number in enumerate((line.spent.operations, sum(of.values()), line.spent.busy)):
                sums[at] += number
    return [
        Point(layer, unit, done / rows, done / profile.cycles, done / busy, lanes[unit])
        for (layer, unit), (done, rows, busy) in found.items()
    ]


def lanes_of(target: Target) -> Mapping[str, int]:
    """Operations that a unit can do in a cycle."""
    groups = {"neuron": target.lanes, "readout": target.lanes}
    banks = {bank.name: target.lanes for bank in target.bank}
    return {**banks, **groups, "update": target.update.lanes, "drive": 1}
