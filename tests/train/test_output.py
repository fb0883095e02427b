"""A full disk costs lines of the log, and no step."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
from batchtui.train.output import shield
shield()
print("a line", "é\\udc80")
print("to stderr", file=sys.stderr)
sys.stdout.write("x" * 100_000)
sys.stdout.flush()
os.write(3, b"still here")
"""


def run(stdout: str) -> bytes:
    program = f"exec 3>&1 >{stdout} 2>&1; exec {sys.executable} -c '{PROGRAM}'"
    return subprocess.run(["sh", "-c", program], capture_output=True, timeout=60, check=True).stdout


def test_printing_to_a_full_disk_raises_nothing() -> None:
    assert run("/dev/full") == b"still here"


def test_what_can_be_written_is(tmp_path: object) -> None:
    file = f"{tmp_path}/log"
    assert run(file) == b"still here"
    with open(file, "rb") as log:
        raw = log.read()
    assert raw.startswith("a line é\\udc80\nto stderr\nxxx".encode())
    assert len(raw) > 100_000
