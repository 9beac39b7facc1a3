"""A sample that is fed by timesteps says at every moment what a run of its beginning says."""

from itertools import product
from random import Random

import numpy as np
import pytest

from dmpc import Options
from isa.engines import engine
from isa.target import target_names
from runtime import Program, RuntimeFailure
from tests.networks import Layer, Shape, compile_network, network, samples

SEVERAL = (
    Layer(neurons=9, states=3, delays=4, dilation=3),
    Layer(neurons=5, recurrent=True, echo=3, hard=False),
    Layer(neurons=6, states=4),
)
KINDS = {
    "delays, dilation, recurrence": Shape(inputs=6, layers=SEVERAL, steps=7, seed=1),
    "summed": Shape(inputs=4, layers=SEVERAL[1:], readout="sum", steps=6, seed=2),
    "the last": Shape(inputs=4, layers=SEVERAL[:1], readout="last", steps=7, seed=3),
    "the largest": Shape(inputs=3, layers=SEVERAL[1:], readout="max", steps=6, seed=4),
    "graded": Shape(inputs=5, layers=SEVERAL[1:], graded=True, steps=6, seed=5),
}
OPTIONS = (
    {"target": "pooled"},
    {"fusion": False, "overlap": False, "count_readout": False},
)


def made(shape, **options):
    given = Options(input_range=(-0.5, 0.5) if shape.graded else None, **options)
    return Program(compile_network(network(shape), options=given).image, "net.elf")


PROGRAM = made(KINDS["summed"])
X = samples(KINDS["summed"])[1]


def told(result):
    """Everything that a result of one sample says, but for what was watched."""
    plain = {name: value for name, value in vars(result).items() if name != "seen"}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in plain.items()}


def check(program, stream, x, chunks):
    """Feed a sample in chunks; all that is told after each equals a run of the sample so far."""
    at = 0
    spikes = {name: [] for name in program.spikes}
    for size in chunks:
        answer = stream.feed(x[at : at + size])
        at += size
        run = program.run(x[None, :at], watched=program.spikes.values())
        assert told(stream.result()) == told(run)
        assert answer.timesteps == stream.timesteps == at
        assert answer.logits.tolist() == run.logits[0].tolist()
        assert (answer.prediction, answer.cycles) == (run.predictions[0], run.cycles[0])
        for name, place in program.spikes.items():
            assert answer.spikes[name].shape[0] == size
            spikes[name].append(answer.spikes[name])
            assert np.concatenate(spikes[name]).tolist() == run.seen[place][0].tolist()


@pytest.mark.parametrize(
    ("kind", "options"), [*((kind, {}) for kind in KINDS), *product(list(KINDS)[:2], OPTIONS)]
)
def test_every_prefix(kind, options):
    program = made(KINDS[kind], **options)
    with program.stream() as stream:
        for x in samples(KINDS[kind])[:2]:
            check(program, stream, x, [1] * len(x))
            stream.reset()


@pytest.mark.parametrize("seed", range(8))
def test_chunks_of_random_networks(seed):
    random = Random(seed)
    shape = Shape(
        inputs=random.randint(1, 8),
        layers=tuple(
            Layer(
                neurons=random.randint(1, 9),
                states=random.choice((0, 3)),
                delays=random.choice((0, 4)),
                dilation=random.choice((1, 2, 5)),
                recurrent=random.random() < 0.5,
                hard=random.random() < 0.5,
            )
            for _ in range(random.randint(1, 3))
        ),
        graded=seed % 4 == 0,
        samples=1,
        steps=10,
        seed=seed,
    )
    chunks = [random.randint(1, 4) for _ in range(3)]
    program = made(shape, target=random.choice(target_names()))
    check(program, program.stream(), samples(shape)[0], [*chunks, 10 - sum(chunks)][: 3 + seed % 2])


