"""Find the largest batch size that is safe, without running out of memory."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from batchtui import units
from batchtui.commands.forecast import find_device
from batchtui.commands.hunt import Hunt, refuse_company
from batchtui.commands.room import room_for
from batchtui.commands.start import Overrides
from batchtui.config.load import load_config
from batchtui.errors import WillNotFit
from batchtui.text import clean


def find(
    config_path: Path, root: Path, overrides: Overrides, *, limit: str | None, as_json: bool
) -> int:
    """`batchtui find`: forecast, try, print; 4 if not even one sample fits."""
    config = load_config(config_path, overrides)
    target = find_device(config.device, None)
    refuse_company(root, config_path)
    with _stoppable():
        try:
            finding = Hunt(
                config, config_path, root, target, lambda: room_for(config, target, limit)
            ).run()
        except KeyboardInterrupt:
            print("\nbatchtui: interrupted; nothing is left behind", file=sys.stderr)
            return 130
    answer = finding.answer
    if as_json:
        print(json.dumps(finding.to_dict(), indent=1))
    elif answer is not None:
        print(f"largest safe batch size: {units.count(answer.batch_size)}")
        start = _command(config_path, overrides, answer.batch_size)
        for name, text in (*finding.lines(), ("start it", start)):
            print(clean(f"{name:9} {text}"))
    if answer is None:
        raise WillNotFit(finding.refusal())
    return 0


def _command(config_path: Path, overrides: Overrides, size: int) -> str:
    """Write what starts the training at a batch size."""
    words = ["batchtui", str(config_path), "--batch-size", str(size)]
    for option, setting in overrides:
        words += [option, setting] if option == "--set" else []
    return shlex.join(words)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Take a closed terminal and SIGTERM for Ctrl+C: nothing may be left behind."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
