"""`dmpc run --trace`: a dump that says what every unit did in every cycle."""

import json
from collections import defaultdict
from pathlib import Path

from click.testing import CliRunner
from vcd.reader import TokenKind, tokenize

from dmpc.cli import main

EXAMPLE = Path(__file__).parents[3] / "examples" / "grey_digits"


def changes(path):
    """(time, state) changes of each unit's `doing` in a dump, and its last time."""
    names, found, scope, time = {}, defaultdict(list), "", 0
    with path.open("rb") as dump:
        for token in tokenize(dump):
            if token.kind is TokenKind.SCOPE:
                scope = token.scope.ident
            elif token.kind is TokenKind.VAR and token.var.reference == "doing":
                names[token.var.id_code] = scope
            elif token.kind is TokenKind.CHANGE_TIME:
                time = token.time_change
            elif token.kind is TokenKind.CHANGE_STRING and token.string_change.id_code in names:
                found[names[token.string_change.id_code]].append((time, token.string_change.value))
    return found, time


def test_the_dump_tells_every_cycle(tmp_path):
    image, dump, told = tmp_path / "g.elf", tmp_path / "t.vcd", tmp_path / "r.json"
    train, test = EXAMPLE / "train.npz", EXAMPLE / "test.npz"
    arguments = ["compile", str(EXAMPLE / "model.onnx"), "-o", str(image)]
    made = CliRunner().invoke(main, [*arguments, "--calibration", str(train)])
    assert made.exit_code == 0, made.output
    arguments = ["run", str(image), "--input", str(test), "--limit", "1", "--json", str(told)]
    ran = CliRunner().invoke(main, [*arguments, "--trace", str(dump)])
    assert ran.exit_code == 0, ran.output
    found, end = changes(dump)
    totals = json.loads(told.read_text())["totals"]
    assert end == totals["cycles"]
    for unit, series in found.items():
        spent = defaultdict(int)
        for (since, state), (until, _) in zip(series, [*series[1:], (end, "")], strict=True):
            spent[state] += until - since
        assert spent.pop("busy") == totals["units"][unit]["busy"]
        spent.pop("idle", None)
        assert spent == {k: n for k, n in totals["units"][unit]["stalls"].items() if n}
    assert {"neuron", "spike", "memory_a", "memory_b", "update"} <= found.keys()
