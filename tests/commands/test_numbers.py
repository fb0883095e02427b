"""The numbers of the command line: what is none is one line of our own, and nothing is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchtui.cli import main

RESTART, SIZE = "restart last --batch-size", "a batch size is a whole number above 0"
RATE = "a learning rate is a number above 0"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (f"{RESTART} many", f"--batch-size: 'many': {SIZE}"),
        (f"{RESTART} 1.5", f"--batch-size: '1.5': {SIZE}"),
        (f"{RESTART} 0", f"--batch-size: '0': {SIZE}"),
        (f"{RESTART} -3", f"--batch-size: '-3': {SIZE}"),
        (f"{RESTART} 8 --lr fast", f"--lr: 'fast': {RATE}"),
        (f"{RESTART} 8 --lr 0", f"--lr: '0': {RATE}"),
        (f"{RESTART} 8 --lr nan", f"--lr: 'nan': {RATE}"),
        (f"{RESTART} 8 --lr inf", f"--lr: 'inf': {RATE}"),
        ("own.yaml --batch-size many", "--batch-size: dataloaders.batch_size: 'many' is not a"),
        ("start own.yaml --batch-size 0", "0 is not a whole number of samples from 1 to"),
        ("own.yaml --refresh often", "--refresh: 'often' is not a number of seconds from 0.1 to"),
        ("attach --refresh 0", "--refresh: '0' is not a number of seconds from 0.1 to 3600"),
        ("forecast own.yaml -b 1,x", "-b: 'x' is not a batch size; write -b 16,32,64"),
        ("forecast own.yaml -b 0", "-b: '0' is not a batch size; write -b 16,32,64"),
        (f"forecast own.yaml -b {10**9}", "whole numbers from 1 to 999,999,999"),
        ("forecast own.yaml --time-limit x", "--time-limit: 'x' is not a number of seconds from 1"),
        ("forecast own.yaml --capacity much", "--capacity: 'much' is no size: write it as 24GiB"),
        ("find own.yaml --limit much", "--limit: 'much' is no size: write it as 24GiB or 500MiB"),
        ("serve last --port http", "--port: 'http' is not a port from 0 to 65535"),
    ],
)
def test_what_is_no_number_is_one_line_of_our_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("device: cpu\n")
    assert main(words.split()) == 2
    output, errors = capsys.readouterr()
    assert reason in errors
    assert (errors.count("\n"), output) == (1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]
