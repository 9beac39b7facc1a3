"""Layers of random networks: what sets them apart, and the ops that make them."""

from dataclasses import dataclass

import numpy as np

from dmpc.ir.graph import Attr, Graph, Op, State
from dmpc.ir.ops_layers import NO_LIMIT
from dmpc.ir.types import TensorType, event, f32
from dmpc.legendre import legendre_system, zero_order_hold

FLAVOURS = ("normal", "positive", "sparse", "zero", "huge", "tiny", "uneven")

Feed = tuple[str, int]
"""What a layer reads, and how many elements that has."""


@dataclass(frozen=True)
class Layer:
    """One layer: `states` is d, 0 for a layer without memory; `dilation` is that of its memory.

    A `recurrent` layer reads its own spikes of the timestep before. `delays` is the longest axonal
    delay of its input, which must be events, `echo` that of its own spikes, beside that timestep.
    `again` is how often its input arrives once more, later.
    `heard` is how many layers ahead, if there are as many, the one is whose last spikes it reads.
    `current` is when neurons take a synaptic current that they keep: now or late; none if empty.
    With `other` they have a second one, when they take that; with `straight` an input beside it.
    `adapts` is what adapts to their spikes: the threshold or a current; nothing if empty.
    Membranes of those that do not adapt are `clamped` between a floor and a ceiling, or one of the
    two, and those that are reset by subtraction may spike so many `times` in a timestep.
    A memory has so many `drives`, each of which with `hears` adds the layer's last spikes; they are
    `linear` or rectified.
    Those that neither adapt nor are clamped, and are reset to a value, rest for up to so many
    timesteps as `rests` says after a spike.
    With `starts` membranes, currents and what adapts begin anywhere, and if the first layer does,
    logits that leak do, too.
    """

    neurons: int
    states: int = 0
    hard: bool = True
    strict: bool = False
    bias: bool = True
    flavour: str = "normal"
    legendre: bool = True
    dilation: int = 1
    recurrent: bool = False
    delays: int = 0
    echo: int = 0
    again: int = 0
    heard: int = 0
    current: str = ""
    adapts: str = ""
    clamped: str = ""
    other: str = ""
    straight: bool = False
    times: int = 1
    starts: bool = False
    drives: int = 1
    linear: bool = False
    hears: bool = False
    rests: int = 0

    @property
    def often(self) -> int:
        """How often neurons spike in a timestep at most."""
        return 1 if self.hard or self.adapts else self.times


def weights(random: np.random.Generator, flavour: str, *shape: int) -> np.ndarray:
    """Weights [.., inputs] of a layer in one of the flavours."""
    fan = max(1, shape[-1])
    drawn = random.normal(0.3, 1.0, shape) * 1.5 / np.sqrt(fan)
    match flavour:
        case "positive":
            return np.abs(drawn)
        case "sparse":
            return drawn * (random.random(shape) < 0.3)
        case "zero":
            return np.zeros(shape)
        case "huge":
            return drawn * 1e6
        case "tiny":
            return drawn * 1e-6
        case "uneven":  # rows of very different size: what per-neuron scales are for
            return drawn * 10.0 ** random.uniform(-3, 3, (shape[0], *[1] * (len(shape) - 1)))
    return drawn


def memory(
    random: np.random.Generator, states: int, legendre: bool, drives: int
) -> tuple[np.ndarray, ...]:
    """`A` [d, d] and `B`, [d] or of several drives [d, q], of a memory that decays."""
    if legendre:
        a, b = zero_order_hold(*legendre_system(states, float(random.integers(states + 4, 60))))
    else:
        a = random.normal(0, 1, (states, states))
        a *= random.uniform(0.3, 0.95) / max(np.abs(np.linalg.eigvals(a)).max(), 1e-9)
        b = random.normal(0, 1, states)
    if drives > 1:
        b = np.stack([b, *random.normal(0, 1, (drives - 1, states))], axis=1)
    return a, b


