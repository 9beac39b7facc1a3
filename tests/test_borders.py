"""Who may import whom: the borders between the packages, and what must stay unloaded."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1]
OURS = {"isa", "runtime", "dmpc", "tests", "examples"}
SLOW = ("torch", "onnxruntime", "onnx", "matplotlib", "scipy", "nir", "h5py", "perfetto")
COMPILER = ("networkx", "lark")  # graphs and text that few verbs read need them
ALL = ("numpy", "pydantic", "rich")  # whatever does anything needs them


def allowed(path: Path) -> set[str]:
    """Packages of this project that a file may import from."""
    room = path.parts[0]
    if room in ("isa", "runtime"):
        return {"isa", room}
    rooms = (("dmpc", "cli"), ("dmpc", "report"))
    speaks_for_users = path.parts[:2] in rooms or path == Path("dmpc/verification.py")
    return {"isa", "dmpc", "runtime"} if speaks_for_users else {"isa", "dmpc"}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def sources(*rooms: str) -> list[Path]:
    return sorted(p.relative_to(ROOT) for room in rooms for p in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ["isa", "runtime", "dmpc"])
def test_packages_import_in_one_direction(room):
    files = sources(room)
    assert files
    crossed = [
        f"{path}:{line} imports {module}"
        for path in files
        for line, module in imported(path)
        if module.split(".")[0] in OURS - allowed(path)
    ]
    assert not crossed


def room_of(module: str) -> str:
    """The room of the compiler that a module lives in: a package or a file of its top level."""
    return ".".join(module.split(".")[:2])


def loaded(tree: ast.AST) -> Iterator[ast.AST]:
    """What a file imports when it runs: not what types alone need."""
    for node in ast.iter_child_nodes(tree):
        types_alone = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        yield from ast.walk(node) if not types_alone else ()


def test_rooms_of_the_compiler_know_each_other_in_one_direction():
    arrows = networkx.DiGraph()
    for path in sources("dmpc"):
        here = room_of(".".join(path.with_suffix("").parts))
        for node in loaded(ast.parse((ROOT / path).read_text("utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and module.startswith("dmpc.") and room_of(module) != here:
                arrows.add_edge(here, room_of(module))
    assert {"dmpc.ir", "dmpc.passes", "dmpc.frontend", "dmpc.backend"} <= set(arrows)
    assert [sorted(c) for c in networkx.strongly_connected_components(arrows) if len(c) > 1] == []


def test_examples_use_the_public_api_alone():
    public = {"dmpc", "dmpc.nn", "runtime"}
    private = [
        f"{path}:{line} imports {module}"
        for path in sources("examples")
        for line, module in imported(path)
        if module.split(".")[0] in OURS and module not in public
    ]
    assert not private


@pytest.mark.parametrize(
    ("program", "slow"),
    [
        ("import dmpc, dmpc.cli", (*SLOW, *COMPILER, *ALL)),
        ("import runtime; runtime.load", (*SLOW, *COMPILER)),
        ("import dmpc.cli.run_verb", (*SLOW, *COMPILER)),
        ("import dmpc.cli.compile_verb", (*SLOW, *COMPILER, "elftools")),
        ("import sys; sys.argv[1:] = ['--help']; CLI", (*SLOW, *COMPILER, *ALL)),
    ],
    ids=["dmpc", "runtime", "run", "compile", "--help"],
)
def test_slow_libraries_load_when_a_verb_needs_them(program, slow):
    program = program.replace("CLI", "from dmpc.cli import main; main(standalone_mode=False)")
    tell = f"import sys; print(*(m for m in {slow!r} if m in sys.modules), file=sys.stderr)"
    run = subprocess.run(
        [sys.executable, "-c", f"{program}\n{tell}"], capture_output=True, text=True, check=True
    )
    assert run.stderr.strip() == ""
