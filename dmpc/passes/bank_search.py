"""The search for assignments of products to banks that keep the busiest bank least busy."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import numpy as np

from dmpc.passes.loads import Assignment, Problem, Product, Shares, Whole
from dmpc.passes.ranges import Real
from isa.energy import cycle_price
from isa.limits import PERIOD

FULL = 1e9
"""What a row without room costs, and a burst that no queue can hold: more than any time."""
EXPANSIONS = 1 << 17
"""Partial assignments that are looked at in all, which bounds the time of a search."""
WIDEST, NARROWEST = 128, 8
LEVELS = 8
"""How busy a timestep can be: so many cases, each as likely."""


def candidates(
    problem: Problem, waiting: float | None, most: int, widest: int = WIDEST
) -> list[Assignment]:
    """Up to `most` assignments of lowest cost, best first.

    A beam search: products are assigned one after the other, those of a consumer together, and as
    many partial assignments of lowest cost are kept as time allows, `widest` at most, which can be
    all of them in a small network. The cost is the load of the busiest bank, and `waiting` times
    what consumers would wait for their slowest banks if nothing else was going on. Without
    `waiting` all that counts is room.
    """
    order = _largest_first(problem) if waiting is None else _busiest_first(problem)
    options = [_options(product, problem) for product in order]
    width = EXPANSIONS // max(sum(map(len, options)), 1)
    beam = _Beam(problem, waiting, min(max(width, NARROWEST), widest))
    for _, group in groupby(zip(order, options, strict=True), key=lambda item: item[0].consumer):
        for product, choices in group:
            beam.extend(product, choices)
        beam.close()
    return [_in_order(problem, order, found) for found in beam.best(most)]


def _largest_first(problem: Problem) -> list[Product]:
    return sorted(problem.products, key=lambda p: (-p.groups * p.inputs, p.name))


def _busiest_first(problem: Problem) -> list[Product]:
    """Products of the busiest consumers first, and the busiest of each first."""
    load: dict[str, float] = {}
    for product in problem.products:
        load[product.consumer] = load.get(product.consumer, 0.0) + product.mean
    return sorted(problem.products, key=lambda p: (-load[p.consumer], p.consumer, -p.mean, p.name))


def _in_order(problem: Problem, order: list[Product], found: list[Shares]) -> Assignment:
    shares = {product.name: share for product, share in zip(order, found, strict=True)}
    return tuple(shares[product.name] for product in problem.products)


def _options(product: Product, problem: Problem) -> Whole:
    """The shares that a product may have, [options, banks]; its own bank first."""
    banks = sorted(product.banks, key=lambda bank: bank != product.own)
    if problem.target.pooled and product.shared is None:
        splits = np.array(_splits(len(banks)), np.int64)
        found = np.zeros((len(splits), problem.banks), np.int64)
        found[:, banks] = splits
        return found
    return np.array([product.whole(bank, problem.banks) for bank in banks])


@lru_cache
def _splits(banks: int) -> list[tuple[int, ...]]:
    return list(_written_as(PERIOD, banks))


def _written_as(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write a number as a sum of some, the first as large as can be."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        yield from ((first, *rest) for rest in _written_as(total - first, parts - 1))


class _Beam:
    """Partial assignments: what they cost so far, and from which others they came.

    Assignments are the last axis of all that is known of them: NumPy is quick along it.
    """

    def __init__(self, problem: Problem, waiting: float | None, width: int) -> None:
        self.problem, self.waiting, self.width = problem, waiting, width
        banks = problem.banks
        self.total = np.zeros((banks, 1))  # rows of finished consumers, in a timestep
        self.waits = np.zeros(1)  # for the slowest bank of each, and of those at the end
        self.used = np.zeros((banks, 1))  # rows of memory
        self.energy = np.zeros(1)
        self.rows = np.zeros((banks, LEVELS, 1))  # of the consumer at hand, in quiet to busy steps
        self.bursts = np.zeros((banks, 1))
        self.parents: list[Whole] = []
        self.chosen: list[tuple[Whole, Whole]] = []
        self.last: Product | None = None

    def extend(self, product: Product, options: Whole) -> None:
        """Give a product every share that it may have."""
        self.last = product
        before, number = len(self.waits), len(options)
        shares = options.T
        stored = self.problem.stored(product, options).T
        rows = np.array(product.rows)[:, None] * (shares / PERIOD)[:, None, :]
        price = self.problem.prices(product) * product.mean / PERIOD
        self.total, self.waits = _each(self.total, number), _each(self.waits, number)
        self.rows, self.bursts = (
            _sums(self.rows, rows),
            _sums(self.bursts, (shares > 0).astype(np.float64)),
        )
        self.used, self.energy = (
            _sums(self.used, stored.astype(np.float64)),
            _sums(self.energy, options @ price),
        )
        self.parents.append(np.repeat(np.arange(before), number))
        self.chosen.append((options, np.tile(np.arange(number), before)))
        self._keep(np.argsort(self._cost(), kind="stable")[: self.width])

    def _keep(self, best: Whole) -> None:
        for name in ("total", "waits", "rows", "bursts", "used", "energy"):
            setattr(self, name, getattr(self, name)[..., best])
        self.parents[-1] = self.parents[-1][best]
        options, new = self.chosen[-1]
        self.chosen[-1] = options, new[best]

    def _load(self) -> Real:
        """Cycles of the consumer at hand in every bank: a group takes one at least."""
        least = self.last.groups if self.last and not self.last.once else 0
        return np.asarray(np.maximum(self.rows, least * (self.bursts > 0)[:, None]))

    def _cost(self) -> Real:
        queue = self.problem.target.sequencer.queue
        missing = np.maximum(self.used - self.problem.capacity[:, None], 0).sum(0)
        missing += np.maximum(self.bursts - queue, 0).sum(0)
        if self.waiting is None:  # a row of a bank that multiplies is worth two
            worth = [1 + bank.multiplies for bank in self.problem.target.bank]
            return np.asarray(np.array(worth) @ self.used + FULL * missing)
        total, waits = self._times()
        cycles = total.max(0) + waits
        if self.problem.energy:
            cycles = cycles * cycle_price(self.problem.target) + self.energy
        return np.asarray(cycles + FULL * missing)

    def _times(self) -> tuple[Real, Real]:
        """Cycles of banks, and of waiting, with the consumer at hand."""
        if self.last is None:
            return self.total, self.waits
        load = self._load()
        slowest = load.max(0).mean(0)
        if self.last.once:
            return self.total, self.waits + slowest
        return self.total + load.mean(1), self.waits + (self.waiting or 0.0) * slowest

    def close(self) -> None:
        """A consumer has all its products."""
        over = np.maximum(self.bursts - self.problem.target.sequencer.queue, 0).sum(0)
        if over.any() and not over.all():  # what no queue holds is no choice any more
            self._keep(np.flatnonzero(over == 0))
        self.total, self.waits = self._times()
        self.rows, self.bursts = np.zeros_like(self.rows), np.zeros_like(self.bursts)
        self.last = None

    def best(self, most: int) -> list[list[Shares]]:
        """The shares of the best assignments, in the order in which products were given."""
        found = []
        for at in np.argsort(self._cost(), kind="stable")[:most]:
            shares: list[Shares] = []
            for (options, new), parents in zip(
                reversed(self.chosen), reversed(self.parents), strict=True
            ):
                shares.append(tuple(map(int, options[new[at]])))
                at = parents[at]
            found.append(shares[::-1])
        return found


def _each(known: Real, options: int) -> Real:
    """What is known of partial assignments, for every option of the next product."""
    return np.repeat(known, options, axis=-1)


def _sums(known: Real, added: Real) -> Real:
    """The same, with what each option adds to it."""
    both = known[..., :, None] + added[..., None, :]
    return both.reshape(*known.shape[:-1], -1)
