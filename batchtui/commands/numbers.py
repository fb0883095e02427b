"""The numbers of the command line, and what is said of a word that is none of them.

For `type=` of argparse, which puts the option's name before the reason.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def batch_size(text: str) -> int:
    """Read a batch size."""
    from batchtui.advise.choice import parse  # the first frame needs none

    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def learning_rate(text: str) -> float:
    """Read a learning rate."""
    value = _number(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: a learning rate is a number above 0")
    return value


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Return what reads a number of seconds within bounds."""

    def read(text: str) -> float:
        value = _number(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number of seconds from {least:g} to {most:g}"
            )
        return value

    return read


def speed(text: str) -> float:
    """Read how many times as fast a replay goes: `10`, or `10x`."""
    value = _number(text.removesuffix("x").removesuffix("×"))
    if not 0.1 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a speed from 0.1 to 1000000")
    return value


def step(text: str) -> int:
    """Read the number of a step."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= len(text) <= 15:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a step")
    return int(text)


def port(text: str) -> int:
    """Read a port."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