@dataclass(frozen=True)
class Builder:
    """Adds ops of the layer `name` to a graph; what they hold is drawn."""

    graph: Graph
    random: np.random.Generator
    name: str

    def constant(self, name: str, value: np.ndarray) -> str:
        """A constant of floats."""
        return self.graph.add_constant(name, value, f32(*value.shape), (f"/{name}",))

    def drawn(self, name: str, low: float, high: float, size: int) -> str:
        """A constant of one number for each neuron or class."""
        return self.constant(name, self.random.uniform(low, high, size))

    def state(self, name: str, after: str, kind: TensorType) -> str:
        """A state that starts at zero."""
        self.graph.states.append(State(name, after))
        self.graph.types[name] = kind
        return name

    def op(
        self, kind: str, operands: tuple[str, ...], result: str, size: int, at: str, **attrs: Attr
    ) -> str:
        """An op of one result, which is floats."""
        op = Op(kind, operands, (result,), {"layer": self.name, **attrs}, (at,))
        self.graph.add(op, f32(size))
        return result

    def li(self, state: str, fed: tuple[str, ...], alpha: str, size: int, at: str) -> str:
        """A state that leaks, and is charged by what is fed: what it becomes."""
        self.state(state, f"{state}.next", f32(size))
        operands = (state, *fed, self.drawn(alpha, 0, 0.97, size))
        return self.op("li", operands, f"{state}.next", size, at)

    def delay(self, name: str, feed: Feed, longest: int) -> str:
        """Events that come late, each of them by its own number of timesteps up to the longest."""
        operand, width = feed
        if not longest:
            return operand
        delays = self.random.integers(0, longest + 1, width).astype(np.uint16)
        self.graph.add_constant(f"{name}.delays", delays, TensorType("u16", delays.shape))
        ring, after = event(longest + 1, width), f"{name}.waiting.next"
        waiting = self.state(f"{name}.waiting", after, ring)
        at = (f"/{name.replace('.', '/')}",)
        operands = (waiting, operand, f"{name}.delays")
        self.graph.add(
            Op("delay", operands, (name, after), {"layer": self.name}, at), event(width), ring
        )
        return name


