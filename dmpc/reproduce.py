"""What the paper reports for its accelerator, measured on this machine model.

Sun et al. 2026 (arXiv 2512.07602) give ratios: energy with and without operator fusion and
heterogeneous stationarity, and 256 instead of 128 neurons a layer with four times the lanes. Here
both are counted on trained networks of the repository, on memories sized for each network.
"""

import json
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from dmpc.backend.emit import emit
from dmpc.compiler import Compiled, Options, as_trained, find_ranges, import_layers, limit_spikes
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_layers import FIRING
from dmpc.ir.registry import Tensor
from dmpc.lowering import from_layers
from dmpc.passes.ranges import Ranges
from isa.instructions.banks import AccumulateValues
from isa.target import parse_target, target_text

# The published design: banks dedicated, layers one after the other, a readout every timestep.
PUBLISHED = Options(overlap=False, balance=False, count_readout=False)

FEWEST_ROWS = 16  # of a memory sized for a network

PATHS = {
    "spike path": ("spike",),
    "memory path": ("memory_a", "memory_b"),
    "memory update": ("update",),
    "output path": ("neuron", "readout"),
}


@dataclass(frozen=True)
class Measured:
    """A network on a machine: per timestep, cycles and picojoules by path; and its accuracy."""

    cycles: float
    energy: float
    by_path: dict[str, float]
    accuracy: float
    activity: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Claim:
    """A ratio of the paper beside the one measured, and the counts that explain it."""

    name: str
    published: str
    measured: float
    why: str


Run = Callable[[Compiled, Tensor, Tensor], Measured]


ROWS = {
    ("drive", "rows"): ("drive",),
    ("update", "rows"): ("update",),
    ("neuron", "rows"): ("neuron", "parameter"),
    ("accumulators", "spill_rows"): ("partial",),
    ("readout", "rows"): ("readout",),
    ("delay", "axons"): ("axon",),
    ("delay", "rows"): ("ring",),
}
"""Where a target file says how many rows memories have that are no banks."""


def sized_target(base: str, lanes: int, used: dict[str, int] | None = None) -> str:
    """Text of a target like `base`: `lanes` a row, memories of the rows `used`, if these are given.

    What a row then costs follows from its bits and the memory's size.
    """
    table = {**tomllib.loads(target_text(base)), "lanes": lanes}
    if used is not None:
        rows = defaultdict(lambda: FEWEST_ROWS, {n: max(r, FEWEST_ROWS) for n, r in used.items()})
        for bank in table["bank"]:
            bank["rows"] = rows[bank["name"]]
        for (section, key), memories in ROWS.items():
            table[section][key] = max(rows[name] for name in memories)
    return toml(table)


def toml(table: dict[str, Any]) -> str:
    """Numbers and texts, then tables and lists of tables of such, as TOML."""
    lines, sections = [], []
    for key, value in table.items():
        match value:
            case dict():
                sections.append(f"[{key}]\n{toml(value)}")
            case list():
                sections += [f"[[{key}]]\n{toml(item)}" for item in value]
            case _:
                lines.append(f"{key} = {json.dumps(value)}\n")
    return "".join([*lines, *sections])


def rows_used(compiled: Compiled) -> dict[str, int]:
    """Rows of every memory that a compiled network takes."""
    used: dict[str, int] = {}
    for place in compiled.graph.placement.values():
        used[place.memory] = max(used.get(place.memory, 0), place.row + place.rows)
    spilled = (i.groups for i in compiled.image.code if isinstance(i, AccumulateValues) and i.spill)
    return used | {"partial": max(spilled, default=0)}


@dataclass(frozen=True)
class Learned:
    """A network's layers, and their ranges on a calibration set: the same for all machines."""

    model: Path
    layers: Graph
    ranges: Ranges

    @classmethod
    def of(cls, model: Path, calibration: Tensor, broken: bool = True) -> "Learned":
        """A network's file, with or without dependency breaking."""
        options = Options(dependency_breaking=broken)
        layers = limit_spikes(import_layers(model, options, calibration), calibration, options)
        return cls(model, layers, find_ranges(layers, calibration, options, model))

    def compiled(self, options: Options) -> Compiled:
        """The network compiled for a machine, as `dmpc.compile` does."""
        text = target_text(options.target)
        target = parse_target(text, options.target)
        options, trained = as_trained(options, self.model, target)
        scheduled = from_layers(self.layers, self.ranges, target, options)
        image = emit(scheduled, text, self.layers)
        return Compiled(image, self.layers, scheduled, self.ranges, trained)


