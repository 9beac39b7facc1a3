"""Rules: what a model must keep to, each written once.

A rule's text is the message when a model breaks it, the entry of `dmpc check`, and a section of
`docs/rules.md` (`python -m dmpc.rulebook`). It stands beside the code that checks it:

    FULL_LEAK = rule(
        "full-leak",
        Stage.NETWORK,
        "neurons of {state} leak into each other",
        why="The neuron unit multiplies each membrane by one factor of its own.",
        nearest="one factor per neuron, a diagonal matrix",
    )
    ...
    raise CompileError.of(FULL_LEAK, where="net.onnx: /leak", state="v")
"""

import importlib
import pkgutil
import re
import string
from dataclasses import dataclass
from enum import StrEnum

ROOMS = ("dmpc.backend", "dmpc.frontend", "dmpc.ir", "dmpc.passes")
"""Packages whose modules hold rules."""

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Severity(StrEnum):
    """How much a finding matters: an error stops compilation, a warning is legal but likely wrong,
    a note is what one should know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Stage(StrEnum):
    """Where on a network's way a rule is checked, in order; the value is the page's heading."""

    FILE = "Reading the file"
    IMPORT = "From the file to one timestep"
    NETWORK = "Recognising layers"
    LAYERS = "Layers and their parameters"
    MACHINE = "Fitting the machine"


@dataclass(frozen=True)
class Rule:
    """What a model must keep to.

    `message` says what is wrong, `nearest` what would be accepted instead; both may hold
    `{fields}`. `why` says what it means, or why the machine cannot do it, whatever the fields.
    """

    name: str
    stage: Stage
    message: str
    why: str
    nearest: str
    severity: Severity

    @property
    def fields(self) -> frozenset[str]:
        """The names that `message` and `nearest` leave open."""
        return self.fields_of(self.message) | self.fields_of(self.nearest)

    @staticmethod
    def fields_of(template: str) -> frozenset[str]:
        """The names that a template leaves open."""
        parts = string.Formatter().parse(template)
        return frozenset(name for _, name, _, _ in parts if name is not None)

    def fill(self, fields: dict[str, object]) -> tuple[str, str]:
        """Message and nearest thing for given fields; raises TypeError unless all are given."""
        if fields.keys() != self.fields:
            wanted = ", ".join(sorted(self.fields)) or "no fields"
            raise TypeError(f"rule {self.name} takes {wanted}, not {', '.join(sorted(fields))}")
        return self.message.format(**fields), self.nearest.format(**fields)


_RULES: dict[str, Rule] = {}


def rule(
    name: str,
    stage: Stage,
    message: str,
    *,
    why: str,
    nearest: str = "",
    severity: Severity = Severity.ERROR,
) -> Rule:
    """Define a rule; raises ValueError if its name is taken or not in kebab case."""
    if not NAME.fullmatch(name) or name in _RULES:
        raise ValueError(f"rule name {name!r} is taken, or not in kebab case")
    made = Rule(name, stage, message, " ".join(why.split()), nearest, severity)
    _RULES[name] = made
    return made


def all_rules() -> list[Rule]:
    """Every rule of the compiler, by stage and name; loads the modules that define them."""
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            importlib.import_module(module.name)
    stages = list(Stage)
    return sorted(_RULES.values(), key=lambda one: (stages.index(one.stage), one.name))
