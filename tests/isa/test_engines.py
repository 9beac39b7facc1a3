"""Engines behind one protocol: sessions that step, samples that are watched, threads, lockstep."""

import platform
from pathlib import Path

import numpy as np
import pytest

from isa.engines import ENGINES, engine
from isa.errors import IsaError, Trap
from isa.format import INSTRUCTIONS, layout
from isa.image import Image
from isa.instructions import (
    ClearDelays,
    ClearEvents,
    ClearValue,
    CountEvents,
    Halt,
    Loop,
    MoveEvents,
)
from isa.limits import GROUP_BITS
from isa.native.library import digest, file_name, levels, library
from isa.native.records import header
from tests.isa.machine import PAPER, TARGET, Seen, each_timestep, events, program, run, told
from tests.isa.test_fuzz import base
from tests.isa.test_simulator import IMAGE, X


def shown(session):
    snapshot = session.snapshot()
    memories = {
        name: {row: data.tolist() for row, data in rows.items()}
        for name, rows in snapshot.memories.items()
    }
    registers = {name: data.tolist() for name, data in snapshot.registers.items()}
    where = (snapshot.pc, snapshot.cycle, snapshot.timestep, snapshot.ended)
    return where, registers, memories, snapshot.logits.tolist()


def test_sessions_show_the_same_after_every_instruction():
    fast, reference = (engine(IMAGE, name).reset(X[0]) for name in ("fast", "reference"))
    steps = 0
    while True:
        going = fast.step(), reference.step()
        steps += 1
        assert going[0] == going[1]
        assert shown(fast) == shown(reference)
        if not going[0]:
            break
    assert steps > 40
    whole = engine(IMAGE).run(X[:1])
    for session in (fast, reference):
        assert session.cycles == whole.counts.cycles
        assert session.counts == whole.counts
        assert session.snapshot().logits.tolist() == whole.logits[0].tolist()


@pytest.mark.parametrize("name", ENGINES)
def test_a_session_steps_by_timesteps(name):
    session = engine(IMAGE, name).reset(X[0])
    for step in range(X.shape[1]):
        assert session.step("timestep")
        assert session.snapshot().timestep == step + 1
    session.finish()
    assert session.snapshot().ended
    assert session.cycles == engine(IMAGE).run(X[:1]).counts.cycles


def test_only_the_cycle_engine_stops_in_cycles():
    session = engine(IMAGE, "cycle").reset(X[0])
    for cycle in range(1, 20):
        session.step("cycle")
        assert session.snapshot().cycle == cycle
    for name in ("fast", "reference"):
        with pytest.raises(IsaError, match="the cycle engine in cycles"):
            engine(IMAGE, name).reset(X[0]).step("cycle")


@pytest.mark.parametrize("number", [0, 1, 4, 7])
def test_batches_threads_and_lockstep_change_nothing(number):
    image, x = base(number)
    x = np.concatenate([x] * 20)[:37]
    places = [(pc, "dest") for pc, op in enumerate(image.code) if op.mnemonic in ("lif", "fire")]
    expected = told(engine(image, "reference").run(x, watched=places[:2]))
    for batch, threads in ((1, 1), (3, 2), (16, 1), (37, 2), (256, 3)):
        found = engine(image).run(x, batch=batch, threads=threads, watched=places[:2])
        assert told(found) == expected


@pytest.mark.parametrize("name", ENGINES)
def test_what_nothing_leaves_cannot_be_watched(name):
    with pytest.raises(IsaError, match="pc 0: loop leaves nothing at 'length'"):
        engine(IMAGE, name).run(X, watched=[(0, "length")])
    for pc in (-1, len(IMAGE.code)):
        with pytest.raises(IsaError, match=f"pc {pc}: the program has {len(IMAGE.code)} instruct"):
            engine(IMAGE, name).run(X, watched=[(pc, "dest")])
    counting = program(
        ClearValue(dest=0, size=1),
        ClearEvents(dest=0, size=1),
        CountEvents(counts=0, source=0, size=1),
    )
    with pytest.raises(IsaError, match=r"pc 3: count\.events leaves nothing at 'row'"):
        engine(counting, name).run(X, watched=[(3, "row")])


