"""The `.io` section of assembly text, read as an image's interface."""

from lark import Token
from pydantic import ValidationError

from isa.interface import Interface, interface_bytes
from isa.interface_text import PARTS
from isa.syntax import Node, Source, nearest, nodes, tokens
from isa.target import Target


def interface_note(source: Source, node: Node, target: Target) -> bytes:
    """The note that an `.io` section makes; IsaError says where it makes none."""
    given: dict[str, dict[str, str]] = {part: {} for part in PARTS}
    places: dict[tuple[str, ...], Token] = {}
    for line in nodes(node):
        (part,) = tokens(line)
        if part not in PARTS:
            raise source.fault(part, f"no {part} in .io; {nearest(part, PARTS)}")
        if (part,) in places:
            raise source.fault(part, f"a second {part}")
        places[str(part),] = part
        for operand in nodes(line):
            name, value = tokens(operand)
            if name not in PARTS[part].model_fields:
                known = nearest(name, PARTS[part].model_fields)
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
