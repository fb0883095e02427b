"""Runs that go on where another ended: a resumed run continues its parent's step numbers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batchtui.errors import StoreError
from batchtui.runs import rollups
from batchtui.runs.access import reading
from batchtui.runs.directory import RunDirectory

MAX_ANCESTORS = 50


@dataclass(frozen=True)
class Stretch:
    """The steps that one run of a chain contributes: [first, stop)."""

    run: RunDirectory
    first: int
    stop: int
    batch_size: int | None


def read_meta(db: sqlite3.Connection) -> dict[str, Any]:
    """Return the whole meta table."""
    return {key: json.loads(value) for key, value in db.execute("SELECT key, value FROM meta")}


def stretch(db: sqlite3.Connection, run: RunDirectory) -> Stretch | None:
    """Return the steps that a run trained itself; None: none so far."""
    (first,) = db.execute("SELECT min(step) FROM steps").fetchone()
    if first is None:
        return None
    newest = rollups.newest(db, rollups.STEPS)
    assert newest is not None
    return Stretch(run, first, newest + 1, _meta(db, "batch_size"))


def ancestors(run: RunDirectory, before: int | None) -> list[Stretch]:
    """Return what a run's parents contribute before its own first step, oldest first.

    A parent whose directory is gone or unreadable ends the chain. `before` is None for a run
    that has not said yet at which step it goes on.
    """
    chain: list[Stretch] = []
    for parent in parents(run):
        try:
            with reading(parent.database) as db:
                own = stretch(db, parent)
        except (StoreError, ValueError):  # ValueError: meta that is no JSON
            break
        if own is None:
            continue
        stop = own.stop if before is None else min(own.stop, before)
        if own.first < stop:
            chain.append(Stretch(parent, own.first, stop, own.batch_size))
            before = own.first
    return chain[::-1]


def parents(run: RunDirectory) -> Iterator[RunDirectory]:
    """Yield a run's parent, its parent, and so on, as far as they lie beside it."""
    seen = {run.name}
    for _ in range(MAX_ANCESTORS):
        try:
            name = run.read_launch().parent
        except StoreError:
            return
        if not name or name in seen or "/" in name:
            return
        seen.add(name)
        run = RunDirectory(run.path.parent / name)
        yield run


def _meta(db: sqlite3.Connection, key: str) -> Any:
    row = db.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
    return json.loads(row[0]) if row else None
