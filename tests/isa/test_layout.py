"""How the rows of a product lie in several banks: nothing is lost, nothing counted twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.errors import Trap
from isa.instructions import AccumulateEvents, ClearMembranes, Lif
from isa.layout import Layout
from isa.limits import PERIOD
from tests.isa.machine import LANES, Seen, each_timestep, events, parameters, program, run

seeds = st.integers(0, 2**32 - 1)
firsts = st.integers(0, PERIOD - 1)
shares = st.integers(1, PERIOD)


def held(group, number, first, share):
    """Whether a share holds the row of an input for a group; the sentence in `isa.layout`."""
    return (7 * number + group - first) % PERIOD < share


def split(seed, banks):
    """Shares (first, share) that make up the whole, one for each bank; some may be missing."""
    random = np.random.default_rng(seed)
    cuts = sorted(random.integers(1, PERIOD, banks - 1).tolist())
    parts = [b - a for a, b in zip([0, *cuts], [*cuts, PERIOD], strict=True)]
    start = int(random.integers(PERIOD))
    return [((start + a) % PERIOD, part) for a, part in zip([0, *cuts], parts, strict=True)]


@given(seeds, st.integers(0, 40), firsts, shares)
def test_rows_read_are_those_that_the_share_holds_of_active_inputs(seed, inputs, first, share):
    active = np.random.default_rng(seed).integers(0, 2, (3, inputs))
    rows = Layout(inputs, 1, first, share).read(active)
    for sample, found in zip(active, rows.tolist(), strict=True):
        for group in range(2 * PERIOD):
            number = sum(held(group, j, first, share) for j in np.flatnonzero(sample).tolist())
            assert found[group % len(found)] == number


@given(st.integers(0, 40), st.integers(1, 20), firsts, shares)
def test_every_row_of_a_share_has_a_place_of_its_own(inputs, groups, first, share):
    layout = Layout(inputs, groups, first, share)
    table = layout.table()
    for (group, j), row in np.ndenumerate(table):
        assert (row >= 0) == held(group, j, first, share)
    placed = table[table >= 0]
    assert len(set(placed.tolist())) == len(placed)
    per_group = layout.per_group
    for group, rows in enumerate(table):
        inside = rows[rows >= 0]
        assert ((inside >= group * per_group) & (inside < (group + 1) * per_group)).all()


@settings(deadline=None)
@given(seeds, st.integers(1, 40), st.integers(1, 20))
def test_shares_of_several_banks_add_up_to_the_whole_product(seed, inputs, groups):
    random = np.random.default_rng(seed)
    weights = random.integers(-128, 128, (inputs, groups * LANES))
    x = random.integers(0, 2, (2, 3, inputs))
    tables, acc = {}, []
    for bank, (first, share) in enumerate(split(seed, 3)):
        if not share:
            continue
        layout = Layout(inputs, groups, first, share)
        table = np.full((layout.rows, LANES), 99)
        for (group, j), row in np.ndenumerate(layout.table()):
            if row >= 0:
                table[row] = weights[j, group * LANES : (group + 1) * LANES]
        tables[("spike", "memory_a", "memory_b")[bank]] = table
        acc.append(
            AccumulateEvents(
                bank=bank, source=0, row=0, inputs=inputs, groups=groups, first=first, share=share
            )
        )
    banks = tuple(op.bank for op in acc)
    lif = Lif(dest=1, row=0, parameters=0, groups=groups, banks=banks, shift=0)
    image = program(
        ClearMembranes(row=0, groups=groups), *each_timestep(events(0, inputs), *acc, lif),
        parameter=parameters(groups * LANES, threshold=32767), **tables,
    )  # fmt: skip
    seen = Seen(u=(image.code.index(lif), "row"))
    found = run(image, x, seen=seen)
    assert seen["u"].tolist() == (x @ weights).tolist()
    read = sum(found.counts.accesses[name, "reads"] for name in tables)
    assert read == x.sum() * groups


@pytest.mark.parametrize("share", [0, 17, 31])
def test_a_share_of_nothing_or_more_than_all_traps(share):
    acc = AccumulateEvents(bank=0, source=0, row=0, inputs=1, groups=1, share=share)
    with pytest.raises(Trap, match=f"a share of {share} sixteenths of the rows") as caught:
        run(program(events(0, 1), acc, spike=np.ones((1, LANES))), [[[1]]])
    assert caught.value.pc == 2


@given(st.integers(1, 40), st.integers(1, 40), firsts, shares, st.data())
def test_a_part_is_the_layout_of_its_groups_alone(inputs, groups, first, share, data):
    start = data.draw(st.integers(0, groups - 1))
    layout = Layout(inputs, groups, first, share)
    part = layout.part(start, groups - start)
    whole, own = layout.table()[start:], part.table()
    assert np.array_equal(whole >= 0, own >= 0)
    assert (whole - own)[own >= 0].tolist() == [start * layout.per_group] * int((own >= 0).sum())
    held = (own >= 0).sum(0)
    assert (held <= part.per_input).all()
    if (groups - start) % PERIOD == 0:
        assert (held == part.per_input).all()
