"""`dmpc export-memories`."""

import click

from dmpc.cli.files import InputFile, OutputFile, OutputFolder, write_json
from dmpc.cli.main import Verb
from dmpc.cli.tables import table
from dmpc.cli.terminal import Output
from isa.image import read_image
from runtime.readmemh import MODULE, memory_files

INDEX = "memories.json"


@click.command(
    "export-memories",
    cls=Verb,
    epilog="""Examples:

\b
  dmpc export-memories digits.elf -o memories
  iverilog -g2012 memories/memories.v bench.v""",
)
@click.argument("image", type=InputFile())
@click.option(
    "-o", "--output", "folder", type=OutputFolder(), required=True, metavar="FOLDER",
    help="Folder to write into; it is made if it is not there.",
)  # fmt: skip
@click.option(
    "--json", "json_path", type=OutputFile(), metavar="FILE",
    help="Write what is in which file as JSON, too; - for stdout alone.",
)  # fmt: skip
def export_memories(image: str, folder: str, json_path: str | None) -> None:
    """Write the program and the memories of IMAGE as text that Verilog's $readmemh reads.

    FOLDER gets a .hex file for each of them, memories.json that says what they hold, and
    memories.v, a module that declares the memories and reads the files.
    """
    files = memory_files(read_image(image))
    OutputFolder.write(folder, {**files.texts, INDEX: files.to_json()})
    if json_path:
        write_json(json_path, files.to_json())
    made = table("memories", "file", "rows", "of", "elements", "bits", "bits a row")
    for item in files.words:
        made.add_row(
            item.file, *map(str, (item.words, item.depth, item.elements, item.bits, item.width))
        )
    out = Output()
    out.print(made)
    out.print(f"wrote {len(files.texts) + 1} files into {folder}, {MODULE} among them")
