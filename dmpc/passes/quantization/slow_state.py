"""Graded inputs, scalar drives, memory states and held copies of both, as integers."""

import numpy as np

from dmpc.ir.drives import DRIVEN, together
from dmpc.ir.graph import Array, Op
from dmpc.ir.ops_layers import NEURONS
from dmpc.ir.types import TensorType
from dmpc.passes.quantization.builder import Builder
from dmpc.passes.quantization.rounding import Int, compensated, to_nearest
from dmpc.passes.ranges import Real, currents, is_event, products_with_columns, unheld
from dmpc.passes.scales import (
    MAX_SHIFT,
    MIN_SHIFT,
    balanced_step,
    largest,
    power_of_two_multiple,
    rounded,
)

TINY = 2.0**-100  # stands for the range of a value that is always zero
STATE_BITS_OF_DRIVE = 11  # least width left to a scalar drive or graded input


def choose_memory_step(build: Builder, op: Op) -> None:
    """One step for all states of a memory: what calibration saw, with margin, fills its width."""
    seen = build.ranges.bounds[op.results[0]].magnitude.max(initial=0)
    bits = build.widths(op).values
    step = max(float(seen), TINY) * build.ranges.margin / largest(bits)
    build.steps[op.operands[0]] = build.steps[op.results[0]] = step


def add_input(build: Builder, name: str) -> None:
    """The network's input: events, or values of one step."""
    shape = build.graph.types[name].shape
    build.out.locs[name] = build.graph.locs.get(name, ())
    if build.ranges.events:
        build.out.types[name] = TensorType("event", shape)
        return
    most = max(float(build.ranges.bounds[name].magnitude.max()), TINY)
    step, _ = power_of_two_multiple(1.0, _balanced(build, name, most))
    bits = build.plan.default.values
    finest = float(2.0 ** np.ceil(np.log2(most / largest(bits))))
    build.steps[name] = max(step, finest)
    build.out.types[name] = TensorType(f"i{bits}", shape, build.steps[name])


def _balanced(build: Builder, name: str, most: float) -> float:
    """A step for a drive or graded input that suits the memory products it is summed with."""
    references, weights = [], []
    for lif in (op for op in build.graph.ops if op.kind in NEURONS):
        roles = currents(build.graph, lif, build.ranges.events)
        source = {op.results[0]: unheld(build.graph, op.operands[0]) for op in roles.values}
        mine = [op for op in roles.values if source[op.results[0]] == name]
        known = [op for op in roles.values if source[op.results[0]] in build.steps]
        if mine and known:
            references.append(
                np.max([_largest(build, op) * build.step_of(op) for op in known], axis=0)
            )
            weights.append(np.max([_largest(build, op) for op in mine], axis=0))
    reference = np.concatenate(references) if references else np.zeros(0)
    weight = np.concatenate(weights) if weights else np.zeros(0)
    return balanced_step(
        reference,
        weight[:, None],
        most=most * build.ranges.margin,
        bits=build.plan.default.values,
        least_bits=STATE_BITS_OF_DRIVE,
    )


def _largest(build: Builder, dense: Op) -> Real:
    """The largest weight of each neuron."""
    most: Real = np.abs(build.weights(dense)).max(axis=1, initial=0)
    return most


def choose_drive_step(build: Builder, op: Op) -> None:
    """The step of a drive's result, with the step of its weights and the shift between the two."""
    widths = build.widths(op)
    if op.results[0] not in build.steps and len(group := together(build.graph, op)) > 1:
        _choose_common_step(build, group)
    source_step = _source_step(build, op)
    unit = _unit(build, op)
    if op.results[0] in build.steps:
        step = build.steps[op.results[0]]
        wanted = step / (unit or step) / source_step
        shift = int(np.clip(np.floor(np.log2(wanted)), MIN_SHIFT, MAX_SHIFT))
        unit = step / source_step / 2.0**shift
    else:
        most = _most(build, op)
        unit = unit or most
        wanted = _balanced(build, op.results[0], most)
        step, shift = power_of_two_multiple(unit * source_step, wanted)
        finest = most * build.ranges.margin / largest(widths.values)
        if step < finest and shift < MAX_SHIFT:
            step, shift = step * 2, shift + 1
        if step < finest:  # the weights are nothing beside the bias
            step, unit = finest, finest / source_step / 2.0**MAX_SHIFT
    build.steps[op.results[0]] = step
    build.drives[op.results[0]] = unit, shift


