"""What all tests share: golden files, and that nothing depends on how long it took."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Tests run beside each other, and a second thread of each would wait for a core more than it works.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("dmpc", deadline=None)
settings.load_profile("dmpc")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with a file that holds what is expected; a missing file fails."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"{path} is missing; write it with --update-golden, and read it")
        assert text == path.read_text(encoding="utf-8"), "differs from the golden file"

    return compare
