"""Random and damaged programs on all engines, which must tell the same of each.

    OMP_NUM_THREADS=1 python -m benchmarks.engine_fuzz --count 100000

Networks of every kind are compiled with every switch and then damaged; others are written by an
author who breaks no rule, damaged or not; others are instructions at random. The fast engine and
the reference engine must agree in logits, cycles, all counts, whatever is watched, and in traps
with program counter, cycle and words; of every twentieth program, where it is short, the cycle
engine, too; of every tenth each prefix as a stream. Programs have numbers: `--first N --count 1` is
the Nth again.
"""

import sys
from collections import Counter
from functools import lru_cache
from itertools import count
from random import Random
from typing import Any

import click
import numpy as np

from benchmarks.random_networks import network, random_shape, samples
from benchmarks.random_programs import hand_made, mutated, soup
from dmpc import Options
from dmpc import compile as compile_network
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from dmpc.errors import CompileError
from dmpc.passes.layer_rules import MANY_PRODUCTS
from isa.engines import Engine
from isa.engines.counts import Place, Run
from isa.engines.cycle import CycleEngine
from isa.engines.fast import FastEngine
from isa.engines.native import DONE, Machine, as_input
from isa.engines.program import Prepared, watch
from isa.engines.reference import ReferenceEngine
from isa.errors import IsaError, Trap
from isa.image import Image
from isa.instructions import Halt, Loop, Sync
from isa.target import target_names

KINDS = ("compiled", "compiled, damaged", "written", "written, damaged", "at random")
PER_NETWORK = 25
LIMIT, SHORT = 2000, 3000
"""Instructions of a sample; cycles up to which the cycle engine is asked."""

Inputs = np.ndarray[Any, Any]
SWITCHES = (
    "dependency_breaking",
    "fusion",
    "heterogeneous_stationarity",
    "count_readout",
    "overlap",
)


class Different(Exception):
    """Engines that do not tell the same."""


@click.command()
@click.option("--count", "programs", default=1000, show_default=True, help="How many programs.")
@click.option("--first", default=0, show_default=True, help="The number of the first one.")
def main(programs: int, first: int) -> None:
    """Try programs, and print how many there were of each kind and what became of them."""
    tally: Counter[tuple[str, str]] = Counter()
    different = 0
    for number in range(first, first + programs):
        try:
            tally.update(attempt(number))
        except Exception as error:
            different += 1
            print(f"program {number}: {type(error).__name__}: {str(error)[:600]}", flush=True)
        if (number + 1 - first) % 1000 == 0:
            print(f"{number + 1 - first} programs, {different} finds", file=sys.stderr, flush=True)
    made = table("programs", "kind", "ran", "trapped", "refused", "cycle engine", "streams")
    for kind in KINDS:
        cells = ("ran", "trapped", "refused", "cycle engine", "streams")
        made.add_row(kind, *(f"{tally[kind, cell]:,}" for cell in cells))
    Output().print(made)
    print(f"{programs:,} programs, {different} of which engines do not tell the same")
    sys.exit(1 if different else 0)


