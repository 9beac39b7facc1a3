"""Random networks at level layers: what the compiler and the machine are tried with.

A `Shape` says what a network looks like and holds a seed for its weights, which come from NumPy, so
that a failing example prints as one short line.
"""

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from dmpc.ir.graph import Graph, Op, State
from dmpc.ir.ops_layers import NEURONS, NO_LIMIT
from dmpc.ir.types import TensorType, event, f32
from dmpc.ir.verify import verify
from dmpc.legendre import legendre_system, zero_order_hold

READOUTS = ("mean", "sum", "last", "max", "max0")
FLAVOURS = ("normal", "positive", "sparse", "zero", "huge", "tiny", "uneven")


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
    With `starts` membranes, currents and what adapts begin anywhere.
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


@dataclass(frozen=True)
class Shape:
    """Everything that determines a network and samples for it.

    `leaks` says through how many leaky integrators, one after the other, the output goes; `besides`
    how many layers before the last the readout reads as well, of which the first may be an input of
    events. What it reads is up to so many timesteps `late`: an answer of spikes before.
    """

    inputs: int
    layers: tuple[Layer, ...]
    classes: int = 3
    readout: str = "mean"
    leaks: int = 0
    besides: int = 0
    late: int = 0
    graded: bool = False
    density: float = 0.3
    samples: int = 3
    steps: int = 6
    seed: int = 0

    def one_more_time(self) -> "Shape":
        """The same network with other samples."""
        return replace(self, samples=self.samples + 1)


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


def network(shape: Shape) -> Graph:
    """The float graph of a shape."""
    random = np.random.default_rng(shape.seed)
    graph = Graph("random", "layers", inputs=["x"], attrs={"readout": shape.readout})
    graph.types["x"] = f32(shape.inputs)
    graph.locs["x"] = ("input",)
    source, size = "x", shape.inputs
    read = [] if shape.graded else [(source, size)]
    for number, layer in enumerate(shape.layers, 1):
        if shape.graded and number == 1:  # values cannot wait
            layer = replace(layer, delays=0, again=0)
        ahead = min(number + layer.heard, len(shape.layers))
        heard = shape.layers[ahead - 1]
        later = (f"layer{ahead}", heard.neurons * heard.often) if ahead > number else None
        source = _layer(graph, random, f"layer{number}", layer, (source, size), later)
        size = layer.neurons * layer.often
        read.append((source, size))
    graph.outputs = [_readout(graph, random, shape, read[-1 - shape.besides :][::-1])]
    _start(graph, shape)
    verify(graph)
    return graph


def _readout(
    graph: Graph, random: np.random.Generator, shape: Shape, read: list[tuple[str, int]]
) -> str:
    """Add the output: a product of each that is read, the last layer first, and what leaks."""
    outputs: tuple[str, ...] = ()
    for number, (source, size) in enumerate(read):
        name = f"readout.besides{number}" if number else "readout"
        source = _delay(graph, random, "readout", f"{name}.late", (source, size), shape.late)
        weight = weights(random, "normal", shape.classes, size)
        operands = (source, _constant(graph, f"{name}.weight", weight))
        if not number:
            bias = random.normal(0, 1, shape.classes)
            operands = (*operands, _constant(graph, f"{name}.bias", bias))
        out = Op("dense", operands, (name,), {"layer": "readout"}, ("/out",))
        graph.add(out, f32(shape.classes))
        outputs = (*outputs, name)
    if len(outputs) > 1 and not shape.leaks:
        total = Op("sum", outputs, ("readout.sum",), {"layer": "readout"}, ("/out",))
        graph.add(total, f32(shape.classes))
        outputs = total.results
    for number in range(shape.leaks):
        state, after = f"readout.v{number}", f"readout.v{number}.next"
        graph.states.append(State(state, after))
        graph.types[state] = f32(shape.classes)
        alpha = _constant(graph, f"readout.alpha{number}", random.uniform(0, 0.97, shape.classes))
        loc = (f"/v{number}",)
        li = Op("li", (state, *outputs, alpha), (after,), {"layer": "readout"}, loc)
        graph.add(li, f32(shape.classes))
        outputs = (after,)
    (output,) = outputs
    return output


