"""The commands: what each is for, what it takes, and the function that does it.

A command's own module is imported when it is called.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from batchtui.commands import numbers
from batchtui.commands.options import (
    add_config,
    add_json,
    add_run,
    add_screen,
    add_set,
    look_of,
    overrides,
)


class Command(NamedTuple):
    """One command of the command line."""

    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Path], int]


def _watch_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_screen(parser)


def _watch(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import watch

    return watch.watch(
        options.config,
        root,
        overrides(options),
        resume=options.resume,
        look=look_of(options),
    )


def _start_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_json(parser)


def _start(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import start

    return start.start(
        options.config, root, overrides(options), resume=options.resume, as_json=options.json
    )


def _attach_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="last", metavar="RUN")
    add_screen(parser)


def _attach(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import watch

    return watch.attach(options.run, root, look_of(options))


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--speed",
        type=numbers.speed,
        metavar="N",
        help="seconds of the run in a second (default: all of it within a minute)",
    )
    parser.add_argument(
        "--from", type=numbers.step, dest="from_step", metavar="STEP", help="where to begin"
    )
    add_screen(parser)


def _replay(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import replay

    return replay.replay(
        options.run, root, look_of(options), speed=options.speed, from_step=options.from_step
    )


def _runs(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import look

    return look.runs(root, as_json=options.json)


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_json(parser)


def _show(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import look

    return look.show(options.run, root, as_json=options.json)


def _stop_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--now", action="store_true", help="do not wait for a checkpoint: kill it")


def _stop(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import stop

    return stop.stop(options.run, root, now=options.now)


def _restart_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--batch-size", type=numbers.batch_size, required=True, metavar="N")
    parser.add_argument(
        "--keep-global-batch",
        action="store_true",
        help="train as many samples a step as before, by gradient accumulation",
    )
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument(
        "--lr",
        type=numbers.learning_rate,
        metavar="X",
        help="the learning rate to go on with",
    )
    rate.add_argument(
        "--lr-rule",
        metavar="RULE",
        help="auto, keep, linear, sqrt or noise (default: training.lr_rule)",
    )
    parser.add_argument(
        "--force", action="store_true", help="try a size that is forecast not to fit"
    )
    add_json(parser)


def _restart(options: argparse.Namespace, root: Path) -> int:
    from batchtui.advise.restart import Change
    from batchtui.commands import restart

    change = Change(
        options.batch_size, options.keep_global_batch, rule=options.lr_rule, lr=options.lr
    )
    return restart.restart(options.run, root, change, force=options.force, as_json=options.json)


def _forecast_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file")
    parser.add_argument("-b", dest="batch_sizes", metavar="N,N,…", help="the batch sizes")
    parser.add_argument("--device", metavar="DEVICE", help="cuda, cuda:N or cpu")
    parser.add_argument("--capacity", metavar="SIZE", help="of a device elsewhere, such as 24GiB")
    parser.add_argument("--gpu", metavar="NAME", help="a GPU that is elsewhere, such as H100")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a chart, .svg or .png")
    parser.add_argument(
        "--time-limit",
        type=numbers.seconds(1, 86_400),
        metavar="SECONDS",
        help="how long the model may take to be traced (default: 120)",
    )
    add_set(parser)
    add_json(parser)


def _forecast(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import forecast

    return forecast.forecast(
        options.config,
        root,
        [("--set", assignment) for assignment in options.set],
        batch_sizes=options.batch_sizes,
        device=options.device,
        capacity=options.capacity,
        gpu=options.gpu,
        time_limit=options.time_limit,
        as_json=options.json,
        output=options.output,
    )


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="last", metavar="RUN")
    parser.add_argument(
        "--port", type=numbers.port, default=8000, metavar="N", help="of 127.0.0.1; 0: a free one"
    )


def _serve(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import serve

    return serve.serve(options.run, root, port=options.port)


def _find_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file")
    parser.add_argument(
        "--limit", metavar="SIZE", help="what the training may take, such as 20GiB (default: all)"
    )
    add_set(parser)
    add_json(parser)


def _find(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import find

    return find.find(
        options.config,
        root,
        [("--set", assignment) for assignment in options.set],
        limit=options.limit,
        as_json=options.json,
    )


def _doctor(options: argparse.Namespace, root: Path) -> int:
    from batchtui.commands import doctor

    return doctor.doctor(root, as_json=options.json)


WATCH = Command("Start a run of a configuration and show it.", _watch_arguments, _watch)
COMMANDS = {
    "start": Command("start a run in the background and print its name", _start_arguments, _start),
    "attach": Command(
        "show a run, alive or ended (default: the newest)", _attach_arguments, _attach
    ),
    "replay": Command("show a run as it was, from its start on", _replay_arguments, _replay),
    "runs": Command("list the runs", add_json, _runs),
    "show": Command("tell all that is known of one run", _show_arguments, _show),
    "stop": Command("write a checkpoint and stop a run", _stop_arguments, _stop),
    "restart": Command("go on with a run at another batch size", _restart_arguments, _restart),
    "forecast": Command(
        "tell what memory batch sizes that have not run will need", _forecast_arguments, _forecast
    ),
    "serve": Command("show a run in a browser, behind a token", _serve_arguments, _serve),
    "find": Command("find the largest batch size that is safe", _find_arguments, _find),
    "doctor": Command("tell what this machine offers and what is in the way", add_json, _doctor),
}
