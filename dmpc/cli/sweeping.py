"""A sweep: one model compiled for many choices, each run on the same samples, kept in a file."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dmpc.cli.files import STDOUT, ModelFile
from dmpc.cli.samples import CalibrationSet
from dmpc.compiler import Options
from dmpc.compiler import compile as compile_model
from dmpc.errors import CompileError, DmpcError, SampleError
from isa.format import ISA_VERSION
from isa.image import Image
from isa.target import target_text
from runtime.program import Program
from runtime.samples import Samples

FORM = "dmpc sweep 1"
"""What a file that holds a sweep says that it is."""


@dataclass(frozen=True)
class Point:
    """A choice, and what it comes to; `error` says why there is nothing.

    `cycles` and `energy_pj` are of a timestep, `memory_bits` what the image fills, `outside_bits`
    of them in external memory.
    """

    target: str
    weight_bits: int | None
    optimise: str
    error: str | None = None
    accuracy: float | None = None
    cycles: float | None = None
    microseconds: float | None = None
    energy_pj: float | None = None
    memory_bits: int | None = None
    outside_bits: int | None = None
    saturated: int | None = None

    @property
    def key(self) -> tuple[str, int | None, str]:
        """The choice."""
        return self.target, self.weight_bits, self.optimise


def compiled(model: str, train: CalibrationSet, options: Options, choice: Point) -> Image | str:
    """The image of a choice, or why there is none."""
    options = replace(
        options,
        target=choice.target,
        weight_bits=choice.weight_bits,
        optimise=choice.optimise,
    )
    try:
        return compile_model(
            model, calibration=train.x, lengths=train.lengths, options=options
        ).image
    except SampleError:
        raise
    except CompileError as error:
        return error.message


def measured(choice: Point, image: Image | str, samples: Samples) -> Point:
    """What a choice comes to on samples."""
    if isinstance(image, str):
        return replace(choice, error=image)
    program = Program(image, choice.target)
    result = program.run(samples.x, samples.y, lengths=samples.lengths)
    steps = int(result.lengths.sum())
    cycles, loadable = result.counts.cycles / steps, image.target.loadable
    sizes = {name: rows.size * loadable[name].bits for name, rows in image.memories.items()}
    return replace(
        choice,
        accuracy=result.accuracy,
        cycles=cycles,
        microseconds=cycles / image.target.frequency_mhz,
        energy_pj=result.energy.total / steps,
        memory_bits=sum(sizes.values()),
        outside_bits=sum(size for name, size in sizes.items() if name not in image.target.memories),
        saturated=sum(result.saturations.values()),
    )


# -- what is kept ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What a file holds of a sweep: points, targets' digests, all else that they depend on."""

    about: dict[str, Any]
    targets: dict[str, str]
    points: list[Point]

    @property
    def by_choice(self) -> dict[tuple[str, int | None, str], Point]:
        """Points by what was chosen."""
        return {point.key: point for point in self.points}

    def to_json(self, points: list[Point]) -> dict[str, Any]:
        """The sweep so far: `points`, and those of before that were not asked for now."""
        found = {point.key for point in points}
        rest = [point for point in self.points if point.key not in found]
        told = [asdict(point) for point in (*points, *rest)]
        return {"about": self.about, "targets": self.targets, "points": told}


_KEPT = TypeAdapter(Kept)


def known(path: str | None, sweep: Kept) -> Kept:
    """A sweep with the points that a file holds of it; DmpcError if it holds anything else."""
    if path is None or path == STDOUT or not Path(path).is_file():
        return sweep
    content = Path(path).read_bytes()
    if not content.strip():
        return sweep
    try:
        held = _KEPT.validate_json(content)
    except ValidationError:
        raise DmpcError(
            "it is there and holds no sweep", where=path, hint="choose another name for --json"
        ) from None
    targets = {**held.targets, **sweep.targets}
    odd = [key for key in sweep.about if held.about.get(key) != sweep.about[key]]
    odd += [name for name, digest in held.targets.items() if targets[name] != digest]
    if odd:
        raise DmpcError(
            f"it holds a sweep of another {odd[0]}", where=path,
            hint="choose another name for --json, or delete the file",
        )  # fmt: skip
    return Kept(sweep.about, targets, held.points)


def sweep_of(
    model: str, targets: tuple[str, ...], calibration: str | None, data: str, limit: int | None,
    chosen: dict[str, Any],
) -> Kept:  # fmt: skip
    """A sweep without points: everything that they depend on but the choice."""
    given = {key: _told(value) for key, value in sorted(chosen.items()) if value}
    about = {
        "form": FORM,
        "isa": ISA_VERSION,
        "model": _digest(*ModelFile().files(model)),
        "calibration": _digest(calibration) if calibration else None,
        "input": _digest(data),
        "limit": limit,
        "options": given,
    }
    digests = {name: hashlib.sha256(target_text(name).encode()).hexdigest() for name in targets}
    return Kept(about, dict(sorted(digests.items())), [])


def _told(value: Any) -> Any:
    """An option as JSON has it; of a file, what is in it."""
    if isinstance(value, str) and Path(value).is_file():
        return _digest(value)
    return json.loads(json.dumps(value, sort_keys=True))


def _digest(*paths: str) -> str:
    """SHA-256 over files that are there."""
    found = hashlib.sha256()
    for path in map(Path, paths):
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()