def _start(graph: Graph, shape: Shape) -> None:
    """Let states of neurons begin elsewhere than at zero."""
    random = np.random.default_rng(shape.seed + 1)
    begin = {f"layer{number}" for number, one in enumerate(shape.layers, 1) if one.starts}
    keepers = [op for op in graph.ops if op.kind in NEURONS and op.attrs["layer"] in begin]
    for state in graph.states:
        own = any(state.name in op.operands for op in keepers)
        if own and graph.types[state.name].dtype != "event":
            start = random.normal(0, 2, graph.types[state.name].size)
            state.init = _constant(graph, f"{state.name}.init", start)


def _constant(graph: Graph, name: str, value: np.ndarray) -> str:
    return graph.add_constant(name, value, f32(*value.shape), (f"/{name}",))


def _delay(
    graph: Graph,
    random: np.random.Generator,
    layer: str,
    name: str,
    feed: tuple[str, int],
    longest: int,
) -> str:
    """Events that come late, each of them by its own number of timesteps up to the longest."""
    operand, width = feed
    if not longest:
        return operand
    ring = event(longest + 1, width)
    drawn = random.integers(0, longest + 1, width).astype(np.uint16)
    delays = graph.add_constant(f"{name}.delays", drawn, TensorType("u16", drawn.shape))
    graph.states.append(State(f"{name}.waiting", f"{name}.waiting.next"))
    graph.types[f"{name}.waiting"] = ring
    results, operands = (name, f"{name}.waiting.next"), (f"{name}.waiting", operand, delays)
    loc = (f"/{name.replace('.', '/')}",)
    graph.add(Op("delay", operands, results, {"layer": layer}, loc), event(width), ring)
    return name


