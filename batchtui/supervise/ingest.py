"""Journals to run.db: a bounded look at each rank's, as often as the supervisor has time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from batchtui import units
from batchtui.records import Checkpoint, End, Evaluation, Note, Phase, Record, Start, Step
from batchtui.runs.journal import JournalTail, Position
from batchtui.runs.progress import Progress
from batchtui.supervise.ledger import Ledger

_RECORDS = 5000  # a look, all ranks together
_SECONDS = 0.05


class Ingest:
    """Reads the journals of all ranks, and keeps what they say."""

    def __init__(
        self,
        folder: Path,
        ranks: int,
        ledger: Ledger,
        progress: Progress,
        heard: Callable[[Record], None] = lambda record: None,
    ) -> None:
        """Go on where the store says that a supervisor before this one stopped.

        Args:
            folder: where the journals lie.
            ranks: how many there are.
            ledger: what the records go to.
            progress: follows rank 0's.
            heard: called with each record, of any rank.
        """
        self._ledger = ledger
        self._progress = progress
        self._heard = heard
        store = ledger.store
        self._tails = {r: JournalTail(folder, r, store.position(r)) for r in range(ranks)}
        self._files = dict.fromkeys(self._tails, 1)
        self._trouble: str | None = None

    def pull(self) -> bool:
        """Read what is new, within bounds; return whether there may be more.

        The caller commits, and calls `committed` if that went well.
        """
        more = False
        most, seconds = max(1, _RECORDS // len(self._tails)), _SECONDS / len(self._tails)
        for rank, tail in self._tails.items():
            began = time.monotonic()
            records = tail.read(most, seconds)
            if records:
                more = more or len(records) == most or time.monotonic() - began >= seconds
                self._keep(rank, records)
                self._ledger.store.set_position(rank, tail.position)
        self._complain()
        return more

    def committed(self) -> None:
        """Delete journal files that are in run.db now."""
        for rank, tail in self._tails.items():
            if tail.position.file > self._files[rank]:
                self._files[rank] = tail.position.file
                tail.delete_ingested()

    def drain(self) -> bool:
        """Read all that is left and commit it; return whether that went well."""
        quiet = 0
        while quiet < 2:  # a slow disk may use up a whole look before its first record
            before = self._positions()
            quiet = 0 if self.pull() or before != self._positions() else quiet + 1
            if not self._ledger.commit():
                return False
            self.committed()
        return True

    @property
    def bad_lines(self) -> int:
        """How many lines were no records."""
        return sum(tail.bad_lines for tail in self._tails.values())

    def _positions(self) -> list[Position]:
        return [tail.position for tail in self._tails.values()]

    def _keep(self, rank: int, records: list[Record]) -> None:
        store = self._ledger.store
        steps = [record for record in records if isinstance(record, Step)]
        store.add_steps(steps, rank)
        for record in records:
            self._heard(record)
            if rank == 0:
                self._keep_first(record)
            elif isinstance(record, Start):
                store.add_start(record)
            elif isinstance(record, Step):
                self._progress.memory(record.reserved)

    def _keep_first(self, record: Record) -> None:
        """Keep a record of rank 0, which speaks for all."""
        store, progress = self._ledger.store, self._progress
        if isinstance(record, Step):
            if record.nonfinite and not progress.nonfinite_steps:
                self._event(record, "loss", "the loss is NaN or infinite", record.step, "warning")
        elif isinstance(record, Start):
            store.add_start(record)
            self._event(record, "started", _introduction(record), record.first_step)
        elif isinstance(record, Phase):
            if progress.start is None:  # later ones come once an epoch, and are only shown
                self._event(record, "phase", record.phase)
        elif isinstance(record, Evaluation):
            store.add_evaluation(record)
        elif isinstance(record, Checkpoint):
            store.add_checkpoint(record)
            if record.error is not None:
                message = f"no checkpoint could be written: {record.error}"
                self._event(record, "checkpoint", message, record.step, "warning")
        elif isinstance(record, Note):
            level = "warning" if record.level == "warning" else "info"
            step = progress.last.step if progress.last else None
            self._event(record, "note", record.message, step, level)
        elif isinstance(record, End):
            # Kept, because a supervisor that dies now will not read it again.
            store.set_meta(
                end=asdict(record), dropped_records=store.dropped + record.dropped_records
            )
        progress.feed(record)

    def _event(
        self, record: Record, kind: str, message: str, step: int | None = None, level: str = "info"
    ) -> None:
        self._ledger.event(level, kind, message, step=step, at=record.time)

    def _complain(self) -> None:
        trouble = next((tail.trouble for tail in self._tails.values() if tail.trouble), None)
        if trouble is not None and trouble != self._trouble:
            self._ledger.event("warning", "journal", f"the journal cannot be read: {trouble}")
        self._trouble = trouble


def _introduction(start: Start) -> str:
    name = f" ({start.device_name})" if start.device_name else ""
    ranks = f" on each of {start.world_size} processes" if start.world_size > 1 else ""
    resumed = f", going on after step {units.count(start.first_step)}" if start.first_step else ""
    return f"training on {start.device}{name}, batch size {start.batch_size}{ranks}{resumed}"
