"""Puts recognised neurons and memories together as a layers-level graph."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dmpc.ir.graph import Attr, Graph, Loc, Op, State
from dmpc.ir.types import TensorType, event, f32
from dmpc.passes.recognition.answers import Answer, find_answer
from dmpc.passes.recognition.currents import Decay, Part
from dmpc.passes.recognition.homes import Home
from dmpc.passes.recognition.legendre import legendre_window
from dmpc.passes.recognition.network import (
    LOC_LENGTH,
    Charge,
    Current,
    Hold,
    Kept,
    Kind,
    Memory,
    Network,
    Neurons,
    Numbers,
    Slow,
    Source,
    Synapses,
)
from dmpc.passes.recognition.terms import Matrix


def assemble(
    network: Network, layers: list[Neurons], homes: Mapping[str, Home], decays: Sequence[Decay]
) -> Graph:
    """The layers-level graph of some layers, in order, and of slow states at home with them.

    Raises CompileError on a strange output.
    """
    names = {layer.spikes: f"layer{number}" for number, layer in enumerate(layers, 1)}
    assembly = _Assembly(network, names, homes)
    memories = {memory.state: memory for layer in layers for memory in layer.memories}
    for layer in layers:
        own: dict[bool, list[Memory]] = {behind: [] for behind in (False, True)}
        for state, memory in memories.items():
            if homes[state].layer == layer.spikes:
                own[homes[state].behind].append(memory)
        assembly.layer(names[layer.spikes], layer, own[False], own[True])
    assembly.readout(decays)
    return assembly.graph


class _Assembly:
    """A layers-level graph under construction."""

    def __init__(
        self, network: Network, names: Mapping[str, str], homes: Mapping[str, Home]
    ) -> None:
        self.network, self.names, self.homes = network, names, homes
        old = network.graph
        self.graph = Graph(old.name, "layers", attrs=dict(old.attrs))
        self.graph.inputs = ["x"]
        self.graph.types["x"] = old.types[old.inputs[0]]
        self.graph.locs["x"] = old.locs.get(old.inputs[0], (old.inputs[0],))
        self.values: dict[str, str] = {old.inputs[0]: "x"}  # leaf -> value of the new graph
        self.late: dict[Source, str] = {}
        # Ways of spikes and input into a layer that are not its fast path.
        self.slow_ways = [
            op.results[0]
            for op in old.ops
            if op.kind == "relu" or op.results[0] in network.forms.stops
        ]

    def layer(
        self, name: str, layer: Neurons, ahead: Sequence[Memory], behind: Sequence[Memory]
    ) -> None:
        """Add one layer's ops: drive, memory, fast, recurrent, hold, slow, li, lif; and slow states
        that it makes behind its neurons."""
        for memory in ahead:
            self.memory(name, memory, layer.synapses)
        charging = [self.current(name, layer.spikes, current) for current in layer.currents]
        direct = self.charge(name, layer.spikes, layer.charge)
        if not direct and (layer.charge.bias.any() or not charging):
            part = "constant" if charging else "fast"
            direct = [self.silent(name, part, layer.charge.bias)]
        self.lif(name, layer, [*charging, *direct])
        for memory in behind:
            self.memory(name, memory, layer.synapses)

    def charge(self, name: str, comparison: str, charge: Charge) -> list[str]:
        """Add products, of which the first has the bias; what they give."""
        given: list[str] = []
        for found in charge.synapses:
            part = self.graph.fresh(f"{name}.{'recurrent' if found.source.past else 'fast'}")
            ops = self.ways(found, comparison, self.slow_ways)
            value = self.source(name, found)
            bias = None if given else charge.bias
            if found.convolution is not None:
                given.append(self.convolved(name, part, value, found, bias))
                continue
            given.append(self.dense(name, part, value, found.weight, bias, ops))
        for slow in charge.slows:
            bias = None if given else charge.bias
            given.append(self.slow(name, slow, bias, comparison))
        return given

    def silent(self, name: str, part: str, bias: Matrix) -> str:
        """Add a constant, as the bias of a product without weights."""
        weight = np.zeros((len(bias), self.graph.types["x"].size))
        part = self.graph.fresh(f"{name}.{part}")
        return self.dense(name, part, "x", weight, bias, [])

    def current(self, name: str, comparison: str, current: Current) -> str:
        """Add a current; what charges the neurons."""
        fed = self.charge(name, comparison, current.fed)
        fed = fed or [self.silent(name, "fast", current.fed.bias)]
        state = self.graph.fresh(f"{name}.i")
        self.integrators(name, current, fed, state, f"{state}.next")
        return state if current.late else f"{state}.next"

    def integrators(
        self, name: str, of: Current | Part, currents: list[str], state: str, after: str
    ) -> None:
        """Add integrators of currents, that a state was; `after` is what a timestep leaves."""
        old = self.network.graph.state(of.state)
        assert old is not None
        init = self.constant(f"{state}.init", of.start) if of.start.any() else None
        self.graph.types[state] = f32(len(of.alpha))
        self.graph.states.append(State(state, after, init, old.loc))
        alpha = self.constant(self.graph.fresh(f"{name}.alpha"), of.alpha)
        loc = self.network.loc(self.producers(old.next))
        self.op("li", (state, *currents, alpha), after, name, loc)

    def ways(self, synapses: Synapses, target: str, without: Iterable[str] = ()) -> list[Op]:
        """Ops on the way from synapses' leaves to a value."""
        cut = [name for name in without if name not in synapses.via]
        every = [self.network.between(leaf, target, cut) for leaf in synapses.via]
        return list({id(op): op for ops in every for op in ops}.values())

    def source(self, name: str, synapses: Synapses) -> str:
        """The value of the events that a layer reads."""
        source = synapses.source
        if source in self.late or not any(source.delays):
            fresh = self.before(synapses) if source.past else self.values[source.leaf]
            return self.late.get(source, fresh)
        self.late[source] = self.delay(name, *self.nearest(source, synapses), synapses)
        return self.late[source]

    def nearest(self, source: Source, synapses: Synapses) -> tuple[str, Numbers]:
        """What holds a source's events with least left to wait, and how long that is for each."""
        fresh = self.before(synapses) if source.past else self.values[source.leaf]
        waits = [(fresh, np.array(source.delays))]
        for other, value in self.late.items():
            if (other.leaf, other.past) == (source.leaf, source.past):
                waits.append((value, np.array(source.delays) - other.delays))
        return min((one for one in waits if (one[1] >= 0).all()), key=lambda one: one[1].sum())

    def before(self, synapses: Synapses) -> str:
        """The spikes of the timestep before of the layer that reads them, or of a later one."""
        name = self.names[synapses.source.leaf]
        before = f"{name}.before"
        if before not in self.graph.types:
            self.graph.types[before] = event(len(synapses.source.delays))
            self.graph.states.append(State(before, f"{name}.spikes", None, self.held(synapses)))
        return before

    def delay(self, name: str, value: str, delays: Numbers, synapses: Synapses) -> str:
        """Add axonal delays of a value of the new graph."""
        loc = self.held(synapses)
        late = self.graph.fresh(f"{name}.late")
        waiting = f"{late}.waiting"
        ring = event(int(delays.max()) + 1, len(delays))
        constant = self.graph.add_constant(
            f"{late}.delays", delays.astype(np.uint16), TensorType("u16", delays.shape)
        )
        self.graph.types[waiting] = ring
        self.graph.states.append(State(waiting, f"{waiting}.next", None, loc))
        op = Op("delay", (waiting, value, constant), (late, f"{waiting}.next"), {"layer": name})
        op.loc = self.network.loc(self.selecting(synapses)) or loc
        self.graph.add(op, event(len(delays)), ring)
        return late

    def selecting(self, synapses: Synapses) -> list[Op]:
        """The ops that select late events from lines."""
        return [op for leaf in synapses.via for op in self.producers(leaf)]

    def held(self, synapses: Synapses) -> Loc:
        """The user's names of the states through which synapses read old events, the last few."""
        above = self.above(synapses)
        names = (name for s in self.network.graph.states if s.name in above for name in s.loc)
        return tuple(names)[-LOC_LENGTH:]

    def above(self, synapses: Synapses) -> set[str | int]:
        """What the leaves of synapses are made of."""
        wires = self.network.wires
        return {name for leaf in synapses.via for name in {leaf, *wires.above(leaf)}}

    def memory(self, name: str, memory: Memory, synapses: Sequence[Synapses]) -> None:
        """Add a memory of a layer that reads `synapses`: its drives and its update."""
        network, m = self.network, self.slow_state(memory)
        number = m.removeprefix(f"{name}.m")  # of the first one nothing
        x = self.drives(name, number, memory, synapses)
        ops = network.between(memory.state, memory.next)
        a = self.constant(f"{name}.memory{number}.A", memory.a, _weight_loc(network, ops))
        ways = (network.between(relu, memory.next) for relu in sorted(memory.rectifiers))
        driven = [op for ops in ways for op in ops if op.kind != "add"]
        columns = memory.b if len(memory.drives) > 1 else memory.b[:, 0]
        b = self.constant(f"{name}.memory{number}.B", columns, _constants_of(network, driven))
        self.state(m, f"{m}.next", memory.state)
        loc = network.loc([*_products(ops), *self.producers(memory.next)])
        self.op("memory", (m, x, a, b), f"{m}.next", name, loc)
        window = legendre_window(memory.a, memory.b[:, 0]) if len(memory.drives) == 1 else None
        if window is not None:
            self.graph.ops[-1].attrs["window"] = window
        self.values[memory.next] = f"{m}.next"

    def slow_state(self, memory: Memory) -> str:
        """The state that a memory is, which may be read before it is worked out."""
        if memory.state not in self.values:
            name = self.graph.fresh(f"{self.names[self.homes[memory.state].layer]}.m")
            self.values[memory.state] = name
            self.graph.types[name] = self.network.graph.types[memory.state]
        return self.values[memory.state]

    def drives(self, name: str, number: str, memory: Memory, synapses: Sequence[Synapses]) -> str:
        """Add what drives a memory, one product of events after the other."""
        before: tuple[str, ...] = ()
        for drive in memory.drives:
            added: tuple[str, ...] = ()
            parts = drive.parts or (self.nothing(synapses),)
            for found in parts:
                last = found is parts[-1]
                whole = last and drive is memory.drives[-1]
                x = f"{name}.x{number}" if whole else self.graph.fresh(f"{name}.x{number}.part")
                bias = drive.bias if last else 0.0
                operands = self.drive_operands(name, found, drive.at, bias)
                others = (*added, *(before if last else ()))
                told = {"linear": drive.linear or not last, "adds": bool(added)}
                attrs: dict[str, Attr] = {"layer": name}
                attrs |= {key: True for key, value in told.items() if value}
                ops = self.ways(found, drive.at)
                loc = self.network.loc([*_products(ops), *self.producers(drive.at)])
                size = 1 + sum(self.graph.types[one].size for one in (before if last else ()))
                self.graph.add(Op("drive", (*operands, *others), (x,), attrs, loc), f32(size))
                added = (x,)
            before = added
        return before[0]

    def drive_operands(self, name: str, found: Synapses, at: str, bias: float) -> tuple[str, ...]:
        """What a product of a drive reads: events, weights and a bias."""
        network, ops = self.network, self.ways(found, at)
        weight, offset = (self.graph.fresh(f"{name}.drive.{part}") for part in ("weight", "bias"))
        self.constant(weight, found.weight[0], _weight_loc(network, ops))
        self.constant(offset, np.reshape(bias, 1), _bias_loc(network, ops))
        return self.source(name, found), weight, offset

    def nothing(self, synapses: Sequence[Synapses]) -> Synapses:
        """Weights of zero: they read the layer's own input, or the network's."""
        (first,) = self.network.graph.inputs
        silent = Source(first, (0,) * self.network.graph.types[first].size)
        source = next((found.source for found in synapses if not found.source.past), silent)
        return Synapses(source, np.zeros((1, len(source.delays))), ())

    def slow(self, name: str, slow: Slow, bias: Matrix | None, comparison: str) -> str:
        """Add a slow current."""
        source = slow.memory.state if slow.late else slow.memory.next
        self.slow_state(slow.memory)
        ops = self.network.between(source, comparison)
        if slow.hold is not None:
            home = self.names[self.homes[slow.memory.state].layer]
            source = self.hold(home, slow.hold, source)
        part = self.graph.fresh(f"{name}.slow")
        return self.dense(name, part, self.values[source], slow.weight, bias, ops)

    def hold(self, name: str, hold: Hold, source: str) -> str:
        """Add what holds a memory, unless it is there; returns the leaf."""
        if hold.next not in self.values:
            held = self.graph.fresh(f"{name}.held")
            next_, value = f"{held}.next", self.values[source]
            old = self.network.graph.state(hold.state)
            assert old is not None
            self.graph.types[held] = self.graph.types[value]
            self.graph.states.append(State(held, next_, None, old.loc))
            loc = self.network.loc(self.producers(hold.next))
            attrs: dict[str, Attr] = {"layer": name, "period": hold.period}
            attrs |= {"since": hold.since} if hold.since else {}
            op = Op("hold", (held, value), (next_,), attrs, loc)
            self.graph.add(op, self.graph.types[value])
            self.values[hold.next] = next_
        return hold.next

    def dense(
        self, layer: str, name: str, source: str, weight: Matrix, bias: Matrix | None, ops: list[Op]
    ) -> str:
        """Add a linear map of a value of the new graph, made of some ops of the model."""
        network = self.network
        operands = [
            source,
            self.constant(f"{name}.weight", weight, _weight_loc(network, ops)),
        ]
        if bias is not None:
            operands.append(self.constant(f"{name}.bias", bias, _bias_loc(network, ops)))
        loc = network.loc(_products(ops) or ops)
        return self.op("dense", tuple(operands), name, layer, loc)

    def convolved(
        self, layer: str, name: str, source: str, found: Synapses, bias: Matrix | None
    ) -> str:
        """Add a convolution of a value of the new graph."""
        (old,) = self.producers(found.via[0])
        assert found.convolution is not None
        name = self.graph.fresh(name)
        weight = _constants_of(self.network, [old])
        operands = [source, self.constant(f"{name}.weight", found.weight, weight)]
        if bias is not None:
            operands.append(self.constant(f"{name}.bias", bias, weight))
        attrs = {**found.convolution.attrs, "layer": layer}
        size = found.convolution.places * found.convolution.outputs
        self.graph.add(Op("conv", tuple(operands), (name,), attrs, old.loc), f32(size))
        return name

    def lif(self, name: str, layer: Neurons, currents: list[str]) -> None:
        """Add a layer's neurons."""
        u, u_next, spikes = f"{name}.u", f"{name}.u.next", f"{name}.spikes"
        names = [
            self.constant(f"{name}.{key}", value)
            for key, value in (
                ("beta", layer.beta),
                ("threshold", layer.threshold),
                ("reset", layer.reset),
            )
        ]
        old = self.network.graph.state(layer.state or "")
        after = self.producers(old.next) if old is not None else []
        loc = self.network.loc([*self.producers(layer.spikes), *after])
        size = len(layer.beta)
        attrs: Mapping[str, str | bool | int] = {
            "layer": name,
            "reset_mode": "subtract" if layer.subtract else "hard",
            "strict": layer.strict,
            **({"times": layer.times} if layer.times > 1 else {}),
            **({"endless": True} if layer.endless else {}),
        }
        if old is not None:
            self.state(u, u_next, old.name)
        else:
            self.graph.types[u] = f32(size)
            self.graph.states.append(State(u, u_next, None, loc))
        op = Op("lif", (u, *currents, *names), (spikes, u_next), dict(attrs), loc)
        self.graph.add(op, event(size * layer.times), f32(size))
        if layer.kind is not None:
            self.kind(name, op, layer.kind)
        self.values[layer.spikes] = spikes

    def kind(self, name: str, op: Op, kind: Kind) -> None:
        """Let neurons be of a kind of their own."""
        op.kind = kind.op
        op.attrs |= kind.attrs
        for role, given in kind.behind.items():
            value = f"{name}.{role}"
            if not isinstance(given, Kept):
                op.operands += (self.constant(value, given),)
                continue
            after, type_ = f"{value}.next", self.graph.types[op.operands[0]]
            if given.state:
                self.state(value, after, given.state, given.factor, given.start)
            else:
                start = given.start
                init = None if start is None else self.constant(f"{value}.init", start)
                self.graph.types[value] = type_
                self.graph.states.append(State(value, after, init, op.loc))
            op.operands, op.results = (*op.operands, value), (*op.results, after)
            self.graph.types[after] = type_

    def readout(self, decays: Sequence[Decay]) -> None:
        """Add the output: a linear map of spikes, or what integrates one."""
        network = self.network
        answer = find_answer(network, decays, list(self.names))
        values = self.products(answer)
        for number, current in enumerate(reversed(answer.chain), 1):
            part = "readout" if number == len(answer.chain) else f"readout.{number}"
            state = self.graph.fresh("readout.i")
            self.integrators("readout", current, values, state, part)
            values = [part]
        if len(values) > 1:
            loc, size = network.loc(self.producers(network.graph.outputs[0])), len(answer.bias)
            self.graph.add(
                Op("sum", tuple(values), ("readout",), {"layer": "readout"}, loc), f32(size)
            )
        self.graph.outputs = ["readout"]

    def products(self, answer: Answer) -> list[str]:
        """Add the readout's products, of which the first has the bias; what they give."""
        read, values = answer.synapses, list[str]()
        alone = len(read) == 1 and not answer.chain
        for found in read:
            others = {one.source.leaf for one in read} - {found.source.leaf}
            ops = self.ways(found, self.network.graph.outputs[0], others)
            part = "readout" if alone else self.graph.fresh("readout.in")
            bias, source = None if values else answer.bias, self.source("readout", found)
            values.append(self.dense("readout", part, source, found.weight, bias, ops))
        return values

    def op(self, kind: str, operands: tuple[str, ...], result: str, layer: str, loc: Loc) -> str:
        """Add an op with one result, as wide as its last operand's first axis."""
        size = self.graph.types[operands[-1]].shape[0]
        self.graph.add(Op(kind, operands, (result,), {"layer": layer}, loc), f32(size))
        return result

    def constant(self, name: str, value: Matrix, loc: Loc = ()) -> str:
        """Add a parameter; -0.0 becomes 0.0."""
        return self.graph.add_constant(name, value + 0.0, f32(*value.shape), loc)

    def state(
        self, name: str, next_: str, of: str, by: Matrix | float = 1.0, more: Matrix | None = None
    ) -> None:
        """Add a state with an old one's initial value, `by` a factor, and what there is more."""
        old, init, start = self.network.graph.state(of), None, more
        assert old is not None
        if old.init is not None:
            start = self.network.graph.constants[old.init].astype(np.float64) * by
            start = start if more is None else start + more
        if start is not None:
            loc = self.network.graph.locs.get(old.init or "", ())
            init = self.constant(f"{name}.init", start, loc)
        self.graph.types[name] = self.network.graph.types[of]
        self.graph.states.append(State(name, next_, init, old.loc))

    def producers(self, value: str) -> list[Op]:
        """The op that computes a value, in a list; empty for a source."""
        return [op for op in [self.network.graph.producer(value)] if op is not None]


def _products(ops: list[Op]) -> list[Op]:
    return [op for op in ops if op.kind == "matmul"]


def _weight_loc(network: Network, ops: list[Op]) -> Loc:
    """The user's names of the weights that some ops multiply with."""
    return _constants_of(network, _products(ops))


def _bias_loc(network: Network, ops: list[Op]) -> Loc:
    """The user's names of the constants that some ops add."""
    return _constants_of(network, [op for op in ops if op.kind == "add"])


def _constants_of(network: Network, ops: list[Op]) -> Loc:
    locs = network.graph.locs
    return tuple(
        dict.fromkeys(n for op in ops for v in op.operands for n in _loc(network, v, locs))
    )


def _loc(network: Network, value: str, locs: Mapping[str, Loc]) -> Loc:
    return locs.get(value, ()) if value in network.graph.constants else ()
