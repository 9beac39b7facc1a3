"""Damaged and random programs run, or stop with what, where and when; nothing else."""

import random as python_random
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.engine_fuzz import KINDS, Different, attempt
from benchmarks.random_programs import hand_made, mutated
from dmpc.compiler import Options
from isa.core import Core
from isa.engines import engine
from isa.engines.reference import ReferenceEngine
from isa.errors import IsaError, Trap
from isa.image import Image, image_bytes, parse_image
from isa.instructions import Halt, Loop, Sync
from tests.isa.machine import PAPER, program, run
from tests.isa.programs import any_instruction
from tests.isa.test_stepper import agree, compiled
from tests.networks import Layer, Shape

LIMIT = 2000
OPTIONS = (
    Options(),
    Options(target="pooled"),
    Options(fusion=False, heterogeneous_stationarity=False, overlap=False, count_readout=False),
)
SHAPES = (
    Shape(inputs=6, layers=(Layer(neurons=9, states=3), Layer(neurons=5)), seed=1),
    Shape(inputs=3, layers=(Layer(neurons=6, states=4),), graded=True, readout="max", seed=2),
)


@lru_cache
def base(number):
    """An image that runs, and samples for it."""
    if number < len(OPTIONS) * len(SHAPES):
        return compiled(SHAPES[number % 2], OPTIONS[number // 2])
    random = python_random.Random(number + 50)
    image = hand_made(random, 30, Loop(counter="steps", length=0, drain=2))
    return image, np.zeros((2, 3, 1), np.int64)


def outcome(image, x):
    """Logits, cycles and counts of a run that ends, or the error that stopped it."""
    stopped: IsaError | None = None
    try:
        found = run(image, x, limit=LIMIT)
    except IsaError as error:
        stopped = error
    if isinstance(stopped, Trap):
        assert stopped.pc >= 0  # behind the last word, when the program ran past its end
        assert stopped.cycle >= 0
        assert stopped.cause
    if stopped:
        assert "\n" not in str(stopped)
        return "stopped", str(stopped)
    assert (found.cycles >= 0).all()  # none if it halts at once
    return "ran", found.logits.tolist(), found.cycles.tolist(), found.counts


def garbage(monkeypatch, *, written=False):
    """At the start of a sample, memories hold anything; `written`: and count as if it were theirs.

    Those of the reference engine; the fast engine's hold what the last sample left.
    """
    begin = Core.__init__

    def begin_with_garbage(core, *given):
        begin(core, *given)
        for rows in core._state.values():
            rows[:] = np.random.default_rng(5).integers(-9999, 9999, rows.shape)
        for rows in core._written.values() if written else ():
            rows[:] = True

    monkeypatch.setattr(Core, "__init__", begin_with_garbage)


@settings(max_examples=120, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 9))
def test_damaged_programs(random, number):
    image, x = base(number)
    try:
        image = mutated(random, image)
    except IsaError:
        return  # illegal: see the tests of the encoding
    first = outcome(image, x)
    with pytest.MonkeyPatch.context() as patch:
        garbage(patch)
        assert outcome(image, x) == first
    if first[0] == "ran":
        agree(image, x[0])


@pytest.mark.parametrize("number", [11380, 33591, 34705])
def test_a_trap_goes_before_what_cannot_be_watched(number):
    """A register that is longer at one time than at another, and a trap of another sample."""
    assert attempt(number)


@settings(max_examples=150, deadline=None)
@given(st.lists(any_instruction, max_size=12), st.integers(0, 9))
def test_random_programs(body, number):
    image, x = base(number)
    code = (Loop(counter="samples", length=len(body) + 1), *body, Sync(), Halt())
    outcome(Image(image.target_text, code, image.memories), x)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=4), st.integers(0, 200))
def test_random_words_in_a_file(words, at):
    """A file whose program is overwritten is refused before anything runs."""
    data = bytearray(image_bytes(base(0)[0]))
    start = min(at, 100) * 8
    new = b"".join(word.to_bytes(8, "little") for word in words)
    old = bytes(data[start : start + len(new)])
    data[start : start + len(new)] = new
    if bytes(data[start : start + len(new)]) != old:
        with pytest.raises(IsaError):
            parse_image(bytes(data), "a.elf")


def test_bases_run():
    """What the tests above damage is whole; otherwise they would test nothing."""
    for number in range(10):
        assert outcome(*base(number))[0] == "ran"


def test_garbage_would_show():
    """With rows that count as written from the start, garbage reaches the logits."""
    image, x = base(0)
    code = tuple(op for op in image.code if not op.mnemonic.startswith("clear.l"))
    loop = Loop(counter="samples", length=len(code) - 2)
    image = Image(image.target_text, (loop, *code[1:]), image.memories)
    assert outcome(image, x)[0] == "stopped"
    with pytest.MonkeyPatch.context() as patch:
        garbage(patch, written=True)
        found = engine(image, "reference").run(x)
    assert found.logits.tolist() != engine(base(0)[0], "reference").run(x).logits.tolist()


# -- how long, and where the program ends ---------------------------------------------------------


def test_a_program_that_runs_too_long_traps():
    image = program(
        *(Loop(counter="immediate", value=65535, length=3 - n) for n in range(3)), Sync()
    )
    with pytest.raises(Trap, match=r"the program ran longer than 100 instructions") as caught:
        run(image, [[[0]]], limit=100)
    assert caught.value.cycle >= 100


def test_the_limit_counts_the_instructions_of_a_sample():
    image = program(Sync(), Sync())
    assert run(image, np.zeros((5, 1, 1)), limit=5, batch=2).counts.instructions == 25
    with pytest.raises(Trap, match="longer than 4 instructions"):
        run(image, np.zeros((5, 1, 1)), limit=4)


@pytest.mark.parametrize("more", [{"value": 1}, {"drain": 1}])
def test_the_loop_over_samples_counts_samples_alone(more):
    code = (Loop(counter="samples", length=1, **more), Sync(), Halt())
    with pytest.raises(Trap, match="the loop over samples runs once for each sample, and no more"):
        run(Image(PAPER, code), [[[0]]])


# -- the campaign ---------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, 60, 15))
def test_programs_of_the_campaign(first):
    """`python -m benchmarks.engine_fuzz` tries many more, and prints what became of them."""
    done = [attempt(number) for number in range(first, first + 15)]
    assert {kind for did in done for kind, _ in did} == set(KINDS)


@pytest.mark.parametrize("what", ["logits", "cycles", "saturations"])
def test_the_campaign_sees_a_difference(monkeypatch, what):
    right = ReferenceEngine.run

    def wrong(*given, **options):
        found = right(*given, **options)
        if what == "saturations":
            found.counts.saturations[0, "odd"] += 1
        else:
            getattr(found, what).flat[-1] += 1
        return found

    monkeypatch.setattr(ReferenceEngine, "run", wrong)
    with pytest.raises(Different, match=r"^reference: "):
        attempt(0)
