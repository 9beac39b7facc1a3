"""Ops of the layers level: the field's own terms, in real numbers (Sun et al., 2026).

With s the input events of a layer, N neurons, d memory states, for every timestep k:

    fast  = dense(s, W_f, b_f)              I_f[k] = W_f s[k] + b_f
    x     = drive(s, W_x, b_x)              x[k]   = relu(W_x s[k] + b_x)
    m'    = memory(m, x, A, B)              m[k]   = A m[k-1] + B x[k]
    slow  = dense(m', W_m, b_m)             I_m[k] = W_m m[k] + b_m
    s', u' = lif(u, fast, slow, ...)        leak, sum of currents, spike, reset

A drive may be linear, and several make a vector x of a memory whose B has as many columns.

Neurons whose currents decay by themselves take them through leaky integrators, one for each neuron:

    i'     = li(i, fast, slow, alpha)       i[k]   = alpha i[k-1] + I_f[k] + I_m[k]
    s', u' = lif(u, i', ...)                or, a timestep late, lif(u, i, ...)

Neurons that adapt keep a second state, which raises their thresholds or is a current of theirs:

    s', u', a' = alif(u, fast, ..., a)      a[k]   = rho a[k-1] + jump s'[k]

Neurons may spike several times in a timestep; s'[k] are then the events of the first time, behind
them those of the second, and so on, the membrane being reset in between.

Membranes may have a floor and a ceiling, which cut charges off before they spike:

    s', u' = clif(u, fast, ..., floor, ceiling)    min(max(charge, floor), ceiling)

Neurons may rest for some timesteps after a spike, at what it leaves of their membrane:

    s', u', r' = rlif(u, fast, ..., r, rest)   r[k] = rest where s'[k], else max(r[k-1] - 1, 0)

With axonal delays, s[k] is what set out `delays[i]` timesteps ago from input i:

    late, r' = delay(r, s, delays)          late[k][i] = s[k - delays[i]][i]

With a dilation of d timesteps the slow current reads a held memory, `W_m m[floor(k/d) d]`:

    h'    = hold(h, m') {period = d}        h[k]   = m[k] where d divides k, else h[k-1]
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmpc.ir.drives import DRIVEN, check_columns, driven, elements
from dmpc.ir.graph import Graph, Op
from dmpc.ir.integer_types import ENDLESS, INTEGER, SINCE, TIMES, integers, since_of, times
from dmpc.ir.ops_model import vector
from dmpc.ir.registry import Attrs, AttrSpec, EvalContext, OpDef, Tensor, op_def, register
from dmpc.ir.types import TensorType

LAYERS = ("layers",)
LAYER = AttrSpec(str, "name of the layer: layer1, layer2, ..., readout")
FIRE = {
    "layer": LAYER,
    "reset_mode": AttrSpec(str, "what a spike does to u", choices=("hard", "subtract")),
    "strict": AttrSpec(bool, "true: spike if charge > threshold; false: if charge >= it"),
    "times": TIMES,
    "endless": ENDLESS,
}
PARAMETERS, ADAPTATION = ("beta", "threshold", "reset"), ("a", "rho", "jump", "coupling")
"""Operands of neurons that spike behind their currents, and of those that adapt behind them."""
LIMITS = ("floor", "ceiling")
"""Operands of neurons whose membranes have limits, behind their parameters."""
REST = ("r", "rest")
"""Operands of neurons that rest after a spike, behind their parameters."""
OTHER_STATES = ("a", "r")
"""Operands of neurons that are states beside their membrane."""
NO_LIMIT = float(np.finfo(np.float32).max)
"""A ceiling that is none, and with a minus sign a floor."""


def _need(type_: TensorType, what: str, *shape: int) -> None:
    if type_.dtype != "f32" or type_.shape != shape:
        raise ValueError(f"{what} must be {TensorType('f32', shape)}, not {type_}")


def _infer_dense(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    size = vector(types[0], "x", "f32", "event")
    if len(types[1].shape) != 2:
        raise ValueError(f"weight must be a matrix [n, {size}], not {types[1]}")
    rows = types[1].shape[0]
    _need(types[1], "weight", rows, size)
    for bias in types[2:]:
        _need(bias, "bias", rows)
    return (TensorType("f32", (rows,)),)


def _evaluate_dense(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor, *bias: Tensor
) -> tuple[Tensor, ...]:
    del attrs
    return (sum(bias, x.astype(ctx.dtype) @ weight.T),)


DENSE = register(
    OpDef(
        "dense",
        "Linear map of a vector or of events: y [n] = weight [n, m] · x [m] + bias [n].",
        LAYERS,
        ("x", "weight", "bias?"),
        ("y",),
        _infer_dense,
        _evaluate_dense,
        {"layer": LAYER},
        parameters=("weight", "bias"),
    )
)


def _infer_drive(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    _need(types[1], "weight", vector(types[0], "x", "f32", "event"))
    for bias in types[2:3]:
        _need(bias, "bias", 1)
    for other in types[3:]:
        vector(other, "others", "f32")
    return (TensorType("f32", (elements(types[3:], attrs),)),)


def _evaluate_drive(
    ctx: EvalContext, attrs: Attrs, x: Tensor, weight: Tensor, *rest: Tensor
) -> tuple[Tensor, ...]:
    sums = sum(rest[:1], x.astype(ctx.dtype) @ weight[:, None])
    return (driven(sums, rest[1:], attrs, lambda made: made),)


DRIVE = register(
    OpDef(
        "drive",
        "Scalar drive of a memory: y = relu(weight [m] · x [m] + bias [1]). `others` may end in a "
        "vector of drives, whose next element it becomes; without one y has one element.",
        LAYERS,
        ("x", "weight", "bias?", "others*"),
        ("y",),
        _infer_drive,
        _evaluate_drive,
        {"layer": LAYER, **DRIVEN},
        parameters=("weight", "bias"),
    )
)


def _infer_memory(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    size = vector(types[0], "m", "f32")
    _need(types[2], "A", size, size)
    check_columns(types[3], size, vector(types[1], "x", "f32"))
    return (types[0],)


def _evaluate_memory(
    ctx: EvalContext, attrs: Attrs, m: Tensor, x: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, ...]:
    del ctx, attrs
    return (m @ a.T + (x * b if b.ndim == 1 else x @ b.T),)


MEMORY = register(
    OpDef(
        "memory",
        "Slow state: m_next [d] = A [d, d] · m [d] + B [d, q] · x [q]; of one drive, B [d].",
        LAYERS,
        ("m", "x", "A", "B"),
        ("m_next",),
        _infer_memory,
        _evaluate_memory,
        {
            "layer": LAYER,
            "window": AttrSpec(
                float,
                "history length in timesteps, where A and B are the zero-order hold of the "
                "Legendre system",
                required=False,
            ),
        },
        parameters=("A", "B"),
    )
)


def _period(attrs: Attrs) -> int:
    """The `period` of a hold; raises ValueError below 1."""
    period = attrs["period"]
    assert isinstance(period, int)
    if period < 1:
        raise ValueError(f"period must be at least 1, not {period}")
    return period


def _infer_hold(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    if since_of(attrs) >= _period(attrs):
        raise ValueError("since must be less than the period")
    if types[0] != types[1]:
        raise ValueError(f"held {types[0]} and value {types[1]} must be alike")
    return (types[1],)


def _evaluate_hold(
    ctx: EvalContext, attrs: Attrs, held: Tensor, value: Tensor
) -> tuple[Tensor, ...]:
    kept = ctx.timestep % _period(attrs) != since_of(attrs)
    return (np.where(kept, held, value),)


PERIOD = AttrSpec(int, "timesteps from one copy to the next, at least 1")

HOLD = register(
    OpDef(
        "hold",
        "Dilation: held_next is value in every `period`th timestep from `since` on, else held.",
        (*LAYERS, *INTEGER),
        ("held", "value"),
        ("held_next",),
        _infer_hold,
        _evaluate_hold,
        {"layer": LAYER, "period": PERIOD, "since": SINCE},
    )
)


def _infer_delay(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    ring, events, delays = types
    size = vector(events, "events", "f32", "event")
    if ring.dtype != "event" or len(ring.shape) != 2 or ring.shape[1] != size:
        raise ValueError(f"waiting must be events [timesteps, {size}], not {ring}")
    integers(delays, "delays", size)
    return (TensorType("event", (size,)), ring)


def _evaluate_delay(
    ctx: EvalContext, attrs: Attrs, waiting: Tensor, events: Tensor, delays: Tensor
) -> tuple[Tensor, ...]:
    del ctx, attrs
    due = np.arange(waiting.shape[1])[:, None] == delays
    waiting = waiting | (due & events.astype(np.bool_)[:, None])
    nothing = np.zeros_like(waiting[:, :1])
    return (waiting[:, 0], np.concatenate([waiting[:, 1:], nothing], axis=1))


def _within_ring(types: Sequence[TensorType], parameters: Sequence[Tensor]) -> Iterator[str]:
    rows, (delays,) = types[0].shape[0], parameters
    if delays.size and not 0 <= delays.min() <= delays.max() < rows:
        yield f"delays are {delays.min()} .. {delays.max()}, where {rows} rows hold 0 .. {rows - 1}"


DELAY = register(
    OpDef(
        "delay",
        "Axonal delays: events [n], each `delays` [n] timesteps late. Row r of waiting [timesteps, "
        "n] holds what is due in r timesteps; there is one more row than the longest delay.",
        (*LAYERS, *INTEGER),
        ("waiting", "events", "delays"),
        ("late", "waiting_next"),
        _infer_delay,
        _evaluate_delay,
        {"layer": LAYER},
        parameters=("delays",),
        numbers=_within_ring,
    )
)


@dataclass(frozen=True)
class Cells:
    """A timestep of neurons in real numbers, part by part; vectors [n], batches of them [.., n].

    With `adapts` they keep a state a beside their membrane, which raises their thresholds or is a
    current; of a it then leaves `rho`, and a spike adds `jump`. The coupling says how far a adds to
    a subtractive reset of such thresholds, or how far a current follows the membrane. Charges lie
    between `floor` and `ceiling`. With `rest` they keep how many timesteps they still rest for.
    """

    beta: Tensor
    threshold: Tensor
    reset: Tensor
    subtract: bool
    strict: bool
    adapts: str = ""
    rho: Tensor | float = 0.0
    jump: Tensor | float = 0.0
    coupling: Tensor | float = 0.0
    floor: Tensor | None = None
    ceiling: Tensor | None = None
    rest: Tensor | None = None
    times: int = 1

    @classmethod
    def of(cls, attrs: Attrs, parameters: Mapping[str, Tensor]) -> "Cells":
        """Of an op's attributes and parameters, by their roles."""
        given: dict[str, Any] = dict(parameters)
        subtract, strict = attrs["reset_mode"] == "subtract", bool(attrs["strict"])
        given |= {"adapts": str(attrs.get("adapts", "")), "times": times(attrs)}
        return cls(subtract=subtract, strict=strict, **given)

    def charge(self, u: Tensor, currents: Sequence[Tensor], *a: Tensor) -> Tensor:
        """Membranes before threshold and reset."""
        charge = self.beta * u
        for current in (*currents, *(a if self.adapts == "current" else ())):
            same = current.shape == charge.shape and current.dtype == charge.dtype
            charge = np.add(charge, current, out=charge if same else None)
        if self.floor is not None and self.ceiling is not None:
            charge = np.minimum(np.maximum(charge, self.floor), self.ceiling)
        return charge if self.rest is None else np.where(a[0] > 0, self.reset, charge)

    def weighed(self, *a: Tensor) -> Tensor | float:
        """What other states are part of a charge, or of what it is compared with."""
        return sum(a) if self.adapts else 0.0

    def limit(self, *a: Tensor) -> Tensor:
        """Thresholds."""
        return sum(a, self.threshold) if self.adapts == "threshold" else self.threshold

    def fires(self, charge: Tensor, *a: Tensor) -> Tensor:
        """Where a charge is at the threshold, or `strict`: above it; each time of several."""
        limit = self.limit(*a)
        found = [charge > limit if self.strict else charge >= limit]
        while len(found) < self.times:
            charge = np.where(found[-1], charge - self.reset, charge)
            found.append(charge > limit if self.strict else charge >= limit)
        return np.concatenate(found, axis=-1) if self.times > 1 else found[0]

    def each(self, charge: Tensor, spikes: Tensor) -> Tensor:
        """What charges are each time that they may fire, one time after the other."""
        found = [charge]
        for fired in self._each_time(spikes)[:-1]:
            found.append(np.where(fired, found[-1] - self.reset, found[-1]))
        return np.concatenate(found, axis=-1) if self.times > 1 else charge

    def _each_time(self, spikes: Tensor) -> list[Tensor]:
        neurons = spikes.shape[-1] // self.times
        return [spikes[..., k * neurons : (k + 1) * neurons] for k in range(self.times)]

    def after(self, charge: Tensor, spikes: Tensor, *a: Tensor) -> tuple[Tensor, ...]:
        """Membranes that a timestep leaves, and a if there is one."""
        taken = self.reset
        if self.adapts == "threshold" and self.subtract:
            taken = taken + self.coupling * a[0]
        for fired in self._each_time(spikes):
            charge = np.where(fired, charge - taken if self.subtract else taken, charge)
        if self.rest is not None:
            return charge, np.where(spikes, self.rest, np.maximum(a[0] - 1, 0))
        follows = self.coupling * charge if self.adapts == "current" else 0.0
        return charge, *(self.rho * one + self.jump * spikes + follows for one in a)


