"""Find the largest batch size that is safe, without running out of memory."""

from __future__ import annotations

import contextlib
import json
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
from batchtui.forecast.largest import Answer
from batchtui.text import clean


def find(
    config_path: Path, root: Path, overrides: Overrides, *, limit: str | None, as_json: bool
) -> int:
    """`batchtui find`: forecast, try, print; 4 if not even one sample fits."""
    config = load_config(config_path, overrides)
    target = find_device(config.device, None)
    room = room_for(config, target, limit)
    refuse_company(root, config_path)
    with _stoppable():
        try:
            hunt = Hunt(config, config_path, root, target, room)
            answer = hunt.run()
        except KeyboardInterrupt:
            print("\nbatchtui: interrupted; nothing is left behind", file=sys.stderr)
            return 130
    if as_json:
        print(json.dumps(hunt.to_dict(answer), indent=1))
    elif answer is not None:
        _print(hunt, answer)
    if answer is None:
        raise WillNotFit(f"not even batch size {hunt.smallest} fits into {room}: {hunt.reason()}")
    return 0


def _print(hunt: Hunt, answer: Answer) -> None:
    told = hunt.to_dict(answer)
    size = answer.batch_size
    print(f"largest safe batch size: {units.count(size)}")
    peak, low, high, limit, margin = (
        units.gib(told[f"{name}_bytes"]) for name in ("peak", "low", "high", "limit", "margin")
    )
    print(f"peak {peak} ({low} – {high}) of {limit}: {margin} to spare")
    print(f"how sure: {told['confidence']}.  how: {clean(told['method'])}")
    for note in dict.fromkeys(hunt.notes):
        print(clean(f"assumed: {note}"))


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
