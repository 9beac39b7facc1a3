"""An image's interface as the `.io` section of assembly text (`isa.interface_source` reads it)."""

import json

from pydantic import BaseModel

from isa.errors import IsaError
from isa.interface import Input, Output, interface_bytes, parse_interface

PARTS: dict[str, type[BaseModel]] = {"input": Input, "output": Output}


def interface_text(note: bytes) -> list[str]:
    """The lines of an `.io` section; none where they would not give back the bytes of the note."""
    try:
        described = parse_interface(note)
    except IsaError:
        return []
    if interface_bytes(described) != note:
        return []
    lines = [f".io {json.dumps(described.name)}"]
    for part in PARTS:
        fields = getattr(described, part).model_dump(exclude_none=True)
        shown = (f"{name}={_shown(value)}" for name, value in fields.items())
        lines.append(f"        {part:15} {', '.join(shown)}")
    return lines


def _shown(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
