"""Widths: how many bits each kind of integer has, for each layer."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dmpc.errors import CompileError
from dmpc.ir.registry import did_you_mean
from isa.files import read_text
from isa.parameters import LOSS_BITS
from isa.target import Target

LEAST_BITS = 2
DEFAULT = "default"


@dataclass(frozen=True)
class Widths:
    """Bits of a layer's integers.

    What lies in memory, and may be narrower than the target's rows: `weights` of events (W_f, and
    W_o of the readout); `slow`, the weights of values (P and nu, or W_m; W_f of a graded input);
    `drive` (W_x); `update` (Abar and Bbar). What the machine's registers decide: `values` (memory
    states, scalar drives, graded input), `membrane` (and threshold, bias, reset), `leak`
    (significant bits of what a membrane loses), `sums` (accumulators).
    """

    weights: int
    slow: int
    drive: int
    update: int
    values: int
    membrane: int
    leak: int
    sums: int

    @classmethod
    def of(cls, target: Target) -> "Widths":
        """The widest that a target holds; where it spreads rows over banks, in every bank."""
        banks = [bank.weight_bits for bank in target.bank]
        paths = [target.bank_for(path) for path in ("memory_a", "memory_b")]
        products = [bank.weight_bits for bank in target.bank if bank.multiplies]
        return cls(
            weights=min(banks) if target.pooled else banks[target.bank_for("spike")],
            slow=min(products) if target.pooled else min(banks[path] for path in paths),
            drive=target.drive.weight_bits,
            update=target.update.weight_bits,
            values=target.values.bits,
            membrane=target.neuron.membrane_bits,
            leak=LOSS_BITS,
            sums=target.accumulators.bits,
        )


STORED = ("weights", "slow", "drive", "update")
"""The widths that are a choice: registers have the target's."""


@dataclass(frozen=True)
class WidthPlan:
    """Widths of every layer by name; `default` for those not named."""

    default: Widths
    layers: Mapping[str, Widths] = field(default_factory=dict)

    def __getitem__(self, layer: str) -> Widths:
        return self.layers.get(layer, self.default)

    def with_bits(self, layer: str, **bits: int) -> "WidthPlan":
        """The plan with other bits for one layer, not checked against any target."""
        return replace(self, layers={**self.layers, layer: replace(self[layer], **bits)})


Chosen = Mapping[str, Mapping[str, int]]
"""Widths that a user chose, by layer (or `default`) and field of `Widths`."""


def width_plan(
    target: Target, weight_bits: int | None = None, chosen: Chosen | None = None
) -> WidthPlan:
    """The target's widths, `weight_bits` for weights of events, and what was chosen by layer.

    Raises CompileError for a width that is no choice, or that the target cannot hold.
    """
    most = Widths.of(target)
    default = most if weight_bits is None else _narrower(most, most, "weights", weight_bits, "")
    chosen = chosen or {}
    for name, bits in chosen.get(DEFAULT, {}).items():
        default = _narrower(default, most, name, bits, DEFAULT)
    layers = {}
    for layer, named in chosen.items():
        if layer != DEFAULT:
            layers[layer] = default
            for name, bits in named.items():
                layers[layer] = _narrower(layers[layer], most, name, bits, layer)
    return WidthPlan(default, layers)


def _narrower(widths: Widths, most: Widths, name: str, bits: int, layer: str) -> Widths:
    where = f"widths of {layer}" if layer else "widths"
    if name not in STORED:
        known = did_you_mean(name, STORED)
        raise CompileError(f"no width '{name}' to choose ({known})", where=where)
    if not LEAST_BITS <= bits <= getattr(most, name):
        raise CompileError(
            f"{name} of {bits} bits; this target holds {LEAST_BITS} .. {getattr(most, name)}",
            where=where,
            hint="choose a target with wider rows" if bits > LEAST_BITS else "",
        )
    changed: dict[str, Any] = {name: bits}
    return replace(widths, **changed)


def chosen_widths(plan: WidthPlan, target: Target) -> dict[str, dict[str, int]]:
    """What a plan chooses that is not the target's own, as `width_plan` takes it."""
    own = Widths.of(target)
    entries = {DEFAULT: (plan.default, own)}
    entries |= {layer: (widths, plan.default) for layer, widths in sorted(plan.layers.items())}
    named = {
        layer: {n: getattr(mine, n) for n in STORED if getattr(mine, n) != getattr(base, n)}
        for layer, (mine, base) in entries.items()
    }
    return {layer: widths for layer, widths in named.items() if widths}


def stored_widths(plan: WidthPlan) -> dict[str, dict[str, int]]:
    """All that a plan decides, as `width_plan` takes it for any target."""
    default = {name: getattr(plan.default, name) for name in STORED}
    layers = {
        layer: {n: getattr(mine, n) for n in STORED if getattr(mine, n) != default[n]}
        for layer, mine in sorted(plan.layers.items())
    }
    return {DEFAULT: default, **{layer: named for layer, named in layers.items() if named}}


def held_widths(chosen: Chosen, target: Target) -> dict[str, dict[str, int]]:
    """Widths, as far as a target holds them."""
    most = Widths.of(target)
    return {
        layer: {name: min(bits, getattr(most, name, bits)) for name, bits in named.items()}
        for layer, named in chosen.items()
    }


def in_words(chosen: Chosen) -> str:
    """Chosen widths on one line."""
    parts = [
        f"{name} of {bits} bits" + (f" in {layer}" if layer != DEFAULT else "")
        for layer, named in sorted(chosen.items(), key=lambda item: (item[0] != DEFAULT, item[0]))
        for name, bits in sorted(named.items())
    ]
    return ", ".join(parts) or "the target's widths"


def widths_text(chosen: Chosen) -> str:
    """Chosen widths as TOML, which `read_widths` takes."""
    tables = (
        "\n".join([f"[{layer}]", *(f"{name} = {bits}" for name, bits in widths.items())]) + "\n"
        for layer, widths in chosen.items()
    )
    return "\n".join(tables)


def read_widths(path: str) -> dict[str, dict[str, int]]:
    """Chosen widths of a TOML file: a table for each layer, or `default`, of bits by kind.

    Raises CompileError if it cannot be read or is no such file.
    """
    try:
        found = tomllib.loads(read_text(path, "utf-8"))
    except OSError as error:
        raise CompileError(f"cannot read: {error.strerror or error}", where=path) from error
    except (ValueError, RecursionError) as error:  # also numbers that Python cannot hold
        raise CompileError(f"not TOML: {error}", where=path) from error
    for layer, widths in found.items():
        if not isinstance(widths, dict):
            raise CompileError(f"'{layer}' stands outside a layer's table", where=path)
        for name, bits in widths.items():
            if type(bits) is not int:
                raise CompileError(f"{layer}.{name} is {bits!r}, not a number of bits", where=path)
    return found
