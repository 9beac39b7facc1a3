"""Names of a saved program's tensors, as such as could stand for themselves in generated source."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from dmpc.frontend.torch_program.vetting import identifier

FIELDS = ("parameter_name", "buffer_name", "tensor_constant_name")


class TensorNames:
    """One name for every name that users gave: modules may be called `layer-1` or `class`.

    torch writes names into source that it then runs, so that only harmless ones may reach it.
    """

    def __init__(self) -> None:
        self._made: dict[str, str] = {}

    def of(self, given: str) -> str:
        """The name that stands for a given one, the same every time."""
        if given not in self._made:
            made, taken = ".".join(map(_harmless, given.split("."))), set(self._made.values())
            while made in taken:
                made += "_"
            self._made[given] = made
        return self._made[given]

    def within(self, record: Any) -> None:
        """Put them in place of the names in one of torch's records, and in those that it holds."""
        if isinstance(record, list | tuple):
            for each in record:
                self.within(each)
        if not dataclasses.is_dataclass(record):
            return
        for field in dataclasses.fields(record):
            value = getattr(record, field.name, None)
            if field.name in FIELDS and isinstance(value, str):
                setattr(record, field.name, self.of(value))
            else:
                self.within(value)


def _harmless(part: str) -> str:
    if identifier(part) or (part.isascii() and part.isdigit()):
        return part
    made = re.sub(r"[^0-9A-Za-z_]", "_", part).strip("_")
    return made if identifier(made) else f"named_{made}"
