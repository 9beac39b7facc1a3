"""The judges of a campaign: what a command may say, and what an accepted model must compute."""

import os
import re
import signal
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np
from click.testing import CliRunner

from benchmarks.random_networks import Shape, network, samples
from dmpc import Options
from dmpc import compile as compile_network
from dmpc.backend.onnx_writer import to_onnx
from dmpc.backend.predict import predict
from dmpc.cli.main import main
from dmpc.compiler import to_layers
from dmpc.errors import DmpcError
from dmpc.frontend import open_model
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_layers import takes_events
from dmpc.passes.layer_rules import MANY_PRODUCTS
from dmpc.verification import verify
from isa.errors import IsaError
from isa.target import target_names
from runtime.program import Program

ROOT = Path(__file__).parents[1]
OURS = tuple(f"{ROOT / name}{os.sep}" for name in ("dmpc", "isa", "runtime"))
SECONDS = 60  # of processor time, for one input
LONGEST = 2000  # characters of a message
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
CAUGHT = re.compile(r"\[importer-fault\]|the importer did not expect this")
HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


class Hang(BaseException):
    """An input took too long."""


@dataclass(frozen=True)
class Case:
    """One damaged input: the command that meets it, the names of which an error gives at least one,
    and whether the file, once accepted, is held against its own reference."""

    argv: tuple[str, ...]
    names: tuple[str, ...] = ()
    model: Path | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of an input: refused, caught (refused by a boundary that expected nothing of the
    kind), accepted, or a find at a `place`."""

    outcome: str
    place: str = ""
    detail: str = ""


def find(place: str, detail: str = "") -> Verdict:
    """A find."""
    return Verdict("find", place, detail)


def judged(case: Case) -> Verdict:
    """Run a case in this process; what it says and computes decides."""
    try:
        with time_limit(SECONDS), heard_warnings() as heard, native_output() as native:
            result = CliRunner().invoke(main, list(case.argv))
        found = _spoken(case, result)
        if found.outcome != "find" and heard:
            found = find(f"warning: {_place_of(heard[0])}", str(heard[0].message))
        if found.outcome != "find" and native:
            found = find(f"native output: {_masked(native[0])}", native[0])
        if found.outcome == "accepted" and case.model is not None:
            with time_limit(SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = unlike_reference(case.model) or found
    except Hang as hang:
        return find(f"hang: {place_of(hang)}", _trace(hang))
    except Exception as error:
        return find(f"judge: {place_of(error)}", _trace(error))
    return found


# -- a: what it says ------------------------------------------------------------------------------


def _spoken(case: Case, result: Any) -> Verdict:
    """No traceback; of an error one line that names the file; nothing a terminal would obey."""
    error, code = result.exception, result.exit_code
    if error is not None and not isinstance(error, SystemExit):
        return find(place_of(error), _trace(error))
    said = f"{result.stdout}{result.stderr}"
    if CONTROL.search(said):
        return find(
            f"control character in: {_masked(CONTROL.sub('', said))}", ascii(said[:LONGEST])
        )
    if code == 0:
        fine = all(line.startswith("dmpc: ") for line in result.stderr.splitlines())
        return Verdict("accepted") if fine else find(f"stderr: {_masked(said)}", result.stderr)
    if code not in (1, 2):
        return find(f"exit code {code}", said)
    lines = result.stderr.splitlines(keepends=True)
    errors = "".join(line for line in lines if not line.startswith("dmpc: note: "))
    if code == 1 and case.argv[0] in ("diff", "fit") and not errors:
        return Verdict("accepted")  # something differs, or is too large
    if code == 1 and case.argv[0] in ("check", "verify") and not errors:
        return Verdict("caught" if CAUGHT.search(said) else "refused", detail=said)
    return _one_line(case if code == 1 else Case(case.argv), errors)


def _one_line(case: Case, text: str) -> Verdict:
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0].startswith("dmpc: error: "):
        return find(f"not one line: {_masked(text)}", text)
    if len(text) > LONGEST:
        return find(f"longer than {LONGEST} characters: {_masked(text)}", text)
    if case.names and not any(name in text for name in case.names):
        return find(f"names no file: {_masked(text)}", text)
    return Verdict("caught" if CAUGHT.search(text) else "refused", detail=text.strip())


def _masked(text: str) -> str:
    """A message without what differs from one input to the next."""
    text = re.sub(r"'[^']*'|\S*[/@]\S*|[-\d.]*\d[\w.]*", "_", ascii(text.strip()[:300]))
    return " ".join(text.split())[:100]


def place_of(error: BaseException) -> str:
    """The innermost line of ours in a traceback, and the error's class."""
    place = "nowhere of ours"
    while error.__cause__ is not None and error.__traceback__ is None:
        error = error.__cause__
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.startswith(OURS):
            place = f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{line}"
    return f"{place} {type(error).__name__}"


def _place_of(warning: warnings.WarningMessage) -> str:
    path = Path(warning.filename)
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    return f"{name}:{warning.lineno} {warning.category.__name__}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


# -- around a run ---------------------------------------------------------------------------------


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise Hang after so much processor time of this process."""

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise Hang(f"longer than {seconds} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def heard_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings of Python that a user would see."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for hidden in HIDDEN:
            warnings.simplefilter("ignore", hidden)
        yield heard


@contextmanager
def native_output() -> Iterator[list[str]]:
    """What libraries write to the process's standard error, past Python; filled at the end."""
    written: list[str] = []
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield written
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = file.read().decode("utf-8", "replace").strip()
            written += [text] if text else []


