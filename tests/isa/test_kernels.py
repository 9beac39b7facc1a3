"""Kernels: what each group of a convolution sees, held against plain loops, on every engine."""

from random import Random

import numpy as np
import pytest

from benchmarks.random_programs import Author
from isa.errors import IsaError
from isa.format import decode, encode
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearMembranes,
    DescribeKernel,
    IntegrateEvents,
    IntegrateValues,
)
from isa.kernel import Axis, Kernel
from isa.layout import Layout
from tests.isa.machine import LANES, Seen, each_timestep, events, parameters, program, run, values

CASES = range(40)


def drawn(seed: int) -> Kernel:
    """A kernel of any kind."""
    return Author(Random(seed), staged=False).kernels[0]


def by_hand(kernel: Kernel, rows: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums [groups, lanes] of one vector, and the inputs that each group sees, by plain loops."""
    height, width, depth = kernel.y.size, kernel.x.size, kernel.channels // kernel.parts
    sums, seen = [], []
    for top in range(min(kernel.y.most, kernel.y.places + 2)):  # some see padding alone
        for left in range(kernel.columns):
            for block in range(kernel.blocks):
                total, inputs = np.zeros(rows.shape[1], np.int64), []
                part = block // (kernel.blocks // kernel.parts)
                for y, x, d in np.ndindex(height, width, depth):
                    taps = [
                        by_hand_tap(axis, position, at)
                        for axis, position, at in ((kernel.y, top, y), (kernel.x, left, x))
                    ]
                    if None in taps:
                        continue
                    c = part * depth + d
                    j = (
                        (c * height + y) * width + x
                        if kernel.planar
                        else ((y * width + x) * kernel.channels + c)
                    )
                    row = ((block * kernel.y.taps + taps[0]) * kernel.x.taps + taps[1]) * depth + d
                    total += rows[row] * data[j]
                    inputs.append(j)
                sums.append(total)
                seen.append(inputs)
    return np.array(sums), seen


def by_hand_tap(axis: Axis, position: int, at: int) -> int | None:
    for tap in range(axis.taps):
        place = position * axis.stride - axis.padding + tap * axis.dilation
        if 0 <= place < axis.size // axis.pool and at // axis.pool == place:
            return tap
    return None


def image(kernel: Kernel, graded: bool, start: int, groups: int, rows: np.ndarray):
    common = {"row": 0, "inputs": kernel.inputs, "groups": groups, "kernel": 2, "start": start}
    place = {"row": 0, "groups": groups}
    return program(
        DescribeKernel.of(2, kernel),
        ClearMembranes(**place),
        *each_timestep(
            *(
                (
                    values(0, kernel.inputs),
                    AccumulateValues(bank=1, source=0, **common),
                    IntegrateValues(parameters=0, banks=(1,), **place),
                )
                if graded
                else (
                    events(0, kernel.inputs),
                    AccumulateEvents(bank=1, source=0, **common),
                    IntegrateEvents(shift=0, banks=(1,), **place),
                )
            )
        ),
        memory_a=rows,
        parameter=parameters(groups * LANES),
    )


@pytest.mark.parametrize("seed", CASES)
def test_groups_add_the_rows_of_what_they_see(seed):
    kernel, draw = drawn(seed), np.random.default_rng(seed)
    rows = draw.integers(-20, 20, (kernel.rows, LANES))
    graded = seed % 2 == 0
    x = draw.integers(-3 if graded else 0, 4 if graded else 2, (2, 1, kernel.inputs))
    whole = [by_hand(kernel, rows, one[0]) for one in x]
    count = len(whole[0][0])
    start = int(draw.integers(0, count))
    groups = int(draw.integers(1, count - start + 1))
    seen = Seen(u=(6, "row"))
    made = run(image(kernel, graded, start, groups, rows), x, seen=seen)
    for one, (sums, _) in zip(seen["u"], whole, strict=True):
        assert one[0].tolist() == sums[start : start + groups].reshape(-1).tolist()
    read = sum(
        sum(1 for j in inputs if graded or one[0, j])
        for one, (_, every) in zip(x, whole, strict=True)
        for inputs in every[start : start + groups]
    )
    assert made.counts.accesses["memory_a", "reads"] == read


@pytest.mark.parametrize("seed", CASES)
def test_a_description_is_a_word(seed):
    op = DescribeKernel.of(seed % 16, drawn(seed))
    assert decode(encode(op)) == op
    assert op.described == drawn(seed)


def test_a_part_of_a_kernel_reads_the_same_rows():
    kernel = Kernel(Axis(4, 3), Axis(4, 3), 1, 2, 1)
    whole = Layout(16, 4, kernel=kernel)
    part = whole.part(1, 2)
    assert (part.start, part.rows, part.row_of(2), whole.row_of(1)) == (1, 9, 0, 0)
    active = np.random.default_rng(0).integers(0, 2, (3, 16))
    assert (part.read(active) == whole.read(active)[:, 1:3]).all()


PLAIN = Kernel(Axis(3, 2), Axis(3, 2), 2, 2, 2, 2)
WRONG = {
    "pc 2: acc.events: k1 is not described before": {"kernel": 1},
    "pc 2: acc.events: the kernel has 18 inputs, not 17": {"inputs": 17},
    "pc 2: acc.events: groups 135 .. 136 begin far behind the kernel's last line": {"start": 135},
    "pc 2: acc.events: start=1 counts the groups of a kernel, none is named": {
        "kernel": None, "start": 1,
    },
    "pc 2: acc.events: a bank that holds a share of a kernel's rows": {"share": 3},
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_what_names_a_kernel_must_fit_it(message):
    given = {"bank": 0, "source": 0, "row": 0, "inputs": 18, "groups": 2, "kernel": 0}
    body = AccumulateEvents(**given | WRONG[message])
    with pytest.raises(IsaError, match=message):
        run(program(DescribeKernel.of(0, PLAIN), body), np.zeros((1, 1, 18)))


STRANGE = {
    "pc 2: kernel: k0 is described twice": {},
    "pc 2: kernel: something of the kernel is 0": {"kernel": 1, "x_pool": 0},
    "pc 2: kernel: channels and blocks do not fall into 3 equal parts": {"kernel": 1, "parts": 3},
    "pc 2: kernel: column 34 begins far behind the last place": {"kernel": 1, "columns": 35},
}


@pytest.mark.parametrize("message", STRANGE)
def test_a_kernel_must_be_one(message):
    again = vars(DescribeKernel.of(0, PLAIN)) | STRANGE[message]
    with pytest.raises(IsaError, match=message):
        run(program(DescribeKernel.of(0, PLAIN), DescribeKernel(**again)), np.zeros((1, 1, 1)))
