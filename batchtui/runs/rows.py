"""How records become rows: a table's columns are the fields of its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from batchtui.records import (
    Checkpoint,
    Evaluation,
    Event,
    GpuSample,
    MachineSample,
    Start,
    Step,
)


@dataclass(frozen=True)
class Rank:
    """One process of the training: what it said of itself, how far it is, its most memory."""

    start: Start
    step: int | None
    allocated: int | None
    reserved: int | None
    peak: int | None


def field_names(record: Any) -> list[str]:
    """Return the names of a record class's fields, in order."""
    return [field.name for field in dataclasses.fields(record)]


class Insert:
    """Turn objects of one class into rows of one table.

    A row takes the place of the one that has its primary key. `keys` are columns that the
    caller puts before the fields.
    """

    def __init__(self, table: str, columns: Sequence[str], keys: Sequence[str] = ()) -> None:
        everything = [*keys, *columns]
        self.row = attrgetter(*columns)
        self.sql = (
            f"INSERT OR REPLACE INTO {table} ({', '.join(everything)}) "
            f"VALUES ({', '.join('?' * len(everything))})"
        )


STEP = Insert("steps", field_names(Step))
EVALUATION = Insert("evaluations", field_names(Evaluation))
CHECKPOINT = Insert("checkpoints", field_names(Checkpoint))
EVENT = Insert("events", field_names(Event))
START = Insert("ranks", field_names(Start))


class LogSize(NamedTuple):
    """How many bytes of worker.log had been written at a moment, those cut out since included."""

    time: float
    bytes: int


LOG_SIZE = Insert("log_sizes", LogSize._fields)
FORGET_LOG_SIZES = "DELETE FROM log_sizes WHERE id <= (SELECT max(id) FROM log_sizes) - ?"

# Of a sample, what changes from tick to tick and can be drawn; meta keeps the newest one whole.
MACHINE = Insert(
    "machine",
    [
        name
        for name in field_names(MachineSample)
        if name not in ("cores", "gpus", "limit_source", "gpu_status")
    ],
    keys=("tick", "cores"),
)
GPU = Insert(
    "gpu",
    [name for name in field_names(GpuSample) if name not in ("index", "uuid", "name", "error")],
    keys=("gpu_index", "tick", "time"),
)


def cores_blob(cores: Sequence[float]) -> bytes:
    """Pack the load of each core, a fraction, into a byte in half per cent."""
    return bytes(min(200, max(0, round(core * 200))) for core in cores)


def cores_of(blob: bytes) -> tuple[float, ...]:
    """Unpack what `cores_blob` packed."""
    return tuple(byte / 200 for byte in blob)
