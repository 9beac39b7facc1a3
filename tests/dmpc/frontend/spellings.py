"""Hand-written ONNX models: two DMP layers and a readout in many spellings, as step and Scan."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

M, N, D, C = 5, 4, 3, 3  # inputs, neurons, memory states, classes
STATES = {"v0": N, "m0": D, "v1": N, "m1": D}

THRESHOLDS = {
    "v >= theta": ["c = GreaterOrEqual(v, theta)"],
    "theta <= v": ["c = LessOrEqual(theta, v)"],
    "v - theta >= 0": ["over = Sub(v, theta)", "c = GreaterOrEqual(over, zero)"],
    "v / theta >= 1": ["over = Div(v, theta)", "c = GreaterOrEqual(over, one)"],
    "not v < theta": ["under = Less(v, theta)", "c = Not(under)"],
    "v > theta": ["c = Greater(v, theta)"],
    "theta < v": ["c = Less(theta, v)"],
    "not v <= theta": ["under = LessOrEqual(v, theta)", "c = Not(under)"],
    "relu of sign": [
        "over = Sub(v, theta)",
        "sign = Sign(over)",
        "part = Relu(sign)",
        "c = Cast(part) to 9",
    ],
    "sign of relu": [
        "over = Sub(v, theta)",
        "part = Relu(over)",
        "s1 = Sign(part)",
        "c = Cast(s1) to 9",
    ],
    "truth of relu": ["over = Sub(v, theta)", "part = Relu(over)", "c = Cast(part) to 9"],
    "sign of sign": [
        "over = Sub(v, theta)",
        "sign = Sign(over)",
        "odd = Add(sign, gain)",
        "c = GreaterOrEqual(odd, zero)",
    ],
    "half a sign, rounded down": [
        "over = Sub(theta, v)",
        "sign = Sign(over)",
        "more = Add(sign, one)",
        "half = Mul(more, gain)",
        "none = Ceil(half)",
        "rest = Sub(one, none)",
        "c = Cast(rest) to 9",
    ],
    "ceil of a clip": [
        "over = Sub(v, theta)",
        "part = Clip(over, zero, one)",
        "up = Ceil(part)",
        "c = Cast(up) to 9",
    ],
    "floor of a clip": [
        "over = Sub(v, theta)",
        "more = Add(over, one)",
        "part = Clip(more, zero, one)",
        "down = Floor(part)",
        "c = Cast(down) to 9",
    ],
    "clip of a sign": [
        "over = Sub(v, theta)",
        "sign = Sign(over)",
        "part = Clip(sign, zero, one)",
        "c = Greater(part, gain)",
    ],
    "a count, at most one": [
        "held = Div(v, theta)",
        "down = Cast(held) to 7",
        "whole = Cast(down) to 1",
        "any = Greater(v, zero)",
        "sign = Cast(any) to 1",
        "count = Mul(sign, whole)",
        "part = Clip(count, zero, one)",
        "c = Cast(part) to 9",
    ],
    "a count, less what is too much": [
        "held = Div(v, theta)",
        "whole = Floor(held)",
        "any = GreaterOrEqual(v, theta)",
        "there = Cast(any) to 1",
        "count = Mul(there, whole)",
        "many = Greater(count, one)",
        "more = Cast(many) to 1",
        "rest = Sub(count, one)",
        "part = Mul(rest, more)",
        "once = Sub(count, part)",
        "c = Cast(once) to 9",
    ],
}
STRICT = (
    "v > theta", "theta < v", "not v <= theta", "relu of sign", "sign of relu", "truth of relu",
    "half a sign, rounded down", "ceil of a clip", "clip of a sign",
)  # fmt: skip
SPIKES = {
    "cast": ["s = Cast(c) to 1"],
    "where": ["s = Where(c, one, zero)"],
}
RESETS = {
    "where": ["V = Where(c, reset, v)"],
    "mix": ["k = Sub(one, s)", "kv = Mul(k, v)", "sr = Mul(s, reset)", "V = Add(kv, sr)"],
    "keep": ["k = Sub(one, s)", "V = Mul(v, k)"],
    "less": ["low = Less(v, theta)", "k = Cast(low) to 1", "V = Mul(k, v)"],
    "where not": ["nc = Not(c)", "V = Where(nc, v, reset)"],
    "subtract": ["st = Mul(s, theta)", "V = Sub(v, st)"],
    "where subtract": ["vt = Sub(v, theta)", "V = Where(c, vt, v)"],
    # The spike compared again, in every way in which one number is told from another.
    "s > 0": ["again = Greater(s, zero)", "V = Where(again, reset, v)"],
    "s + s > some of each neuron": [
        "twice = Add(s, s)",
        "again = Greater(twice, some)",
        "V = Where(again, reset, v)",
    ],
    "some of each neuron <= s": ["again = LessOrEqual(some, s)", "V = Where(again, reset, v)"],
    "s < one": ["no = Less(s, one)", "V = Where(no, v, reset)"],
    "s == one": ["again = Equal(s, one)", "V = Where(again, reset, v)"],
    "v (s == zero)": ["no = Equal(s, zero)", "k = Cast(no) to 1", "V = Mul(v, k)"],
    "s != zero": ["no = Equal(s, zero)", "again = Not(no)", "V = Where(again, reset, v)"],
    "bool(s)": ["again = Cast(s) to 9", "V = Where(again, reset, v)"],
    "bool(1 - s)": ["k = Sub(one, s)", "no = Cast(k) to 9", "V = Where(no, v, reset)"],
    "int(s) == one": [
        "count = Cast(s) to 7",
        "number = Cast(count) to 1",
        "again = Equal(number, one)",
        "V = Where(again, reset, v)",
    ],
    "c xor true": ["no = Xor(c, true)", "V = Where(no, v, reset)"],
    "c and true": ["again = And(c, true)", "V = Where(again, reset, v)"],
    "c or c": ["again = Or(c, c)", "V = Where(again, reset, v)"],
    "c == true": ["again = Equal(c, true)", "V = Where(again, reset, v)"],
    "not not again": [
        "again = Greater(s, zero)",
        "no = Not(again)",
        "once = Not(no)",
        "V = Where(once, reset, v)",
    ],
    "|s - 1|": ["less = Sub(s, one)", "k = Abs(less)", "V = Mul(v, k)"],
    "sign(s)": ["more = Sign(s)", "k = Sub(one, more)", "V = Mul(v, k)"],
    "s s": ["twice = Mul(s, s)", "k = Sub(one, twice)", "V = Mul(v, k)"],
    "relu(1 - 2 s)": ["odd = Div(s, gain)", "k = Sub(one, odd)", "r = Relu(k)", "V = Mul(v, r)"],
    "max(s, some)": [
        "more = Max(s, gain)",
        "again = Greater(more, gain)",
        "V = Where(again, reset, v)",
    ],
    "subtract s > 0": [
        "again = Greater(s, zero)",
        "n = Cast(again) to 1",
        "st = Mul(n, theta)",
        "V = Sub(v, st)",
    ],
}
CHARGES = {
    "leak": ["bu = Mul(V0, beta)", "gi = Mul(I, gain)", "v = Add(bu, gi)"],
    "sum": ["bu = Mul(V0, beta)", "gi = Mul(I, gain)", "v = Sum(bu, gi, zero)"],
    "decay": ["du = Sub(I, V0)", "part = Div(du, tau)", "v = Add(V0, part)"],
    "negative": ["du = Sub(V0, I)", "nu = Neg(du)", "part = Mul(nu, gain)", "v = Add(part, V0)"],
}
LINEARS = {
    "gemm": ["f = Gemm(X, wf, bf) transB 1", "d = Gemm(X, wx, bx) transB 1"],
    "matmul": [
        "wfT = Transpose(wf)",
        "pf = MatMul(X, wfT)",
        "f = Add(bf, pf)",
        "wxT = Transpose(wx)",
        "pd = MatMul(X, wxT)",
        "d = Add(pd, bx)",
    ],
    "left": [
        "XT = Transpose(X)",
        "pf = MatMul(wf, XT)",
        "pfT = Transpose(pf)",
        "f = Add(pfT, bf)",
        "d = Gemm(X, wx, bx) transB 1",
    ],
}
RELUS = {
    "relu": ["x = Relu(d)"],
    "max": ["x = Max(zero, d)"],
    "max of more": ["low = Neg(one)", "x = Max(low, zero, d)"],
    "min": ["nd = Neg(d)", "least = Min(nd, zero)", "x = Neg(least)"],
    "clip": ["x = Clip(d, zero)"],
}
MEMORIES = {
    "matmul": [
        "am = MatMul(M0, aT)",
        "xb = Mul(x, b)",
        "M = Add(am, xb)",
        "i = Gemm(M, wm, bm) transB 1",
    ],
    "gemm": ["xb = Gemm(x, b1)", "M = Gemm(M0, a, xb) transB 1", "i = Gemm(M, wm, bm) transB 1"],
    "broken": [
        "am = MatMul(M0, aT)",
        "xb = Mul(x, b)",
        "M = Add(am, xb)",
        "pm = MatMul(M0, pT)",
        "px = MatMul(x, nuT)",
        "ip = Add(pm, px)",
        "i = Add(ip, bm)",
    ],
    "late": [
        "am = MatMul(M0, aT)",
        "xb = Mul(x, b)",
        "M = Add(am, xb)",
        "i = Gemm(M0, wm, bm) transB 1",
    ],
}


@dataclass(frozen=True)
class Spelling:
    """Which way each part of a layer is written."""

    threshold: str = "v >= theta"
    spikes: str = "cast"
    reset: str = "where"
    charge: str = "leak"
    linear: str = "gemm"
    relu: str = "relu"
    memory: str = "matmul"

    def lines(self) -> list[str]:
        """One layer: from X, V0, M0 to s, V, M."""
        return [
            *LINEARS[self.linear],
            *RELUS[self.relu],
            *MEMORIES[self.memory],
            "I = Add(f, i)",
            *CHARGES[self.charge],
            *THRESHOLDS[self.threshold],
            *SPIKES[self.spikes],
            *RESETS[self.reset],
        ]


PLAIN = Spelling()


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that float32 holds exactly."""
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> np.ndarray:
        return (rng.integers(-24, 25, shape) / 16).astype(np.float32)

    shared = {"zero": 0, "one": 1, "theta": 0.75, "reset": 0, "tau": 2, "beta": 0.5, "gain": 0.5}
    found = {name: np.float32(value) for name, value in shared.items()}
    found |= {"true": np.bool_(True), "some": np.float32([0.5, 0.25, 0.125, 1])}
    for layer, inputs in ((0, M), (1, N)):
        a, b = random(D, D) / 4, random(D)
        wm = random(N, D)
        own = {"wf": random(N, inputs), "bf": random(N), "wx": random(1, inputs), "bx": random(1)}
        own |= {"a": a, "aT": a.T.copy(), "b": b, "b1": b[None], "wm": wm, "bm": random(N)}
        own |= {"pT": (wm @ a).T.copy(), "nuT": (wm @ b)[None]}
        found |= {f"{name}{layer}_": value for name, value in own.items()}
    return found | {"wo": random(C, N), "bo": random(C)}


