"""The rules, and the page about them."""

import subprocess
import sys
from pathlib import Path

import pytest

from dmpc.errors import CompileError
from dmpc.rulebook import rulebook
from dmpc.rules import Stage, all_rules, rule

PAGE = Path(__file__).parents[3] / "docs" / "rules.md"
RULES = all_rules()


def test_the_page_is_up_to_date():
    stale = "docs/rules.md differs: run `python -m dmpc.rulebook > docs/rules.md`"
    assert PAGE.read_text("utf-8") == rulebook(), stale


def test_the_module_prints_it():
    printed = subprocess.run(
        [sys.executable, "-m", "dmpc.rulebook"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == rulebook()


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.name)
def test_a_rule_teaches(one):
    """It says what it means in sentences; message and hint are parts of one line."""
    assert one.why.endswith(".")
    assert len(one.why) > 40
    for text in (one.message, one.nearest):
        assert "\n" not in text
        assert not text.endswith(".")
    assert f"\n### {one.name}\n" in rulebook()


def test_names_are_taken_once_and_in_kebab_case():
    with pytest.raises(ValueError, match="is taken"):
        rule(RULES[0].name, Stage.FILE, "again", why="")
    with pytest.raises(ValueError, match="kebab"):
        rule("Two Words", Stage.FILE, "again", why="")


def test_all_fields_of_a_rule_must_be_given():
    one = next(one for one in RULES if one.name == "unknown-operator")
    with pytest.raises(TypeError, match="takes nearest, op, not nodename, op"):
        CompileError.of(one, op="Fire", nodename="/x")
