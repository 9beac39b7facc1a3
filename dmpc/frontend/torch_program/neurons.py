"""The fused neurons of SpikingJelly 2: one operation for a whole sequence, which is a `Scan`.

Their equations, for a current x and a membrane v, with q = 1/tau (LIF) or sigmoid(w) (PLIF):

    h = v + (x - (v - reset)) q         decay_input
    h = v - (v - reset) q + x           not decay_input
    h = v + x                           integrate and fire
    s = h >= threshold
    v = reset where s, else h           or h - threshold s, without a reset value

and of integer LIF neurons, which spike up to `count` times in a timestep:

    h = v - v q + x
    s = round(clamp(h / threshold, 0, count))
    v = h - threshold s
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto, ValueInfoProto, helper

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.emitter import Call, Constant, Emitter, Handler, element_type
from dmpc.frontend.torch_program.rules import FORM


def neurons(emitter: Emitter, call: Call) -> list[str]:
    """`sj_lif` and the like: spikes, membranes (after the last or each step), charges."""
    source, start = call.tensor("x"), call.tensor("v")
    if source.shape[0] == 1:
        return _once(emitter, call)
    body = _Body(emitter, call)
    fired = body.step(f"{call.name}.x", f"{call.name}.v")
    sequence = call["store_v_seq"]
    shape, type_ = source.shape[1:], element_type(source.dtype)
    stacked = {0: fired.spikes, **({1: fired.membrane} if sequence else {}), 2: fired.charge}
    kept = {number: name for number, name in stacked.items() if number in call.used}
    copies = [
        helper.make_node("Identity", [name], [f"{name}.{number}"], f"{name}.{number}")
        for number, name in kept.items()
    ]
    graph = helper.make_graph(
        [*body.nodes, *copies],
        f"{call.name}.timestep",
        [_info(f"{call.name}.{key}", type_, shape) for key in ("v", "x")],
        [
            _info(fired.membrane, type_, shape),
            *(_info(f"{name}.{number}", type_, shape) for number, name in kept.items()),
        ],
    )
    results = {number: f"{call.name}.result{number}" for number in kept}
    emitter.emit(
        "Scan",
        [emitter.use(start, source.dtype), emitter.use(source)],
        call.name,
        [f"{call.name}.last", *results.values()],
        body=graph,
        num_scan_inputs=1,
    )
    last = "" if sequence else f"{call.name}.last"
    return [results.get(0, ""), results.get(1, last), results.get(2, "")]


def _once(emitter: Emitter, call: Call) -> list[str]:
    """The same of a sequence of one timestep, which a loop over time in Python is made of."""
    source, first = call.tensor("x"), emitter.ints(0)
    start = emitter.use(call.tensor("v"), source.dtype)
    now = emitter.emit("Squeeze", [emitter.use(source), first], f"{call.name}.x")
    body = _Body(emitter, call)
    fired = body.step(now, start)
    emitter.nodes += body.nodes
    sequence = call["store_v_seq"]
    left = fired.spikes, fired.membrane, fired.charge
    return [
        name
        if number == 1 and not sequence
        else emitter.emit("Unsqueeze", [name, first], f"{call.name}.result{number}")
        for number, name in enumerate(left)
    ]


class _Fired:
    """Names of what a timestep leaves."""

    def __init__(self, name: str) -> None:
        self.charge, self.spikes, self.membrane = (
            f"{name}.{key}" for key in ("charge", "spikes", "membrane")
        )


class _Body:
    """The nodes of one timestep; constants come from the outer graph."""

    def __init__(self, emitter: Emitter, call: Call) -> None:
        self.emitter, self.call = emitter, call
        self.dtype = call.tensor("x").dtype
        self.nodes: list[NodeProto] = []

    def step(self, current: str, membrane: str) -> _Fired:
        """Charge, fire, reset."""
        made = _Fired(self.call.name)
        self._charge(current, membrane)
        threshold, reset = self._number(self.call["threshold"]), self.call.arguments.get("reset")
        if self.call.op.startswith("sj_ilif"):
            self._count(made.charge, threshold)
            return made
        fired = self._node("GreaterOrEqual", "fired", made.charge, threshold)
        type_ = element_type(self.dtype)
        self.nodes.append(
            helper.make_node("Cast", [fired], [made.spikes], f"{self.call.name}.cast", to=type_)
        )
        if reset is None:
            taken = self._node("Mul", "taken", made.spikes, threshold)
            self._node("Sub", "membrane", made.charge, taken)
        else:
            self._node("Where", "membrane", fired, self._number(reset), made.charge)
        return made

    def _count(self, charge: str, threshold: str) -> None:
        """How often the charge holds the threshold, and what is left of it."""
        scaled = self._node("Div", "scaled", charge, threshold)
        ends = self._number(0.0), self._number(self.call["count"])
        clipped = self._node("Clip", "clipped", scaled, *ends)
        taken = self._node("Mul", "taken", self._node("Round", "spikes", clipped), threshold)
        self._node("Sub", "membrane", charge, taken)

    def _charge(self, current: str, membrane: str) -> None:
        if self.call.op.startswith("sj_if"):
            self._node("Add", "charge", membrane, current)
            return
        rest = self._number(self.call.arguments.get("reset") or 0.0)
        above = self._node("Sub", "above", membrane, rest)
        if self.call.arguments.get("decay_input"):
            pull = self._node("Sub", "pull", current, above)
            self._node("Add", "charge", membrane, self._part(pull))
        else:
            kept = self._node("Sub", "kept", membrane, self._part(above))
            self._node("Add", "charge", kept, current)

    def _part(self, value: str) -> str:
        """The share of a value that a time constant lets through."""
        if "tau" in self.call.arguments:
            return self._node("Div", "share", value, self._number(self.call["tau"]))
        weight = self.call.tensor("w")
        if not isinstance(weight, Constant):
            raise ImportFailure.of(
                FORM,
                what="a time constant that depends on the data",
                nearest="a constant, or a parameter of the module",
            )
        share = Constant(weight.tensor.sigmoid(), f"{weight.name}.sigmoid")
        return self._node("Mul", "share", value, self.emitter.use(share, self.dtype))

    def _number(self, number: float) -> str:
        return self.emitter.use(number, self.dtype)

    def _node(self, op: str, key: str, *inputs: str) -> str:
        name = f"{self.call.name}.{key}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name))
        return name


def _info(name: str, type_: int, shape: tuple[int, ...]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, type_, list(shape))


HANDLERS: Mapping[str, Handler] = dict.fromkeys(
    ("sj_lif::forward", "sj_plif::forward", "sj_if::forward", "sj_ilif::forward"), neurons
)