def on_sized_machine(learned: Learned, options: Options, lanes: int, folder: Path) -> Compiled:
    """A network compiled for a machine like `paper`, with memories sized for it."""
    path = folder / f"{learned.model.stem}-{lanes}.toml"
    path.write_text(sized_target("paper", lanes))
    options = replace(options, target=str(path))
    first = learned.compiled(options)
    path.write_text(sized_target("paper", lanes, rows_used(first)))
    return learned.compiled(options)


def activity(compiled: Compiled, x: Tensor) -> list[float]:
    """Mean events per timestep: of the input and of every layer's spikes."""
    spikes = [op.results[0] for op in compiled.layers.ops if op.kind in FIRING]
    traces = interpret(compiled.graph, x.astype(np.int64), trace=spikes).traces
    return [float(x.sum(2).mean()), *(float(traces[n].sum(2).mean()) for n in spikes)]


@dataclass(frozen=True)
class Reproduction:
    """Everything measured: `ablation` by (fusion, stationarity), widths 128 and 256, claims."""

    ablation: dict[tuple[bool, bool], Measured]
    narrow: Measured
    wide: Measured
    mismatch: dict[bool, dict[str, float]]

    def claims(self) -> Iterator[Claim]:
        """The paper's ratios beside the measured ones."""
        both, none = self.ablation[True, True], self.ablation[False, False]
        rows = self.narrow.activity
        yield Claim(
            "energy without either / with both",
            "about 2.5",
            none.energy / both.energy,
            f"without, the spike path reads all 140 and 128 rows of a group, not {rows[0]:.1f} and "
            f"{rows[1]:.1f}",
        )
        yield Claim(
            "energy without fusion / with both",
            "(part of 2.5)",
            self.ablation[False, True].energy / both.energy,
            "four reads and writes of each membrane, three reads of its parameters, instead of one",
        )
        yield Claim(
            "throughput, 256 neurons and 4x lanes / 128",
            "slightly below 1",
            self.narrow.cycles / self.wide.cycles,
            f"half the groups, and {self.wide.activity[1]:.1f} instead of {rows[1]:.1f} events "
            "into layer 2",
        )
        yield Claim(
            "energy, 256 / 128", "2.4", self.wide.energy / self.narrow.energy, "sum of the paths"
        )
        published = {"spike path": "3.4", "memory path": "1.8", "memory update": "1.0"}
        reasons = {
            "spike path": "twice the bits a row for each event, more events, larger memories",
            "memory path": "twice the bits of P and nu, larger memories",
            "memory update": "the memory state is as small as before",
            "output path": "twice the neurons; parameters of 64 bits each",
        }
        for path in PATHS:
            yield Claim(
                f"energy of the {path}, 256 / 128",
                published.get(path, "1.9"),
                self.wide.by_path[path] / self.narrow.by_path[path],
                reasons[path],
            )


def reproduce(
    example: Path, x: Tensor, y: Tensor, calibration: Tensor, run: Run, folder: Path
) -> Reproduction:
    """Measure on the networks `model.onnx` and `model_256.onnx` of an example folder."""
    narrow, unbroken = (
        Learned.of(example / "model.onnx", calibration, broken) for broken in (True, False)
    )
    wide = Learned.of(example / "model_256.onnx", calibration)

    def measured(learned: Learned, options: Options, lanes: int) -> Measured:
        compiled = on_sized_machine(learned, options, lanes, folder)
        return replace(run(compiled, x, y), activity=activity(compiled, x))

    ablation = {
        (fusion, stationarity): measured(
            narrow,
            replace(PUBLISHED, fusion=fusion, heterogeneous_stationarity=stationarity),
            lanes=4,
        )
        for fusion, stationarity in product((True, False), repeat=2)
    }
    return Reproduction(
        ablation,
        narrow=ablation[True, True],
        wide=measured(wide, PUBLISHED, lanes=16),
        mismatch={True: spike_mismatch(narrow, x), False: spike_mismatch(unbroken, x)},
    )


def spike_mismatch(learned: Learned, x: Tensor) -> dict[str, float]:
    """Spikes that differ from the float graph's, per spike."""
    compiled = learned.compiled(Options())
    names = [op.results[0] for op in compiled.layers.ops if op.kind in FIRING]
    floats = interpret(compiled.layers, x.astype(np.float64), trace=names).traces
    integers = interpret(compiled.graph, x.astype(np.int64), trace=names).traces
    return {
        name: float((floats[name] != integers[name]).sum() / max(floats[name].sum(), 1))
        for name in names
    }
