"""Random networks at level layers: what the compiler and the machine are tried with.

A `Shape` says what a network looks like and holds a seed for its weights, which come from NumPy, so
that a failing example prints as one short line.
"""

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from benchmarks.random_layers import FLAVOURS, Builder, Feed, Layer, LayerBuilder, weights
from dmpc.ir.graph import Graph
from dmpc.ir.ops_layers import NEURONS
from dmpc.ir.types import f32
from dmpc.ir.verify import SINCE, verify

READOUTS = ("mean", "sum", "last", "max", "max0")


@dataclass(frozen=True)
class Shape:
    """Everything that determines a network and samples for it.

    `leaks` says through how many leaky integrators, one after the other, the output goes; `besides`
    how many layers before the last the readout reads as well, of which the first may be an input of
    events. What it reads is up to so many timesteps `late`: an answer of spikes before. A mean or a
    sum counts from timestep `since` on, or the last one.
    """

    inputs: int
    layers: tuple[Layer, ...]
    classes: int = 3
    readout: str = "mean"
    since: int = 0
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


def network(shape: Shape) -> Graph:
    """The float graph of a shape."""
    random = np.random.default_rng(shape.seed)
    graph = Graph("random", "layers", inputs=["x"], attrs={"readout": shape.readout})
    if shape.readout in SINCE and (since := min(shape.since, shape.steps - 1)):
        graph.attrs["since"] = since
    graph.types["x"] = f32(shape.inputs)
    graph.locs["x"] = ("input",)
    feed = ("x", shape.inputs)
    read = [] if shape.graded else [feed]
    for number, layer in enumerate(shape.layers, 1):
        if shape.graded and number == 1:  # values cannot wait
            layer = replace(layer, delays=0, again=0)
        ahead = min(number + layer.heard, len(shape.layers))
        heard = shape.layers[ahead - 1]
        later = (f"layer{ahead}", heard.neurons * heard.often) if ahead > number else None
        spikes = LayerBuilder(graph, random, f"layer{number}", layer, feed, later).build()
        feed = (spikes, layer.neurons * layer.often)
        read.append(feed)
    readout = Builder(graph, random, "readout")
    graph.outputs = [_readout(readout, shape, read[-1 - shape.besides :][::-1])]
    _start(graph, shape)
    verify(graph)
    return graph


def _readout(builder: Builder, shape: Shape, read: list[Feed]) -> str:
    """Add the output: a product of each that is read, the last layer first, and what leaks."""
    random, classes = builder.random, shape.classes
    outputs: tuple[str, ...] = ()
    for number, (source, size) in enumerate(read):
        name = f"readout.besides{number}" if number else "readout"
        source = builder.delay(f"{name}.late", (source, size), shape.late)
        weight = weights(random, "normal", classes, size)
        operands = (source, builder.constant(f"{name}.weight", weight))
        if not number:
            bias = builder.constant(f"{name}.bias", random.normal(0, 1, classes))
            operands = (*operands, bias)
        outputs = (*outputs, builder.op("dense", operands, name, classes, "/out"))
    if len(outputs) > 1 and not shape.leaks:
        outputs = (builder.op("sum", outputs, "readout.sum", classes, "/out"),)
    for number in range(shape.leaks):
        state, alpha = f"readout.v{number}", f"readout.alpha{number}"
        outputs = (builder.li(state, outputs, alpha, classes, f"/v{number}"),)
    (output,) = outputs
    return output


def _start(graph: Graph, shape: Shape) -> None:
    """Let states of neurons, and logits that leak, begin elsewhere than at zero."""
    random = np.random.default_rng(shape.seed + 1)
    begin = {f"layer{number}" for number, one in enumerate(shape.layers, 1) if one.starts}
    begin |= {"readout"} if any(one.starts for one in shape.layers[:1]) else set()
    keepers = [op for op in graph.ops if op.kind in NEURONS and op.attrs["layer"] in begin]
    for state in graph.states:
        own = any(state.name in op.operands for op in keepers)
        if own and graph.types[state.name].dtype != "event":
            start = random.normal(0, 2, graph.types[state.name].size)
            name = f"{state.name}.init"
            state.init = graph.add_constant(name, start, f32(*start.shape), (f"/{name}",))


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
        since=random.choice((0, 0, 1, 3)),
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
