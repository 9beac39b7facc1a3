"""Samples of different lengths in one run: those of one length run together."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.engines import Engine
from isa.engines.counts import Counts, Place, Run
from isa.engines.fast import usable_threads

Integers = NDArray[np.int64]


def run_by_length(
    engine: Engine,
    inputs: Sequence[Integers],
    logits: Callable[[Integers], Integers],
    *,
    batch: int,
    watched: Iterable[Place],
    threads: int | None,
    progress: Callable[[int], None] | None,
) -> Run:
    """Run samples [timesteps, inputs] of any lengths; each is what it is in a run of its own.

    `logits` picks those of a run out of all numbers that it emitted. What was watched is padded
    with zeros to the most times.
    """
    pieces = list(pieces_of(map(len, inputs), batch))
    run = partial(engine.run, batch=batch, watched=tuple(watched), threads=1, progress=progress)
    stacked = (np.stack([inputs[n] for n in piece]) for piece in pieces)
    workers = threads or usable_threads()
    if workers == 1:
        runs = list(map(run, stacked))
    else:
        with ThreadPoolExecutor(workers) as pool:
            runs = list(pool.map(run, stacked))
    counts = Counts()
    for found in runs:
        counts.add(found.counts)
    return Run(
        _in_order(pieces, [logits(found.logits) for found in runs]),
        _in_order(pieces, [found.cycles for found in runs]),
        counts,
        {at: _in_order(pieces, [found.seen[at] for found in runs]) for at in runs[0].seen},
    )


def pieces_of(lengths: Iterable[int], batch: int) -> Iterator[list[int]]:
    """Numbers of samples that run together: of one length, no more than a batch."""
    of_length: dict[int, list[int]] = defaultdict(list)
    for number, length in enumerate(lengths):
        of_length[length].append(number)
    for _, numbers in sorted(of_length.items()):
        for first in range(0, len(numbers), batch):
            yield numbers[first : first + batch]


def _in_order(pieces: list[list[int]], found: list[Integers]) -> Integers:
    """What was found by pieces, by sample; zeros at the ends of samples that have less."""
    sizes = [max(size) for size in zip(*(part.shape[1:] for part in found), strict=True)]
    made = np.zeros((sum(map(len, pieces)), *sizes), np.int64)
    for piece, part in zip(pieces, found, strict=True):
        place: tuple[Any, ...] = (piece, *(slice(size) for size in part.shape[1:]))
        made[place] = part
    return made
