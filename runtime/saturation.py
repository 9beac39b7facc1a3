"""Values that did not fit their width during a run: where, how many, and what would help."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isa.engines.counts import Counts
from isa.interface import Provenance

INPUT, SPIKES = "input", "spikes"
_OVER_TIME = ("count", "logit")


@dataclass(frozen=True)
class Saturated:
    """`count` of `total` elements of one kind in one layer were clipped to their width.

    `what` is what the machine calls them: drive, memory state, event sums, value sums, membrane,
    spikes that neurons held back because they may spike so often in a timestep and no more,
    count, logit, or input for samples beyond the range of a graded input. Elements count once for
    every timestep and every addition after which the machine saturates, lanes beyond a layer's last
    neuron among them.
    """

    layer: str
    what: str
    count: int
    total: int

    @property
    def advice(self) -> str:
        """What a user can do about it."""
        if self.what == INPUT:
            return "compile with an --input-range or a --calibration set that covers these samples"
        if self.what in _OVER_TIME:
            return "these samples are too long for the readout; cut them into shorter ones"
        if self.what == SPIKES:
            return (
                "compile with a --calibration set whose samples make these neurons spike as often"
            )
        return "compile with a --calibration set closer to these samples, for more headroom"

    @property
    def where(self) -> str:
        """The layer and what in it, as the integer graph names it."""
        return f"{self.layer}: {self.what}" if self.layer else self.what

    def __str__(self) -> str:
        share = 100 * self.count / self.total
        return f"{self.where} saturated {self.count:,} of {self.total:,} times ({share:.2g} %)"

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the advice."""
        return {**asdict(self), "advice": self.advice}


def saturated(
    counts: Counts, provenance: Sequence[Provenance], clipped: int, inputs: int
) -> tuple[Saturated, ...]:
    """What saturated in a run, by layer and kind; `clipped` of the `inputs` lay out of range."""
    found: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    for (pc, what), number in counts.saturable.items():
        total[provenance[pc].layer, what] += number
        found[provenance[pc].layer, what] += counts.saturations[pc, what]
    items = {**found, ("", INPUT): clipped}
    total["", INPUT] = inputs
    return tuple(_items(items, total))


def _items(
    found: dict[tuple[str, str], int], total: dict[tuple[str, str], int]
) -> Iterator[Saturated]:
    for (layer, what), count in sorted(found.items()):
        if count:
            yield Saturated(layer, what, count, total[layer, what])
