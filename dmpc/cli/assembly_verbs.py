"""`dmpc disasm` and `dmpc asm`."""

from pathlib import Path

import click

from dmpc.cli.terminal import write_text
from isa.assembler import assemble
from isa.disassembler import disassemble
from isa.errors import IsaError
from isa.image import read_image, write_image


@click.command("disasm")
@click.argument("image")
@click.option("-o", "--output", default="-", metavar="FILE", help="Assembly text (stdout).")
@click.option("--code-only", is_flag=True, help="Leave memories and notes out, for reading.")
def disasm(image: str, output: str, code_only: bool) -> None:
    """Print IMAGE as assembly text, from which `dmpc asm` makes the same image again."""
    write_text(output, disassemble(read_image(image), data=not code_only))


@click.command("asm")
@click.argument("source")
@click.option("-o", "--output", metavar="ELF", help="Image to write (SOURCE with .elf).")
def asm(source: str, output: str | None) -> None:
    """Assemble SOURCE to an image."""
    try:
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IsaError(f"{source}: cannot read assembly text: {error}") from error
    path = output or str(Path(source).with_suffix(".elf"))
    write_image(assemble(text, source), path)
    click.echo(f"wrote {path}")
