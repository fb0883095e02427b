"""The tables of run.db.

`steps`, `machine` and `gpu` are series: besides the raw rows they have the rollups that
`batchtui.runs.rollups` describes. `machine` and `gpu` count ticks of the sampler instead of
seconds, since a wall clock may jump. `meta` holds one JSON value a key: what the supervisor
knows of the run now.
"""

from __future__ import annotations

import sqlite3

from batchtui.runs import rollups

SCHEMA_VERSION = 1
APPLICATION_ID = int.from_bytes(b"btui", "big")

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE steps (
  step INTEGER PRIMARY KEY,
  time REAL NOT NULL, samples INTEGER NOT NULL, epoch INTEGER NOT NULL, batch INTEGER NOT NULL,
  loss REAL, variance REAL, nonfinite INTEGER NOT NULL, lr REAL, grad_norm REAL,
  step_s REAL, data_s REAL, transfer_s REAL, forward_s REAL, backward_s REAL, optimizer_s REAL,
  allocated INTEGER, reserved INTEGER, peak INTEGER
);

CREATE TABLE machine (
  tick INTEGER PRIMARY KEY,
  time REAL NOT NULL, cpu REAL,
  cores BLOB,  -- one byte a core, in half per cent
  load1 REAL, iowait REAL, memory_total INTEGER, memory_available INTEGER,
  limit_total INTEGER, limit_used INTEGER, worker_cpu REAL, worker_resident INTEGER,
  worker_processes INTEGER, shm_used INTEGER, shm_total INTEGER, disk_free INTEGER
);

CREATE TABLE gpu (
  gpu_index INTEGER NOT NULL, tick INTEGER NOT NULL, time REAL NOT NULL,
  used INTEGER, total INTEGER, worker_used INTEGER, others_used INTEGER, utilization REAL,
  temperature_c REAL, power_w REAL, power_limit_w REAL,
  PRIMARY KEY (gpu_index, tick)
) WITHOUT ROWID;

CREATE TABLE evaluations (
  step INTEGER PRIMARY KEY,
  time REAL NOT NULL, samples INTEGER NOT NULL, epoch INTEGER NOT NULL,
  loss REAL, accuracy REAL, eval_samples INTEGER NOT NULL, seconds REAL, peak INTEGER
);

CREATE TABLE checkpoints (
  id INTEGER PRIMARY KEY,
  time REAL NOT NULL, step INTEGER NOT NULL, samples INTEGER NOT NULL, epoch INTEGER NOT NULL,
  file TEXT, bytes INTEGER, seconds REAL, error TEXT
);

CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  time REAL NOT NULL, level TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
  step INTEGER
);

CREATE TABLE ranks (
  rank INTEGER PRIMARY KEY,
  time REAL NOT NULL, pid INTEGER NOT NULL, world_size INTEGER NOT NULL, device TEXT NOT NULL,
  device_name TEXT, device_uuid TEXT, torch TEXT, batch_size INTEGER NOT NULL,
  accumulate INTEGER NOT NULL, global_batch_size INTEGER NOT NULL,
  train_samples INTEGER NOT NULL, eval_samples INTEGER NOT NULL, epochs INTEGER NOT NULL,
  total_samples INTEGER NOT NULL, parameters INTEGER, first_step INTEGER NOT NULL,
  first_samples INTEGER NOT NULL,
  step INTEGER, allocated INTEGER, reserved INTEGER, peak INTEGER  -- its newest step, most of each
);
"""
# A run of before is recorded further in the file that it has.
_ADDED = """
CREATE TABLE IF NOT EXISTS log_sizes (  -- how much of worker.log had been written when
  id INTEGER PRIMARY KEY, time REAL NOT NULL, bytes INTEGER NOT NULL
);
"""


def create(db: sqlite3.Connection) -> None:
    """Create all tables in one transaction: a reader finds none of them or all."""
    levels = "\n".join(
        series.create_sql(level)
        for series in (rollups.STEPS, rollups.MACHINE, rollups.GPU)
        for level in rollups.LEVELS
    )
    db.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} {_ADDED} {levels}"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        "COMMIT;"
    )


def complete(db: sqlite3.Connection) -> None:
    """Create what a file of before lacks."""
    db.execute(_ADDED)


def refusal(db: sqlite3.Connection) -> str | None:
    """Return why this file can't be used as a run.db, or None.

    Raises:
        sqlite3.Error: it is no SQLite file at all.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
        return "empty: nothing has been recorded in it yet"
    if application != APPLICATION_ID:
        return "an SQLite file, but not a run of batchtui"
    if version != SCHEMA_VERSION:
        return (
            f"written by a newer batchtui (format {version}, this one knows {SCHEMA_VERSION}): "
            "upgrade batchtui to read it"
        )
    return None