def timestep(spelling: Spelling) -> list[onnx.NodeProto]:
    """Nodes from x and the states v0, m0, v1, m1 to y and V0, M0, V1, M1 (primed: `..._next`)."""
    constants = weights().keys()
    nodes = []
    for layer in (0, 1):
        renamed = {"X": "x" if layer == 0 else "s0_", "V0": f"v{layer}", "M0": f"m{layer}"}
        renamed |= {"V": f"v{layer}_next", "M": f"m{layer}_next"}
        lines = spelling.lines()
        nodes.extend(node(line, renamed, f"{layer}_", constants) for line in lines)
    return [*nodes, node("y = Gemm(s1_, wo, bo) transB 1", {}, "", constants)]


def node(line: str, renamed: dict[str, str], suffix: str, constants) -> onnx.NodeProto:
    """`result = Op(a, b) attribute value` as a node; names that are not global get a suffix."""
    result, call = line.split(" = ")
    op, rest = call.split("(")
    arguments, attribute = rest.split(")")
    scalars = {name for name in constants if not name.endswith("_")}

    def name(word: str) -> str:
        return renamed.get(word) or (word if word in scalars or not suffix else word + suffix)

    attributes = dict([attribute.split()]) if attribute else {}
    return helper.make_node(
        op,
        [name(word) for word in arguments.split(", ")],
        [name(result)],
        name=f"/{name(result)}",
        **{key: int(value) for key, value in attributes.items()},
    )


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model(nodes, inputs, outputs, constants, opset: int = 17) -> onnx.ModelProto:
    """A checked model."""
    initializers = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def step_model(spelling: Spelling, batch: int | str = "batch") -> onnx.ModelProto:
    """One timestep with explicit states; outputs in another order than the inputs."""
    inputs = [value("m1", batch, D), value("x", batch, M), value("v0", batch, N)]
    inputs += [value("m0", batch, D), value("v1", batch, N)]
    outputs = [value("v1_next", batch, N), value("v0_next", batch, N), value("y", batch, C)]
    outputs += [value("m0_next", batch, D), value("m1_next", batch, D)]
    return model(timestep(spelling), inputs, outputs, weights())