def add_drive(build: Builder, op: Op) -> None:
    """A scalar drive: one row of weights, a shift that gives it the step of its result."""
    (_, offset), widths = _parameters(build, op), build.widths(op)
    step, (unit, shift) = build.steps[op.results[0]], build.drives[op.results[0]]
    integers = _drive_weights(build, op, unit, widths.drive)
    build.constant(op.operands[1], integers, widths.drive, unit)
    build.units[op.operands[1]] = unit
    whole = int(rounded(np.array(offset), step, 16))
    for name in op.operands[2:3]:
        build.meant[name] = np.array([whole * step])
    attrs = {
        "layer": op.attrs["layer"],
        "shift": shift,
        "bias": whole,
        "bits": widths.values,
        "scale": step,
        **{name: op.attrs[name] for name in DRIVEN if name in op.attrs},
    }
    made = Op("scalar_drive", (*op.operands[:2], *op.operands[3:]), op.results, attrs, op.loc)
    size = build.graph.types[op.results[0]].size
    build.add(made, TensorType(f"i{widths.values}", (size,), step))


def _parameters(build: Builder, op: Op) -> tuple[Array, float]:
    """Weights and bias of a drive."""
    weight, *bias = (build.graph.constants[name] for name in op.operands[1:3])
    return weight, float(bias[0][0]) if bias else 0.0


def _source_step(build: Builder, op: Op) -> float:
    """The real value of one step of what a drive reads."""
    event = is_event(build.graph, op.operands[0], build.ranges.events)
    return 1.0 if event else build.steps[op.operands[0]]


def _unit(build: Builder, op: Op) -> float:
    """The finest step of a drive's weights; 0 if they are zero."""
    weight, _ = _parameters(build, op)
    return float(np.abs(weight).max(initial=0)) / largest(build.widths(op).drive)


def _most(build: Builder, op: Op) -> float:
    """How large a drive becomes, the last element of its vector, or is in the making."""
    seen = float(build.ranges.bounds[op.results[0]].magnitude[-1])
    return max(seen, abs(_parameters(build, op)[1]), 2.0**-40)


def _choose_common_step(build: Builder, group: list[Op]) -> None:
    """One step for all drives of a vector, and for what is added to one: that of the largest."""
    most = max(_most(build, op) for op in group)
    finest = most * build.ranges.margin / largest(min(build.widths(op).values for op in group))
    wanted = _balanced(build, group[-1].results[0], most)
    units = [_unit(build, op) * _source_step(build, op) for op in group]
    coarsest = max(unit * 2.0**MIN_SHIFT for unit in units)
    step = max(finest, wanted, coarsest)
    build.steps.update((op.results[0], step) for op in group)


def _drive_weights(build: Builder, op: Op, unit: float, bits: int) -> Int:
    """Weights [m] of a drive, compensated if calibration saw its input feed the neurons too."""
    real = build.graph.constants[op.operands[1]].astype(np.float64)
    for lif in (other for other in build.graph.ops if other.kind in NEURONS):
        moments = build.ranges.moments.get(lif.results[0])
        if moments is None or lif.attrs["layer"] != op.attrs["layer"]:
            continue
        for product, columns in products_with_columns(build.graph, lif, build.ranges.events):
            if product.operands[0] == op.operands[0]:
                step = np.full((1, len(real)), unit)
                limit, kept = np.full(len(real), float(largest(bits))), np.ones(len(real), np.bool_)
                made = compensated(real[None], step, limit, moments[columns, columns], kept)
                return made.reshape(-1)
    return to_nearest(real, np.array(unit), np.array(float(largest(bits))))


def add_memory(build: Builder, op: Op) -> None:
    """A slow state: coefficients of one power-of-two step, so that eigenvalues stay in place."""
    state, drive, a, b = op.operands
    step, widths = build.steps[state], build.widths(op)
    real_a = build.graph.constants[a]
    real_b = build.graph.constants[b] * (build.steps[drive] / step)
    most = max(np.abs(real_a).max(initial=0), np.abs(real_b).max(initial=0), 2.0**-20)
    shift = int(np.clip(np.floor(np.log2(largest(widths.update) / most)), 0, 31))
    for name, real, unit in ((a, real_a, 1.0), (b, real_b, step / build.steps[drive])):
        integers = rounded(real, 2.0**-shift, widths.update)
        build.constant(name, integers, widths.update, None)
        build.meant[name] = integers * 2.0**-shift * unit
    value = TensorType(f"i{widths.values}", build.graph.types[state].shape, step)
    build.state(state, op.results[0], value)
    attrs = {"layer": op.attrs["layer"], "shift": shift, "bits": widths.values}
    build.add(Op("state_update", op.operands, op.results, attrs, op.loc), value)


def choose_hold_step(build: Builder, op: Op) -> None:
    """A copy has the step of what it is a copy of."""
    held, value = op.operands
    build.steps[held] = build.steps[op.results[0]] = build.steps[value]


def add_hold(build: Builder, op: Op) -> None:
    """A copy of integers, which is exact."""
    held, value = op.operands
    bits = build.widths(op).values
    copy = TensorType(f"i{bits}", build.graph.types[value].shape, build.steps[held])
    build.state(held, op.results[0], copy)
    build.add(Op("hold", op.operands, op.results, dict(op.attrs), op.loc), copy)
