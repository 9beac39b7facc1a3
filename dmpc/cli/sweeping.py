"""A sweep: one model compiled for many choices, each run on the same samples, kept in a file."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dmpc.cli.files import STDOUT, ModelFile
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


def compiled(model: str, train: Any, options: Options, choice: Point) -> Image | str:
    """The image of a choice, or why there is none."""
    options = replace(
        options,
        target=choice.target,
        weight_bits=choice.weight_bits,
        optimise=choice.optimise,
    )
    try:
        return compile_model(model, calibration=train, options=options).image
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


def about(
    model: str, targets: tuple[str, ...], calibration: str | None, data: str, limit: int | None,
    chosen: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Everything that a point depends on but its choice: points of another sweep are not taken."""
    files = {name: target_text(name) for name in targets}
    given = {key: value for key, value in chosen.items() if value}
    return {
        "form": FORM,
        "isa": ISA_VERSION,
        "model": _digest(*ModelFile().files(model)),
        "targets": {
            name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())
        },
        "calibration": _digest(calibration) if calibration else None,
        "input": _digest(data),
        "limit": limit,
        "options": json.loads(json.dumps(given, sort_keys=True, default=str)),
    }


def _digest(*paths: str) -> str:
    """SHA-256 over files that are there."""
    found = hashlib.sha256()
    for path in map(Path, paths):
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def known(path: str | None, about: dict[str, Any]) -> dict[tuple[str, int | None, str], Point]:
    """Points that a file of the same sweep holds; DmpcError if it holds anything else."""
    if path is None or path == STDOUT or not Path(path).is_file():
        return {}
    if not Path(path).read_bytes().strip():
        return {}
    try:
        held = json.loads(Path(path).read_text("utf-8"))
        before, points = held["about"], [Point(**point) for point in held["points"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise DmpcError(
            "it is there and holds no sweep", where=path, hint="choose another name for --json"
        ) from None
    targets = {**before.get("targets", {}), **about["targets"]}
    odd = [key for key in about if key != "targets" and before.get(key) != about[key]]
    odd += [name for name in before.get("targets", {}) if before["targets"][name] != targets[name]]
    if odd:
        raise DmpcError(
            f"it holds a sweep of another {odd[0]}", where=path,
            hint="choose another name for --json, or delete the file",
        )  # fmt: skip
    about["targets"] = targets
    return {point.key: point for point in points}


def plain(about: dict[str, Any], points: list[Point], known: dict[Any, Point]) -> dict[str, Any]:
    """The sweep so far, with points of before that were not asked for now."""
    found = {point.key: point for point in points}
    rest = [point for key, point in known.items() if key not in found]
    return {"about": about, "points": [asdict(point) for point in (*points, *rest)]}