def _layer(
    graph: Graph,
    random: np.random.Generator,
    name: str,
    layer: Layer,
    feed: tuple[str, int],
    later: tuple[str, int] | None,
) -> str:
    def dense(part: str, operand: str, width: int, flavour: str) -> str:
        weight = _constant(graph, f"{name}.{part}.weight", weights(random, flavour, n, width))
        operands = (operand, weight)
        if layer.bias:
            bias = random.normal(0, 0.3, n) * (1e3 if flavour == "huge" else 1)
            operands = (*operands, _constant(graph, f"{name}.{part}.bias", bias))
        op = Op("dense", operands, (f"{name}.{part}",), {"layer": name}, (f"/{name}/{part}",))
        graph.add(op, f32(n))
        return f"{name}.{part}"

    def delay(part: str, operand: str, width: int, longest: int) -> str:
        return _delay(graph, random, name, f"{name}.{part}", (operand, width), longest)

    def before(of: str, width: int) -> str:
        if f"{of}.before" not in graph.types:
            graph.states.append(State(f"{of}.before", f"{of}.spikes"))
            graph.types[f"{of}.before"] = event(width)
        return f"{of}.before"

    (source, inputs), n, d = feed, layer.neurons, layer.states
    source = delay("late", source, inputs, layer.delays)
    currents = [dense("fast", source, inputs, layer.flavour)]
    older = source
    for number in range(layer.again):
        older = delay(f"older{number}", older, inputs, 1 + number)
        currents.append(dense(f"again{number}", older, inputs, layer.flavour))
    if layer.recurrent:
        made = n * layer.often
        own = delay("echo", before(name, made), made, layer.echo)
        currents.append(dense("recurrent", own, made, layer.flavour))
    if later is not None:
        currents.append(dense("heard", before(*later), later[1], layer.flavour))
    if d:
        graph.states.append(State(f"{name}.m", f"{name}.m.next"))
        graph.types[f"{name}.m"] = f32(d)
        own = (before(name, n * layer.often), n * layer.often) if layer.hears else None
        x = _drives(graph, random, name, layer, (source, inputs), own)
        a, b = memory(random, d, layer.legendre, layer.drives)
        operands = (f"{name}.m", x, f"{name}.A", f"{name}.B")
        _constant(graph, f"{name}.A", a)
        _constant(graph, f"{name}.B", b)
        loc = (f"/{name}/memory",)
        graph.add(Op("memory", operands, (f"{name}.m.next",), {"layer": name}, loc), f32(d))
        memory_read = f"{name}.m.next"
        if layer.dilation > 1:
            held, memory_read = f"{name}.held", f"{name}.held.next"
            graph.states.append(State(held, memory_read))
            graph.types[held] = f32(d)
            attrs = {"layer": name, "period": layer.dilation}
            operands = (held, f"{name}.m.next")
            graph.add(Op("hold", operands, (memory_read,), attrs, (f"/{name}/hold",)), f32(d))
        currents.append(dense("slow", memory_read, d, "normal"))

    def current(part: str, fed: list[str], when: str) -> str:
        state, after = f"{name}.{part}", f"{name}.{part}.next"
        graph.states.append(State(state, after))
        graph.types[state] = f32(n)
        alpha = _constant(graph, f"{name}.alpha{part[1:]}", random.uniform(0, 0.97, n))
        loc = (f"/{name}/{part}",)
        li = Op("li", (state, *fed, alpha), (after,), {"layer": name}, loc)
        graph.add(li, f32(n))
        return after if when == "now" else state

    if layer.current:
        currents = [current("i", currents, layer.current)]
        if layer.other:
            currents.append(current("i2", [dense("fast2", source, inputs, "normal")], layer.other))
        if layer.straight:
            currents.append(dense("straight", source, inputs, layer.flavour))
    parameters = [
        _constant(graph, f"{name}.beta", random.uniform(0, 0.99, n)),
        _constant(graph, f"{name}.threshold", random.uniform(0.2, 2, n)),
        _constant(
            graph, f"{name}.reset", random.uniform(*(-0.5, 0.1) if layer.hard else (0, 2), n)
        ),
    ]
    attrs = {
        "layer": name,
        "reset_mode": "hard" if layer.hard else "subtract",
        "strict": layer.strict,
    }
    graph.states.append(State(f"{name}.u", f"{name}.u.next"))
    graph.types[f"{name}.u"] = f32(n)
    results = (f"{name}.spikes", f"{name}.u.next")
    if layer.adapts:
        attrs["adapts"], results = layer.adapts, (*results, f"{name}.a.next")
        graph.states.append(State(f"{name}.a", f"{name}.a.next"))
        graph.types[f"{name}.a"] = f32(n)
        # Where membranes are reset to a value, nothing bounds what follows them.
        couples = layer.adapts == "threshold" or not layer.hard
        drawn = {
            "rho": random.uniform(0, 0.99, n),
            "jump": random.uniform(-0.1, 0.5, n),
            "coupling": random.uniform(-0.1, 0, n) * couples,
        }
        parameters += [f"{name}.a", *(_constant(graph, f"{name}.{k}", v) for k, v in drawn.items())]
    kind = "alif" if layer.adapts else "lif"
    if layer.clamped and not layer.adapts:
        kind, none = "clif", np.full(n, NO_LIMIT)
        floor = random.uniform(-1, 0.1, n) if layer.clamped != "above" else -none
        ceiling = random.uniform(1, 4, n) if layer.clamped != "below" else none
        parameters += [
            _constant(graph, f"{name}.floor", floor), _constant(graph, f"{name}.ceiling", ceiling),
        ]  # fmt: skip
    if layer.rests and layer.hard and kind == "lif":
        kind, results = "rlif", (*results, f"{name}.r.next")
        graph.states.append(State(f"{name}.r", f"{name}.r.next"))
        graph.types[f"{name}.r"] = f32(n)
        steps = random.integers(1, layer.rests + 1, n).astype(np.float64)
        parameters += [f"{name}.r", _constant(graph, f"{name}.rest", steps)]
    times = layer.often
    if times > 1:
        attrs["times"] = times
    lif = Op(kind, (f"{name}.u", *currents, *parameters), results, attrs, (f"/{name}/lif",))
    graph.add(lif, event(n * times), *[f32(n)] * (len(results) - 1))
    return results[0]


