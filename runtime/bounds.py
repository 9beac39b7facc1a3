"""What bounds each layer: the busiest of the memory ports and units that it shares, in words.

A machine whose units work at the same time is as fast as the busiest of them. Of those that work
much for a layer, that one bounds it, whoever else keeps it busy; among those that are busy alike,
the one that does most for this layer. Where none is busy most of the time, units wait for each
other instead, and the longest wait says for what.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.profile import Line

ALIKE = 0.02
"""Units whose busy shares differ by less are busy alike."""
NOWHERE = "control"
"""The layer of instructions that belong to none."""
OUTSIDE = ("input", "load")
"""Paths of what no layer does: events that come in, windows that are set aside."""
MUCH = 0.25
"""A unit that works less for a layer than that share of the layer's busiest does not bound it."""
BUSY = 0.5
"""A unit that is busy less than that does not bound alone: it waits."""

WAITS = {
    "issue": "for the sequencer to issue",
    "operand": "for what it reads to be complete",
    "slot": "for an accumulator slot that its consumer frees",
    "sums": "for sums of the banks",
    "port": "for its own port",
}
"""Causes of stalls in words."""


@dataclass(frozen=True)
class Bound:
    """The unit that bounds a layer.

    `busy` is the unit's share of all cycles, `own` this layer's part of that; `work` what share of
    its cycles of work each op has; `waits` how long the layer's instructions on it wait, as shares
    of all cycles.
    """

    layer: str
    unit: str
    bank: bool
    busy: float
    own: float
    work: dict[str, float]
    waits: dict[str, float]

    @property
    def text(self) -> str:
        """In words: what it is, how busy, with what; and what it waits for where it is not."""
        name = f"bank {self.unit}" if self.bank else f"the {self.unit} unit"
        shared = "" if self.own > 0.995 * self.busy else f", {100 * self.own:.0f} % for this layer"
        parts = sorted(self.work.items(), key=lambda item: (-item[1], item[0]))
        kind = "rows" if self.bank else "cycles"
        split = ", ".join(f"{100 * share:.0f} % {op}" for op, share in parts if share >= 0.005)
        said = f"{name}, {100 * self.busy:.0f} % busy{shared}; its {kind}: {split}"
        cause, share = max(self.waits.items(), key=lambda item: item[1], default=("", 0.0))
        if self.busy < BUSY and share > 0.01:
            said += f"; it waits {WAITS[cause]}, {100 * share:.0f} %"
        return said

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the words."""
        return {**asdict(self), "text": self.text}


def bounds(lines: Sequence["Line"], cycles: int, banks: Sequence[str]) -> tuple[Bound, ...]:
    """What bounds each layer of a run of so many cycles, in the order in which they end."""
    busy: dict[str, int] = defaultdict(int)
    own: dict[str, dict[str, int]] = {}
    for line in lines:
        busy[line.unit] += line.spent.busy
        if line.spent.busy and line.path not in OUTSIDE:
            units = own[line.layer] = own.pop(line.layer, {})
            units[line.unit] = units.get(line.unit, 0) + line.spent.busy
    if len(own) > 1:
        own.pop(NOWHERE, None)  # what a program does around its layers
    found = []
    for layer, units in own.items():
        much = [unit for unit in units if units[unit] >= MUCH * max(units.values())]
        most = max(busy[unit] for unit in much)
        alike = [unit for unit in much if busy[unit] >= most - ALIKE * cycles]
        unit = max(alike, key=lambda name: (units[name], name))
        found.append(_bound(lines, cycles, layer, unit, unit in banks))
    return tuple(found)


def _bound(lines: Sequence["Line"], cycles: int, layer: str, unit: str, bank: bool) -> Bound:
    work: dict[str, int] = defaultdict(int)
    waits: dict[str, int] = defaultdict(int)
    for line in lines:
        if line.unit == unit and line.spent.busy:
            work[line.op] += line.spent.busy
        if line.unit == unit and line.layer == layer:
            for cause, number in line.spent.stalls.items():
                waits[cause] += number
    whole = sum(work.values())
    mine = sum(x.spent.busy for x in lines if x.unit == unit and x.layer == layer)
    return Bound(
        layer,
        unit,
        bank,
        whole / cycles,
        mine / cycles,
        {op: number / whole for op, number in work.items()},
        {cause: number / cycles for cause, number in sorted(waits.items())},
    )