@dataclass(frozen=True)
class Form:
    """How the loop over time is written."""

    time_first: bool = False
    scan_axis: int = 0
    weights_inside: bool = False
    readout: str = "mean"
    readout_outside: bool = False
    zeros: str = "shape"
    opset: int = 17


def scan_model(form: Form, spelling: Spelling = PLAIN) -> onnx.ModelProto:
    """The whole sequence as a Scan."""
    nodes = timestep(spelling)
    per_step = ("y", C)
    if form.readout_outside:
        nodes, per_step = nodes[:-1], ("s1_", N)
    accumulate = form.readout in ("running sum", "running mean")
    states = dict(STATES)
    if accumulate:
        states["acc"] = C
        nodes = [*nodes, helper.make_node("Add", ["acc", "y"], ["acc_next"], name="/acc")]
    stored = weights()
    body = helper.make_graph(
        nodes,
        "body",
        [*(value(name, "batch", size) for name, size in states.items()), value("x", "batch", M)],
        [
            *(value(f"{n}_next", "batch", s) for n, s in states.items()),
            value(per_step[0], "batch", per_step[1]),
        ],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in stored.items()]
        if form.weights_inside
        else [],
    )
    before, constants, data = _before(form, states)
    scan = helper.make_node(
        "Scan",
        [*(f"{name}_0" for name in states), data],
        [*(f"{name}_end" for name in states), "ys"],
        name="/scan",
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[form.scan_axis],
        scan_output_axes=[form.scan_axis],
    )
    after, more = _after(form)
    constants |= more | ({} if form.weights_inside else stored)
    if form.weights_inside and form.readout_outside:
        constants |= {"wo": stored["wo"], "bo": stored["bo"]}
    shape = ("time", "batch", M) if form.time_first else ("batch", "time", M)
    inputs, outputs = [value("seq", *shape)], [value("logits", "batch", C)]
    return model([*before, scan, *after], inputs, outputs, constants, form.opset)


