"""Traps: what stops the machine, where, and in which words."""

import re

import numpy as np
import pytest

from isa.errors import Trap
from isa.instructions import (
    AccumulateEvents,
    AccumulateValues,
    ClearLogits,
    ClearMembranes,
    ClearValue,
    DriveEvents,
    Emit,
    HoldValue,
    Lif,
    Loop,
    Readout,
    Update,
)
from isa.parameters import KEPT
from tests.isa.machine import LANES, TARGET, events, parameters, program, run, values

ROW = np.ones((1, LANES))
PARAMETER = parameters(LANES, threshold=5)
COUNT = TARGET.values.count


def acc(bank=0, source=0, row=0, inputs=1, groups=1, join=False):
    return AccumulateEvents(
        bank=bank, source=source, row=row, inputs=inputs, groups=groups, join=join
    )


def acc_values(bank=1, source=0, row=0, inputs=1, groups=1):
    return AccumulateValues(bank=bank, source=source, row=row, inputs=inputs, groups=groups)


def lif(banks=(0,), row=0, groups=1, at=0):
    return Lif(dest=1, row=row, parameters=at, groups=groups, banks=banks, shift=0)


def readout(banks=(0,)):
    return Readout(row=0, parameters=0, groups=1, banks=banks, mode="sum")


def hold(every):
    return HoldValue(dest=1, source=0, size=1, every=every)


IN = events(0, 1)
CLEAR = ClearMembranes(row=0, groups=1)
UNWRITTEN = "was read before it was written in this sample"
CASES = {
    "register unwritten": ([acc()], 1, f"e0 {UNWRITTEN}"),
    "value unwritten": ([acc_values()], 1, f"v0 {UNWRITTEN}"),
    "drive unwritten": (
        [DriveEvents(dest=0, source=3, row=0, inputs=1, shift=0, bias=0)], 1, f"e3 {UNWRITTEN}",
    ),
    "state unwritten": (
        [ClearValue(dest=0, size=1), Update(state=1, drive=0, row=0, size=1, shift=0)],
        2, f"v1 {UNWRITTEN}",
    ),
    "register too short": ([IN, acc(inputs=2)], 2, "e0 holds 1 elements, 2 were read"),
    "membranes unwritten": (
        [IN, acc(), lif()], 3, "neuron rows 0 .. 0 were read before they were written",
    ),
    "logits unwritten": (
        [IN, acc(), readout()], 3, "readout rows 0 .. 0 were read before they were written",
    ),
    "emit unwritten": (
        [ClearLogits(row=0, groups=1, mode="sum"), Emit(row=0, groups=2)],
        2, "readout rows 0 .. 1 were read before they were written",
    ),
    "membranes out of range": (
        [ClearMembranes(row=511, groups=2)], 1, "neuron rows 511 .. 512 of 512 were addressed",
    ),
    "no membranes": (
        [ClearMembranes(row=0, groups=0)], 1, "neuron rows 0 .. -1 of 512 were addressed",
    ),
    "logits out of range": (
        [ClearLogits(row=64, groups=1, mode="sum")],
        1, "readout rows 64 .. 64 of 64 were addressed",
    ),
    "weights out of range": (
        [IN, acc(row=32768)], 2, "spike rows 32768 .. 32768 of 32768 were read",
    ),
    "weights not loaded": (
        [IN, acc(row=1)], 2, "spike rows 1 .. 1 were read, not all are loaded",
    ),
    "parameters not loaded": (
        [CLEAR, IN, acc(), lif(at=1)], 4, "parameter rows 1 .. 1 were read, not all are loaded",
    ),
    "no multipliers": ([values(0, 1), acc_values(bank=0)], 2, "b0 (spike) has no multipliers"),
    "second burst": (
        [IN, acc(), acc()], 3, "b0 began a burst while its last one waits for a consumer",
    ),
    "joined groups differ": (
        [IN, acc(join=True), acc(groups=2, inputs=0)], 3, "b0 joined bursts of 1 and 2 groups",
    ),
    "nothing to consume": ([CLEAR, IN, lif()], 3, "b0 has no finished burst to consume"),
    "open burst": (
        [CLEAR, IN, acc(join=True), lif()], 4, "b0 has no finished burst to consume",
    ),
    "wrong burst": ([CLEAR, IN, acc(), lif(banks=(1,))], 4, "b1 has no finished burst to consume"),
    "other number of groups": (
        [ClearMembranes(row=0, groups=2), IN, acc(groups=2, inputs=0), lif()],
        4, "b0 holds 2 groups, 1 were consumed",
    ),
    "unconsumed burst": ([IN, acc()], 4, "the program ends while b0 waits for a consumer"),
    "stream ended": ([IN, IN], 2, "the input stream ended after 1 timesteps"),
    "stream too narrow": ([events(0, 2)], 1, "the program takes 2 inputs, the stream has 1"),
    "register file too narrow": (
        [ClearValue(dest=TARGET.values.count - 1, size=TARGET.values.width + 1)],
        1, f"v{TARGET.values.count}: the target has {TARGET.values.count} such registers",
    ),
    "empty loop": ([Loop(counter="immediate", value=1, length=0)], 1, "a loop needs a body"),
    "loops too deep": (
        [Loop(counter="immediate", value=2, length=4 - n) for n in range(4)] + [CLEAR],
        4, "loops nest deeper than 4",
    ),
    "loop reaches out": (
        [
            Loop(counter="immediate", value=2, length=2),
            Loop(counter="steps", length=2), CLEAR, CLEAR,
        ],
        2, "a loop reaches beyond the loop around it",
    ),
    "hold outside timesteps": (
        [hold(2)], 1, "an instruction that counts timesteps stands outside their loop",
    ),
    "hold in a counted loop": (
        [Loop(counter="immediate", value=2, length=1), hold(2)],
        2, "an instruction that counts timesteps stands outside their loop",
    ),
    "hold every 0 timesteps": (
        [Loop(counter="steps", length=2), values(0, 1), hold(0)], 3, "hold.value every 0 timesteps",
    ),
    "hold of what was never written": (
        [Loop(counter="steps", length=1), hold(2)],
        2, "v0 was read before it was written in this sample",
    ),
    "samples inside": (
        [Loop(counter="samples", length=1), CLEAR], 1, "the loop over samples must be outermost",
    ),
}  # fmt: skip


