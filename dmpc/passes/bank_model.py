"""A coarse model of the banks at work, which takes many assignments at once.

It follows the rules of docs/microarchitecture.md for some groups of neurons together instead of one
after the other: a bank works through its bursts in order, waits for operands and for accumulator
slots, and the consumer takes a group when all its banks are done with it. What it leaves out, exact
timing of the best decides.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from dmpc.passes.loads import Assignment, Problem, Product, Whole
from dmpc.passes.ranges import Real
from isa.limits import PERIOD

STARTS, ROUNDS, NEAR = 3, 8, 128
"""From how many assignments the model goes down, how far, among how many neighbours."""
ALIKE = 1 / 64
"""Of all rows: assignments that differ in less are alike."""
CHUNK = 4
"""Groups that are followed together."""
GROUP = 2
"""Cycles from a group to the next in the unit that takes the sums."""
LATENCY = 8
"""Cycles from the last group to events that others can read."""
STEPS, FEWEST, SAMPLES = 20, 2, 6
"""Timesteps that are followed, at most and at least; layers overlap from the second on."""
WORK = 1 << 9
"""Chunks of a run, which bound its time: in large networks fewer timesteps are followed."""


class BankModel:
    """The products of a problem, with the rows that they read: `rows` [samples, timesteps] by name.

    `sources` names, for each consumer, those whose events it reads: of the same timestep, or, first
    in the pair, of the iteration before.
    """

    def __init__(
        self,
        problem: Problem,
        rows: Mapping[str, Real],
        sources: Mapping[str, Sequence[tuple[bool, str]]],
    ) -> None:
        self.problem, self.sources = problem, sources
        self.slots = max(problem.target.accumulators.slots // CHUNK, 1)
        self.consumers: dict[str, list[int]] = {}
        for number, product in enumerate(problem.products):
            if not product.once:
                self.consumers.setdefault(product.consumer, []).append(number)
        self.chunks = {
            name: max(problem.products[numbers[0]].groups // CHUNK, 1)
            for name, numbers in self.consumers.items()
        }
        known = min((len(one[0]) for one in rows.values()), default=0)
        afforded = WORK // max(sum(self.chunks.values()), 1)
        self.steps = min(STEPS, known, max(afforded, FEWEST))
        part = np.s_[:SAMPLES, : self.steps]
        self.rows = [rows[product.name][part] / PERIOD for product in problem.products]

    def costs(self, assignments: Sequence[Assignment]) -> Real:
        """What is to be least, of every assignment."""
        shares = np.array(assignments, float)
        cycles = self._ends(shares) / self.steps
        for number, product in enumerate(self.problem.products):
            if product.once:
                cycles = cycles + product.mean / PERIOD * shares[:, number].max(1)
        given = zip(assignments, cycles.tolist(), strict=True)
        return np.array([self.problem.cost(assignment, number) for assignment, number in given])

    def _ends(self, shares: Real) -> Real:
        """The cycle in which the last timestep ends, by assignment: the mean of all samples.

        Banks come first, then assignments with samples: NumPy is quick along the last axis.
        """
        lanes, banks = len(self.rows[0]), self.problem.banks
        shape = banks, len(shares) * lanes
        by_bank = np.repeat(shares.transpose(1, 2, 0), lanes, axis=2)  # [products, *shape]
        works = {name: by_bank[numbers].sum(0) > 0 for name, numbers in self.consumers.items()}
        rows = [np.tile(one, (len(shares), 1)) for one in self.rows]  # [assignments, samples] each
        free, slots = np.zeros(shape), np.zeros((self.slots, *shape))
        taken = np.zeros(shape[1])
        done = dict.fromkeys(self.consumers, taken)
        for step in range(self.steps):
            before = dict(done)
            for name, numbers in self.consumers.items():
                at_work = works[name]
                read = sum(rows[number][:, step] * by_bank[number] for number in numbers)
                read = np.maximum(read / self.chunks[name], CHUNK)
                for late, source in self.sources[name]:
                    ready = (before if late else done)[source]
                    np.maximum(free, ready, out=free, where=at_work)
                for _ in range(self.chunks[name]):
                    np.copyto(free, np.maximum(free, slots[0]) + read, where=at_work)
                    taken = np.maximum(taken + GROUP * CHUNK, (free * at_work).max(0))
                    np.copyto(slots[:-1], slots[1:], where=at_work)
                    np.copyto(slots[-1], taken, where=at_work)
                done[name] = taken + LATENCY
        ends: Real = np.maximum(taken, free.max(0)).reshape(len(shares), lanes).mean(1)
        return ends


def descend(model: BankModel, found: list[Assignment]) -> list[Assignment]:
    """Assignments around some, best first by the model: from the best of these it goes down."""
    seen = dict(zip(found, model.costs(found).tolist(), strict=True))
    for start in sorted(found, key=seen.__getitem__)[:STARTS]:
        best = start
        for _ in range(ROUNDS):
            near = [one for one in neighbours(model.problem, best, NEAR) if one not in seen]
            if near:
                seen.update(zip(near, model.costs(near).tolist(), strict=True))
            lowest = min([best, *near], key=seen.__getitem__)
            if seen[lowest] >= seen[best]:
                break
            best = lowest
    return sorted(seen, key=seen.__getitem__)


def different(problem: Problem, ranked: list[Assignment], most: int) -> list[Assignment]:
    """The first of some assignments that differ in where a good part of the rows are read."""
    means = np.array([product.mean for product in problem.products])
    taken: list[Assignment] = []
    for one in ranked:
        apart = (np.abs(np.array(one) - np.array(other)).sum(1) @ means for other in taken)
        if all(rows >= ALIKE * PERIOD * means.sum() for rows in apart):
            taken.append(one)
        if len(taken) == most:
            break
    return taken


def neighbours(problem: Problem, assignment: Assignment, most: int) -> list[Assignment]:
    """At most so many assignments in which one product has moved, whole or in part, or two have.

    Of two, those first that leave the load of every bank nearly as it was.
    """
    now = np.array(assignment)
    moves = [
        (number, step)
        for number, product in enumerate(problem.products)
        for step in _steps(problem, product)
        if (now[number] + step >= 0).all()
    ]
    changes: list[tuple[Move, ...]] = [(move,) for move in moves[:most]]
    if len(moves) <= most:
        changes += [(moves[a], moves[b]) for a, b in _pairs(problem, moves)[: most - len(moves)]]
    found = list(dict.fromkeys(_moved(now, change) for change in changes))
    missing = problem.all_missing(np.array(found).reshape(len(found), *now.shape))
    return [one for one, rows in zip(found, missing.tolist(), strict=True) if not rows]


Move = tuple[int, Whole]
"""A product by its number, and what it gives and takes of each bank."""


def _steps(problem: Problem, product: Product) -> list[Whole]:
    """From one bank to another, or to and from all others alike."""
    identity = np.eye(problem.banks, dtype=np.int64)[list(product.banks)]
    between = [b - a for a, b in permutations(identity, 2)]
    if not problem.target.pooled or product.shared is not None:
        return [PERIOD * step for step in between]
    spread = identity.sum(0) - len(identity) * identity if len(identity) > 2 else identity[:0]
    around = [part * step for step in spread for part in (1, -1, 2, -2)]
    return [part * step for step in between for part in (1, 2, 4)] + around


def _pairs(problem: Problem, moves: list[Move]) -> list[tuple[int, int]]:
    """Moves of two products, by how much of what they change stays."""
    numbers = np.array([number for number, _ in moves])
    loads = np.array([step * problem.products[number].mean for number, step in moves])
    one, other = np.triu_indices(len(moves), 1)
    differ = numbers[one] != numbers[other]
    one, other = one[differ], other[differ]
    size = np.abs(loads).sum(1)
    both = np.maximum(size[one] + size[other], 1e-9)  # of what is never active, nothing
    change = np.abs(loads[one] + loads[other]).sum(1) / both
    order = np.argsort(change, kind="stable")
    return list(zip(one[order].tolist(), other[order].tolist(), strict=True))


def _moved(now: Whole, change: Sequence[Move]) -> Assignment:
    made = now.copy()
    for number, step in change:
        made[number] += step
    return tuple(tuple(shares) for shares in made.tolist())
