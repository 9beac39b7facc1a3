"""Rows of a memory, or registers of a kind, for things of which some live for a while alone."""

from collections.abc import Sequence
from typing import NamedTuple

from dmpc.backend.order import Life


class Wanted(NamedTuple):
    """So many neighbouring rows for a thing; one without a `life` lives as long as any other."""

    name: str
    rows: int
    life: Life | None


def rooms(wanted: Sequence[Wanted], size: int) -> dict[str, int] | None:
    """The first row of each thing, so that no two that live at one moment share any; None if there
    is no room for all.

    What lives for good comes first, side by side. Others take, in the order of their births, rows
    that nothing has needed for the longest time: whoever writes there has to wait for the last
    reader, and how little that costs goes by how long ago it began.
    """
    found: dict[str, int] = {}
    taken: list[tuple[Wanted, int]] = []
    for one in sorted(wanted, key=lambda one: one.life.first if one.life else -2):
        starts = [0, *(first + other.rows for other, first in taken)]
        free = {at: since for at in starts if (since := _free(one, at, taken, size)) is not None}
        if not free:
            return None
        found[one.name] = min(free, key=lambda at: (free[at], at))
        taken.append((one, found[one.name]))
    return found


def at_once(wanted: Sequence[Wanted]) -> int:
    """The most rows that are needed at one moment."""
    moments = [one.life.first for one in wanted if one.life] or [0]
    return max(
        sum(one.rows for one in wanted if not one.life or one.life.first <= now <= one.life.last)
        for now in moments
    )


def _free(one: Wanted, at: int, taken: list[tuple[Wanted, int]], size: int) -> int | None:
    """Since which position rows from `at` on are free for a thing; None if they are not."""
    if at + one.rows > size:
        return None
    since = -2
    for other, first in taken:
        if first < at + one.rows and at < first + other.rows:
            if one.life is None or other.life is None or one.life.meets(other.life):
                return None
            since = max(since, other.life.last)
    return since
