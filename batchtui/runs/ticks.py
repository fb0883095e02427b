"""One sample of the machine, out of the rows that are left of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from batchtui.records import GpuSample, MachineSample
from batchtui.runs import rollups
from batchtui.runs.rows import cores_of
from batchtui.runs.series import collect

# Columns that count something, processes or bytes.
_WHOLE = frozenset(
    {
        *("memory_total", "memory_available", "limit_total", "limit_used", "worker_resident"),
        *("worker_processes", "shm_used", "shm_total", "disk_free"),
        *("used", "total", "worker_used", "others_used"),
    }
)


def sample_at(
    db: sqlite3.Connection, stop: int, newest: int, today: MachineSample | None
) -> MachineSample | None:
    """Return the last sample before the tick `stop`; None: there is none.

    Where single ticks are not kept any more it is the mean of the last ones known together, and
    tells of no single core. `today`, the newest sample, tells the names that the rows have not.
    """
    if stop <= 0:
        return None
    size = rollups.finest(rollups.MACHINE, stop - 1, newest)
    machine = _means(db, rollups.MACHINE, stop, size)
    if not machine:
        return None
    row = db.execute("SELECT cores FROM machine WHERE tick = ?", [stop - 1]).fetchone()
    gpus = tuple(_gpus(db, stop, size, today))
    same_limit = today is not None and machine["limit_total"] == today.limit_total
    return MachineSample(
        **machine,
        cores=cores_of(row[0]) if row is not None and row[0] else (),
        gpus=gpus,
        limit_source=today.limit_source if today is not None and same_limit else None,
        gpu_status=today.gpu_status if today is not None and not gpus else None,
    )


def _gpus(
    db: sqlite3.Connection, stop: int, size: int, today: MachineSample | None
) -> Sequence[GpuSample]:
    names = {gpu.index: gpu for gpu in today.gpus} if today is not None else {}
    found = []
    for index in rollups.groups(db, rollups.GPU):
        values = _means(db, rollups.GPU, stop, size, index)
        if values:
            del values["time"]
            card = names.get(index)
            uuid, name = (card.uuid, card.name) if card is not None else (None, None)
            found.append(GpuSample(index=index, uuid=uuid, name=name, **values))
    return found


def _means(
    db: sqlite3.Connection,
    table: rollups.SeriesTable,
    stop: int,
    size: int,
    group: int | None = None,
) -> dict[str, Any]:
    """Return each column over the last `size` ticks before `stop`: of one tick, its own value."""
    first = (stop - 1) // size * size
    rows = rollups.window(db, table, table.columns, first, stop, size, group)
    series = collect(rows, table.columns, size)
    if not series.x:
        return {}
    bands = series.columns
    values: dict[str, Any] = {name: band.mean[-1] for name, band in bands.items()}
    for name in _WHOLE & values.keys():
        values[name] = None if values[name] is None else round(values[name])
    return values | {"time": bands["time"].high[-1]}
