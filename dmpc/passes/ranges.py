"""How large values become: the facts from which quantization chooses its scales.

Ranges come from a calibration set, run through the float graph, or without one from the weights
alone (`dmpc.passes.static_ranges`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dmpc.analysis.interval import Interval
from dmpc.errors import CompileError
from dmpc.ir.graph import Graph, Op
from dmpc.ir.ops_convolution import MAPS
from dmpc.ir.ops_layers import ADAPTATION, FIRING, LIMITS, PARAMETERS, integrator
from dmpc.ir.registry import Tensor, op_def
from dmpc.passes.layer_rules import (
    GRADED_COMPARISON,
    GRADED_DELAY,
    STRANGE_CURRENT,
    layer_error,
)

Real = NDArray[np.float64]
SHARED = ("u", "currents", *PARAMETERS)
"""Operands that all neurons have."""


@dataclass
class Ranges:
    """Bounds of the float graph's values, by name.

    `charge` holds, for each lif or li op by the name of its first result, the membrane before
    reset, and the membrane half-way, when events alone have been added, or some of its currents;
    `values` the total of its products of values, or of the one state that it has in their place,
    without bias. `events` tells whether the input is
    binary. `margin` is the headroom that scales must leave. `moments`, where measured, are second
    moments [m, m] of what charges a lif or li op's membranes (see `products_with_columns`; the last
    of m is the constant 1 of the bias), if all its products are dense, and of what the readout
    reads, by the name of its result. `rates`, where measured, are the shares of timesteps in which
    the neurons of a layer fire, by the name of their spikes. `examples` are some samples [samples,
    timesteps, inputs] to time a program on. `spikes`, where proved, tell how often the neurons of a
    layer fire in a timestep at most if they always fire as often as they can.
    """

    origin: str
    events: bool
    margin: float
    bounds: dict[str, Interval] = field(default_factory=dict)
    charge: dict[str, Interval] = field(default_factory=dict)
    values: dict[str, Interval] = field(default_factory=dict)
    activity: dict[str, Real] = field(default_factory=dict)
    moments: dict[str, Real] = field(default_factory=dict)
    rates: dict[str, Real] = field(default_factory=dict)
    examples: Tensor | None = None
    spikes: dict[str, int] = field(default_factory=dict)


WIDER = 2.0**0.25  # what a proof may cost: a quarter of a bit


def with_proofs(seen: Ranges, proved: Ranges) -> Ranges:
    """Seen ranges, but proved ones wherever those are no more than a quarter of a bit wider.

    There nothing can saturate, whatever the input; elsewhere the scale trusts the samples and their
    margin. `proved` are of the same graph. Events have no scale; what is seen of them is kept.
    """

    def chosen(mine: dict[str, Interval], theirs: dict[str, Interval]) -> dict[str, Interval]:
        return {
            name: one if name in seen.activity else _narrow(one, theirs.get(name), factor)
            for name, one in mine.items()
        }

    factor = proved.margin / seen.margin
    return replace(
        seen,
        bounds=chosen(seen.bounds, proved.bounds),
        charge=chosen(seen.charge, proved.charge),
        values=chosen(seen.values, proved.values),
    )


def _narrow(seen: Interval, proved: Interval | None, factor: float) -> Interval:
    if proved is None:
        return seen
    safe = proved.magnitude * factor <= WIDER * seen.magnitude
    return Interval(
        np.where(safe, proved.low * factor, seen.low),
        np.where(safe, proved.high * factor, seen.high),
    )


@dataclass(frozen=True)
class Currents:
    """The operands of an op on neurons by role; of li, threshold and reset are empty.

    `own` is what sets neurons apart from plain ones, such as the state a by which they adapt.

    `states` are the results of li ops that charge neurons, or the states before; beside them a
    `constants` product has weights of zero, and its bias alone counts.
    """

    events: tuple[Op, ...]
    values: tuple[Op, ...]
    states: tuple[str, ...]
    constants: tuple[Op, ...]
    beta: str
    threshold: str
    reset: str
    subtract: bool
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def adaptation(self) -> tuple[str, ...]:
        """The state a, rho, jump and coupling of neurons that adapt."""
        return tuple(self.own[role] for role in ADAPTATION if role in self.own)

    @property
    def limits(self) -> tuple[str, ...]:
        """Floor and ceiling of membranes that have them."""
        return tuple(self.own[role] for role in LIMITS if role in self.own)

    @property
    def products(self) -> tuple[Op, ...]:
        """All products."""
        return (*self.events, *self.values, *self.constants)

    @property
    def first(self) -> tuple[str, ...]:
        """The state that neurons take in with their bias, where they take no products."""
        return () if self.charging else self.states[:1]

    @property
    def further(self) -> tuple[str, ...]:
        """The states that neurons take in one by one, behind everything else."""
        return self.states[len(self.first) :]

    @property
    def charging(self) -> tuple[Op, ...]:
        """The products whose sums the neurons take themselves."""
        return (*self.events, *self.values)


def currents(graph: Graph, lif: Op, events: bool) -> Currents:
    """Split the currents of a lif or li op into those of events, of values and of other states.

    Raises CompileError for a current that is neither a dense product nor an integrator.
    """
    bound = op_def(lif.kind).bind(lif.operands)
    by_kind: dict[bool, list[Op]] = {True: [], False: []}
    states = []
    for name in bound["currents"]:
        if integrator(graph, name):
            states.append(name)
            continue
        producer = graph.producer(name)
        if producer is None or producer.kind not in MAPS:
            layer = lif.attrs["layer"]
            raise layer_error(STRANGE_CURRENT, graph, lif, current=f"%{name}", layer=layer)
        by_kind[is_event(graph, producer.operands[0], events)].append(producer)
    products = [*by_kind[True], *by_kind[False]]
    constant = [op for op in products if states and not graph.constants[op.operands[1]].any()]
    return Currents(
        tuple(op for op in by_kind[True] if op not in constant),
        tuple(op for op in by_kind[False] if op not in constant),
        tuple(states),
        tuple(constant),
        bound["beta"][0],
        bound["threshold"][0] if lif.kind in FIRING else "",
        bound["reset"][0] if lif.kind in FIRING else "",
        lif.attrs.get("reset_mode") == "subtract",
        {role: names[0] for role, names in bound.items() if role not in SHARED},
    )


def sources(graph: Graph, roles: Currents) -> list[Op]:
    """The li ops whose currents charge neurons."""
    found = (integrator(graph, name) for name in roles.states)
    return [op for op in found if op is not None]


def products_with_columns(graph: Graph, lif: Op, events: bool) -> Iterator[tuple[Op, slice]]:
    """The products of neurons, those of events first, with their columns of `Ranges.moments`."""
    roles, at = currents(graph, lif, events), 0
    for product in roles.charging:
        size = graph.types[product.operands[0]].shape[0]
        yield product, slice(at, at + size)
        at += size


def unheld(graph: Graph, name: str) -> str:
    """The value that a held one repeats; any other value itself."""
    producer = graph.producer(name)
    return producer.operands[1] if producer is not None and producer.kind == "hold" else name


def start_of(graph: Graph, name: str) -> Real:
    """The value of a state before the first timestep."""
    state, shape = graph.state(name), graph.types[name].shape
    init = state.init if state else None
    return np.zeros(shape) if init is None else graph.constants[init].astype(np.float64)


def is_event(graph: Graph, name: str, events: bool) -> bool:
    """True for spikes, and for the network's input if that is binary."""
    return events if name in graph.inputs else graph.types[name].dtype == "event"


def total_bias(graph: Graph, products: Sequence[Op]) -> Real:
    """The sum [n] of the biases of dense products with results of one size; 0 of none."""
    zero: Real = np.zeros(graph.types[products[0].results[0]].shape if products else ())
    return sum((graph.constants[op.operands[2]] for op in products if op.operands[2:]), zero)


def check_events(graph: Graph, events: bool) -> None:
    """Raise CompileError for what a graph does to its input that only a binary one can be."""
    if not events and "events" in graph.attrs:
        node = graph.attrs["events"]
        raise CompileError.of(GRADED_COMPARISON, where=graph.name, node=node)
    for op in graph.ops:
        if op.kind == "delay" and not is_event(graph, op.operands[1], events):
            raise layer_error(GRADED_DELAY, graph, op, layer=op.attrs["layer"])


QUANTILES = 64
"""How many quantiles stand for the number of events in a timestep."""
