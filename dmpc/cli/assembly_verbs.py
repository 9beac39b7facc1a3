"""`dmpc disasm` and `dmpc asm`."""

import os
from typing import Any

import click

from dmpc.cli.files import (
    STDOUT,
    InputFile,
    OutputFile,
    beside,
    json_option,
    write_bytes,
    write_json,
    write_text,
)
from dmpc.cli.main import Verb
from dmpc.cli.terminal import Output
from isa.assembler import assemble
from isa.disassembler import disassemble
from isa.errors import IsaError
from isa.files import read_text
from isa.format import encode, layout
from isa.image import Image, image_bytes, read_image
from isa.interface import provenance


@click.command(
    "disasm",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc disasm digits.elf -o digits.s
  dmpc disasm digits.elf --code-only
  dmpc disasm digits.elf --json - | jq '.instructions[].mnemonic'""",
)
@click.argument("image", type=InputFile())
@click.option(
    "-o",
    "--output",
    type=OutputFile(lambda given: STDOUT if given["json_path"] != STDOUT else os.devnull),
    metavar="FILE",
    help="File to write.  [default: stdout]",
)
@click.option("--code-only", is_flag=True, help="Instructions alone: shorter to read, not for asm.")
@json_option
def disasm(image: str, output: str, code_only: bool, json_path: str | None) -> None:
    """Print IMAGE as assembly text; asm makes the same image from it, byte for byte.

    With --json the program alone is written as data: each instruction's operands, its word, and
    where it comes from.
    """
    loaded = read_image(image)
    text = disassemble(loaded, data=not code_only)
    if json_path:
        write_json(json_path, image_data(loaded))
    write_text(output, text)


@click.command(
    "asm",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc asm digits.s
  dmpc asm digits.s -o again.elf --json -""",
)
@click.argument("source", type=InputFile())
@click.option(
    "-o",
    "--output",
    type=OutputFile(lambda given: beside(given["source"], ".elf")),
    metavar="ELF",
    help="Image to write.  [default: SOURCE, ending in .elf]",
)
@json_option
def asm(source: str, output: str, json_path: str | None) -> None:
    """Assemble SOURCE, text in the form that disasm prints, to an image."""
    try:
        text = read_text(source)
    except OSError as error:
        reason = error.strerror or error
        raise IsaError(f"{source}: cannot read assembly text: {reason}") from error
    except UnicodeDecodeError as error:
        raise IsaError(f"{source}: not a text file; `dmpc disasm` turns an image to one") from error
    image = assemble(text, source)
    write_bytes(output, image_bytes(image))
    if json_path:
        write_json(json_path, image_data(image))
    Output().print(f"wrote {output}")


def image_data(image: Image) -> dict[str, Any]:
    """An image's program, and how many rows of each memory it fills, as plain data."""
    return {
        "target": image.target.name,
        "instructions": [
            {
                "pc": pc,
                "mnemonic": op.mnemonic,
                "operands": {
                    place.name: place.field.show(getattr(op, place.name))
                    for place in layout(type(op))
                },
                "word": f"{encode(op):032x}",
                **source.model_dump(mode="json"),
            }
            for pc, (op, source) in enumerate(zip(image.code, provenance(image), strict=True))
        ],
        "memories": {name: len(rows) for name, rows in sorted(image.memories.items())},
        "symbols": [vars(symbol) for symbol in sorted(image.symbols)],
    }