# -- b: what it computes --------------------------------------------------------------------------

EQUAL = 1e-5  # of the largest logit: rounding of float32
NUDGE = 1e-6  # of every weight: what a rounding in float32 may do to a sum
NUDGES = 4


def unlike_reference(path: Path) -> Verdict | None:
    """A find if an accepted model's layers differ from the model itself in its own library.

    Inputs are silent, full, of several densities and of several sizes. A sample that is sensitive
    to weights moved by a millionth is a tie at a threshold and decides nothing.
    """
    model = open_model(path)
    layers = to_layers(model.graph, Options())
    if model.reference is None:
        return None
    x = inputs_for(layers, model.reference.steps)
    try:
        theirs = model.reference.logits(x)
    except DmpcError as error:
        return find(f"reference: {_masked(str(error))}", str(error))
    ours = interpret(layers, x).logits
    if ours.shape != theirs.shape:
        return find("logits of another shape", f"{ours.shape}, {theirs.shape}")
    scale = max(float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)), 1e-12)
    error = np.abs(ours - theirs).max(axis=1) / scale
    firm = np.isfinite(theirs).all(axis=1) & (_sensitivity(layers, x, ours) / scale < EQUAL)
    wrong = firm & ~(error <= EQUAL)
    if not wrong.any():
        return None
    which = ", ".join(f"sample {i}: {error[i]:.2g}" for i in np.flatnonzero(wrong))
    return find("differs from its reference", f"{path.name}: {which}")


def inputs_for(layers: Graph, steps: int | None) -> np.ndarray:
    """Samples [samples, timesteps, inputs]: events of every density, values of several sizes."""
    random = np.random.default_rng(0)
    (source,) = layers.inputs
    shape = (steps or 9, *layers.types[source].shape)
    densities = (0.0, 1.0, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9)
    events = [(random.random(shape) < density).astype(np.float64) for density in densities]
    if takes_events(layers):
        return np.stack(events)
    values = [random.normal(size=shape) * size for size in (0.03, 0.3, 1.0, 10.0)]
    return np.stack([*events, *values]).astype(np.float32).astype(np.float64)


def _sensitivity(layers: Graph, x: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """How far each sample's logits move with the weights."""
    random, moved = np.random.default_rng(1), np.zeros(len(x))
    for _ in range(NUDGES):
        other = Graph(layers.name, layers.level)
        other.__dict__.update(layers.__dict__)
        other.constants = {
            name: array * random.choice((1 - NUDGE, 1 + NUDGE), array.shape)
            if array.dtype.kind == "f" else array
            for name, array in layers.constants.items()
        }  # fmt: skip
        moved = np.maximum(moved, np.abs(interpret(other, x).logits - logits).max(axis=1))
    return np.asarray(np.nan_to_num(moved, nan=np.inf))


# -- c: the ladder of oracles ---------------------------------------------------------------------


def same_bits(graph: Graph, x: np.ndarray) -> Verdict | None:
    """A find unless a graph that compiles runs as its integer graph and the reference engine do."""
    try:
        with time_limit(SECONDS):
            image = compile_network(graph, calibration=x).image
            found = verify(graph, image, x, max_drop=100)
    except Hang as hang:
        return find(f"hang: {place_of(hang)}", _trace(hang))
    except (DmpcError, IsaError):
        return None  # as the command said, or with these samples
    except Exception as error:
        return find(place_of(error), _trace(error))
    failed = [rung.name for rung in found.rungs[2:] if not rung.ok]
    return find(f"ladder: {failed[0]}", f"{found.to_json()}") if failed else None


def climbed(shape: Shape, random: Random, folder: Path) -> Verdict:
    """A network through the whole compiler: its ONNX file ~ float graph ~ integer graph =
    simulator, every bit; cycles as predicted."""
    graph, x = network(shape), samples(shape)
    options = Options(input_range=(-1.0, 1.0) if shape.graded else None)
    for switch in ("dependency_breaking", "fusion", "overlap", "balance", "count_readout"):
        options = replace(options, **{switch: random.random() < 0.7})
    options = replace(options, target=random.choice(target_names()))
    try:
        with time_limit(SECONDS):
            seen = x if random.random() < 0.5 and not shape.graded else None
            image = compile_network(graph, calibration=seen, options=options).image
            found = verify(graph, image, x, options=options, max_drop=100)
            program = Program(image, "random")
            predicted = predict(image, program.encode(x)[0])
            measured = program.run(x).cycles
            unlike = None
            if not any(
                layer.starts for layer in shape.layers
            ):  # a file is read as one that was reset
                path = folder / "network.onnx"
                path.write_bytes(to_onnx(graph).SerializeToString())
                unlike = unlike_reference(path)
    except Hang as hang:
        return find(f"hang: {place_of(hang)}", _trace(hang))
    except Exception as error:
        if isinstance(error, DmpcError) and error.rule is MANY_PRODUCTS:
            return Verdict("refused", detail=str(error))  # a random network may be too large
        return find(place_of(error), f"{shape}\n{options}\n{_trace(error)}")
    failed = [rung.name for rung in found.rungs if not rung.ok]
    if failed:
        return find(f"ladder: {failed[0]}", f"{shape}\n{options}\n{found.to_json()}")
    if list(predicted) != list(measured):
        return find("ladder: cycles", f"{shape}\n{options}\n{predicted} {measured}")
    return replace(unlike, detail=f"{shape}\n{unlike.detail}") if unlike else Verdict("accepted")
