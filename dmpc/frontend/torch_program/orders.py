"""In which order of its input's axes a module runs through time, found by trying."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from dmpc.errors import ImportFailure
from dmpc.findings import finding, tell
from dmpc.frontend import onnx_import
from dmpc.frontend.chosen import tell_left_out
from dmpc.frontend.model_rules import NO_TIME, REPEATED_INPUT, WRONG_AXIS
from dmpc.frontend.models import stem
from dmpc.frontend.normalise.template import (
    NO_COUNTERPART,
    TWINS,
    TooFewTimesteps,
    too_few,
)
from dmpc.frontend.tensors import MixesTime
from dmpc.frontend.torch_program.convert import functional_form, to_onnx
from dmpc.frontend.torch_program.finish import before_finish
from dmpc.frontend.torch_program.program import (
    MORE,
    example_of,
    export,
    may_hold_states,
    time_last,
)
from dmpc.frontend.torch_program.results import answer_of, results_of
from dmpc.frontend.torch_program.rules import FORWARD_FAILS, TIME_LAST

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

    from dmpc.ir.graph import Graph
    from dmpc.ir.registry import Tensor

LOST = (NO_TIME, REPEATED_INPUT, WRONG_AXIS, NO_COUNTERPART, TWINS)
"""What is said of a model in which no timesteps are found."""
MANY = 64  # samples on which nobody needs to be traced
LEAST = 3  # timesteps of an example: the first and the last may be others than all between


@dataclass(frozen=True)
class Trial:
    """A module, and what was asked of its import."""

    module: nn.Module
    name: str
    options: onnx_import.Options
    time_first: bool

    def traced(self, example: torch.Tensor) -> Traced:
        """What it computes of an example; raises ImportFailure."""
        program = export(self.module, example, self.name)
        return Traced(self, example, program, *imported(program, self.name, self.options))

    def turned(self) -> Trial:
        """The same of [samples, timesteps, inputs] for a module that takes the timesteps last."""
        return replace(self, module=time_last(self.module), time_first=False)

    def flipped(self) -> Trial:
        """The same with the order of timesteps and samples that was not said."""
        return replace(self, time_first=not self.time_first)

    def takes(self, x: Tensor) -> bool:
        """Whether it is a loop over time if `x` [samples, timesteps, inputs] has its order."""
        try:
            return self.traced(example_of(x, self.module, self.time_first)).in_order
        except ImportFailure:
            return False


@dataclass(frozen=True)
class Traced:
    """A module traced on an example, and what was imported of the program; `leaf` is the number of
    its answer among all that it returns."""

    trial: Trial
    example: torch.Tensor
    program: ExportedProgram
    graph: Graph
    signature: onnx_import.Signature
    leaf: int

    @property
    def in_order(self) -> bool:
        """Whether it runs in time over the axis that was said."""
        return self.signature.time == int(not self.trial.time_first)


class _Order(NamedTuple):
    """Another order of axes: with `axes` of x exchanged it is a network, `turned` or `flipped`."""

    axes: tuple[int, int]
    turned: bool = False
    flipped: bool = False


ORDERS = (
    _Order((0, 0), flipped=True),
    _Order((0, 1)),
    _Order((0, 1), flipped=True),
    _Order((1, -1), turned=True),
)
"""What else is tried of a module in which no timesteps are found, to say so."""


def in_its_order(trial: Trial, x: Tensor) -> Traced:
    """A module traced on `x` [samples, timesteps, inputs], as it was said to take it.

    One that takes a single vector, or the timesteps last, is so traced, the latter with a note.
    Raises ImportFailure, of an order in which it would be a network if there is one.
    """
    try:
        traced = trial.traced(example_of(x, trial.module, trial.time_first))
    except ImportFailure as error:
        other = _of_more_samples(trial, x, error)
        other = other or _of_a_vector(trial, x, error) or _of_turned(trial, x, error)
        if other is None and error.rule is NO_TIME and x.shape[1] < LEAST:
            raise too_few(trial.name, x.shape[1], LEAST - 1) from None
        if other is None:
            raise
        traced = other
    if traced.signature.repeats is None and not traced.in_order:
        raise _wrong_order(trial)
    return traced


def _of_more_samples(trial: Trial, x: Tensor, error: ImportFailure) -> Traced | None:
    """A module that keeps as many states in one tensor, in front of the samples, as the example
    had samples; or that takes as many samples as there are, and no others."""
    mixes = isinstance(error, MixesTime)
    if not mixes and not any(one.rule in (FORWARD_FAILS, *LOST) for one in error.every):
        return None
    for batches in ([MORE] if mixes else []) + [(len(x), len(x))] * (len(x) <= MANY):
        with suppress(ImportFailure):
            traced = trial.traced(example_of(x, trial.module, trial.time_first, batches))
            if traced.in_order:
                return traced
    return None


def _of_a_vector(trial: Trial, x: Tensor, error: ImportFailure) -> Traced | None:
    """A module that does not take sequences, but one vector that it shows at every timestep."""
    if not any(one.rule in (FORWARD_FAILS, *LOST) for one in error.every):
        return None
    one = example_of(x[:, :1], trial.module, trial.time_first)
    for example in (one, one.reshape(-1, *x.shape[2:])):
        try:
            traced = trial.traced(example)
        except ImportFailure:
            continue
        if traced.signature.repeats is not None:
            return traced
    return None


def _of_turned(trial: Trial, x: Tensor, error: ImportFailure) -> Traced | None:
    """A module that takes the timesteps last, if it does; raises ImportFailure where the order of
    what it was given is what is wrong."""
    lost = _lost(error, x.shape[1])
    if not lost and error.rule is not FORWARD_FAILS:
        return None
    turned = trial.turned()
    try:
        traced = turned.traced(example_of(x, turned.module, turned.time_first))
    except ImportFailure:
        traced = None
    if traced is not None and traced.in_order and not trial.time_first:
        tell(finding(TIME_LAST, where=trial.name))
        return traced
    if lost:
        _check_order(trial, x)
    return None


def _lost(error: ImportFailure, steps: int) -> bool:
    """Whether no timesteps were found in a model, or others than an example's."""
    few = any(isinstance(one, TooFewTimesteps) and one.steps != steps for one in error.every)
    return few or any(one.rule in LOST for one in error.every)


