"""Layers whose spikes are forced to be those of another form of the network.

A spike that float32 decides otherwise than float64 changes all that follows it, so that results say
little. With the other form's spikes put in place of the layers' own, every neuron's charge is that
of the other form but for rounding, and each decision is held against its own charge alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmpc.ir.graph import Graph, Op
from dmpc.ir.interpret import interpret
from dmpc.ir.ops_convolution import MAPS
from dmpc.ir.ops_layers import FIRING, Cells, states_of
from dmpc.ir.registry import EvalContext, Tensor, op_def

TIE = 1e-5  # of all that a charge is made of: float32 sums of some hundred parts are within it
Where = NDArray[np.bool_]


@dataclass(frozen=True)
class Decision:
    """One neuron in one timestep of a sample, which the other form decides otherwise."""

    lif: Op
    step: int
    neuron: int
    charge: float
    threshold: float
    fires: bool

    def __str__(self) -> str:
        theirs, ours = ("fires", "does not")[:: 1 if self.fires else -1]
        return (
            f"in timestep {self.step} of {self.lif.attrs['layer']}: neuron {self.neuron} {theirs} "
            f"in the model and {ours} here, its charge {self.charge:.7g} at a threshold of "
            f"{self.threshold:.7g}"
        )


@dataclass(frozen=True)
class Forced:
    """What layers make of forced spikes: their logits, and the first decision that is not theirs.

    A decision at a tie, a charge at its threshold but for the rounding of float32, is theirs.
    """

    logits: Tensor
    wrong: Decision | None


def forced(layers: Graph, x: Tensor, spikes: Mapping[str, Tensor]) -> Forced:
    """Run layers on `x` with `spikes` [samples, timesteps, neurons] for the result of every lif."""
    run = _Run(layers, x, spikes)
    differ = {name: run.fires(name) != spikes[name].astype(np.bool_) for name in run.lifs}
    if not any(map(np.any, differ.values())):
        return Forced(run.logits, None)
    near = run.near(TIE)
    found = []
    for name, lif in run.lifs.items():
        places = np.argwhere(differ[name] & ~near[name])
        if len(places):
            sample, step, neuron = map(int, places[np.argmin(places[:, 1])])
            charge = float(run.charges[name][sample, step, neuron])
            threshold = float(run.limits[name][sample, step, neuron])
            fires = bool(spikes[name][sample, step, neuron])
            found.append(Decision(lif, step, neuron, charge, threshold, fires))
    return Forced(run.logits, min(found, key=lambda one: one.step, default=None))


def tied(layers: Graph, x: Tensor, tolerance: float = TIE) -> Where:
    """Which samples [samples] hold a charge that is at its threshold but for rounding."""
    names = [op.results[0] for op in layers.ops if op.kind in FIRING]
    run = _Run(layers, x, interpret(layers, x, trace=names).traces)
    every = [near.any(axis=(1, 2)) for near in run.near(tolerance).values()]
    found: Where = np.any([np.zeros(len(x), np.bool_), *every], axis=0)
    return found


class _Run:
    """Charges and thresholds of every lif [samples, timesteps, neurons] where all spikes are
    given."""

    def __init__(
        self,
        layers: Graph,
        x: Tensor,
        spikes: Mapping[str, Tensor],
        dtype: type[np.floating[Any]] = np.float64,
    ) -> None:
        self.layers, self.x, self.spikes, self.dtype = layers, x, spikes, dtype
        self.lifs = {op.results[0]: op for op in layers.ops if op.kind in FIRING}
        self.bound = {name: op_def(op.kind).bind(op.operands) for name, op in self.lifs.items()}
        currents = {current for bound in self.bound.values() for current in bound["currents"]}
        sources = {op.operands[0] for op in layers.ops if op.kind in MAPS}
        wanted = (currents | sources) - spikes.keys()  # else neurons would be run as well
        result = interpret(layers, x, trace=wanted, fed=dict(spikes), dtype=dtype)
        self.logits = result.logits
        self.traces: dict[str, Tensor] = {**result.traces, **spikes}
        self.charges: dict[str, Tensor] = {}
        self.limits: dict[str, Tensor] = {}
        self.adapted: dict[str, Tensor] = {}
        for name in self.lifs:
            self.charges[name], self.limits[name] = self._charged(name)

    def fires(self, name: str) -> Where:
        """What the charges themselves decide."""
        charge, threshold = self.charges[name], self.limits[name]
        strict = self.lifs[name].attrs["strict"]
        return np.asarray(charge > threshold if strict else charge >= threshold, np.bool_)

    def near(self, tolerance: float) -> dict[str, Where]:
        """Where charges are at their threshold but for rounding.

        A number that comes out the same in float32 is not rounded: there `>=` and `>` differ.
        """
        rough = _Run(self.layers, self.x, self.spikes, np.float32)
        found = {}
        for name, charge in self.charges.items():
            limit = self.limits[name]
            gap = np.abs(charge - limit)
            same = (rough.charges[name] == charge) & (rough.limits[name] == limit)
            exact = (gap == 0) & same
            found[name] = (gap <= tolerance * self._sizes(name)) & ~exact
        return found

    def _constant(self, name: str, role: str) -> Tensor:
        return self.layers.constants[self.bound[name][role][0]].astype(self.dtype)

    def _charged(self, name: str) -> tuple[Tensor, Tensor]:
        """Charges and thresholds of neurons that fire when they are told."""
        currents = [self.traces[current] for current in self.bound[name]["currents"]]
        current, op = sum(currents[1:], currents[0]), self.lifs[name]
        roles = op_def(op.kind).parameters
        cells = Cells.of(op.attrs, {role: self._constant(name, role) for role in roles})
        fired = self.spikes[name].astype(np.bool_)
        charges, limits = (np.empty(fired.shape, current.dtype) for _ in range(2))
        u, *a = (self._start(state, current[:, 0]) for state in states_of(op))
        self.adapted[name] = np.zeros_like(current)
        for step in range(current.shape[1]):
            charge = cells.charge(u, [current[:, step]], *a)
            charges[:, step] = cells.each(charge, fired[:, step])
            limits[:, step] = np.tile(cells.limit(*a), cells.times)
            self.adapted[name][:, step] = cells.weighed(*a)
            u, *a = cells.after(charge, fired[:, step], *a)
        return charges, limits

    def _start(self, name: str, like: Tensor) -> Tensor:
        """A state before the first timestep."""
        state = self.layers.state(name)
        start = 0.0 if state is None or state.init is None else self.layers.constants[state.init]
        return np.broadcast_to(np.asarray(start, self.dtype), like.shape)

    def _sizes(self, name: str) -> Tensor:
        """How much each charge is made of, whatever the signs: what its rounding goes by."""
        beta, threshold, reset = (self._constant(name, r) for r in ("beta", "threshold", "reset"))
        added = np.abs(threshold) + np.abs(reset) + np.abs(self.adapted[name])
        added = sum(map(self._size, self.bound[name]["currents"]), added)
        fires = self.charges[name].shape[-1]
        sizes = np.broadcast_to(added, self.adapted[name].shape).copy()
        fired = self.spikes[name][..., : sizes.shape[-1]].astype(np.bool_)
        for step in range(1, sizes.shape[1]):
            sizes[:, step] += beta * np.where(fired[:, step - 1], 0, sizes[:, step - 1])
        return np.tile(sizes, fires // sizes.shape[-1])

    def _size(self, current: str) -> Tensor:
        """How much a current is made of: a product, or what integrators keep of several."""
        state, op = self.layers.state(current), self.layers.producer(current)
        if state is not None:  # what comes late
            size = self._size(state.next)
            return np.concatenate([np.zeros_like(size[:, :1]), size[:, :-1]], axis=1)
        assert op is not None
        if op.kind in MAPS:
            constants = [np.abs(self.layers.constants[name]) for name in op.operands[1:]]
            source = np.abs(self.traces[op.operands[0]].astype(self.dtype))
            context = EvalContext(self.dtype)
            (made,) = op_def(op.kind).evaluate(context, op.attrs, source, *constants)
            return np.asarray(made)
        bound = op_def(op.kind).bind(op.operands)
        sizes = np.array(sum(map(self._size, bound["currents"][1:]), self._size(op.operands[1])))
        for step in range(1, sizes.shape[1]):
            sizes[:, step] += self.layers.constants[bound["beta"][0]] * sizes[:, step - 1]
        return sizes
