"""The run directory: which file of a run lies where, and how a run is created and found."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from batchtui.errors import BatchtuiError, RunNotFound, StoreError
from batchtui.records import LaunchSpec

_STEM_LENGTH = 64  # leaves room for a socket's path, which may have 108 bytes
_NUMBER = re.compile(r"(.+)-([0-9]{3,})\Z")


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder: everything that is known of a run lies in it."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved configuration, for people."""
        return self.path / "config.yaml"

    @property
    def launch(self) -> Path:
        """What supervisor and worker need to know; its presence makes the folder a run."""
        return self.path / "launch.json"

    @property
    def database(self) -> Path:
        """run.db; only the supervisor writes it."""
        return self.path / "run.db"

    @property
    def journals(self) -> Path:
        """The folder of the ranks' journals."""
        return self.path / "journal"

    @property
    def log(self) -> Path:
        """The worker's stdout and stderr."""
        return self.path / "worker.log"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor had to say that fits nowhere else."""
        return self.path / "supervisor.log"

    @property
    def error(self) -> Path:
        """The worker's own account of its death."""
        return self.path / "error.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for life."""
        return self.path / "supervisor.lock"

    @property
    def socket(self) -> Path:
        """Where the supervisor takes requests."""
        return self.path / "supervisor.sock"

    def latest_checkpoint(self) -> Path | None:
        """Return the newest checkpoint, or the one that the run was itself resumed from."""
        files = list(self.checkpoints.glob("step-*.pt"))
        if files:
            return max(files, key=lambda file: (len(file.name), file.name))
        inherited = self.read_launch().resume_from
        return Path(inherited) if inherited and Path(inherited).exists() else None

    def sweep(self) -> None:
        """Remove what a worker that is gone has left half written."""
        for folder in (self.path, self.checkpoints):
            for leftover in folder.glob(".*.tmp"):
                with contextlib.suppress(OSError):
                    leftover.unlink()

    def read_launch(self) -> LaunchSpec:
        """Read launch.json.

        Raises:
            StoreError: it is missing or not what `write_launch` wrote.
        """
        try:
            # The stock decoder keeps the lone surrogates by which Python spells file names
            # that are no UTF-8.
            values = json.loads(self.launch.read_bytes())
            return msgspec.convert(values, LaunchSpec)
        except OSError as error:
            raise StoreError(f"{self.launch}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0]
            raise StoreError(
                f"{self.launch}: damaged ({reason}); the run cannot be used, start a new one"
            ) from None

    def write_launch(self, spec: LaunchSpec) -> None:
        """Write launch.json so that a reader finds all of it or nothing.

        Raises:
            BatchtuiError: the folder cannot be written.
        """
        temporary = self.launch.with_suffix(".tmp")
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(spec), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.launch)
        except OSError as error:
            raise BatchtuiError(f"{self.launch}: cannot write: {error.strerror}") from None


def create_run(root: Path, stem: str) -> RunDirectory:
    """Make the next free folder `<stem>-001`, `<stem>-002`, … of `root`.

    Two callers at once get two folders. A number is not used again while a later one exists.

    Raises:
        BatchtuiError: `root` cannot be created or written.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-")[:_STEM_LENGTH] or "run"
    try:
        root.mkdir(parents=True, exist_ok=True)
        taken = [
            int(match[2])
            for name in os.listdir(root)
            if (match := _NUMBER.match(name)) and match[1] == stem
        ]
        number = max(taken, default=0) + 1
        while True:
            run = RunDirectory(root / f"{stem}-{number:03d}")
            try:
                run.path.mkdir()
                return run
            except FileExistsError:
                number += 1
    except OSError as error:
        raise BatchtuiError(
            f"{root}: cannot create a run here: {error.strerror}; choose another with --runs"
        ) from None


def list_runs(root: Path) -> list[RunDirectory]:
    """Return the runs of `root`, oldest launch first; no folder, no runs.

    Raises:
        BatchtuiError: `root` is there and cannot be listed.
    """
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BatchtuiError(f"{root}: cannot list the runs: {error.strerror}") from None
    runs = [RunDirectory(root / name) for name in names]
    launched = [(when, run.name, run) for run in runs if (when := _launched(run)) is not None]
    return [run for _, _, run in sorted(launched, key=lambda entry: entry[:2])]


def find_run(root: Path, reference: str) -> RunDirectory:
    """Return the run that `reference` means: its name, `last`, or the start of one name alone.

    Raises:
        RunNotFound: none or several answer; the message names the nearest.
    """
    runs = list_runs(root)
    if not runs:
        raise RunNotFound(f"no run {reference!r}: there are no runs in {root}")
    for run in runs:
        if run.name == reference:
            return run
    if reference == "last":
        return runs[-1]
    matching = [run for run in runs if reference and run.name.startswith(reference)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        some = _some([run.name for run in matching])
        raise RunNotFound(f"{reference!r} may be any of {len(matching)} runs: {some}")
    names = [run.name for run in runs]
    import difflib  # for a mistake alone

    near = difflib.get_close_matches(reference, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {_some(names[::-1])}"
    raise RunNotFound(f"no run {reference!r} in {root}: {hint}")


def _launched(run: RunDirectory) -> float | None:
    """Return when a run was launched, in Unix seconds; None: the folder is no run."""
    try:
        return run.read_launch().created or run.launch.stat().st_mtime
    except StoreError:
        # A damaged launch.json still marks a run, which must show up in lists.
        try:
            return run.launch.stat().st_mtime
        except OSError:
            return None
    except OSError:
        return None


def _some(names: list[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
