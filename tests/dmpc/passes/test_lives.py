"""What lives for a part of a timestep gives its registers back; nothing overwrites it before."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmpc.backend.lower import lower
from dmpc.backend.order import Life, lives
from dmpc.compiler import Options
from dmpc.errors import CompileError
from dmpc.passes.place import PlaceInMemory
from dmpc.passes.rooms import Wanted, rooms
from dmpc.verification import verify
from isa.instructions import Loop
from isa.target import load_target, target_text
from tests.networks import (
    Layer,
    Shape,
    banks_hold_them,
    compile_network,
    network,
    networks,
    samples,
)

PAPER = load_target("paper")
STEPS = 4
DEEP = Shape(inputs=3, layers=(*[Layer(neurons=4, states=2)] * 2, Layer(neurons=3)), seed=3)


def fused(shape, **options):
    """A network before it has places."""
    seen = {}
    given = {"input_range": (-1.0, 1.0)} if shape.graded else {}
    compile_network(
        network(shape), options=Options(balance=False, **given, **options),
        observe=seen.__setitem__,
    )  # fmt: skip
    return seen["fuse"]


def with_registers(events, values):
    return PAPER.model_copy(
        update={
            "events": PAPER.events.model_copy(update={"count": events}),
            "values": PAPER.values.model_copy(update={"count": values}),
        }
    )


def tightest(graph):
    """The graph placed with as few registers of both kinds as will do."""
    found, target = None, PAPER
    for kind in ("events", "values"):
        counts = {"events": target.events.count, "values": target.values.count}
        while counts[kind] > 1:
            counts[kind] -= 1
            try:
                found = PlaceInMemory(with_registers(**counts)).run(graph)
            except CompileError:
                break
            target = with_registers(**counts)
    return found, target


def misread(graph, target):
    """Registers that hold something else than what is read, in the program run by names."""
    alias = {s.next: s.name for s in graph.states}
    ops = {op.results[0]: op for op in graph.ops}
    program = lower(graph, target)
    start = next(
        n for n, x in enumerate(program)
        if isinstance(x.instruction, Loop) and x.instruction.counter == "steps"
    )  # fmt: skip
    loop = program[start].instruction
    holds, wrong = {}, []
    for item in program[:start]:
        for name in item.instruction.work(target).writes:
            holds[name] = None  # cleared
    for iteration in range(STEPS + loop.drain):
        for item in program[start + 1 : start + 1 + loop.length]:
            if not 0 <= iteration - item.instruction.stage < STEPS:
                continue
            op, work = ops.get(item.provenance.op), item.instruction.work(target)
            read = {alias.get(n, n) for n in (op.operands if op else ())}
            read |= {alias.get(n, n) for n in (op.results if op else ())}  # a state in place
            wrong += [
                (item.instruction, name, holds.get(name))
                for name in work.reads
                if name[0] in "ev" and holds.get(name, "nothing") not in (*read, None)
            ]
            made = alias.get(item.provenance.op, item.provenance.op)
            for name in (*work.writes, *work.appends):
                holds[name] = made
    return wrong


@settings(max_examples=25, deadline=None)
@given(networks())
def test_registers_hold_what_is_read_from_them_however_few_there_are(shape):
    with banks_hold_them():
        graph = fused(shape)
        placed, target = tightest(graph)
    assert not misread(placed or PlaceInMemory(PAPER).run(graph), target)


def test_what_is_overwritten_would_show():
    placed = PlaceInMemory(PAPER).run(fused(DEEP))
    assert not misread(placed, PAPER)
    placed.placement["layer1.x"] = replace(placed.placement["layer1.m"], lives=None)
    assert misread(placed, PAPER)


LIVES = st.none() | st.tuples(st.integers(-1, 12), st.integers(0, 6)).map(
    lambda ends: Life(ends[0], ends[0] + ends[1], ("", ""))
)


@given(st.lists(st.tuples(st.integers(1, 3), LIVES), max_size=12), st.integers(1, 16))
def test_no_two_live_things_share_a_room(things, size):
    wanted = [Wanted(str(n), rows, life) for n, (rows, life) in enumerate(things)]
    found = rooms(wanted, size)
    if found is None:
        assert sum(one.rows for one in wanted) > size
        return
    for one in wanted:
        rows = range(found[one.name], found[one.name] + one.rows)
        assert rows.start >= 0
        assert rows.stop <= size
        for other in wanted[: int(one.name)]:
            if set(rows) & set(range(found[other.name], found[other.name] + other.rows)):
                assert one.life
                assert other.life
                assert not set(range(one.life.first, one.life.last + 1)) & set(
                    range(other.life.first, other.life.last + 1)
                )


def test_where_there_is_room_nothing_is_shared():
    placed = PlaceInMemory(PAPER).run(fused(DEEP))
    found = lives(placed)
    assert set(found) == {name for name, place in placed.placement.items() if place.lives}
    assert {"x", "layer1.x", "layer2.x", "layer1.spikes.stage1"} <= set(found)
    places = [placed.placement[name] for name in found]
    assert not any(a.overlaps(b) for n, a in enumerate(places) for b in places[:n])


def test_ten_layers_with_memories_take_sixteen_registers():
    """Ten memories, ten drives and the counts; eleven vectors of events, nine copies of them."""
    graph = fused(Shape(inputs=3, layers=(Layer(neurons=4, states=1),) * 10, seed=1))
    placed = PlaceInMemory(PAPER).run(graph)
    assert "counts" in placed.placement
    assert not misread(placed, PAPER)


def test_bits_are_unchanged_where_registers_are_shared(tmp_path):
    text = target_text("paper").replace("count = 16", "count = 4")
    (tmp_path / "few.toml").write_text(text)
    x = samples(DEEP)
    options = Options(target=str(tmp_path / "few.toml"))
    compiled = compile_network(network(DEEP), calibration=x, options=options)
    assert "note" not in compiled.graph.attrs, "nothing was given up"
    rungs = verify(network(DEEP), compiled.image, x, max_drop=100).rungs
    assert all(rung.ok for rung in rungs[2:])


def test_fewer_registers_than_what_lives_at_once_are_refused():
    with pytest.raises(CompileError, match="takes 1 values registers of 256; 0 of 3 are free"):
        PlaceInMemory(with_registers(16, 3)).run(fused(DEEP))