def _drives(
    graph: Graph,
    random: np.random.Generator,
    name: str,
    layer: Layer,
    *sources: tuple[str, int] | None,
) -> str:
    """What drives a memory: for each element a sum of what is read, one source after the other."""
    read = [source for source in sources if source is not None]
    before: tuple[str, ...] = ()
    for number in range(layer.drives):
        added: tuple[str, ...] = ()
        for place, (source, size) in enumerate(read):
            part = f"{name}.x" + (f".{number}.{place}" if number or place else "")
            drawn = weights(random, layer.flavour, size)
            operands = (source, _constant(graph, part.replace(".x", ".wx", 1), drawn))
            last = place == len(read) - 1
            others = (*added, *(before if last else ()))
            if layer.bias or others:
                bias = random.normal(0.1, 0.3, 1) if layer.bias else np.zeros(1)
                operands += (_constant(graph, part.replace(".x", ".bx", 1), bias), *others)
            attrs: dict[str, str | bool] = {"layer": name}
            attrs |= {"linear": True} if layer.linear or not last else {}
            attrs |= {"adds": True} if added else {}
            elements = 1 + number if last else 1
            graph.add(Op("drive", operands, (part,), attrs, (f"/{name}/drive",)), f32(elements))
            added = (part,)
        before = added
    return before[0]


def samples(shape: Shape, *, seed: int | None = None) -> np.ndarray:
    """Samples [samples, steps, inputs] for a shape; some are silent, some have every input on."""
    random = np.random.default_rng(shape.seed + 1 if seed is None else seed)
    size = (shape.samples, shape.steps, shape.inputs)
    if shape.graded:
        return random.uniform(-1, 1, size)
    x = random.random(size) < shape.density
    x[0, random.integers(shape.steps)] = False
    x[-1, random.integers(shape.steps)] = True
    return x


def random_shape(random: Random) -> Shape:
    """The shape of a small network of one to three layers, of any kind."""
    layers = [_random_layer(random) for _ in range(random.randint(1, 3))]
    return Shape(
        inputs=random.randint(1, 10),
        layers=tuple(layers),
        classes=random.randint(1, 6),
        readout=random.choice(READOUTS),
        leaks=random.choice((0, 0, 1, 2)),
        graded=random.random() < 0.4,
        density=random.choice((0.0, 0.1, 0.5, 1.0)),
        samples=random.randint(1, 4),
        steps=random.randint(1, 8),
        seed=random.randrange(2**32),
        besides=random.choice((0, 0, 1, 2)),
        late=random.choice((0, 0, 1, 3)),
    )


def _random_layer(random: Random) -> Layer:
    def either() -> bool:
        return random.random() < 0.5

    return Layer(
        neurons=random.randint(1, 13),
        states=random.choice((0, random.randint(1, 12))),
        hard=either(),
        strict=either(),
        bias=either(),
        flavour=random.choice(FLAVOURS),
        legendre=either(),
        dilation=random.choice((1, 2, 3, 5)),
        recurrent=either(),
        delays=random.choice((0, 0, 1, 4)),
        echo=random.choice((0, 0, 3)),
        again=random.choice((0, 0, 1, 2)),
        heard=random.choice((0, 0, 1, 2)),
        current=random.choice(("", "", "now", "late")),
        adapts=random.choice(("", "", "threshold", "current")),
        clamped=random.choice(("", "", "below", "above", "both")),
        other=random.choice(("", "now", "late")),
        straight=random.random() < 0.3,
        times=random.choice((1, 1, 2, 3)),
        starts=random.random() < 0.3,
        drives=random.choice((1, 1, 1, 2, 3)),
        linear=random.random() < 0.3,
        hears=random.random() < 0.2,
        rests=random.choice((0, 0, 1, 4)),
    )
