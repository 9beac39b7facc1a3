"""External rows: what windows hold, what traps, and what bringing them in costs."""

import numpy as np
import pytest

from isa.errors import IsaError, Trap
from isa.image import Image
from isa.instructions import (
    AccumulateEvents,
    ClearMembranes,
    Halt,
    InputEvents,
    Lif,
    LoadEvents,
    LoadNeurons,
    LoadRows,
    MoveEvents,
    Window,
)
from isa.target import EXTERNAL
from isa.validity import check
from tests.isa.machine import (
    LANES,
    PAPER,
    TARGET,
    Seen,
    each_timestep,
    events,
    parameters,
    program,
    run,
)

SPIKE, NEURON = TARGET.bank[0].rows, TARGET.neuron.rows
INPUTS, GROUPS = 6, 2
ROWS = INPUTS * GROUPS
WEIGHTS = np.arange(ROWS * LANES).reshape(ROWS, LANES) % 100 - 50
X = np.array([[[1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]])

OPEN = Window(window=3, memory="b0", at=100, rows=ROWS)
ACC = AccumulateEvents(bank=0, source=0, row=SPIKE, inputs=INPUTS, groups=GROUPS, window=3)
LOAD = LoadEvents(window=3, bank=0, source=0, row=SPIKE, inputs=INPUTS, groups=GROUPS)
ALL = LoadRows(window=3, memory="b0", row=SPIKE, rows=ROWS)
LIF = Lif(dest=1, row=0, parameters=0, groups=GROUPS, banks=(0,), shift=0)
NEAR = {"parameter": parameters(GROUPS * LANES, threshold=32767)}
FAR = {EXTERNAL + "spike": WEIGHTS, EXTERNAL + "parameter": NEAR["parameter"]}


def made(*step, before=(OPEN,), **memories):
    clear = ClearMembranes(row=0, groups=GROUPS)
    body = each_timestep(events(0, INPUTS), *step)
    return program(*before, clear, *body, **{**NEAR, **FAR, **memories})


@pytest.mark.parametrize("load", [LOAD, ALL])
def test_sums_are_those_of_rows_on_the_chip(load):
    image = made(load, ACC, LIF)
    seen = Seen(u=(image.code.index(LIF), "row"))
    found = run(image, X, seen=seen)
    table = WEIGHTS.reshape(GROUPS, INPUTS, LANES).transpose(1, 0, 2).reshape(INPUTS, -1)
    assert seen["u"][0].tolist() == (X[0] @ table).tolist()
    active = X.sum() if load is LOAD else 3 * INPUTS
    bits = GROUPS * TARGET.memories["spike"].row_bits
    assert found.counts.accesses["spike", "writes"] == GROUPS * active
    assert (
        found.counts.accesses["external", "reads"] * TARGET.external.bits_per_cycle == active * bits
    )
    assert found.counts.busy["loader"] == 1 + max(active, 1) + (load is LOAD)  # a step has no event


def test_a_page_fills_while_the_other_is_read():
    """Loads for the next groups run beside the sums of these."""
    halves = [
        (
            LoadEvents(window=3, bank=0, source=0, row=SPIKE + n * INPUTS, inputs=INPUTS, groups=1),
            AccumulateEvents(
                bank=0, source=0, row=SPIKE + n * INPUTS, inputs=INPUTS, groups=1, window=3
            ),
            Lif(dest=1, row=n, parameters=n, groups=1, banks=(0,), shift=0, offset=n * LANES),
        )
        for n in range(GROUPS)
    ]
    image = made(*halves[0], *halves[1])
    seen = Seen(e=(image.code.index(halves[1][2]), "dest"))
    run(image, X, seen=seen)
    assert seen["e"].shape == (1, 3, GROUPS * LANES)


FAR_LIF = Lif(dest=1, row=NEURON, parameters=NEURON, groups=GROUPS, banks=(), shift=0, window=5)
NEURONS = Window(window=5, memory="neuron", at=50, rows=GROUPS)
EXCHANGE = LoadNeurons(window=5, row=NEURON, groups=GROUPS)
FAR_CLEAR = ClearMembranes(row=NEURON, groups=GROUPS, window=5)


def test_neurons_outside_the_chip():
    image = made(EXCHANGE, FAR_LIF, before=(NEURONS, EXCHANGE, FAR_CLEAR))
    found = run(image, X, seen=Seen(u=(image.code.index(FAR_LIF), "row")))
    membranes = TARGET.external.beats(GROUPS * TARGET.memories["neuron"].row_bits)
    assert found.counts.accesses["external", "writes"] == 4 * membranes
    assert found.counts.accesses["neuron", "writes"] == GROUPS * (4 + 4 + 1)


TRAPS = {
    "no window": ([AccumulateEvents(**{**vars(ACC), "window": None}), LIF],
                  "spike row 32779 is not on the chip; no window is named"),
    "an empty window": ([ACC, LIF], "spike rows 32768 .. 32779 are not those that w3 holds"),
    "another window": ([LOAD, AccumulateEvents(**{**vars(ACC), "window": 4}), LIF],
                       "spike rows 32768 .. 32779 are not those that w4 holds"),
    "other rows": ([LoadRows(window=3, memory="b0", row=SPIKE, rows=ROWS - 1), ACC, LIF],
                   "spike rows 32768 .. 32779 are not those that w3 holds"),
    "other events": ([MoveEvents(dest=2, source=0, size=INPUTS), LOAD,
                      AccumulateEvents(**{**vars(ACC), "source": 2}), LIF],
                     "w3 holds the rows of other events than these"),
    "events of before": ([LOAD, MoveEvents(dest=0, source=0, size=INPUTS), ACC, LIF],
                         "w3 holds the rows of other events than these"),
    "a scan of few": ([LOAD, AccumulateEvents(**{**vars(ACC), "scan": True}), LIF],
                      "w3 holds the rows of other events than these"),
    "no such rows": ([LoadRows(window=3, memory="b0", row=SPIKE, rows=ROWS + 1)],
                     "spike rows 32768 .. 32780 of 32780 were read"),
    "rows on the chip": ([LoadRows(window=3, memory="b0", row=0, rows=1)],
                         "spike row 0 lies on the chip, it cannot be loaded into w3"),
    "a window of another memory": ([LoadRows(window=3, memory="drive", row=4096, rows=1)],
                                   "w3 was set aside for spike, not for rows of drive"),
    "a window that nobody opened": ([LoadRows(window=2, memory="b0", row=SPIKE, rows=1)],
                                    "w2 was set aside for nothing, not for rows of spike"),
    "twice": ([OPEN], "w3 was set aside before in this sample"),
    "one in the other": ([Window(window=4, memory="b0", at=90, rows=6)],
                         "w4: another window lies in rows 90 .. 101"),
    "beyond the memory": ([Window(window=4, memory="b0", at=SPIKE - 3, rows=2)],
                          "a window of two pages of 2 rows at row 32765 of 32768 of spike"),
    "no rows": ([Window(window=4, memory="b0", at=0, rows=0)],
                "a window of two pages of 0 rows at row 0 of 32768 of spike"),
    "on what was loaded": ([Window(window=4, memory="b0", at=0, rows=1)],
                           "a window at row 0 of spike, where something was loaded"),
    "membranes in a window": ([Window(window=5, memory="neuron", at=GROUPS, rows=1),
                               ClearMembranes(row=GROUPS + 1, groups=1)],
                              "neuron rows 3 .. 3 were set aside for a window"),
    "half a page": ([NEURONS, LoadNeurons(window=5, row=NEURON, groups=1)],
                    "1 rows are loaded into w5, whose pages have 2"),
    "spikes that leave a gap": ([Lif(**{**vars(LIF), "banks": ()}),
                                 Lif(**{**vars(LIF), "banks": (), "offset": 12})],
                                "e1 holds 8 elements, 12 lie before the next"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAPS)
def test_trap(name):
    step, cause = TRAPS[name]
    memories = {EXTERNAL + "drive": np.ones((1, 1)), "spike": np.ones((1, LANES))}
    with pytest.raises(Trap) as caught:
        run(made(*step, **memories), X)
    assert caught.value.cause == cause


def test_a_target_without_external_memory_has_no_windows():
    text = PAPER[: PAPER.index("[external]")] + PAPER[PAPER.index("[energy]") :]
    with pytest.raises(Trap, match="the target has no external memory"):
        run(Image(text, (OPEN, Halt())), X)
    with pytest.raises(IsaError, match="does not have; loaded: spike, memory_a, "):
        check(Image(text, (Halt(),), {EXTERNAL + "spike": np.zeros((1, LANES), np.int8)}))


def test_external_memory_is_not_without_end():
    text = PAPER.replace("kilobytes = 65536", "kilobytes = 1")
    table = {EXTERNAL + "spike": np.zeros((300, LANES), np.int8)}
    with pytest.raises(IsaError, match="external memory: 2 KB; target paper has 1 there"):
        check(Image(text, (Halt(),), table))


GROUPED = PAPER.replace("width = 1024", "width = 4")


def test_vectors_longer_than_a_register_lie_in_a_group():
    """To write a register is to end the vector that lay in it."""
    take, copy = InputEvents(dest=0, inputs=INPUTS), MoveEvents(dest=3, source=0, size=INPUTS)
    image = program(*each_timestep(take, copy), text=GROUPED)
    seen = Seen(e=(image.code.index(copy), "dest"))
    run(image, X, seen=seen)
    assert seen["e"].tolist() == X.tolist()
    over = program(*each_timestep(take, MoveEvents(dest=1, source=0, size=1), copy), text=GROUPED)
    with pytest.raises(Trap, match="e0 was read before it was written in this sample"):
        run(over, X)
    with pytest.raises(Trap, match="e16: the target has 16 such registers"):
        run(program(InputEvents(dest=15, inputs=INPUTS), text=GROUPED), X)
