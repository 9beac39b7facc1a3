"""The committed reference page is the generated one."""

import subprocess
import sys
from pathlib import Path

from isa.format import layout
from isa.reference import reference
from tests.isa.programs import CLASSES

PAGE = Path(__file__).parents[2] / "docs" / "isa.md"


def test_the_page_is_up_to_date():
    stale = "docs/isa.md differs: run `python -m isa.reference > docs/isa.md`"
    assert PAGE.read_text("utf-8") == reference(), stale


def test_the_module_prints_it():
    printed = subprocess.run(
        [sys.executable, "-m", "isa.reference"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == reference()


def test_every_instruction_has_its_place():
    page = reference()
    for cls in CLASSES:
        start = page.index(f"\n### {cls.mnemonic}\n")
        section = page[start : page.find("\n### ", start + 1)]
        assert f"| 63:58 | opcode {cls.opcode} |" in section
        assert "def execute(self, core: Core)" in section
        assert "def work(self, core: Core)" in section
        for placed in layout(cls):
            assert f"| `{placed.name}` | {placed.field.kind} | {placed.field.range} |" in section