def two_scans() -> onnx.ModelProto:
    """The sequence as one Scan per layer."""
    form = Form(scan_axis=1)
    before, constants, _ = _before(form, STATES)
    nodes, scans = timestep(PLAIN), []
    cut = next(i for i, node in enumerate(nodes) if node.output[0] == "f1_")
    parts = [
        (nodes[:cut], ("v0", "m0"), ("x", M), ("s0_", N)),
        (nodes[cut:], ("v1", "m1"), ("s0_", N), ("y", C)),
    ]
    for number, (part, states, source, result) in enumerate(parts):
        inputs = [value(name, "batch", STATES[name]) for name in states]
        inputs.append(value(source[0], "batch", source[1]))
        outputs = [value(f"{name}_next", "batch", STATES[name]) for name in states]
        outputs.append(value(result[0], "batch", result[1]))
        body = helper.make_graph(part, "body", inputs, outputs)
        scans.append(
            helper.make_node(
                "Scan",
                [*(f"{name}_0" for name in states), "seq" if number == 0 else "between"],
                [*(f"{name}_end" for name in states), "between" if number == 0 else "ys"],
                name=f"/scan{number}",
                body=body,
                num_scan_inputs=1,
                scan_input_axes=[1],
                scan_output_axes=[1],
            )
        )
    after, more = _after(form)
    shapes = [value("seq", "batch", "time", M)], [value("logits", "batch", C)]
    return model([*before, *scans, *after], *shapes, constants | more | weights())


