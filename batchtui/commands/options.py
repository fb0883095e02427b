"""Options that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from batchtui.commands import numbers

if TYPE_CHECKING:
    from batchtui.commands.watch import Look


def add_config(parser: argparse.ArgumentParser) -> None:
    """Take a configuration, and what is set in it."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file")
    parser.add_argument(
        "--batch-size", metavar="N", help="short for --set dataloaders.batch_size=N"
    )
    add_set(parser)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--resume",
        action="store_true",
        default=None,
        help="go on from the last checkpoint of this configuration, without asking",
    )
    choice.add_argument(
        "--fresh", action="store_false", dest="resume", help="train from the beginning"
    )


def add_set(parser: argparse.ArgumentParser) -> None:
    """Take single keys of a configuration."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="set a key; repeatable"
    )


def add_screen(parser: argparse.ArgumentParser) -> None:
    """Take how a run is shown."""
    parser.add_argument(
        "--plain", action="store_true", help="one line an interval, no escape codes"
    )
    parser.add_argument(
        "--refresh",
        type=numbers.seconds(0.1, 3600),
        default=None,
        metavar="SECONDS",
        help="time between two updates",
    )
    parser.add_argument(
        "--theme", choices=("dark", "blue-orange", "light"), help="colours; t takes the next"
    )
    parser.add_argument("--no-mouse", action="store_false", dest="mouse", help="leave the mouse be")


def look_of(options: argparse.Namespace) -> Look:
    """Return what `add_screen` has read."""
    from batchtui.commands.watch import Look

    return Look(options.plain, options.refresh, options.theme, options.mouse)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Take a run."""
    parser.add_argument("run", metavar="RUN")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Take whether to print JSON."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def overrides(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return what the command line sets, as (option, key.path=value); --batch-size wins."""
    overrides = [("--set", assignment) for assignment in options.set]
    if options.batch_size is not None:
        overrides.append(("--batch-size", f"dataloaders.batch_size={options.batch_size}"))
    return overrides
