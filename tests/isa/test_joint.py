"""What the fast engine adds up together, and that it is the same sum."""

import numpy as np
import pytest

from isa.engines.joint import Part, joined
from isa.engines.tables import Table
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearMembranes,
    ClearValue,
    InputEvents,
    Lif,
    Loop,
    MoveEvents,
    Update,
)
from tests.isa.machine import (
    LANES,
    TARGET,
    Seen,
    each_timestep,
    events,
    parameters,
    program,
    run,
    values,
)
from tests.isa.test_dataflows import left_by

INPUTS = 5


def acc(bank, source=0, **changed):
    given = {"bank": bank, "source": source, "row": 0, "inputs": INPUTS, "groups": 1}
    return AccumulateEvents(**given | changed)


def lif(*banks, **changed):
    return Lif(dest=1, row=0, parameters=0, groups=1, banks=banks, shift=0, **changed)


TEXTS = {
    "one": ([acc(0), lif(0)], {0: (0, 1)}),
    "two banks": ([acc(0), acc(1), lif(0, 1)], {0: (0, 3), 1: (0, None)}),
    "three": ([acc(2), acc(1), acc(1), lif(1, 2)], {0: (1, 7), 1: (1, None), 2: (1, None)}),
    "two registers": ([acc(0), acc(1, 2), lif(0, 1)], {0: (0, 1), 1: (0, 2)}),
    "of another size": ([acc(0), acc(1, inputs=4), lif(0, 1)], {0: (0, 1), 1: (0, 2)}),
    "written between": (
        [acc(0), InputEvents(dest=0, inputs=INPUTS), acc(1), acc(2), lif(0, 1, 2)],
        {0: (0, 1), 2: (0, 12), 3: (0, None)},
    ),
    "another written between": (
        [acc(0), InputEvents(dest=2, inputs=INPUTS), acc(1), lif(0, 1)],
        {0: (0, 5), 2: (0, None)},
    ),
    "two consumers": ([acc(1), lif(1), acc(1), lif(1)], {0: (1, 1), 2: (1, 4)}),
    "the next consumer takes another": ([acc(0), acc(1), lif(0), lif(1)], {0: (0, 1)}),
    "another stage": ([acc(0), acc(1, stage=1), lif(0, 1)], {0: (0, 1)}),
    "the consumer of another stage": ([acc(0), lif(0, stage=1)], {}),
    "a loop between": ([acc(0), Loop(counter="immediate", value=1, length=1), lif(0)], {}),
    "the end of a loop": (
        [Loop(counter="immediate", value=1, length=2), acc(0), acc(1), lif(0, 1)],
        {},
    ),
    "no consumer": ([acc(0)], {}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_parts_that_are_added_together(name):
    code, wanted = TEXTS[name]
    works = [op.work(TARGET) for op in code]
    parts = {
        pc: Part("events", f"e{op.source}", np.full((op.inputs, LANES), 1 << pc))
        for pc, op in enumerate(code)
        if isinstance(op, AccumulateEvents)
    }
    found = joined(code, works, parts)
    sums = {pc: None if joint.rows is None else joint.rows[0, 0] for pc, joint in found.items()}
    assert {pc: (joint.bank, sums[pc]) for pc, joint in found.items()} == wanted


def memories(seed):
    random = np.random.default_rng(seed)
    rows = random.integers(-128, 128, (40, LANES))  # shares leave gaps
    loaded = parameters(LANES, threshold=60, leak=4096, shift=random.integers(0, 9, LANES))
    return {"spike": rows, "memory_a": rows[::-1], "memory_b": rows // 2, "parameter": loaded}


def acc_values(bank, **changed):
    return AccumulateValues(bank=bank, source=0, row=0, inputs=INPUTS, groups=1, **changed)


COPY = MoveEvents(dest=2, source=0, size=INPUTS)
BODIES = {
    "shares": (acc(0, first=3, share=9), acc(1, first=12, share=7), lif(0, 1)),
    "written between": (acc(0), MoveEvents(dest=0, source=1, size=LANES), acc(1, inputs=LANES)),
    "two consumers": (acc(1), acc(0), lif(1), lif(0)),
    "a consumer of none between": (acc(0), lif(), acc(1), lif(0, 1)),
    "joined bursts": (COPY, acc(1, join=True), acc(1, 2), acc(0), acc(2), lif(0, 1, 2)),
}


@pytest.mark.parametrize("name", BODIES)
def test_engines_agree_on_joint_sums_of_events(name):
    body = BODIES[name]
    if name == "written between":
        body = (*body, acc(2, inputs=LANES), lif(0, 1, 2))
    start = (events(0, INPUTS), acc(0), lif(0))  # e1 is written in the first timestep
    image = program(ClearMembranes(row=0, groups=1), *each_timestep(*start, *body), **memories(2))
    x = np.random.default_rng(1).integers(0, 2, (2, 4, INPUTS))
    left, _ = left_by(image, x)
    assert any(any(map(any, spikes)) for spikes, _ in left)


def test_engines_agree_on_joint_sums_of_values():
    body = (
        acc_values(1, join=True, first=2, share=6), acc_values(1), acc_values(2, first=8, share=10),
        lif(1, 2),
    )  # fmt: skip
    image = program(
        ClearMembranes(row=0, groups=1), *each_timestep(values(0, INPUTS), *body), **memories(2)
    )
    x = np.random.default_rng(1).integers(-(2**15), 2**15, (2, 4, INPUTS))
    left, _ = left_by(image, x)
    assert any(any(map(any, spikes)) for spikes, _ in left)


def test_more_rows_than_add_up_within_sixteen_bits():
    inputs = 600
    rows = np.where(np.arange(LANES) % 2, -128, 127) * np.ones((inputs, 1), int)
    loaded = parameters(LANES, threshold=1, leak=4096)
    image = program(
        ClearMembranes(row=0, groups=1),
        *each_timestep(events(0, inputs), acc(0, inputs=inputs), lif(0, ), ),
        spike=rows, parameter=loaded,
    )  # fmt: skip
    left, _ = left_by(image, np.ones((1, 1, inputs), int))
    assert left[0][1] == [[0 if lane % 2 == 0 else -(2**15) for lane in range(LANES)]]


@pytest.mark.parametrize(
    ("rows", "events", "narrow", "together", "dtype"),
    [
        ([[-128]], True, True, 255, np.int16),
        ([[4096]], True, True, 0, np.int32),
        ([[0]], True, True, 32767, np.int16),
        ([[-32767]], False, True, 2, np.int16),
        ([[-32768]], False, True, 0, np.int32),  # two of its squares take 33 bits
        ([[1]], False, False, 0, np.int32),
    ],
)
def test_tables(rows, events, narrow, together, dtype):
    table = Table(np.array(rows), events, narrow)
    assert (table.together, table.array.dtype, table.columns) == (together, dtype, 16)
    assert table.array.sum() == np.sum(rows)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("events", [True, False])
def test_tables_of_nothing(shape, events):
    assert Table(np.zeros(shape, int), events, True).array.size == 0


def test_rows_of_values_are_interleaved_by_twos():
    table = Table(np.array([[1, 2], [3, 4], [5, 6]]), False, True)
    assert table.array.shape == (2, 16, 2)
    assert table.array[0, :2].tolist() == [[1, 3], [2, 4]]
    assert table.array[1, :2].tolist() == [[5, 0], [6, 0]]


def test_squares_of_the_least_number_do_not_wrap():
    size = 4
    a = np.full((size, size + 1), -(2**15))
    table = np.zeros((size + 1, TARGET.update.lanes), np.int64)
    table[:, :size] = a.T
    body = each_timestep(values(0, 1), Update(state=1, drive=0, row=0, size=size, shift=16))
    seen = Seen(m=(4, "state"))
    image = program(ClearValue(dest=1, size=size), *body, update=table)
    run(image, np.full((1, 2, 1), -(2**15)), seen=seen)
    assert seen["m"].tolist() == [[[2**14] * size, [-(2**14) * 4 // 2 + 2**14] * size]]