def trapped(body, x=((0,),)):
    image = program(*body, spike=ROW, memory_a=ROW, parameter=PARAMETER, drive=[[1]])
    with pytest.raises(Trap) as caught:
        run(image, np.array(x)[None])
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_trap(case):
    body, pc, cause = CASES[case]
    error = trapped(body)
    assert (error.cause, error.pc) == (cause, pc)
    assert re.fullmatch(rf"trap at pc {pc}(, cycle \d+)?: {re.escape(cause)}", str(error))


@pytest.mark.parametrize("kind", [events, values])
@pytest.mark.parametrize("low", [True, False])
def test_input_outside_its_range(kind, low):
    least, most = (0, 1) if kind is events else (-(2**15), 2**15 - 1)
    error = trapped([kind(0, 1), kind(0, 1)], x=((0,), (least - 1 if low else most + 1,)))
    assert (error.cause, error.pc) == (f"input outside {least} .. {most} in timestep 1", 2)


def test_a_leak_below_nothing_traps():
    code = np.full((1, LANES), 1023 << 48)  # the highest: a loss of 16320 / 8192
    image = program(CLEAR, IN, acc(), lif(), spike=ROW, parameter=code)
    with pytest.raises(Trap, match="a leak of -8128 / 8192 would turn a membrane's sign") as caught:
        run(image, [[[1]]])
    assert caught.value.pc == 4


def test_an_immediate_loop_of_zero_runs_nothing():
    image = program(
        ClearLogits(row=0, groups=1, mode="sum"),
        Loop(counter="immediate", value=0, length=1),
        ClearLogits(row=0, groups=1, mode="max"),
        Emit(row=0, groups=1),
    )
    assert run(image, [[[0]]]).logits.tolist() == [[0] * LANES]


def test_nested_loops_run_the_product_of_their_counts():
    image = program(
        CLEAR,
        Loop(counter="immediate", value=3, length=4),
        Loop(counter="immediate", value=2, length=3),
        IN,
        acc(),
        lif(),
        spike=ROW,
        parameter=parameters(LANES, threshold=100, leak=KEPT),
    )
    found = run(image, np.ones((1, 6, 1)))
    executed = 1 + 1 + 1 + 3 * (1 + 2 * 3) + 1 + 1  # samples, clear, outer, bodies, sync, halt
    assert found.counts.instructions == executed
    assert found.counts.accesses["spike", "reads"] == 6
