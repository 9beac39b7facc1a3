"""The engine of the range proof: ranges and linear forms on demand, proofs by cause."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dmpc.analysis.forms import Form, Source, total
from dmpc.analysis.interval import Interval, Vector, joined, of_bits
from dmpc.analysis.response import System
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Loc, Op
from dmpc.ir.ops_convolution import Convolution
from dmpc.ir.registry import op_def
from dmpc.ir.types import TensorType


@dataclass(frozen=True)
class Assumptions:
    """What a proof may assume of the samples.

    `steps`: no sample is longer. `input`: least and greatest integer of a graded input. `events`:
    no timestep has more active inputs. None: nothing is known.
    """

    steps: int | None = None
    input: tuple[int, int] | None = None
    events: int | None = None


@dataclass(frozen=True)
class Proof:
    """The bound of what has to fit `bits` under one cause of one layer.

    `cause` is the name under which a run counts saturations. `bound` [n] holds before saturation,
    of one timestep's contribution where a value `grows` with the number of timesteps. What is not
    `counted` has no saturation: adders, whose guard bits must suffice.
    """

    cause: str
    bits: int
    bound: Interval
    loc: Loc = ()
    grows: bool = False
    counted: bool = True

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest number that is not saturated."""
        return of_bits(self.bits)

    @property
    def safe_steps(self) -> int | None:
        """Timesteps of a sample up to which nothing can saturate; None: however many."""
        low, high = self.limits
        if not self.grows:
            inside = self.bound.low.min(initial=0) >= low and self.bound.high.max(initial=0) <= high
            return None if inside else 0
        up, down = int(self.bound.high.max(initial=0)), int(self.bound.low.min(initial=0))
        limits = [high // up] if up > 0 else []
        return min([*limits, *([low // down] if down < 0 else [])], default=None)

    @property
    def impossible(self) -> bool:
        """True if nothing saturates in a sample of any length that was assumed."""
        return self.safe_steps is None


class Analysis:
    """Ranges and linear forms of an integer graph's values, found on demand, and the proofs."""

    def __init__(self, graph: Graph, assumed: Assumptions) -> None:
        self.graph, self.assumed = graph, assumed
        self.proofs: dict[str, Proof] = {}
        self.ranges: dict[str, Interval] = {}
        self.forms: dict[str, Form] = {}
        self.systems: dict[str, System] = {}
        self._next = {state.name: state.next for state in graph.states}
        self._producers = {name: op for op in graph.ops for name in op.results}
        self._begun: set[int] = set()

    def run(self) -> "Analysis":
        """Analyse every op."""
        for op in self.graph.ops:
            self._analyse(op)
        return self

    def _analyse(self, op: Op) -> None:
        if id(op) in self._begun:
            return
        self._begun.add(id(op))
        analysis = ANALYSES.get(op.kind)
        if analysis is None:
            raise CompileError(
                f"the ranges of '{op.kind}' are not known", where=", ".join(op.loc) or op.results[0]
            )
        analysis(self, op)

    # -- what ops ask for -------------------------------------------------------------------------

    def operands(self, op: Op) -> dict[str, tuple[str, ...]]:
        """Operands of an op by role."""
        return op_def(op.kind).bind(op.operands)

    def constant(self, name: str) -> Vector:
        """A constant's elements as int64."""
        return self.graph.constants[name].astype(np.int64)

    def start(self, name: str) -> Vector:
        """What a state is before the first timestep."""
        state = self.graph.state(name)
        if state is None or state.init is None:
            return np.zeros(self.graph.types[name].shape, np.int64)
        return self.constant(state.init)

    def range(self, name: str) -> Interval:
        """Bounds of a value after saturation; its type's range where it depends on itself.

        Spikes of the timestep before are not looked into: they may depend on whoever asks, and it
        is seldom that they tell more than that they are 0 or 1.
        """
        before = name in self._next and self.graph.types[name].dtype == "event"
        if name not in self.ranges and not before:
            producer = self._producers.get(self._next.get(name, name))
            if producer is not None:
                self._analyse(producer)
        return self.ranges.get(name) or self._by_type(name)

    def form(self, name: str, weight: Vector | None = None) -> Form:
        """The linear form of a value, or of `weight` times it."""
        producer = self._producers.get(name)
        if producer is not None:
            self._analyse(producer)
        if name in self.forms:
            return self.forms[name] if weight is None else self.forms[name].through(weight)
        if weight is None:
            weight = np.eye(self.graph.types[name].shape[0], dtype=np.int64)
        return Form({Source(name): weight})

    def _by_type(self, name: str) -> Interval:
        type_ = self.graph.types[name]
        low, high = (0, 1) if type_.dtype == "event" else _numbers(type_)
        if name in self.graph.inputs and type_.is_integer:
            low, high = self.assumed.input or (-high, high)  # the runtime clips symmetrically
        shape = type_.shape
        return Interval(np.full(shape, low, np.int64), np.full(shape, high, np.int64))

    def prove(
        self, op: Op, what: str, bits: int, bound: Interval, *, grows: bool = False
    ) -> Interval:
        """Record a proof, joined to any of the same cause; what saturation leaves of `bound`."""
        self._record(Proof(f"{op.attrs['layer']}: {what}", bits, bound, op.loc, grows))
        return bound.clip(*of_bits(bits))

    def _record(self, proof: Proof) -> None:
        known = self.proofs.get(proof.cause)
        bound = proof.bound if known is None else joined(known.bound, proof.bound)
        self.proofs[proof.cause] = replace(proof, bound=bound)

    def sums(self, op: Op, names: tuple[str, ...], size: int) -> Interval:
        """Bounds [size] of a total of products; in any order of additions the adders must hold it.

        There are no products where a layer has none: zeros then.
        """
        zero = np.zeros(size, np.int64)
        exact, running, bits = Interval(zero, zero), Interval(zero, zero), 0
        for name in names:
            product = self._producers[name]
            bits = number(product, "bits")
            running = running + self.product_range(
                product, self.range(product.operands[0]).with_zero()
            )
        if names:
            exact = exact + self.bound(total(self.form(name) for name in names))
            cause = f"{op.attrs['layer']}: adders"
            self._record(Proof(cause, bits, running, op.loc, counted=False))
        return exact

    # -- sums of products -------------------------------------------------------------------------

    def product_range(self, op: Op, given: Interval) -> Interval:
        """Bounds of a product's sums of inputs within bounds."""
        weight = self.constant(op.operands[1])
        if op.kind == "convolve":
            return Interval(
                *Convolution.of(op.attrs, weight.shape).bounds(given.low, given.high, weight)
            )
        return given.through(weight)

    def bound(self, form: Form) -> Interval:
        """Bounds of a form: slow states through their drives, all else element by element."""
        terms = dict(form.terms)
        size = next((len(matrix) for matrix in terms.values()), 0)
        found = form.other or Interval(np.zeros(size, np.int64), np.zeros(size, np.int64))
        for source in list(form.terms):
            system = self._system(source.name)
            if system is not None and source in terms:
                found = found + self._slow(source, system, terms)
        return sum((self._plain(source, matrix) for source, matrix in terms.items()), found)

    def _plain(self, source: Source, matrix: Vector) -> Interval:
        bounds = self.range(source.name)
        most = self.assumed.events
        is_events = self.graph.types[source.name].dtype == "event"
        if most is not None and is_events and source.name in self.graph.inputs:
            ranked = np.sort(matrix, axis=1)
            up, down = np.maximum(ranked, 0), np.minimum(ranked, 0)
            return Interval(down[:, :most].sum(axis=1), up[:, ::-1][:, :most].sum(axis=1))
        return bounds.through(matrix)

    def _system(self, name: str) -> Op | None:
        """The update of the memory whose state, or next state, a value is, if it stays linear."""
        producer = self._producers.get(self._next.get(name, name))
        if producer is None or producer.kind != "state_update":
            return None
        self._analyse(producer)
        return producer if producer.results[0] in self.systems else None

    def _slow(self, source: Source, update: Op, terms: dict[Source, Vector]) -> Interval:
        """Bounds of what a memory contributes; takes it and its drive from the terms."""
        system = self.systems[update.results[0]]
        matrix, drive = terms.pop(source), Source(update.operands[1], source.period)
        direct = None
        if source.name == update.operands[0]:  # the state before: its drive acts a timestep later
            direct = terms.pop(drive, None)
        return self.driven(update, system, matrix, direct)

    def driven(
        self, update: Op, system: System, matrix: Vector, direct: Vector | None = None
    ) -> Interval:
        """Bounds of `matrix` times a memory's state, and `direct` times its drives a step ahead."""
        error = 0.5 if number(update, "shift") > 0 else 0.0
        real = system.driven(matrix, self.range(update.operands[1]), error, direct)
        return Interval(_whole(np.floor(real.low)), _whole(np.ceil(real.high)))


FARTHEST = 2.0**61


def _whole(real: Vector) -> Vector:
    return np.clip(real, -FARTHEST, FARTHEST).astype(np.int64)


def _numbers(type_: TensorType) -> tuple[int, int]:
    low, high = of_bits(type_.bits)
    return (low, high) if type_.is_signed else (0, (1 << min(type_.bits, 62)) - 1)


def number(op: Op, name: str) -> int:
    """An integer attribute of an op."""
    value = op.attrs[name]
    assert isinstance(value, int)
    return value


Transfer = Callable[[Analysis, Op], None]
ANALYSES: dict[str, Transfer] = {}
"""For each kind of op, what finds the ranges and forms of its results, and proves."""


def analyses(*kinds: str) -> Callable[[Transfer], Transfer]:
    """Enter a function as the analysis of kinds of op."""

    def enter(transfer: Transfer) -> Transfer:
        ANALYSES.update(dict.fromkeys(kinds, transfer))
        return transfer

    return enter
