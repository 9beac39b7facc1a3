"""A loaded image on a device, and what running it gives."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isa.energy import energy
from isa.engines import Engine, engine
from isa.engines.counts import Counts, Place, Run
from isa.engines.trace import Trace
from isa.errors import named
from isa.image import Image, read_image
from isa.interface import INTERFACE, Numbers, interface, provenance
from runtime.errors import RuntimeFailure
from runtime.lengths import run_by_length
from runtime.samples import as_samples, check_input, check_labels, check_numbers
from runtime.saturation import Saturated, saturated
from runtime.stream import Stream

if TYPE_CHECKING:
    from runtime.profile import Profile

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Energy:
    """Picojoules of a run: `total`, and its parts by pathway, by layer and by memory.

    Pathways and layers share out accesses and operations; `idle` is the clock's part. Figures are
    the target file's: they rank designs and do not replace a layout.
    """

    total: float
    idle: float
    by_path: dict[str, float]
    by_layer: dict[str, float]
    by_memory: dict[str, float]


@dataclass(frozen=True)
class Result:
    """What a run gives.

    `logits` float64 [samples, classes], `predictions`, `cycles` and `lengths` (timesteps) int64
    [samples], `labels` as given, `integers` the engine's own logits. `saturated` says what did not
    fit its width, if anything; `counts` are the engine's. `seen` holds what was watched, int64
    [samples, times, elements] each, zeros behind the end of a shorter sample.
    """

    logits: NDArray[np.float64]
    predictions: Integers
    cycles: Integers
    lengths: Integers
    integers: Integers
    counts: Counts
    energy: Energy
    labels: Integers | None = None
    saturated: tuple[Saturated, ...] = ()
    seen: dict[Place, Integers] = field(default_factory=dict)

    @property
    def timesteps(self) -> int:
        """Of the longest sample."""
        return int(self.lengths.max())

    @property
    def saturations(self) -> dict[str, int]:
        """How many elements did not fit their width, by layer and kind."""
        return {item.where: item.count for item in self.saturated}

    @property
    def accuracy(self) -> float | None:
        """Share of predictions that equal their label; None without labels."""
        if self.labels is None:
            return None
        return float(np.mean(self.predictions == self.labels))

    def _repr_html_(self) -> str:
        """In a notebook: accuracy, cycles and energy, and what units were busy with."""
        from runtime.html import share, table

        steps, told = int(self.lengths.sum()), [("samples", f"{len(self.predictions):,}")]
        if self.accuracy is not None:
            told.append(("accuracy", f"{100 * self.accuracy:.2f} %"))
        told.append(("cycles per timestep", f"{self.counts.cycles / steps:,.1f}"))
        told.append(("energy per timestep", f"{self.energy.total / steps / 1000:.3f} nJ"))
        busy = [
            (unit, share(cycles, self.counts.cycles))
            for unit, cycles in sorted(self.counts.busy.items())
        ]
        return table("result", ("", ""), told) + table("units", ("unit", "busy"), busy)

    def to_json(self) -> dict[str, Any]:
        """The result as plain data: samples, accuracy, totals by unit and memory."""
        labels = [None] * len(self.predictions) if self.labels is None else self.labels.tolist()
        arrays = (self.predictions, self.logits, self.cycles, self.lengths)
        columns = (labels, *(array.tolist() for array in arrays))
        keys = ("label", "prediction", "logits", "cycles", "timesteps")
        return {
            "samples": [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)],
            "accuracy": self.accuracy,
            "totals": self._totals(),
        }

    def _totals(self) -> dict[str, Any]:
        counts = self.counts
        stalls: dict[str, dict[str, int]] = {}
        for (unit, cause), cycles in sorted(counts.stalls.items()):
            stalls.setdefault(unit, {})[cause] = cycles
        accesses: dict[str, dict[str, int]] = {}
        for (memory, direction), rows in sorted(counts.accesses.items()):
            accesses.setdefault(memory, {"reads": 0, "writes": 0})[direction] = rows
        return {
            "samples": len(self.predictions),
            "timesteps": int(self.lengths.sum()),
            "cycles": counts.cycles,
            "instructions": counts.instructions,
            "units": {
                unit: {
                    "busy": counts.busy[unit],
                    "stalls": stalls.get(unit, {}),
                    "operations": counts.operations[unit],
                }
                for unit in sorted(counts.busy)
            },
            "memories": accesses,
            "energy_pj": asdict(self.energy),
            "saturations": [item.to_json() for item in self.saturated],
        }


class Program:
    """An image, ready to run on an engine: `fast`, `reference`, `cycle`, or one of your own."""

    def __init__(self, image: Image, origin: str, engine_: Engine | str = "fast") -> None:
        self.image, self.origin = image, origin
        with named(origin):
            self.interface, self.provenance = interface(image), provenance(image)
            self.engine: Engine = engine(image, engine_) if isinstance(engine_, str) else engine_

    @property
    def inputs(self) -> int:
        """Width of the input."""
        return self.interface.input.size

    @property
    def takes_events(self) -> bool:
        """True if the input is binary events, False if it is graded."""
        return self.interface.input.kind == "events"

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.interface.output.size

    @property
    def spikes(self) -> dict[str, Place]:
        """Where instructions leave neurons' spikes, by the name of the graph's value."""
        return {
            self.provenance[pc].values.get("dest", f"pc {pc}"): (pc, "dest")
            for pc, op in enumerate(self.image.code)
            if (work := op.work(self.image.target)).unit == "neuron" and work.writes
        }

    def run(
        self,
        x: Numbers | Sequence[Numbers],
        labels: Numbers | None = None,
        *,
        lengths: Numbers | None = None,
        batch: int = 256,
        watched: Iterable[Place] = (),
        threads: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Result:
        """Run samples `x` [samples, timesteps, inputs]; RuntimeFailure if they do not fit.

        Samples of different lengths are a sequence of [timesteps, inputs], or padded at their ends
        and come with their `lengths`; each is what it is in a run of its own. A Trap of the machine
        names the image.

        `batch` samples run together on at most `threads` threads; neither changes anything but the
        speed. `watched` places, an instruction's program counter and operand, are kept in `seen`.
        """
        samples = as_samples(x, lengths)
        shown = self.interface.input.shown
        if isinstance(samples, list):
            samples = [shown(sample[None])[0] for sample in samples]
            each = [self._encode_sample(n, sample) for n, sample in enumerate(samples)]
            clipped = sum(odd for _, odd in each)
            run_all = partial(run_by_length, self.engine, [s for s, _ in each], self.integers)
        else:
            samples = shown(samples)
            inputs, clipped = self.encode(samples)
            run_all = partial(self.engine.run, inputs)
        if labels is not None:
            labels = check_labels(np.asarray(labels), len(samples), self.classes)
        with named(self.origin):
            run = run_all(batch=batch, watched=watched, threads=threads, progress=progress)
        return self.result(run, np.array([len(sample) for sample in samples]), clipped, labels)

    def stream(self) -> Stream:
        """The start of one sample whose timesteps will be fed as they come, as from a live sensor.

        RuntimeFailure if the engine takes whole samples alone.
        """
        return Stream(self)

    def result(
        self, run: Run, lengths: Integers, clipped: int = 0, labels: Integers | None = None
    ) -> Result:
        """What the engine's `run` of samples means, of which `clipped` inputs were out of range."""
        integers = self.integers(run.logits)
        return Result(
            logits=integers.astype(np.float64) * self.scale(lengths[:, None]),
            predictions=integers.argmax(1),
            cycles=run.cycles,
            lengths=lengths,
            integers=integers,
            counts=run.counts,
            labels=labels,
            saturated=saturated(
                run.counts, self.provenance, clipped, int(lengths.sum()) * self.inputs
            ),
            energy=self._energy(run.counts),
            seen=run.seen,
        )

    def integers(self, emitted: Integers) -> Integers:
        """The logits [.., classes] among all numbers that the program emitted."""
        if emitted.shape[-1] < self.classes:
            raise RuntimeFailure(
                f"{self.origin}: the program emits {emitted.shape[-1]} numbers, its interface "
                f"({INTERFACE}) promises {self.classes}"
            )
        return emitted[..., : self.classes]

    def scale(self, timesteps: Integers | int) -> NDArray[np.float64] | float:
        """What one of the device's logits is worth after so many timesteps."""
        return self.interface.output.step(timesteps)

    def profile(self, result: Result) -> "Profile":
        """Where the cycles, accesses and energy of a run of this program went."""
        from runtime.profile import profile  # it prints instructions, which a run has no need of

        return profile(self, result)

    def trace(self, x: Numbers) -> Trace:
        """When each instruction ran on the first of samples `x`, and what every unit did."""
        inputs, _ = self.encode(x[:1])
        with named(self.origin):
            return self.engine.trace(inputs[0])

    def encode(self, x: Numbers) -> tuple[Numbers, int]:
        """The device's integers for samples `x`, and how many of them had to be clipped."""
        return self.encode_timesteps(self.interface.input.shown(check_input(np.asarray(x))))

    def _encode_sample(self, number: int, sample: Numbers) -> tuple[Numbers, int]:
        name = f"x[{number}]"
        return self.encode_timesteps(check_numbers(sample, name), name)

    def encode_timesteps(self, x: Numbers, name: str = "x") -> tuple[Numbers, int]:
        """The same for finite numbers [.., inputs]; messages call them by `name`."""
        if x.shape[-1] != self.inputs:
            pooled = x.shape[-1] > self.inputs and x.shape[-1] % self.inputs == 0
            how = f" (events in time can be pooled: --channels {self.inputs})" if pooled else ""
            found = f"{name} has {x.shape[-1]} inputs, {self.origin} was compiled for"
            raise RuntimeFailure(f"{found} {self.inputs}{how}")
        if self.takes_events and x.dtype != np.bool_ and not np.isin(x, (0, 1)).all():
            odd = x[~np.isin(x, (0, 1))][0]
            raise RuntimeFailure(
                f"{name} holds {odd}, but {self.origin} was compiled for events, 0 or 1; compile "
                "it with a calibration set or an input range for graded input"
            )
        return self.interface.input.integers(x)

    def _energy(self, counts: Counts) -> Energy:
        report = energy(counts, self.image.target)
        by_path: dict[str, float] = defaultdict(float)
        by_layer: dict[str, float] = defaultdict(float)
        for pc, spent in report.by_instruction().items():
            if spent:
                by_path[self.provenance[pc].path or "control"] += spent
                by_layer[self.provenance[pc].layer or "control"] += spent
        return Energy(
            report.total,
            report.idle,
            dict(sorted(by_path.items())),
            dict(sorted(by_layer.items())),
            dict(sorted(report.by_memory().items())),
        )


def load(path: Path | str, engine: Engine | str = "fast") -> Program:
    """Load an image onto an engine; IsaError if it cannot run."""
    return Program(read_image(path), str(path), engine)