def test_two_streams_and_runs_between_them():
    one, other = PROGRAM.stream(), PROGRAM.stream()
    x = samples(KINDS["summed"])
    for at in range(5):
        found = one.feed(x[1, at]), other.feed(x[2, 2 * at % 6 : 2 * at % 6 + 1])
        again = PROGRAM.run(x[1:2, : at + 1])
        assert found[0].logits.tolist() == again.logits[0].tolist()
    alone = PROGRAM.stream().feed(x[2, [0, 2, 4, 0, 2]])
    assert found[1].logits.tolist() == alone.logits.tolist()
    assert found[1].cycles == alone.cycles


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32])
def test_events_in_any_type(kind):
    assert PROGRAM.stream().feed(X.astype(kind)).cycles == PROGRAM.run(X[None]).cycles[0]


def test_what_is_pushed_is_in_the_next_answer():
    place = PROGRAM.spikes["layer2.spikes"]
    stream = PROGRAM.stream()
    stream.feed(X[0])
    for timestep in X[1:4]:
        stream.push(timestep)
    answer = stream.answer()
    run = PROGRAM.run(X[None, :4], watched=[place])
    assert (answer.timesteps, answer.cycles) == (4, run.cycles[0])
    assert answer.spikes["layer2.spikes"].tolist() == run.seen[place][0, 1:].tolist()
    assert stream.answer().spikes["layer2.spikes"].tolist() == run.seen[place][0, 1:].tolist()


def test_inputs_that_had_to_be_clipped_are_counted():
    program = made(KINDS["graded"])
    x = samples(KINDS["graded"])[1]
    x[2:, 1] = 1e6
    stream = program.stream()
    check(program, stream, x, [2, 2, 2])
    assert stream.result().saturations["input"] >= 4


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(3), "x has 3 inputs, net.elf was compiled for 4"),
        (np.zeros((2, 5), bool), "x has 5 inputs, net.elf was compiled for 4"),
        (np.zeros((0, 4)), r"x has shape \[0, 4\]; a stream takes one timestep \[inputs\], or"),
        (np.zeros((1, 2, 4)), r"x has shape \[1, 2, 4\]; a stream takes one timestep \[inputs\]"),
        (np.array([[0, 1, 0, 0], [0, 0, 0, np.nan]]), r"x\[1, 3\] is nan"),
        (np.array([0, 1, np.inf, 0]), r"x\[2\] is inf"),
        (np.array([0, 1, 2, 0]), "x holds 2, but net.elf was compiled for events"),
        (np.array(["a", "b", "c", "d"]), "x holds <U1; it must be bool, integer or float"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_stream_goes_on(x, message):
    stream = PROGRAM.stream()
    stream.feed(X[:3])
    with pytest.raises(RuntimeFailure, match=f"^{message}"):
        stream.feed(x)
    assert stream.feed(X[3:]).logits.tolist() == PROGRAM.run(X[None]).logits[0].tolist()


def test_a_closed_stream():
    with PROGRAM.stream() as stream:
        stream.feed(X)
    for use in (lambda: stream.feed(X), stream.result, stream.reset):
        with pytest.raises(
            RuntimeFailure, match=r"the stream is closed; program\.stream\(\) opens"
        ):
            use()


def test_before_the_first_timestep_there_is_no_answer():
    for ask in (PROGRAM.stream().result, PROGRAM.stream().answer):
        with pytest.raises(RuntimeFailure, match="nothing was fed to the stream yet"):
            ask()


@pytest.mark.parametrize("name", ["reference", "cycle"])
def test_other_engines_take_whole_samples(name):
    program = Program(PROGRAM.image, "net.elf", name)
    with pytest.raises(RuntimeFailure, match=r"^net\.elf: this engine takes whole samples; the fa"):
        program.stream()


def test_what_watches_kept_is_dropped():
    """A stream that goes on for days does not grow."""
    stream = engine(PROGRAM.image).stream(4, PROGRAM.spikes.values())
    for _ in range(50):
        stream.feed(np.zeros((3, 4), np.int64))
        (place,) = set(stream.places) - set(stream.places[1:])
        assert len(stream.seen(place)) == 3
        assert all(seen.times <= 3 + seen.ahead for seen in stream._seen)