def test_what_never_happens_is_watched_in_vain():
    """An instruction of a stage that no iteration reaches: no times, on every engine."""
    late = program(*each_timestep(ClearValue(dest=0, size=3, stage=5)))
    place = (2, "dest")
    assert run(late, np.zeros((20, 2, 1)), seen=Seen(v=place)).seen[place].shape[:2] == (20, 0)
    assert run(late, np.zeros((1, 2, 1)), seen=Seen(v=place)).seen[place].shape[:2] == (1, 0)


@pytest.mark.parametrize("sizes", [(3, 5), (5, 3)])
@pytest.mark.parametrize("name", ENGINES)
def test_what_is_longer_at_one_time_than_at_another_cannot_be_watched(name, sizes):
    image = program(
        ClearEvents(dest=0, size=sizes[0]),
        Loop(counter="immediate", value=2, length=2),
        MoveEvents(dest=1, source=0, size=3),
        ClearEvents(dest=0, size=sizes[1]),
    )
    with pytest.raises(IsaError, match="pc 3: what lies at 'source' is longer at one time than at"):
        engine(image, name).run(np.zeros((2, 1, 1), np.int64), watched=[(3, "source")])


def test_an_unknown_engine():
    with pytest.raises(IsaError, match="engine 'quick': none of fast, reference, cycle"):
        engine(IMAGE, "quick")


def test_times_beyond_thirty_two_bits():
    """The origin of times moves with a long program, and nothing shows it."""
    rows, outer, inner = 1024, 75, 65535
    loops = (
        Loop(counter="immediate", value=outer, length=2),
        Loop(counter="immediate", value=inner, length=1),
    )
    image = Image(PAPER, (*loops, ClearDelays(row=0, rows=rows), Halt()))
    counts = engine(image).run(np.zeros((1, 1, 5), np.int64), batch=1).counts
    assert counts.busy["delay"] == outer * inner * rows > 1 << 32
    assert counts.stalls["delay", "issue"] == 3  # until the first clear; it is never idle again
    latency = TARGET.delay.latency
    assert counts.cycles == 3 + counts.busy["delay"] - 1 + latency


def test_a_session_traps_where_the_program_does():
    session = engine(Image(PAPER, IMAGE.code[:8], IMAGE.memories)).reset(X[0])
    with pytest.raises(Trap):
        session.finish()


def test_the_library_for_this_processor_is_taken():
    described = Path("/proc/cpuinfo")
    flags = set(described.read_text().split()) if described.exists() else set()
    if platform.machine() == "x86_64" and flags:
        assert bool(library().dmpc_has_avx2()) == ({"avx2", "fma", "bmi2"} <= flags)
    level = list(levels())[-1 if library().dmpc_has_avx2() else 0]
    assert library()._name.endswith(f"-{level}.so")


def test_groups_are_as_many_as_the_engine_has_room_for():
    fields = [placed.field for cls in INSTRUCTIONS.values() for placed in layout(cls)
              if placed.name == "groups"]  # fmt: skip
    assert {field.bits for field in fields} == {GROUP_BITS}


def test_the_library_is_of_these_sources():
    assert library().dmpc_run
    assert digest() in file_name("base")
    assert "typedef struct { int32_t kind; int32_t stage;" in header()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("batch", [1, 2, 256])
def test_a_trap_is_that_of_the_first_sample_that_has_one(name, batch):
    """Others of its batch, which are busier, are in later cycles; and the batch changes nothing."""
    read = MoveEvents(dest=2, source=1, size=3)
    image = program(*each_timestep(events(0, 3)), read)
    x = np.array([[[0, 0, 0]], [[1, 1, 1]], [[1, 0, 0]]])
    with pytest.raises(Trap, match=r"^trap at pc 3, cycle 3: e1 was read before it was written"):
        engine(image, name).run(x, batch=batch)
    x[2, 0, 1] = 2
    with pytest.raises(Trap, match=r"^trap at pc 2, cycle 2: input outside 0 \.\. 1 in timestep 0"):
        engine(program(*each_timestep(events(0, 3))), name).run(x, batch=batch)
