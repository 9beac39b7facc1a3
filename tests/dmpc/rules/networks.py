"""Networks that break one rule each: edits of a small sound network, by the rule's name."""

from collections.abc import Callable

from dmpc.check import Report, check
from dmpc.ir.parser import parse
from tests.dmpc.passes.test_extra_states import NETWORKS, text_with
from tests.dmpc.passes.test_recognise import HELD, NEAR_HOLDS, STRANGE, TEXT, pair_of
from tests.dmpc.passes.test_recognise_past import RECURRENT, STRANGE_PAST

Edits = tuple[tuple[str, str], ...]
EXTRA_STATES = {
    "leaky-readout": "readout of a membrane",
    "several-currents": "too many receptors",
    "mixed-decays": "filters that differ",
    "refractory": "refractory",
    "nonlinear-state": "quadratic",
    "limits-beside": "floor of neurons that adapt",
    "several-resets": "current that spikes cut off",
}
THETA = "  %c = ge(%h, %theta)"
RESET = "%un = where(%c, %rest, %h)"
ADAPTATION = (
    "  const %wf :",
    '  state %ad : f32[2] = zeros next %adn loc("adaptation")\n  const %wf :',
)

BROKEN: dict[str, Edits] = {
    "adaptive-threshold": (
        ADAPTATION,
        (
            THETA,
            '  %t = add(%theta, %ad) : f32[2] loc("/threshold")\n  %c = ge(%h, %t)',
        ),
        (
            "  %y =",
            """  %adl = matmul(%ad, %wf) : f32[2] loc("/adaptation/leak")
  %adn = add(%adl, %s) : f32[2] loc("/adaptation/next")
  %y =""",
        ),
    ),
    "readout": (
        (
            "%y = matmul(%s, %wf)",
            "%bent = relu(%f) : f32[2]\n  %sr = add(%s, %bent) : f32[2]\n  %y = matmul(%sr, %wf)",
        ),
    ),
    "convolved-input": (
        ("  const %wf :", "  const %k : f32[1, 1, 1, 1]\n  const %wf :"),
        ("  %wf = f64", "  %k = f64 [0.5]\n  %wf = f64"),
        (
            "%f = matmul(%x, %wf)",
            "%f = conv(%u, %k) {grid = [1, 2, 1], positions = [1, 2]}",
        ),
    ),
    "input-count": (
        ("  state %u", '  input %z : f32[2] loc("z")\n  state %u'),
        ("%f = matmul(%x, %wf)", "%xz = add(%x, %z) : f32[2]\n  %f = matmul(%xz, %wf)"),
    ),
    "unknown-state": (
        ("  state %u", '  state %q : f32[2] = zeros next %qn loc("q")\n  state %u'),
        ("%d = matmul(%x, %wx)", "%qn = mul(%q, %x) : f32[2]\n  %d = matmul(%q, %wx)"),
    ),
    "neuron-count": (
        (THETA, "  %first = take(%h) {indices = [0]} : f32[1]\n  %c = ge(%first, %theta)"),
        ("%c = ge(%first, %theta) : bool[2]", "%c = ge(%first, %theta) : bool[1]"),
        ("%s = cast(%c) : f32[2]", "%one = cast(%c) : f32[1]\n  %s = add(%one, %bias) : f32[2]"),
        (RESET, "%keep = sub(%theta, %one) : f32[1]\n  %un = mul(%keep, %h)"),
    ),
    "no-charge": (
        (THETA, "  %ml = add(%l, %m) : f32[2]\n  %c = ge(%ml, %theta)"),
        ("%i = add(%f, %sl)", "%i = add(%f, %f)"),
    ),
    "other-weights": ((THETA, "  %d2 = add(%h, %f) : f32[2]\n  %c = ge(%d2, %theta)"),),
    "several-comparisons": (
        (
            f"  {RESET}",
            """  %low = gt(%rest, %h) : bool[2] loc("/low")
  %cut = where(%low, %theta, %h) : f32[2] loc("/cut")
  %un = where(%c, %rest, %cut)""",
        ),
    ),
    "counted-spikes": (
        (
            RESET,
            """%two = add(%theta, %theta) : f32[1] loc("/two")
  %three = add(%two, %theta) : f32[1] loc("/three")
  %again = ge(%h, %three) : bool[2] loc("/again")
  %more = cast(%again) : f32[2] loc("/more")
  %count = add(%s, %more) : f32[2] loc("/count")
  %un = sub(%h, %count)""",
        ),
    ),
    "endless-count": (
        (
            "  %y =",
            """  %more = reached(%h) {strict = false} : f32[2] loc("/more")
  %ys = add(%s, %more) : f32[2] loc("/ys")
  %y =""",
        ),
        ("%y = matmul(%s, %wf)", "%y = matmul(%ys, %wf)"),
    ),
    "limit-elsewhere": (
        (
            "  %h = add(%l, %i)",
            """  %half = add(%l, %f) : f32[2] loc("/half")
  %cut = relu(%half) : f32[2] loc("/cut")
  %h = add(%cut, %sl)""",
        ),
    ),
    "limit-of-the-rest": (
        (
            f"  {RESET}",
            """  %over = sub(%h, %theta) : f32[2] loc("/over")
  %cut = relu(%over) : f32[2] loc("/cut")
  %low = add(%cut, %theta) : f32[2] loc("/floor")
  %un = where(%c, %rest, %low)""",
        ),
    ),
    "input-not-linear": (
        (
            "  %f = matmul(%x, %wf)",
            """  %o = take(%x) {indices = [1, 0]} : f32[2]
  %z = eq(%x, %o) : bool[2] loc("/silent")
  %n = cast(%z) : f32[2] loc("/numbers")
  %f = matmul(%n, %wf)""",
        ),
    ),
    "strange-charge": (("%i = add(%f, %sl)", "%e = relu(%f) : f32[2]\n  %i = add(%e, %sl)"),),
}


def edits_of(lines: str) -> Edits:
    """Edits as test_recognise writes them, one a line."""
    return tuple(pair_of(line) for line in lines.replace("\\\n", " ").splitlines())


def text_of(edits: Edits) -> str:
    """The network after some edits, every one of which must find its place."""
    text = TEXT
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def checked(edits: Edits) -> Report:
    """The report on the network after some edits."""
    return check(parse(text_of(edits)))


def cases() -> dict[str, Callable[[], Report]]:
    """Everything known to be wrong with a network, by name of the case."""
    every = {name: edits_of(lines) for name, (lines, _) in STRANGE.items()}
    every |= {name: (*HELD, pair_of(edit)) for name, (edit, _) in NEAR_HOLDS.items()}
    every |= {
        name: (*RECURRENT, *(pair_of(edit) for edit in edits if edit))
        for name, (*edits, _) in STRANGE_PAST.items()
    }
    every |= BROKEN
    found = {name: lambda edits=edits: checked(edits) for name, edits in every.items()}
    extra = {rule: text_with(*NETWORKS[name][:2]) for rule, name in EXTRA_STATES.items()}
    return found | {name: lambda text=text: check(parse(text)) for name, text in extra.items()}