def _before(form: Form, states: dict[str, int]):
    """Initial states, and the input with its time axis where the Scan wants it."""
    batch_axis = 1 if form.time_first else 0
    nodes, constants = [], {}
    shape = [helper.make_node("Shape", ["seq"], ["shape"])]
    shape.append(helper.make_node("Gather", ["shape", "batch_axis"], ["batch_size"], axis=0))
    constants["batch_axis"] = np.array([batch_axis], np.int64)
    nodes += shape
    for name, size in states.items():
        constants[f"{name}_size"] = np.array([size], np.int64)
        nodes.append(
            helper.make_node("Concat", ["batch_size", f"{name}_size"], [f"{name}_shape"], axis=0)
        )
        if form.zeros == "shape":
            nodes.append(helper.make_node("ConstantOfShape", [f"{name}_shape"], [f"{name}_0"]))
        elif form.zeros == "expand":
            constants["nought"] = np.zeros((1, 1), np.float32)
            nodes.append(helper.make_node("Expand", ["nought", f"{name}_shape"], [f"{name}_0"]))
        else:  # times zero
            constants |= {"first": np.array(0, np.int64), "nought": np.zeros((1,), np.float32)}
            nodes += [
                helper.make_node("Gather", ["seq", "first"], [f"{name}_a"], axis=1 - batch_axis),
                helper.make_node("Gather", [f"{name}_a", "first"], [f"{name}_b"], axis=1),
                helper.make_node("Mul", [f"{name}_b", "nought"], [f"{name}_c"]),
                helper.make_node("Unsqueeze", [f"{name}_c", "one_axis"], [f"{name}_d"]),
                helper.make_node("Expand", [f"{name}_d", f"{name}_shape"], [f"{name}_0"]),
            ]
            constants["one_axis"] = np.array([1], np.int64)
    time_axis = 0 if form.time_first else 1
    if time_axis == form.scan_axis:
        return nodes, constants, "seq"
    nodes.append(helper.make_node("Transpose", ["seq"], ["swapped"], perm=[1, 0, 2]))
    return nodes, constants, "swapped"


def _after(form: Form):
    """Readout: from the outputs per timestep to the logits."""
    nodes, constants, ys = [], {}, "ys"
    if form.readout in ("running sum", "running mean"):
        if form.readout == "running sum":
            return [helper.make_node("Identity", ["acc_end"], ["logits"])], {}
        shape = [helper.make_node("Gather", ["shape", "time_axis"], ["steps"], axis=0)]
        shape.append(helper.make_node("Cast", ["steps"], ["steps_f"], to=TensorProto.FLOAT))
        shape.append(helper.make_node("Div", ["acc_end", "steps_f"], ["logits"]))
        return shape, {"time_axis": np.array([0 if form.time_first else 1], np.int64)}
    if form.readout_outside:
        nodes += [
            helper.make_node("Transpose", ["wo"], ["woT"], perm=[1, 0]),
            helper.make_node("MatMul", [ys, "woT"], ["product"], name="/readout"),
            helper.make_node("Add", ["product", "bo"], ["biased"]),
        ]
        ys = "biased"
    axis = form.scan_axis
    if form.readout in ("mean", "max"):
        op = {"mean": "ReduceMean", "max": "ReduceMax"}[form.readout]
        if form.opset >= 18:
            constants["axes"] = np.array([axis], np.int64)
            nodes.append(helper.make_node(op, [ys, "axes"], ["logits"], keepdims=0))
        else:
            nodes.append(helper.make_node(op, [ys], ["logits"], axes=[axis], keepdims=0))
    elif form.readout == "sum":
        constants["axes"] = np.array([axis], np.int64)
        nodes.append(helper.make_node("ReduceSum", [ys, "axes"], ["logits"], keepdims=0))
    elif form.readout == "last":
        constants["minus"] = np.array(-1, np.int64)
        nodes.append(helper.make_node("Gather", [ys, "minus"], ["logits"], axis=axis))
    else:  # last by Slice
        constants |= {
            "from": np.array([-1], np.int64),
            "to": np.array([2**31], np.int64),
            "axes": np.array([axis], np.int64),
        }
        nodes += [
            helper.make_node("Slice", [ys, "from", "to", "axes"], ["tail"]),
            helper.make_node("Squeeze", ["tail", "axes"], ["logits"]),
        ]
    return nodes, constants
