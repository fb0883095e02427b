"""The command line: parse, call one command, turn errors into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 out of memory, 4 will not fit.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from batchtui import __version__
from batchtui.errors import BatchtuiError, UsageError
from batchtui.text import clean

_COMMANDS = {
    "start": "start a run in the background and print its name",
    "attach": "show a run, alive or ended (default: the newest)",
    "runs": "list the runs",
    "show": "tell all that is known of one run",
    "stop": "write a checkpoint and stop a run",
    "forecast": "tell what memory batch sizes that have not run will need",
    "doctor": "tell what this machine offers and what is in the way",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # What is imported now stays: looking for garbage in it would take a tenth of the start.
    gc.disable()
    try:
        return _run(words)
    except BatchtuiError as error:
        print(f"batchtui: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("batchtui: interrupted; a run that was started goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `batchtui runs | head` does. Python would
        # complain once more while it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        gc.enable()


def _run(words: list[str]) -> int:
    """Parse and dispatch; commands import what they need when they are called."""
    if not words:
        _parser().print_help()
        return 2
    named = next((word for word in words if not word.startswith("-")), None)
    if named is not None and named not in _COMMANDS and words[0] == named:
        return _watch_config(words)
    options = _parser().parse_args(words)
    root = _root(options.runs)
    if options.command == "start":
        from batchtui.commands import start

        return start.start(
            options.config, root, _overrides(options), resume=options.resume, as_json=options.json
        )
    if options.command == "attach":
        from batchtui.commands import watch

        return watch.attach(options.run, root, plain=options.plain, refresh=options.refresh)
    if options.command == "runs":
        from batchtui.commands import look

        return look.runs(root, as_json=options.json)
    if options.command == "show":
        from batchtui.commands import look

        return look.show(options.run, root, as_json=options.json)
    if options.command == "stop":
        from batchtui.commands import stop

        return stop.stop(options.run, root, now=options.now)
    if options.command == "forecast":
        from batchtui.commands import forecast

        return forecast.forecast(
            options.config,
            root,
            [("--set", assignment) for assignment in options.set],
            batch_sizes=options.batch_sizes,
            device=options.device,
            capacity=options.capacity,
            as_json=options.json,
            output=options.output,
        )
    from batchtui.commands import doctor

    return doctor.doctor(root, as_json=options.json)


def _watch_config(words: list[str]) -> int:
    """`batchtui CONFIG`: start a run, or find the one that is alive, and show it."""
    word = words[0]
    if not Path(word).exists() and os.sep not in word and "." not in word:
        import difflib

        near = difflib.get_close_matches(word, _COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(_COMMANDS)}"
        raise UsageError(f"{clean(word, 80)!r} is no configuration file and no command; {hint}")
    options = _config_parser().parse_args(words)
    from batchtui.commands import watch

    return watch.watch(
        options.config,
        _root(options.runs),
        _overrides(options),
        resume=options.resume,
        plain=options.plain,
        refresh=options.refresh,
    )


def _root(option: Path | None) -> Path:
    """Return the folder of the runs: --runs, else $BATCHTUI_RUNS, else ./runs."""
    return Path(option or os.environ.get("BATCHTUI_RUNS") or "runs").expanduser().absolute()


def _overrides(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return what the command line sets, as (option, key.path=value); --batch-size wins."""
    overrides = [("--set", assignment) for assignment in options.set]
    if options.batch_size is not None:
        overrides.append(("--batch-size", f"dataloaders.batch_size={options.batch_size}"))
    return overrides


class _Parser(argparse.ArgumentParser):
    """argparse with one line for an error instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{clean(message, 300)}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="batchtui",
        usage="batchtui CONFIG [options]\n       batchtui COMMAND …",
        description="Launch a PyTorch training, watch it, and choose the batch size to run next.",
        epilog="batchtui CONFIG --help tells the options of a run. RUN is a run's name, "
        "the unique beginning of one, or `last`.",
    )
    parser.add_argument("--version", action="version", version=f"batchtui {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_Parser, prog="batchtui"
    )
    added = {name: commands.add_parser(name, help=text) for name, text in _COMMANDS.items()}
    _add_config(added["start"])
    added["attach"].add_argument("run", nargs="?", default="last", metavar="RUN")
    _add_screen(added["attach"])
    added["show"].add_argument("run", metavar="RUN")
    added["stop"].add_argument("run", metavar="RUN")
    added["stop"].add_argument(
        "--now", action="store_true", help="do not wait for a checkpoint: kill it"
    )
    _add_forecast(added["forecast"])
    for name in ("start", "runs", "show", "forecast", "doctor"):
        added[name].add_argument("--json", action="store_true", help="print JSON")
    for subparser in added.values():
        _add_runs(subparser)
    return parser


def _config_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="batchtui", description="Start a run of a configuration and show it.")
    _add_config(parser)
    _add_screen(parser)
    _add_runs(parser)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file")
    parser.add_argument(
        "--batch-size", metavar="N", help="short for --set dataloaders.batch_size=N"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="set a key; repeatable"
    )
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


def _add_forecast(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file")
    parser.add_argument("-b", dest="batch_sizes", metavar="N,N,…", help="the batch sizes")
    parser.add_argument("--device", metavar="DEVICE", help="cuda, cuda:N or cpu")
    parser.add_argument("--capacity", metavar="SIZE", help="of a device elsewhere, such as 24GiB")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a chart, .svg or .png")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="set a key; repeatable"
    )


def _add_screen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plain", action="store_true", help="one line an interval, no escape codes"
    )
    parser.add_argument(
        "--refresh",
        type=_interval,
        default=None,
        metavar="SECONDS",
        help="time between two updates",
    )


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="where runs are kept (default: ./runs)"
    )


def _interval(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return value
