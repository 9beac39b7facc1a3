"""`dmpc disasm` and `dmpc asm`."""

from pathlib import Path

import click

from dmpc.cli.terminal import write_text
from isa.assembler import assemble
from isa.disassembler import disassemble
from isa.errors import IsaError
from isa.image import read_image, write_image


@click.command("disasm", short_help="Print an image as assembly text.")
@click.argument("image")
@click.option(
    "-o", "--output", default="-", metavar="FILE", help="File to write.  [default: stdout]"
)
@click.option("--code-only", is_flag=True, help="Instructions alone: shorter to read, not for asm.")
def disasm(image: str, output: str, code_only: bool) -> None:
    """Print IMAGE as assembly text; asm makes the same image from it, byte for byte."""
    write_text(output, disassemble(read_image(image), data=not code_only))


@click.command("asm", short_help="Assemble text to an image.")
@click.argument("source")
@click.option(
    "-o", "--output", metavar="ELF", help="Image to write.  [default: SOURCE, ending in .elf]"
)
def asm(source: str, output: str | None) -> None:
    """Assemble SOURCE, text in the form that disasm prints, to an image."""
    try:
        text = Path(source).read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise IsaError(f"{source}: cannot read assembly text: {reason}") from error
    except UnicodeDecodeError as error:
        raise IsaError(f"{source}: not a text file; `dmpc disasm` turns an image to one") from error
    path = output or str(Path(source).with_suffix(".elf"))
    write_image(assemble(text, source), path)
    click.echo(f"wrote {path}")
