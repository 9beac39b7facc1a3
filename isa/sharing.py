"""How the rows of one product are spread over banks.

A bank may hold the rows of all inputs, in order: row `g * inputs + j` for group g and input j. Or
it holds a share of them, `share` sixteenths: those inputs whose phase, `(7 j + g) mod 16` counted
from `first`, is below `share`. The phase turns with the group, so whatever inputs are active, every
bank gets its share of them over the groups of a layer.
"""

from functools import lru_cache

import numpy as np

from isa.arithmetic import Int
from isa.limits import PERIOD, STRIDE


def phase(inputs: Int | int, group: Int | int, first: int) -> Int:
    """Phase of inputs in a group, counted from a share's first."""
    return np.asarray(STRIDE * np.asarray(inputs) + group - first, np.int64) % PERIOD


def rows_per_group(inputs: int, share: int) -> int:
    """Rows that a share of the inputs takes in a bank for each group."""
    return inputs if share == PERIOD else -(-inputs // PERIOD) * share


@lru_cache(maxsize=256)
def row_table(inputs: int, groups: int, first: int, share: int) -> Int:
    """Row [groups, inputs], from the product's first, of each group and input; -1 if not here."""
    group, j = np.arange(groups)[:, None], np.arange(inputs)[None, :]
    if share == PERIOD:
        return group * inputs + j
    turned = phase(j, group, first)
    row = group * rows_per_group(inputs, share) + j // PERIOD * share + turned
    return np.where(turned < share, row, -1)


def rows_read(active: Int, first: int, share: int) -> Int:
    """Rows of active inputs by group: [batch, inputs] of 0 and 1 -> [batch, period].

    Group g takes column g modulo the period; the period is 1 if the bank holds all inputs.
    """
    if share == PERIOD:
        every: Int = active.sum(1, keepdims=True)
        return every
    inputs = np.arange(active.shape[1])
    by_phase = np.zeros((len(active), PERIOD), np.int64)
    for number in range(PERIOD):
        by_phase[:, number] = active[:, phase(inputs, 0, 0) == number].sum(1)
    held = phase(0, np.arange(PERIOD)[None, :] + np.arange(PERIOD)[:, None], first) < share
    rows: Int = by_phase @ held.astype(np.int64)
    return rows
