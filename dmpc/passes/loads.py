"""What an assignment of products to banks costs, from rows alone: the cost model of the search."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from dmpc.passes.ranges import Real
from isa.energy import cycle_price, operation_price, row_price
from isa.layout import Layout
from isa.limits import PERIOD
from isa.target import Target

Shares = tuple[int, ...]
"""Sixteenths of a product's rows in each bank of the target; they add up to `PERIOD`."""
Assignment = tuple[Shares, ...]
"""The shares of every product of a problem."""
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Product:
    """A product to assign.

    `rows` are read in a timestep, in all groups together, if one bank holds all of them: in quiet
    timesteps, in busier ones, up to the busiest. `banks` can do the work, `own` is its pathway's.
    Products of one `consumer` are summed by one instruction, which waits for all of them. Of what
    is computed `once` in a sample, `rows` are a timestep's part. `shared` are the rows in memory of
    one whose groups share them, which lies in one bank.
    """

    name: str
    consumer: str
    rows: tuple[float, ...]
    inputs: int
    groups: int
    banks: tuple[int, ...]
    own: int
    events: bool
    once: bool = False
    shared: int | None = None

    @property
    def mean(self) -> float:
        """Rows that are read in a timestep on average."""
        return sum(self.rows) / len(self.rows)

    def whole(self, bank: int, banks: int) -> Shares:
        """All rows in one bank."""
        return tuple(PERIOD if b == bank else 0 for b in range(banks))


@dataclass(frozen=True)
class Problem:
    """Products, and the banks of a target that are to hold them.

    With `energy` it is energy that is to be least, and cycles without.
    """

    products: tuple[Product, ...]
    target: Target
    energy: bool = False

    @property
    def banks(self) -> int:
        """How many there are."""
        return len(self.target.bank)

    @cached_property
    def capacity(self) -> Whole:
        """Rows of every bank."""
        return np.array([bank.rows for bank in self.target.bank])

    def prices(self, product: Product) -> Real:
        """Picojoules of a row of a product in every bank."""
        memories, kind = self.target.memories, "add" if product.events else "multiply_add"
        names = [bank.name for bank in self.target.bank]
        rows = [row_price(self.target, memories[name], "reads") for name in names]
        lanes = [operation_price(self.target, name, kind) for name in names]
        return np.asarray(np.array(rows) + self.target.lanes * np.array(lanes))

    def dedicated(self) -> Assignment:
        """Every product in its pathway's own bank."""
        return tuple(p.whole(p.own, self.banks) for p in self.products)

    def stored(self, product: Product, shares: Whole) -> Whole:
        """Rows that shares [.., banks] of a product take in each bank."""
        if product.shared is not None:
            return np.asarray(product.shared * np.minimum(shares, 1))
        return np.asarray(product.groups * _per_group(product.inputs)[shares])

    def missing(self, assignment: Assignment) -> int:
        """Rows for which there is no room."""
        return int(self.all_missing(np.array(assignment)[None])[0])

    def all_missing(self, assignments: Whole) -> Whole:
        """The same of many assignments, [assignments, products, banks].

        What a bank is to add up beyond what its queue holds counts as much as all that it holds.
        """
        used = np.zeros((len(assignments), self.banks), np.int64)
        bursts: dict[str, Whole] = {}
        for number, product in enumerate(self.products):
            used += self.stored(product, assignments[:, number])
            before = bursts.get(product.consumer, np.zeros_like(used))
            bursts[product.consumer] = before + (assignments[:, number] > 0)
        missing = np.maximum(used - self.capacity, 0)
        for one in bursts.values():
            missing += np.maximum(one - self.target.sequencer.queue, 0) * self.capacity
        return np.asarray(missing.sum(1))

    def cost(self, assignment: Assignment, cycles: float) -> float:
        """What is to be least: cycles of a timestep, or what it takes of energy with so many."""
        if not self.energy:
            return cycles
        rows = sum(
            float(np.array(shares) @ self.prices(product)) * product.mean / PERIOD
            for product, shares in zip(self.products, assignment, strict=True)
        )
        return cycles * cycle_price(self.target) + rows


@lru_cache(maxsize=4096)
def _per_group(inputs: int) -> Whole:
    """Rows of a group by sixteenths of a share."""
    return np.array([Layout(inputs, 1, 0, n).rows if n else 0 for n in range(PERIOD + 1)])