def attempt(number: int) -> list[tuple[str, str]]:
    """Try one program: its kind, with all that was done with it; raises Different."""
    random = Random(number)
    kind = KINDS[number % len(KINDS)]
    try:
        image, x = program(random, kind, number // (len(KINDS) * PER_NETWORK))
    except IsaError:
        return [(kind, "refused")]  # an illegal word: the encoding's tests have those
    return [(kind, did) for did in judge(random, image, x)]


@lru_cache(maxsize=4)
def compiled(number: int) -> tuple[Image, Inputs]:
    """A network of some kind, compiled in some way, and samples of it as its program takes them."""
    for again in count():
        try:
            return _compiled(Random(f"network {number}" + again * " again"))
        except CompileError as error:
            if error.rule is not MANY_PRODUCTS:  # a random network may be too large
                raise
    raise AssertionError


def _compiled(random: Random) -> tuple[Image, Inputs]:
    shape = random_shape(random)
    chosen = {name: random.random() < 0.7 for name in SWITCHES}
    bounds = (-1.0, 1.0) if shape.graded else None
    options = Options(target=random.choice(target_names()), input_range=bounds, **chosen)
    x = samples(shape)
    inputs = np.rint(x * 1000).astype(np.int64) if shape.graded else x.astype(np.int64)
    return compile_network(network(shape), options=options).image, inputs


def program(random: Random, kind: str, network: int) -> tuple[Image, Inputs]:
    """A program of a kind, and samples for it; IsaError if damage made a word illegal."""
    if kind.startswith("compiled"):
        image, x = compiled(network)
        x = x[random.choices(range(len(x)), k=random.randint(1, 20))]
        x = x[:, random.choices(range(x.shape[1]), k=random.randint(1, 8))]
        if random.random() < 0.02:
            x[-1, -1, 0] = random.choice((-1, 2, 40000, -(1 << 40)))
    else:
        drain = random.randint(0, 2)
        loop = Loop(counter="immediate", value=random.randint(1, 3), length=0)
        if random.random() < 0.7:
            loop = Loop(counter="steps", drain=drain, length=0)
        image = hand_made(random, random.randint(0, 25), loop)
        x = np.zeros((random.randint(1, 18), random.randint(1, 4), 1), np.int64)
    if kind == "at random":
        before = list(image.code[1 : random.choice((1, 8, 16))])
        body = [*before, *soup(random, random.randint(1, 10))]
        outer = Loop(counter="samples", length=len(body) + 1)
        image = Image(image.target_text, (outer, *body, Sync(), Halt()), image.memories)
    return (mutated(random, image) if "damaged" in kind else image), x


def judge(random: Random, image: Image, x: Inputs) -> list[str]:
    """Run a program on the engines; what was done, or Different."""
    try:
        fast = FastEngine(image)
    except IsaError:
        return ["refused"]
    prepared = fast.prepared
    reference = ReferenceEngine(image, prepared)
    places = watchable(random, prepared)
    batch, threads = random.choice((1, 3, 16, 256)), random.choice((1, 1, 2))
    found = result(fast, x, places, batch=batch, threads=threads)
    compare("reference", found, result(reference, x, places))
    if isinstance(found, str):  # it cannot be watched there
        places = ()
        found = result(fast, x)
    done = ["trapped" if isinstance(found, Trap) else "ran"]
    stepped, streamed = random.random() < 1 / 20, random.random() < 1 / 10
    if isinstance(found, Trap) or stepped:
        alone = result(reference, x[:1], places)
        if isinstance(alone, str):  # another sample trapped before that showed
            places = ()
            alone = result(reference, x[:1])
        if isinstance(alone, Trap):
            compare("where compiled code stops", stops(prepared, x[:1]), (alone.pc, alone.cycle))
        length = alone.cycle if isinstance(alone, Trap) else int(alone.cycles[0])
        if stepped and (length or 0) < SHORT:
            compare("cycle", result(CycleEngine(image, prepared), x[:1], places), alone)
            done.append("cycle engine")
    if streamed:
        compare_stream(fast, x[0], places)
        done.append("streams")
    return done


def result(
    loaded: Engine, x: Inputs, places: tuple[Place, ...] = (), **options: Any
) -> Run | Trap | str:
    """What an engine tells of a program: a run, a trap, or why it cannot be watched there."""
    try:
        return loaded.run(x, watched=places, limit=LIMIT, **options)
    except Trap as trap:
        return trap
    except IsaError as error:
        return str(error)


def told(found: object) -> object:
    """All of a result, to compare."""
    if isinstance(found, Run):
        seen = {place: values.tolist() for place, values in found.seen.items()}
        return vars(found.counts), found.logits.tolist(), found.cycles.tolist(), seen
    return (str(found), found.pc, found.cycle) if isinstance(found, Trap) else found


def compare(what: str, *found: object) -> None:
    """Raise Different unless all that was found is the same."""
    one, *others = map(told, found)
    for other in others:
        if one != other:
            raise Different(f"{what}: {one} is not {other}")


def watchable(random: Random, prepared: Prepared) -> tuple[Place, ...]:
    """Up to three places of a program that can be watched."""
    places = []
    for pc, op in enumerate(prepared.code):
        for operand in ("dest", "row", "state", "source"):
            try:
                watch(prepared, (pc, operand))
            except IsaError:
                continue
            if hasattr(op, operand):
                places.append((pc, operand))
    return tuple(random.sample(places, min(len(places), random.choice((0, 0, 1, 3)))))


def stops(prepared: Prepared, x: Inputs) -> tuple[int, int]:
    """Where compiled code stops in a sample, by itself: program counter and cycle."""
    machine = Machine(prepared, 1)
    machine.begin(as_input(x))
    if machine.run(LIMIT) == DONE:
        raise Different("compiled code does not stop")
    view = machine.view()
    return view.pc, view.issued + 1


def compare_stream(loaded: FastEngine, x: Inputs, places: tuple[Place, ...]) -> None:
    """Every prefix of a sample: as a run, and as a stream that is fed by timesteps."""
    stream = loaded.stream(x.shape[1], places)
    for at in range(1, len(x) + 1):
        try:
            run = loaded.run(x[None, :at], watched=places, limit=LIMIT)
        except Trap as trap:
            if "the program ran longer" in trap.cause:
                return  # a stream has no limit
            run = trap
        try:
            stream.feed(x[at - 1 : at])
            now = stream.logits.tolist(), stream.cycles, vars(stream.counts)
        except Trap as trap:
            compare("stream", run, trap)
            return
        if isinstance(run, Trap):
            raise Different(f"stream: {run} is not {now}")
        compare("stream", now, (run.logits[0].tolist(), int(run.cycles[0]), vars(run.counts)))


if __name__ == "__main__":
    main()
