"""The compiler as a library: a model in, an image out."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dmpc import frontend
from dmpc.backend.emit import emit
from dmpc.errors import CompileError, DmpcError, ErrorList, ImportFailure, SampleError
from dmpc.frontend.models import Model
from dmpc.frontend.proof import prove
from dmpc.ir.endless import endless_of, spiking_up_to
from dmpc.ir.graph import Graph
from dmpc.ir.interpret import shown
from dmpc.ir.levels import rank
from dmpc.ir.registry import Tensor
from dmpc.ir.verify import READOUTS
from dmpc.lowering import check_size, from_layers
from dmpc.passes.align import Align
from dmpc.passes.base import Observer, Pass, apply_all
from dmpc.passes.break_dependency import BreakDependency
from dmpc.passes.calibration import calibrate, evenly, is_binary
from dmpc.passes.carried import LARGEST, carried_ranges, carried_widths, carries_ranges
from dmpc.passes.fold import Fold
from dmpc.passes.layer_rules import check_layers
from dmpc.passes.quantization.widths import (
    Chosen,
    chosen_widths,
    held_widths,
    in_words,
    stored_widths,
    width_plan,
)
from dmpc.passes.ranges import Ranges, with_proofs
from dmpc.passes.recognise import Recognise
from dmpc.passes.spikes import LimitSpikes
from dmpc.passes.static_ranges import static_ranges
from isa.arithmetic import Int
from isa.image import Image, write_image
from isa.target import Target, parse_target, target_text

MOST_MARGIN = 2.0**16
"""More headroom than that leaves none of a membrane's 16 bits to what was seen."""

OBJECTIVES = ("cycles", "energy")
"""What banks may be chosen for."""

AnyModel = str | os.PathLike[str] | Graph | Model
"""A model as a user has it: a file, a factory's name, a graph, or one imported already."""


@dataclass(frozen=True)
class Options:
    """What a user may choose.

    `target` is a shipped target's name or a TOML file. `input_range` declares a graded input where
    no calibration set shows one. `states` pairs state inputs with outputs, and `readout` says how
    timesteps become the answer, where a one-timestep model leaves that open. `timing` says how
    the neurons of a NIR file are stepped; None: as is usual. `weights` (a file of a `state_dict`),
    `example` [samples, timesteps, inputs] and `time_first` are for models given as
    `package.module:factory`; a calibration set is an example, too. `trust` lets what is pickled in
    a file of torch run. `output` names the answer of a model with several outputs. `margin` is the
    headroom above calibrated ranges. `weight_bits` is the width of weights of events and of the
    readout, `widths` those of single layers and tensors (`dmpc.passes.quantization.widths`); both
    default to what the target holds. `optimise` says what banks are chosen for, cycles or energy;
    without `balance` they are not chosen: each product lies in its pathway's own.
    """

    target: str = "paper"
    readout: str | None = None
    states: Mapping[str, str] = field(default_factory=dict)
    timing: frontend.Timing | None = None
    weights: str | os.PathLike[str] | None = None
    example: Tensor | None = field(default=None, compare=False, repr=False)
    time_first: bool = False
    trust: bool = False
    output: str | None = None
    input_range: tuple[float, float] | None = None
    calibration_samples: int = 256
    margin: float = 1.25
    weight_bits: int | None = None
    widths: Chosen = field(default_factory=dict)
    dependency_breaking: bool = True
    fusion: bool = True
    heterogeneous_stationarity: bool = True
    count_readout: bool = True
    overlap: bool = True
    balance: bool = True
    optimise: str = "cycles"