def _check_order(trial: Trial, x: Tensor) -> None:
    """Raise ImportFailure if a module takes its input in another order.

    Given in the wrong one, it loops over the few samples in place of timesteps.
    """
    for order in ORDERS:
        other = trial.turned() if order.turned else trial
        other = other.flipped() if order.flipped else other
        if other.takes(x.swapaxes(*order.axes)):
            raise _told(trial, order, x)


def _told(trial: Trial, order: _Order, x: Tensor) -> ImportFailure:
    if order.axes == (0, 0):
        return _wrong_order(trial)
    one, other = order.axes
    if order.turned:
        read = f"samples of {x.shape[1]} timesteps, and the module takes the timesteps last:"
        then = ", the module as it is"
    else:
        read = f"{x.shape[0]} samples of {x.shape[1]} timesteps, whatever the module takes first;"
        then = f", {_other(trial)}" if order.flipped else ""
    return ImportFailure(
        f"x is read as {read} the other way round it is a network",
        where=trial.name,
        hint=f"x.swapaxes({one}, {other}){then}",
    )


def _wrong_order(trial: Trial) -> ImportFailure:
    axes = ("timesteps, samples", "samples, timesteps")
    return ImportFailure(
        f"the module runs over axis {int(trial.time_first)} of its input in time, but was given "
        f"[{axes[not trial.time_first]}, inputs]",
        where=trial.name,
        hint=_other(trial),
    )


def _other(trial: Trial) -> str:
    return f"{'without' if trial.time_first else 'say'} --time-first"


def imported(
    program: ExportedProgram, name: str, options: onnx_import.Options
) -> tuple[Graph, onnx_import.Signature, int]:
    """The graph of a program, the axes of its input and output, and which result is its answer."""
    try:
        program = functional_form(program)
        if not may_hold_states(program):
            options = replace(options, initial_states="keep")
        result = answer_of(program, options.output)
        answer, finish = before_finish(result.node)
        model = to_onnx(program, stem(name), answer)
    except ImportFailure as error:
        raise error.inside(name) from None
    graph, signature = onnx_import.import_onnx(
        model, replace(options, output=None), name=name, finish=finish
    )
    tell_left_out(name, result.name, [one.name for one in results_of(program)])
    graph.name = stem(name)
    return graph, signature, result.leaf
