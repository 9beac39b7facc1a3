"""An image's interface as the `.io` section of assembly text, and back to the same bytes."""

import json

from lark import Token
from pydantic import BaseModel, ValidationError

from isa.errors import IsaError
from isa.interface import Input, Interface, Output, interface_bytes, parse_interface
from isa.syntax import Node, Source, nearest, nodes, tokens
from isa.target import Target

_PARTS: dict[str, type[BaseModel]] = {"input": Input, "output": Output}


def interface_text(note: bytes) -> list[str]:
    """The lines of an `.io` section; none where they would not give back the bytes of the note."""
    try:
        described = parse_interface(note)
    except IsaError:
        return []
    if interface_bytes(described) != note:
        return []
    lines = [f".io {json.dumps(described.name)}"]
    for part in _PARTS:
        fields = getattr(described, part).model_dump(exclude_none=True)
        shown = (f"{name}={_shown(value)}" for name, value in fields.items())
        lines.append(f"        {part:15} {', '.join(shown)}")
    return lines


def _shown(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def interface_note(source: Source, node: Node, target: Target) -> bytes:
    """The note that an `.io` section makes; IsaError says where it makes none."""
    given: dict[str, dict[str, str]] = {part: {} for part in _PARTS}
    places: dict[tuple[str, ...], Token] = {}
    for line in nodes(node):
        (part,) = tokens(line)
        if part not in _PARTS:
            raise source.fault(part, f"no {part} in .io; {nearest(part, _PARTS)}")
        if (part,) in places:
            raise source.fault(part, f"a second {part}")
        places[str(part),] = part
        for operand in nodes(line):
            name, value = tokens(operand)
            if name not in _PARTS[part].model_fields:
                known = nearest(name, _PARTS[part].model_fields)
                raise source.fault(name, f"{part} has no {name}; {known}")
            if name in given[part]:
                raise source.fault(name, f"{part}: {name} is given twice")
            given[part][str(name)] = str(value)
            places[str(part), str(name)] = value
    kind = given["input"].get("kind")
    bits = 1 if kind == "events" else target.values.bits
    given["input"] = {"bits": str(bits), "scale": "1", **given["input"]}
    given["output"] = {"scale": "1", "average": "0", **given["output"]}
    try:
        fields: dict[str, object] = {"name": source.name(tokens(node)[0]), **given}
        return interface_bytes(Interface.model_validate_strings(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = tuple(map(str, first["loc"]))
        place = places.get(where) or places.get(where[:1]) or tokens(node)[0]
        raise source.fault(place, f"{' '.join(where)}: {first['msg']}") from error