def _neurons(name: str, doc: str, *behind: str, attrs: Mapping[str, AttrSpec] = FIRE) -> OpDef:
    """An op on neurons that spike, with operands `behind` their parameters."""
    roles = (*PARAMETERS, *behind)
    others = tuple(role for role in behind if role in OTHER_STATES)
    parameters = tuple(role for role in roles if role not in others)

    def infer(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
        size = vector(types[0], "u", "f32")
        for type_ in types[1 : -len(roles)]:
            _need(type_, "current", size)
        for type_, what in zip(types[-len(roles) :], roles, strict=True):
            _need(type_, what, size)
        return (TensorType("event", (size * times(attrs),)), *[types[0]] * (1 + len(others)))

    def evaluate(ctx: EvalContext, attrs: Attrs, u: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        del ctx
        given = dict(zip(roles, rest[-len(roles) :], strict=True))
        states = [given.pop(role) for role in others]
        cells = Cells.of(attrs, given)
        charge = cells.charge(u, rest[: -len(roles)], *states)
        spikes = cells.fires(charge, *states)
        return (spikes, *cells.after(charge, spikes, *states))

    return OpDef(
        name, doc, LAYERS, ("u", "currents*", *roles),
        ("spikes", "u_next", *(f"{role}_next" for role in others)),
        infer, evaluate, attrs, parameters,
    )  # fmt: skip


def _infer_li(types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, ...]:
    del attrs
    size = vector(types[0], "u", "f32")
    for type_ in types[1:-1]:
        _need(type_, "current", size)
    _need(types[-1], "beta", size)
    return (types[0],)


def _evaluate_li(ctx: EvalContext, attrs: Attrs, u: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    del ctx, attrs
    *currents, beta = rest
    return (sum(currents, beta * u),)


LI = register(
    OpDef(
        "li",
        "Leaky integrators: u_next = beta · u + sum of currents. They are synaptic currents where "
        "neurons take them as one of theirs, as they are after a timestep or, late, before it. All "
        "vectors [n].",
        LAYERS,
        ("u", "currents*", "beta"),
        ("u_next",),
        _infer_li,
        _evaluate_li,
        {"layer": LAYER},
        parameters=("beta",),
    )
)

LIF = register(
    _neurons(
        "lif",
        "Leaky integrate-and-fire neurons: charge = beta · u + sum of currents; a spike where the "
        "charge reaches the threshold; u_next is the charge, and after a spike the reset value "
        "(hard) or the charge less the reset value (subtract). All vectors [n].",
    )
)

ALIF = register(
    _neurons(
        "alif",
        "As `lif`, of neurons that adapt by a state a of their own. Where that raises thresholds, "
        "a spike needs threshold + a, and a subtractive reset takes coupling · a off beside the "
        "reset value; where it is a current, the charge is beta · u + sum of currents + a. Then "
        "a_next = rho · a + jump after a spike, and of a current coupling · u_next besides.",
        *ADAPTATION,
        attrs={
            **{name: spec for name, spec in FIRE.items() if name not in ("times", "endless")},
            "adapts": AttrSpec(str, "what a is", choices=("threshold", "current")),
        },
    )
)

CLIF = register(
    _neurons(
        "clif",
        "As `lif`, of membranes with limits: a charge below the floor is the floor, then one above "
        "the ceiling is the ceiling, and spikes where that reaches the threshold.",
        *LIMITS,
    )
)


RLIF = register(
    _neurons(
        "rlif",
        "As `lif`, of neurons that rest: where r is above zero, the charge is the reset value. "
        "Then r_next is `rest` after a spike, else one less than r, but not below zero.",
        *REST,
    )
)


FIRING = ("lif", "alif", "clif", "rlif")
"""Ops on neurons that spike."""
NEURONS = ("li", *FIRING)
"""Ops on neurons: leaky integrators, and those that spike as well."""


def states_of(op: Op) -> list[str]:
    """The states that an op on neurons keeps, their membrane first."""
    bound = op_def(op.kind).bind(op.operands)
    return [op.operands[0], *(name for role in OTHER_STATES for name in bound.get(role, ()))]


def integrator(graph: Graph, name: str) -> Op | None:
    """The li op whose result, or whose state before, a value is."""
    state = graph.state(name)
    producer = graph.producer(state.next if state else name)
    return producer if producer is not None and producer.kind == "li" else None


def charged(graph: Graph, integrators: Op) -> Op | None:
    """The neurons that integrators charge, now or a timestep late."""
    both = (integrators.results[0], integrators.operands[0])
    users = (user for name in both for user in graph.users(name))
    return next((user for user in users if user.kind in FIRING), None)


def takes_events(graph: Graph) -> bool:
    """True for a network that is the model only of an input of 0 and 1: it delays it, or compares
    it."""
    (source,) = graph.inputs
    return "events" in graph.attrs or any(op.kind == "delay" for op in graph.users(source))
