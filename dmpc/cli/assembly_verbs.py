"""`dmpc disasm` and `dmpc asm`."""

from pathlib import Path

import click

from dmpc.cli.files import InputFile, OutputFile, beside, write_bytes, write_text
from dmpc.cli.main import Verb
from dmpc.cli.terminal import Output
from isa.assembler import assemble
from isa.disassembler import disassemble
from isa.errors import IsaError
from isa.image import image_bytes, read_image


@click.command("disasm", cls=Verb)
@click.argument("image", type=InputFile())
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    default="-",
    metavar="FILE",
    help="File to write.  [default: stdout]",
)
@click.option("--code-only", is_flag=True, help="Instructions alone: shorter to read, not for asm.")
def disasm(image: str, output: str, code_only: bool) -> None:
    """Print IMAGE as assembly text; asm makes the same image from it, byte for byte."""
    write_text(output, disassemble(read_image(image), data=not code_only))


@click.command("asm", cls=Verb)
@click.argument("source", type=InputFile())
@click.option(
    "-o",
    "--output",
    type=OutputFile(lambda given: beside(given["source"], ".elf")),
    metavar="ELF",
    help="Image to write.  [default: SOURCE, ending in .elf]",
)
def asm(source: str, output: str) -> None:
    """Assemble SOURCE, text in the form that disasm prints, to an image."""
    try:
        text = Path(source).read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or error
        raise IsaError(f"{source}: cannot read assembly text: {reason}") from error
    except UnicodeDecodeError as error:
        raise IsaError(f"{source}: not a text file; `dmpc disasm` turns an image to one") from error
    write_bytes(output, image_bytes(assemble(text, source)))
    Output().print(f"wrote {output}")
