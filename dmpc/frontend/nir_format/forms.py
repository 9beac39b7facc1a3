"""What feeds a delay, as weighted events of this and of earlier timesteps.

The machine's delay lines hold events. What is delayed behind weights is the same as weights behind
a delay of the events, `D(W s) = W D(s)`, if every event of an input is late by one time wherever it
goes. So a delay's source is brought to the form `bias + sum of matrix · (events, each late by its
age)`, whatever lies between: weights, scales, sums, other delays.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.nir_format.delays import steps_of
from dmpc.frontend.nir_format.network import Net, Node
from dmpc.frontend.nir_format.neurons import Timing
from dmpc.frontend.nir_format.order import SPIKING
from dmpc.frontend.nir_format.rules import DELAYED_BIAS, ECHO, TIMELESS_LOOP
from dmpc.ir.graph import Array

EVENTS = ("Input", *SPIKING)
LARGEST = 1 << 12  # elements whose scales are written as a matrix
PASSING = ("Flatten", "Port", "Output")


@dataclass(frozen=True)
class Term:
    """`matrix [n, k] · events`, the k-th event element `columns[k]` of `source`, late by `ages[k]`.

    Without a matrix it is the events themselves.
    """

    source: str
    columns: Array
    ages: Array
    matrix: Array | None = None

    def mapped(self, matrix: Array) -> "Term":
        """`matrix · self`."""
        return replace(self, matrix=matrix if self.matrix is None else matrix @ self.matrix)

    def scaled(self, factor: Array) -> "Term":
        """Each element times its factor."""
        if self.matrix is None:
            return self.mapped(np.diag(factor))
        return replace(self, matrix=factor[:, None] * self.matrix)

    def late(self, steps: Array) -> "list[Term]":
        """Each element late by its steps."""
        if self.matrix is None:
            return [replace(self, ages=self.ages + steps)]
        found = []
        for step in np.unique(steps):
            part = np.where((steps == step)[:, None], self.matrix, 0.0)
            used = np.flatnonzero(part.any(axis=0))
            columns, ages = self.columns[used], self.ages[used] + step
            found += [Term(self.source, columns, ages, part[:, used])] if used.size else []
        return found


@dataclass(frozen=True)
class Form:
    """`bias [n] + sum of terms`."""

    terms: tuple[Term, ...]
    bias: Array


@dataclass(frozen=True)
class Forms:
    """The forms of a network's nodes; `size_of` tells the size of a node that gives events."""

    net: Net
    timing: Timing
    size_of: Callable[[Node], int]

    def of(self, node: Node, path: tuple[str, ...] = ()) -> Form:
        """The form of what a node puts out. Raises ImportFailure where it has none."""
        if node.kind in EVENTS:
            every = np.arange(self.size_of(node))
            return Form((Term(node.name, every, 0 * every),), np.zeros(every.size))
        if node.name in path:
            raise self._endless(node, path[path.index(node.name) :])
        fed = self._fed(node, (*path, node.name))
        if node.kind == "Delay":
            return self._late(node, fed)
        size = fed.bias.size
        if node.kind in ("Affine", "Linear"):
            weight = node.weight(size)
            bias = node.vector("bias", len(weight)) if node.kind == "Affine" else 0.0
            terms = tuple(term.mapped(weight) for term in fed.terms)
            return Form(terms, weight @ fed.bias + bias)
        if node.kind == "Scale":
            return self._scaled(node, fed, node.vector("scale", size))
        if node.kind in PASSING:
            return fed
        raise node.error("stands before a delay", "delay the spikes that it is made of")

    def _fed(self, node: Node, path: tuple[str, ...]) -> Form:
        found = [self.of(self.net.nodes[name], path) for name in self.net.fed(node)]
        sizes = [form.bias.size for form in found]
        if len(set(sizes)) > 1:
            raise node.error(f"its sources differ in size: {', '.join(map(str, sizes))}")
        bias = np.sum([form.bias for form in found], axis=0)
        return Form(tuple(term for form in found for term in form.terms), bias)

    def _scaled(self, node: Node, fed: Form, factor: Array) -> Form:
        if factor.size > LARGEST and any(term.matrix is None for term in fed.terms):
            raise node.error("scales too many elements before a delay", "delay first, then scale")
        return Form(tuple(term.scaled(factor) for term in fed.terms), factor * fed.bias)

    def _late(self, node: Node, fed: Form) -> Form:
        steps, size = steps_of(node, self.timing), fed.bias.size
        if steps.size not in (1, size):
            raise node.error(f"takes {steps.size} elements, but is fed {size}")
        steps = np.broadcast_to(steps, size)
        delayed = np.flatnonzero((fed.bias != 0) & (steps > 0))
        if delayed.size:
            raise node.failure(DELAYED_BIAS, element=delayed[0], bias=fed.bias[delayed[0]])
        return Form(tuple(part for term in fed.terms for part in term.late(steps)), fed.bias)

    def _endless(self, node: Node, loop: tuple[str, ...]) -> ImportFailure:
        ring = " -> ".join(reversed(loop))
        delays = any(self.net.nodes[name].kind == "Delay" for name in loop)
        return node.failure(ECHO if delays else TIMELESS_LOOP, ring=ring)