@dataclass(frozen=True)
class Compiled:
    """A compiled network: the image, the float graph it stands for, the graph it was made from."""

    image: Image
    layers: Graph
    graph: Graph
    ranges: Ranges
    trained: "Trained | None" = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the image, whole or not at all; raises IsaError if it cannot be written."""
        write_image(self.image, Path(path))


def import_model(model: AnyModel, options: Options, x: Tensor | None = None) -> Model:
    """A model in whatever form the user has it, imported; raises DmpcError.

    `x` [samples, timesteps, inputs] serves as the example where the options hold none.
    """
    if isinstance(model, Model | Graph) and options.output is not None:
        raise ImportFailure(
            "output= is for what is still to be imported", where=model.name,
            hint="give it to dmpc.from_torch",
        )  # fmt: skip
    if isinstance(model, Model):
        return model
    if isinstance(model, Graph):
        return Model(model.name, model)
    return frontend.open_model(
        model,
        states=options.states,
        readout=options.readout,
        timing=options.timing,
        example=x if options.example is None else options.example,
        weights=options.weights,
        time_first=options.time_first,
        trust=options.trust,
        output=options.output,
    )


def import_layers(
    model: AnyModel,
    options: Options,
    x: Tensor | None = None,
    observe: Observer | None = None,
    target: Target | None = None,
) -> Graph:
    """A model's float graph in the field's terms, proven to be the model (`frontend.proof`).

    What `target` cannot hold is refused before the model is run for the proof.

    `x` [samples, timesteps, inputs] is input to compare on. A graph of a later level is returned as
    it is. Raises DmpcError.
    """
    imported = import_model(model, options, x)
    if rank(imported.graph.level) > rank("layers"):
        return imported.graph
    layers = to_layers(imported.graph, options, observe)
    if target is not None:
        check_size(spiking_up_to(layers, dict.fromkeys(endless_of(layers), 1)), target, options)
    prove_model(imported, layers, x)
    return layers


def prove_model(imported: Model, layers: Graph, x: Tensor | None) -> None:
    """Refuse layers that are not the model, run on `x` if given; see `frontend.proof`."""
    if x is not None:
        _check_calibration(layers, x)
    if imported.reference is not None:
        prove(imported, layers, x)


def to_layers(
    graph: Graph, options: Options, observe: Observer | None = None, lanes: int | None = None
) -> Graph:
    """The float graph in the field's terms, from one at level model or layers.

    Convolutions are those of a machine of so many lanes, or of the target of the options.
    """
    if graph.level == "layers":
        check_layers(graph)  # of no importer, but by hand
    steps: list[Pass] = [Recognise()] if graph.level == "model" else []
    steps += [Fold(), *([BreakDependency()] if options.dependency_breaking else [])]
    layers = apply_all(steps, graph, observe)
    if not any(op.kind == "conv" or {"times", "endless"} & op.attrs.keys() for op in layers.ops):
        return layers
    if lanes is None:
        lanes = parse_target(target_text(options.target), options.target).lanes
    return apply_all([Align(lanes)], layers, observe)


def limit_spikes(
    layers: Graph, calibration: Tensor | None, options: Options, observe: Observer | None = None
) -> Graph:
    """The float graph whose neurons spike as often in a timestep as is proved, or seen, to be
    enough, where the model sets no limit. Raises CompileError."""
    if not endless_of(layers):
        return layers
    samples, given = None, options.input_range
    if calibration is not None:
        _check_calibration(layers, calibration)
        samples = shown(layers, calibration[evenly(len(calibration), options.calibration_samples)])
        if given is None and not is_binary(calibration):
            given = float(calibration.min()), float(calibration.max())
    return apply_all([LimitSpikes(given, samples)], layers, observe)


def find_ranges(
    graph: Graph,
    calibration: Tensor | None,
    options: Options,
    model: AnyModel | None = None,
    lengths: Int | None = None,
) -> Ranges:
    """Ranges of a float graph.

    From a calibration set, whose samples may have `lengths` [samples], and from proofs where those
    are hardly wider; without one from what the file `model` carries, if it was trained with
    quantization in its forward pass; else from the weights. Raises CompileError with all that is
    wrong with the layers.
    """
    if calibration is not None:
        _check_calibration(graph, calibration)
        if lengths is not None:
            _check_lengths(lengths, calibration)
        if options.input_range is not None and is_binary(calibration):
            raise CompileError(
                "the calibration set holds events, 0 and 1 alone, and an input range is for graded "
                "values",
                hint="leave one of the two out",
            )
    errors = ErrorList()
    with errors.gather():
        check_layers(graph)
    with errors.gather():
        ranges = _find_ranges(graph, calibration, options, model, lengths)
    errors.check()
    return ranges


def _find_ranges(
    graph: Graph,
    calibration: Tensor | None,
    options: Options,
    model: AnyModel | None,
    lengths: Int | None,
) -> Ranges:
    if calibration is None:
        if isinstance(model, str | os.PathLike) and options.input_range is None:
            carried = carried_ranges(model, graph)
            if carried is not None:
                return carried
        found = static_ranges(graph, options.input_range)
        _check_finite(found, CompileError, "the weights let {} grow")
        return found
    with np.errstate(over="ignore", invalid="ignore"):  # told by what comes out
        seen = calibrate(
            graph,
            calibration,
            samples=options.calibration_samples,
            margin=options.margin,
            lengths=lengths,
        )
    _check_finite(seen, SampleError, "the calibration set drives {}")
    if not seen.events and options.input_range is None:
        return seen  # nothing is declared of a graded input
    try:
        proved = static_ranges(graph, None if seen.events else options.input_range)
    except CompileError:  # what may grow without bound: the samples say how far it does
        return seen
    return with_proofs(seen, proved)


def _check_finite(ranges: Ranges, error: type[DmpcError], what: str) -> None:
    """Values that `what` drives beyond float64 have no scale."""
    for name, seen in (*ranges.bounds.items(), *ranges.charge.items(), *ranges.values.items()):
        if not (np.isfinite(seen.low).all() and np.isfinite(seen.high).all()):
            told = what.format(f"%{name}")
            raise error(f"{told} beyond all numbers", hint="look at their scale")
    for name, moments in ranges.moments.items():
        if not np.isfinite(moments).all():
            told = what.format(f"the inputs of %{name}")
            raise error(f"{told} beyond all numbers")


def compile(  # noqa: A001  the verb of the whole project
    model: AnyModel,
    *,
    calibration: Tensor | None = None,
    lengths: Int | None = None,
    options: Options | None = None,
    observe: Observer | None = None,
) -> Compiled:
    """Compile a model: a file (.onnx, .pt2, .dmpir), the name `package.module:factory` of a torch
    module, what `from_torch` gives, or a graph at level model or layers.

    `calibration` [samples, timesteps, inputs] is input data from which scales are chosen; with
    `lengths` [samples], what lies behind a sample's length is no part of it. Without data they come
    from the ranges that the weights allow, which are wider. Raises DmpcError or IsaError with one
    line for the user.
    """
    options = options or Options()
    check_options(options)
    text = target_text(options.target)
    target = parse_target(text, options.target)
    proven = import_layers(model, options, calibration, observe, target)
    check_level(proven)
    options, trained = as_trained(options, model, target)
    layers = limit_spikes(proven, calibration, options, observe)
    ranges = find_ranges(layers, calibration, options, model, lengths)
    scheduled = from_layers(layers, ranges, target, options, observe)
    return Compiled(emit(scheduled, text, proven), layers, scheduled, ranges, trained)


@dataclass(frozen=True)
class Trained:
    """What is to be said of the widths that a network was trained at, and if it keeps them."""

    text: str
    agrees: bool


def as_trained(options: Options, model: AnyModel, target: Target) -> tuple[Options, Trained | None]:
    """Options with the widths that a file's network was trained at, and what is to be said of it.

    A user's own choice stands. Raises CompileError if the file's metadata are damaged.
    """
    if not isinstance(model, str | os.PathLike):
        return options, None
    trained = carried_widths(model)
    chosen = options.weight_bits is not None or bool(options.widths)
    if trained is None:
        known = chosen or not carries_ranges(model)
        return options, None if known else Trained(UNKNOWN_WIDTHS, agrees=False)
    held = held_widths(trained, target)
    plan = width_plan(target, None, held)
    if not chosen:
        options = replace(options, widths=held)
    used = width_plan(target, options.weight_bits, options.widths)
    if held != trained or stored_widths(used) != stored_widths(plan):
        text = (
            f"the network was trained at {in_words(trained)}; it is compiled at "
            f"{in_words(stored_widths(used))}"
        )
        return options, Trained(text, agrees=False)
    narrow = chosen_widths(plan, target)
    said = f"widths are those that the network was trained at: {in_words(narrow)}"
    return options, Trained(said, agrees=True) if narrow and not chosen else None


UNKNOWN_WIDTHS = (
    "the model carries the ranges that it was trained on, but no widths; it is compiled at the "
    "target's. If it was trained at others, give them with --widths, or export it again"
)


def check_level(graph: Graph) -> None:
    """Refuse a graph that is past what a compilation begins with."""
    if rank(graph.level) > rank("layers"):
        raise CompileError(
            f"the graph is at level {graph.level}; compile from level model or layers",
            where=graph.name,
        )


def check_options(options: Options) -> None:
    """Refuse options that make no sense, whatever the model."""
    if options.readout is not None and options.readout not in READOUTS:
        raise CompileError(
            f"unknown readout '{options.readout}'", hint=f"one of {', '.join(READOUTS)}"
        )
    if options.optimise not in OBJECTIVES:
        raise CompileError(
            f"unknown objective '{options.optimise}'", hint=f"one of {', '.join(OBJECTIVES)}"
        )
    if not options.margin >= 1 or options.calibration_samples < 1:
        raise CompileError("margin and the number of calibration samples must be at least 1")
    if options.margin > MOST_MARGIN:
        raise CompileError(
            f"a margin of {options.margin:g} leaves no bits; {MOST_MARGIN:g} at most"
        )
    low, high = options.input_range or (0.0, 1.0)
    if not (np.isfinite([low, high]).all() and low < high):
        raise CompileError(f"input range {low} .. {high} is empty or not finite")
    if max(abs(low), abs(high)) > LARGEST:
        raise CompileError(f"input range {low} .. {high} is beyond float32")


def _check_lengths(lengths: Int, x: Tensor) -> None:
    """Lengths of a calibration set are whole numbers of the timesteps that it holds."""
    fits = lengths.shape == (len(x),) and lengths.dtype.kind in "iu"
    if not fits or lengths.min() < 1 or lengths.max() > x.shape[1]:
        raise SampleError(
            f"lengths of the calibration set must be whole numbers from 1 to {x.shape[1]}, one for "
            f"each of its {len(x)} samples"
        )


def _check_calibration(graph: Graph, x: Tensor) -> None:
    """A calibration set must be samples of this network's input."""
    size = graph.types[graph.inputs[0]].shape[0]
    if x.ndim != 3 or 0 in x.shape or x.shape[2] != size:
        raise SampleError(
            f"the calibration set has shape {list(x.shape)}; "
            f"the network takes [samples, timesteps, {size}]"
        )
    if np.iscomplexobj(x):
        raise SampleError("the calibration set holds complex numbers")
    least, most = float(x.min()), float(x.max())  # without a copy: sets are large
    if not (np.isfinite(least) and np.isfinite(most)):
        raise SampleError("the calibration set holds NaN or infinite numbers")
    if max(-least, most) > LARGEST:
        raise SampleError(
            f"the calibration set holds numbers up to {max(-least, most):.3g}, beyond float32"
        )
