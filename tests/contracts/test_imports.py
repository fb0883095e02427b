"""Who imports whom, checked where it counts: in a fresh interpreter, by what ends up loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "numpy", "sklearn")


def loaded(statement: str, *names: str) -> list[str]:
    """Return which of these modules a fresh interpreter has loaded after a statement."""
    program = f"import sys\n{statement}\nprint(*[n for n in {names!r} if n in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return answer.stdout.split()


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import batchtui.cli", (*HEAVY, "textual", "pynvml", "psutil", "sqlite3", "yaml")),
        ("import batchtui.tui.app", (*HEAVY, "pynvml", "psutil", "batchtui.supervise")),
        ("import batchtui.supervise.__main__", (*HEAVY, "textual", "rich", "batchtui.train")),
        ("import batchtui.commands.start", (*HEAVY, "textual", "pynvml")),
        ("import batchtui.train.main", ("torch", "msgspec", "yaml", "psutil", "textual", "pynvml")),
        (
            "import batchtui.train.loop",
            # pynvml is torch's own doing: torch.cuda imports it where it finds it.
            ("msgspec", "yaml", "psutil", "textual", "batchtui.runs"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_process_loads_only_what_it_needs(statement: str, absent: tuple[str, ...]) -> None:
    assert loaded(statement, *absent) == []


def test_every_package_says_what_is_in_it() -> None:
    package = Path(__file__).parents[2] / "batchtui"
    silent = [
        str(path.parent.relative_to(package))
        for path in package.rglob("__init__.py")
        if not path.read_text().lstrip().startswith('"""')
    ]
    assert silent == []


def test_no_source_file_does_two_jobs() -> None:
    package = Path(__file__).parents[2] / "batchtui"
    long = {
        str(path.relative_to(package)): lines
        for path in package.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert long == {}
