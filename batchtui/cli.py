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
from batchtui.commands.table import COMMANDS, WATCH
from batchtui.errors import BatchtuiError, UsageError
from batchtui.text import clean


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
    """Parse and dispatch. Only the parser that is needed is made, and only its command imported."""
    if not words:
        _overview().print_help()
        return 2
    word = words[0]
    if word in ("-h", "--help", "--version"):
        _overview().parse_args(words)
    if word.startswith("-"):
        raise UsageError("the configuration or the command comes first; see batchtui --help")
    if (command := COMMANDS.get(word)) is not None:
        about = command.summary
        parser = _Parser(prog=f"batchtui {word}", description=f"{about[0].upper()}{about[1:]}.")
        words = words[1:]
    else:
        _refuse_misspelt(word)
        command = WATCH
        parser = _Parser(prog="batchtui", description=command.summary)
    command.arguments(parser)
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="where runs are kept (default: ./runs)"
    )
    options = parser.parse_args(words)
    return command.run(options, _root(options.runs))


def _refuse_misspelt(word: str) -> None:
    if not Path(word).exists() and os.sep not in word and "." not in word:
        import difflib

        near = difflib.get_close_matches(word, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(COMMANDS)}"
        raise UsageError(f"{clean(word, 80)!r} is no configuration file and no command; {hint}")


def _root(option: Path | None) -> Path:
    """Return the folder of the runs: --runs, else $BATCHTUI_RUNS, else ./runs."""
    return Path(option or os.environ.get("BATCHTUI_RUNS") or "runs").expanduser().absolute()


class _Parser(argparse.ArgumentParser):
    """argparse with one line for an error instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{clean(message.removeprefix('argument '), 300)}; see {self.prog} --help")


def _overview() -> argparse.ArgumentParser:
    """Return the parser of `batchtui --help` and `--version`."""
    parser = _Parser(
        prog="batchtui",
        usage="batchtui CONFIG [options]\n       batchtui COMMAND …",
        description="Launch a PyTorch training, watch it, and choose the batch size to run next.",
        epilog="batchtui CONFIG --help tells the options of a run, batchtui COMMAND --help those "
        "of a command. RUN is a run's name, the unique beginning of one, or `last`.",
    )
    parser.add_argument("--version", action="version", version=f"batchtui {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", prog="batchtui")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.summary)
    return parser