@dataclass(frozen=True)
class LayerBuilder(Builder):
    """Adds a layer that reads `feed`, and the last spikes of a `later` one, if there is any."""

    layer: Layer
    feed: Feed
    later: Feed | None

    def build(self) -> str:
        """The layer's spikes."""
        layer, name, n = self.layer, self.name, self.layer.neurons
        charges = self._charges()
        parameters = (
            self.drawn(f"{name}.beta", 0, 0.99, n),
            self.drawn(f"{name}.threshold", 0.2, 2, n),
            self.drawn(f"{name}.reset", *(-0.5, 0.1) if layer.hard else (0, 2), n),
        )
        membrane = self.state(f"{name}.u", f"{name}.u.next", f32(n))
        kind, own, attrs = self._kind()
        after = [f"{one}.next" for one in (membrane, *own) if one not in self.graph.constants]
        results, operands = (f"{name}.spikes", *after), (membrane, *charges, *parameters, *own)
        mode = "hard" if layer.hard else "subtract"
        attrs = {"layer": name, "reset_mode": mode, "strict": layer.strict, **attrs}
        lif = Op(kind, operands, results, attrs, (f"/{name}/lif",))
        self.graph.add(lif, event(n * layer.often), *[f32(n)] * len(after))
        return results[0]

    def _charges(self) -> list[str]:
        """What charges the neurons, from their synaptic currents where they have any."""
        layer, name = self.layer, self.name
        source, inputs = self.delay(f"{name}.late", self.feed, layer.delays), self.feed[1]
        charges = [self._dense("fast", source, inputs)]
        older = source
        for number in range(layer.again):
            older = self.delay(f"{name}.older{number}", (older, inputs), 1 + number)
            charges.append(self._dense(f"again{number}", older, inputs))
        if layer.recurrent:
            made = layer.neurons * layer.often
            own = self.delay(f"{name}.echo", (self._before(name, made), made), layer.echo)
            charges.append(self._dense("recurrent", own, made))
        if self.later is not None:
            charges.append(self._dense("heard", self._before(*self.later), self.later[1]))
        if layer.states:
            charges.append(self._dense("slow", self._memory(source), layer.states, "normal"))
        if layer.current:
            charges = [self._current("i", charges, layer.current)]
            if layer.other:
                other = [self._dense("fast2", source, inputs, "normal")]
                charges.append(self._current("i2", other, layer.other))
            if layer.straight:
                charges.append(self._dense("straight", source, inputs))
        return charges

    def _dense(self, part: str, operand: str, width: int, flavour: str = "") -> str:
        """The product of events or states with drawn weights, and maybe a bias."""
        name, n, flavour = f"{self.name}.{part}", self.layer.neurons, flavour or self.layer.flavour
        weight = weights(self.random, flavour, n, width)
        operands = (operand, self.constant(f"{name}.weight", weight))
        if self.layer.bias:
            bias = self.random.normal(0, 0.3, n) * (1e3 if flavour == "huge" else 1)
            operands = (*operands, self.constant(f"{name}.bias", bias))
        return self.op("dense", operands, name, n, f"/{self.name}/{part}")

    def _before(self, of: str, width: int) -> str:
        """The spikes of a layer one timestep ago."""
        if f"{of}.before" not in self.graph.types:
            self.state(f"{of}.before", f"{of}.spikes", event(width))
        return f"{of}.before"

    def _current(self, part: str, charges: list[str], when: str) -> str:
        """A synaptic current, as it is now or was before its charge."""
        name, n = f"{self.name}.{part}", self.layer.neurons
        alpha = f"{self.name}.alpha{part[1:]}"
        after = self.li(name, tuple(charges), alpha, n, f"/{self.name}/{part}")
        return after if when == "now" else name

    def _memory(self, source: str) -> str:
        """The slow states of a layer, of every few timesteps if it is dilated."""
        layer, name, d = self.layer, self.name, self.layer.states
        state = self.state(f"{name}.m", f"{name}.m.next", f32(d))
        read = [(source, self.feed[1])]
        if layer.hears:
            made = layer.neurons * layer.often
            read.append((self._before(name, made), made))
        drives = self._drives(read)
        for part, value in zip(
            "AB", memory(self.random, d, layer.legendre, layer.drives), strict=True
        ):
            self.constant(f"{name}.{part}", value)
        operands = (state, drives, f"{name}.A", f"{name}.B")
        after = self.op("memory", operands, f"{name}.m.next", d, f"/{name}/memory")
        if layer.dilation == 1:
            return after
        held = self.state(f"{name}.held", f"{name}.held.next", f32(d))
        since = d % layer.dilation
        attrs = {"period": layer.dilation, **({"since": since} if since else {})}
        return self.op("hold", (held, after), f"{held}.next", d, f"/{name}/hold", **attrs)

    def _drives(self, read: list[Feed]) -> str:
        """What drives the memory: each element a sum of what is read, one source after another."""
        layer, name = self.layer, self.name
        before: tuple[str, ...] = ()
        for number in range(layer.drives):
            added: tuple[str, ...] = ()
            for place, (source, size) in enumerate(read):
                part = f"{name}.x" + (f".{number}.{place}" if number or place else "")
                drawn = weights(self.random, layer.flavour, size)
                operands = (source, self.constant(part.replace(".x", ".wx", 1), drawn))
                last = place == len(read) - 1
                others = (*added, *(before if last else ()))
                if layer.bias or others:
                    bias = self.random.normal(0.1, 0.3, 1) if layer.bias else np.zeros(1)
                    operands += (self.constant(part.replace(".x", ".bx", 1), bias), *others)
                attrs: dict[str, Attr] = {"linear": True} if layer.linear or not last else {}
                attrs |= {"adds": True} if added else {}
                elements = 1 + number if last else 1
                added = (self.op("drive", operands, part, elements, f"/{name}/drive", **attrs),)
            before = added
        return before[0]

    def _kind(self) -> tuple[str, tuple[str, ...], dict[str, Attr]]:
        """The op of the neurons; their own states and parameters; its attributes."""
        layer, name, n = self.layer, self.name, self.layer.neurons
        attrs: dict[str, Attr] = {"times": layer.often} if layer.often > 1 else {}
        if layer.adapts:
            # Where membranes are reset to a value, nothing bounds what follows them.
            couples = layer.adapts == "threshold" or not layer.hard
            state = self.state(f"{name}.a", f"{name}.a.next", f32(n))
            rho, jump = self.random.uniform(0, 0.99, n), self.random.uniform(-0.1, 0.5, n)
            parts = {"rho": rho, "jump": jump}
            parts["coupling"] = self.random.uniform(-0.1, 0, n) * couples
            own = (state, *(self.constant(f"{name}.{part}", v) for part, v in parts.items()))
            return "alif", own, {"adapts": layer.adapts, **attrs}
        if layer.clamped:
            none = np.full(n, NO_LIMIT)
            floor = self.random.uniform(-1, 0.1, n) if layer.clamped != "above" else -none
            ceiling = self.random.uniform(1, 4, n) if layer.clamped != "below" else none
            limits = {"floor": floor, "ceiling": ceiling}
            return "clif", tuple(self.constant(f"{name}.{k}", v) for k, v in limits.items()), attrs
        if layer.rests and layer.hard:
            state = self.state(f"{name}.r", f"{name}.r.next", f32(n))
            steps = self.random.integers(1, layer.rests + 1, n).astype(np.float64)
            return "rlif", (state, self.constant(f"{name}.rest", steps)), attrs
        return "lif", (), attrs
