"""`leak.logits`: a readout that forgets, on all engines."""

import numpy as np
import pytest

from isa.assembler import assemble
from isa.engines import engine
from isa.errors import Trap
from isa.format import decode, encode
from isa.instructions import AccumulateValues, ClearLogits, Emit, Readout
from isa.instructions.leaky_readout import LeakLogits
from isa.parameters import KEPT, LEAK_BITS
from tests.isa.machine import LANES, each_timestep, parameters, program, run, values

GROUPS = 2
CLASSES = GROUPS * LANES
KEEP = np.array([0, 32, 4096, 7000 // 32 * 32, 8160, 8191, 8192, 1 << 10])


def leaky(*, keep=KEEP, bias=0, weights=None):
    """A leaky integrator of three inputs: leak, then add, in each timestep."""
    weights = np.zeros((GROUPS * 3, LANES), int) if weights is None else weights
    return program(
        ClearLogits(row=1, groups=GROUPS, mode="sum"),
        *each_timestep(
            values(0, 3),
            AccumulateValues(bank=1, source=0, row=0, inputs=3, groups=GROUPS),
            LeakLogits(row=1, parameters=0, groups=GROUPS),
            Readout(row=1, parameters=0, groups=GROUPS, banks=(1,), mode="sum"),
        ),
        Emit(row=1, groups=GROUPS),
        memory_a=weights,
        parameter=parameters(CLASSES, leak=keep, bias=bias),
    )


def expected(x, weights, keep):
    """The same in Python's integers: logits after the last timestep."""
    logits = [0] * CLASSES
    for timestep in x.tolist():
        for n in range(CLASSES):
            group, lane = divmod(n, LANES)
            kept = (logits[n] * int(keep[n]) + (1 << LEAK_BITS >> 1)) >> LEAK_BITS
            added = sum(v * int(weights[group * 3 + i, lane]) for i, v in enumerate(timestep))
            logits[n] = max(-(1 << 31), min((1 << 31) - 1, kept + added))
    return logits


def test_a_leaky_integrator_against_plain_integers():
    random = np.random.default_rng(1)
    weights = random.integers(-128, 128, (GROUPS * 3, LANES))
    x = random.integers(-3000, 3000, (3, 4, 3))
    found = run(leaky(weights=weights), x).logits  # the cycle engine takes the first sample
    assert found.tolist() == [expected(sample, weights, KEEP) for sample in x]
    assert run(leaky(weights=weights), x[:1]).logits.tolist() == found[:1].tolist()


def test_all_of_it_is_kept_at_the_ends_of_the_range():
    """2^31 - 1 and -2^31 stay what they are where nothing leaks, and halve to the nearest."""
    weights = np.tile([[511], [-512]], (1, LANES))[[0, 0, 0, 1, 1, 1]]
    keep = np.tile([KEPT, KEPT // 2, KEPT, KEPT], GROUPS)
    x = np.full((1, 60, 3), (1 << 15) - 1)
    found = run(leaky(weights=weights, keep=keep), x)
    assert found.logits[0].tolist() == expected(x[0], weights, keep)
    assert found.logits[0, 0] == (1 << 31) - 1
    assert found.logits[0, LANES] == -(1 << 31)
    assert found.counts.saturations


def test_what_it_asks_of_the_machine():
    counts = run(leaky(), np.zeros((1, 3, 3))).counts
    leak_pc = 5
    for memory, direction in (("readout", "reads"), ("readout", "writes"), ("parameter", "reads")):
        assert counts.accesses_at[leak_pc, memory, direction] == 3 * GROUPS
    assert counts.operations_at[leak_pc, "readout", "multiply_add"] == 3 * CLASSES
    assert not any(pc == leak_pc for pc, _ in counts.saturable)


def test_streams_forget():
    """After silence a stream's logits are gone; a sum's would stay."""
    weights = np.ones((GROUPS * 3, LANES), int)
    stream = engine(leaky(weights=weights, keep=np.full(CLASSES, 4096))).stream(3)
    stream.feed(np.full((1, 3), 100))
    assert stream.logits.tolist() == [300] * CLASSES
    stream.feed(np.zeros((1, 3), int))
    assert stream.logits.tolist() == [150] * CLASSES
    stream.feed(np.zeros((40, 3), int))
    assert set(stream.logits.tolist()) <= {0, 1}  # halves are rounded up


@pytest.mark.parametrize(
    ("op", "cause"),
    [
        (LeakLogits(row=0, parameters=0, groups=1), "readout rows 0 .. 0 were read before they"),
        (LeakLogits(row=64, parameters=0, groups=1), "readout rows 64 .. 64 of 64 were addressed"),
        (LeakLogits(row=0, parameters=9, groups=1), "parameter rows 9 .. 9 were read, not all are"),
    ],
)
def test_traps(op, cause):
    with pytest.raises(Trap, match=cause):
        run(program(op, parameter=parameters(LANES)), np.zeros((1, 1, 1)))


def test_its_text_and_its_word():
    op = LeakLogits(row=3, parameters=7, groups=2, stage=1)
    assert decode(encode(op)) == op
    text = ".target paper\n.text\n        leak.logits     row=3, parameters=7, groups=2, stage=1\n"
    assert assemble(text, "a.s").code == (op,)
