"""Rollups: what makes a chart of ten million steps read a few thousand rows.

A series table has one raw row a key (a step, a tick). On level L, a bucket covers FANOUT**L
consecutive keys, and its row holds the number of raw rows and, for each column, the least and
the greatest value, the sum and the number of the values that are not NULL.

A bucket's row is written once its last key has been reached, and again whenever a row is added
to it later. It is always computed from the rows one level below, so that no state outlives a
transaction: after any crash the rollups agree with the raw rows. The bucket that still fills
has no row; `cover` reads it from the level below, and its newest rows raw.

A table that grows with time instead of with training keeps its newest rows alone, on each level
as many: what is older is known in larger buckets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

FANOUT = 16
LEVELS = range(1, 8)  # the last one's buckets hold 268 million keys

BucketRow = tuple[Any, ...]
"""(bucket, rows, then low, high, sum and count of each column): numbers, or None for NULL."""


@dataclass(frozen=True)
class SeriesTable:
    """A table with rollups. With a `group` column, every value of it is a series of its own.

    `keep` is how many keys' rows stay on each level, a multiple of FANOUT; None: all of them.
    """

    name: str
    key: str
    columns: tuple[str, ...]
    group: str | None = None
    keep: int | None = None

    def check(self, columns: Sequence[str]) -> None:
        """Raise ValueError if one of the columns is not the table's."""
        for column in columns:
            if column not in self.columns:
                known = ", ".join(self.columns)
                raise ValueError(f"{column!r} is no column of {self.name}: {known}")

    def at(self, level: int) -> tuple[str, str]:
        """Return the table of a level and its key column."""
        return (f"{self.name}_{level}", "bucket") if level else (self.name, self.key)

    def kept_from(self, level: int, newest: int) -> int:
        """Return the first raw key that a level still tells of when `newest` is the last one."""
        if self.keep is None:
            return 0
        unit = FANOUT**level
        return max(0, (newest // unit - self.keep) // FANOUT * FANOUT) * unit

    def create_sql(self, level: int) -> str:
        """Return the statement that creates the rollup of a level."""
        columns = ", ".join(f"{c}_low, {c}_high, {c}_sum, {c}_count" for c in self.columns)
        if self.group is None:
            return (
                f"CREATE TABLE {self.name}_{level} (bucket INTEGER PRIMARY KEY, rows, {columns});"
            )
        return (
            f"CREATE TABLE {self.name}_{level} (bucket INTEGER, rows, {columns}, "
            f"{self.group} INTEGER, PRIMARY KEY ({self.group}, bucket)) WITHOUT ROWID;"
        )

    def aggregate_sql(self, level: int, columns: Sequence[str], divisor: int) -> str:
        """Return the query that sums up the rows of a level, `divisor` of its keys a bucket.

        Its parameters: the group's value if there is one, the first key, the key after the last.
        """
        # total() is a float that can't overflow, where sum() of huge integers raises.
        table, key = self.at(level)
        if level == 0:
            rows = "count(*)"
            values = [f"min({c}), max({c}), total({c}), count({c})" for c in columns]
        else:
            rows = "sum(rows)"
            values = [
                f"min({c}_low), max({c}_high), total({c}_sum), sum({c}_count)" for c in columns
            ]
        where = f"{key} >= ? AND {key} < ?"
        if self.group is not None:
            where = f"{self.group} = ? AND {where}"
            values.append(self.group)
        return (
            f"SELECT {key} / {divisor} AS chunk, {rows}, {', '.join(values)} "
            f"FROM {table} WHERE {where} GROUP BY chunk"
        )


# Ticks: 18 hours of every second, 12 days of every 16 s, half a year of every four minutes. With
# eight GPUs that is some 150 MB, after which the file grows no more.
_KEPT_TICKS = 65_536

STEPS = SeriesTable(
    "steps",
    "step",
    (
        *("time", "samples", "epoch", "batch", "loss", "variance", "nonfinite", "lr", "grad_norm"),
        *("step_s", "data_s", "transfer_s", "forward_s", "backward_s", "optimizer_s"),
        *("allocated", "reserved", "peak"),
    ),
)
MACHINE = SeriesTable(
    "machine",
    "tick",
    (
        *("time", "cpu", "load1", "iowait", "memory_total", "memory_available"),
        *("limit_total", "limit_used", "worker_cpu", "worker_resident", "worker_processes"),
        *("shm_used", "shm_total", "disk_free"),
    ),
    keep=_KEPT_TICKS,
)
GPU = SeriesTable(
    "gpu",
    "tick",
    (
        *("time", "used", "total", "worker_used", "others_used", "utilization"),
        *("temperature_c", "power_w", "power_limit_w"),
    ),
    group="gpu_index",
    keep=_KEPT_TICKS,
)


def update(
    db: sqlite3.Connection,
    table: SeriesTable,
    keys: Iterable[int],
    newest_before: int | None,
    group: int | None = None,
) -> None:
    """Bring the rollups up to date, in the transaction that added raw rows at `keys`.

    `newest_before` is the greatest key before that transaction: its buckets may have become full.
    """
    touched = set(keys)
    if not touched:
        return
    if newest_before is not None:
        touched.add(newest_before)
    end = max(touched) + 1
    of_group = [] if group is None else [group]
    for level in LEVELS:
        touched = {key // FANOUT for key in touched}
        full = end // FANOUT**level
        statement = f"INSERT OR REPLACE INTO {table.name}_{level} " + table.aggregate_sql(
            level - 1, table.columns, FANOUT
        )
        for first, stop in _stretches(bucket for bucket in touched if bucket < full):
            db.execute(statement, [*of_group, first * FANOUT, stop * FANOUT])


def forget(
    db: sqlite3.Connection,
    table: SeriesTable,
    newest_before: int | None,
    newest: int,
    group: int | None = None,
) -> None:
    """Delete what a table keeps no longer, in the transaction that added its newest rows."""
    if newest_before is not None and newest_before // FANOUT == newest // FANOUT:
        return
    of_group = [] if group is None else [group]
    for level in (0, *LEVELS):
        edge = table.kept_from(level, newest) // FANOUT**level
        if edge == 0:
            break  # higher levels have fewer rows
        name, key = table.at(level)
        where = f"{key} < ?" if table.group is None else f"{table.group} = ? AND {key} < ?"
        db.execute(f"DELETE FROM {name} WHERE {where}", [*of_group, edge])


def finest(table: SeriesTable, first: int, newest: int) -> int:
    """Return the least bucket size in which the table still tells of the keys from `first` on."""
    level = next(level for level in (0, *LEVELS) if first >= table.kept_from(level, newest))
    return int(FANOUT**level)


def newest(db: sqlite3.Connection, table: SeriesTable) -> int | None:
    """Return the greatest key of a table without groups; None: it is empty."""
    key: int | None = db.execute(f"SELECT max({table.key}) FROM {table.name}").fetchone()[0]
    return key


def groups(db: sqlite3.Connection, table: SeriesTable) -> Iterator[int]:
    """Yield the groups of a table, each found by one look into its index."""
    statement = f"SELECT min({table.group}) FROM {table.name} WHERE {table.group} > ?"
    group = -1
    while (row := db.execute(statement, [group]).fetchone())[0] is not None:
        (group,) = row
        yield group


def first_since(db: sqlite3.Connection, table: SeriesTable, since: float, newest: int) -> int:
    """Return the key after the last one whose time is before `since`, a wall-clock stamp.

    That is right as well where the clock jumped, and looks at few buckets of each level.
    """
    for level, begin, end in reversed(cover(0, newest + 1, LEVELS[-1])):
        while True:
            unit = FANOUT**level
            name, key = table.at(level)
            time = "time_low" if level else "time"
            if begin < table.kept_from(level, newest):
                return begin  # inside a bucket whose parts are forgotten
            row = db.execute(
                f"SELECT {key} FROM {name} WHERE {key} >= ? AND {key} < ? AND {time} < ? "
                f"ORDER BY {key} DESC LIMIT 1",
                [begin // unit, end // unit, since],
            ).fetchone()
            if row is None:
                break
            if level == 0:
                return int(row[0]) + 1
            level, begin, end = level - 1, row[0] * unit, (row[0] + 1) * unit
    return 0


def window(
    db: sqlite3.Connection,
    table: SeriesTable,
    columns: Sequence[str],
    first: int,
    stop: int,
    size: int,
    group: int | None = None,
) -> Iterator[BucketRow]:
    """Yield the rows of [first, stop), summed up in buckets of `size` keys.

    `size` is a power of two and `stop` at most the newest key + 1. A bucket may come in several
    rows; they lie next to each other. Buckets without rows are left out.
    """
    of_group = [] if group is None else [group]
    coarsest = max(level for level in (0, *LEVELS) if FANOUT**level <= size)
    for level, begin, end in cover(first, stop, coarsest):
        unit = FANOUT**level
        statement = table.aggregate_sql(level, columns, size // unit)
        yield from db.execute(statement, [*of_group, begin // unit, end // unit])


def cover(first: int, stop: int, level: int) -> list[tuple[int, int, int]]:
    """Split [first, stop) into (level, first, stop), each from the coarsest level it fills.

    No part but one in the middle is longer than FANOUT buckets of its level.
    """
    if first >= stop:
        return []
    if level == 0:
        return [(0, first, stop)]
    unit = FANOUT**level
    begin, end = -(-first // unit) * unit, stop // unit * unit
    if begin >= end:
        return cover(first, stop, level - 1)
    return [
        *cover(first, begin, level - 1),
        (level, begin, end),
        *cover(end, stop, level - 1),
    ]


def _stretches(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Join numbers into (first, stop) of uninterrupted stretches."""
    stretches: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if stretches and stretches[-1][1] == number:
            stretches[-1] = (stretches[-1][0], number + 1)
        else:
            stretches.append((number, number + 1))
    return stretches
