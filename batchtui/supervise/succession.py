"""What comes after a run: the restart that was asked for, or the way back from a batch size.

The supervisor of the old run starts the next one, so that nothing depends on who asked and may be
gone: the old one counts as alive until the new one's supervisor is up.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from batchtui import units
from batchtui.config.schema import Config
from batchtui.errors import BatchtuiError
from batchtui.records import Fallback, Status
from batchtui.runs.directory import RunDirectory
from batchtui.runs.progress import Progress
from batchtui.supervise import worker
from batchtui.supervise.custody import Custody
from batchtui.supervise.death import Verdict
from batchtui.supervise.ledger import Ledger
from batchtui.supervise.successor import (
    Settings,
    discard,
    discard_unborn,
    fallback_to,
    prepare,
    reserve,
)


class Succession:
    """What comes after a run: nothing, the restart that was asked for, or the way back."""

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        ledger: Ledger,
        launch: Callable[[RunDirectory], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the launch of a run's worker; `launch` starts the supervisor of the next."""
        self._run, self._spec, self._config = run, run.read_launch(), config
        self._ledger, self._launch, self._clock = ledger, launch, clock
        self._fallback = self._spec.fallback
        self._since = clock()
        self._next: RunDirectory | None = None
        self._settings: Settings | None = None
        self._too_late: str | None = None
        self._too_full = False
        if self._spec.reason is not None:
            ledger.store.set_meta(reason=self._spec.reason)
            level = "warning" if self._spec.went_back else "info"
            ledger.event(level, "restart", f"{self._spec.reason}, after {self._spec.parent}")

    def asked(self, message: dict[str, Any], custody: Custody) -> dict[str, Any]:
        """Answer a request for a restart, and begin to stop the worker."""
        if self._next is not None:
            return {"ok": False, "error": f"{self._run.name} restarts as {self._next.name} already"}
        if custody.asked is not None or custody.exit_code is not None:
            return {"ok": False, "error": f"{self._run.name} is stopping: wait until it has ended"}
        try:
            settings = Settings.parse(message)
            following = reserve(self._run)
        except BatchtuiError as error:
            return {"ok": False, "error": str(error)}
        self._settings, self._next = settings, following
        self._ledger.store.set_meta(successor=following.name)
        custody.stop(f"restarting as {following.name}, {self._change(settings)}")
        return {"ok": True, "run": following.name}

    def cancel(self) -> None:
        """Have nothing follow: whoever asks for a stop wants no restart, nor the way back."""
        self._fallback = None
        if self._next is not None:
            discard(self._next)
            self._next = None
            self._ledger.store.set_meta(successor=None)
            self._ledger.event("info", "restart", "the restart is called off: a stop was asked for")

    def overdue(self, progress: Progress, custody: Custody) -> str | None:
        """Return why a new batch size has to be given up: its first step does not come."""
        fallback = self._fallback
        if fallback is None or progress.last is not None or custody.asked is not None:
            return None
        waited = self._clock() - self._since
        if waited < fallback.first_step_within:
            return None
        size = self._config.dataloaders.batch_size
        self._too_late = f"no first step within {waited:.0f} s at batch size {size}"
        return self._too_late

    def too_full(self) -> None:
        """Take note that the training is being stopped before it runs out of memory."""
        self._too_full = True

    def judge(self, verdict: Verdict) -> Verdict:
        """Return the verdict on the run; one that was given up has failed, and not stopped."""
        if self._too_late is None or verdict.status is Status.FINISHED:
            return verdict
        return dataclasses.replace(verdict, status=Status.FAILED, cause=self._too_late)

    def hand_over(self, verdict: Verdict, progress: Progress) -> None:
        """Start the next run, if there is to be one; whatever fails is an event.

        To be called once the worker is gone, and before the run counts as ended.
        """
        try:
            if self._next is not None:
                began = self._restart(self._next, verdict, progress)
            else:
                began = self._go_back(verdict, progress)
            if not began:
                return
            assert self._next is not None
            self._ledger.store.set_meta(successor=self._next.name)
            self._ledger.commit()
            worker.adopt_orphans(False)  # the next supervisor is to be nobody's child
            self._launch(self._next)
        except (BatchtuiError, OSError) as error:
            if self._next is not None:
                discard_unborn(self._next)
            self._ledger.store.set_meta(successor=None)
            self._ledger.event("error", "restart", f"could not be restarted: {error}")

    def _restart(self, following: RunDirectory, verdict: Verdict, progress: Progress) -> bool:
        """Prepare the run that was asked for."""
        assert self._settings is not None
        if verdict.status is Status.FINISHED:
            discard(following)
            self._ledger.store.set_meta(successor=None)
            self._ledger.event("info", "restart", "no restart: the training finished before it")
            return False
        self._account_for_losses(progress)
        prepare(
            following,
            self._run,
            self._settings.applied(self._spec.config),
            reason=self._change(self._settings),
            fallback=self._last_good(self._settings, progress),
        )
        self._ledger.event("info", "restart", f"goes on as {following.name}")
        return True

    def _go_back(self, verdict: Verdict, progress: Progress) -> bool:
        """Prepare the way back to the last good size, if this one was too much."""
        fallback = self._fallback
        if fallback is None or (why := self._too_much(verdict, progress)) is None:
            return False
        size = self._config.dataloaders.batch_size
        reason = f"back to batch size {fallback.batch_size}: {size} {why}"
        good = RunDirectory(self._run.path.parent / fallback.run).read_launch()
        self._next = reserve(self._run)
        prepare(self._next, self._run, good.config, reason=reason, went_back=True)
        self._ledger.event("warning", "restart", f"{reason}; goes on as {self._next.name}")
        return True

    def _too_much(self, verdict: Verdict, progress: Progress) -> str | None:
        """Return how the batch size turned out to be too much, if it did."""
        if verdict.status is Status.FINISHED:
            return None
        if verdict.status is Status.OUT_OF_MEMORY:
            return "ran out of memory"
        if self._too_late or self._too_full:
            # What forecasts learn from: this size is too much here.
            self._ledger.store.set_meta(too_large=True)
            return "never made its first step" if self._too_late else "filled the memory"
        if verdict.status is Status.FAILED and progress.last is None:
            return f"failed before its first step ({verdict.cause})"
        return None

    def _account_for_losses(self, progress: Progress) -> None:
        """Say which steps no checkpoint has kept.

        Raises:
            BatchtuiError: not one is kept; the training would begin anew.
        """
        if progress.last is None:
            return
        checkpoint = self._run.latest_checkpoint()
        if checkpoint is None:
            raise BatchtuiError("no checkpoint could be written, and there is no older one")
        kept = int(checkpoint.stem.rpartition("-")[2])
        if kept < progress.last.step:
            self._ledger.event(
                "warning",
                "restart",
                f"the last checkpoint is of step {units.count(kept)}: "
                f"{units.count(progress.last.step - kept)} steps will be trained again",
            )

    def _last_good(self, settings: Settings, progress: Progress) -> Fallback | None:
        """Return what to go back to: this run, if it has shown that its size works."""
        if progress.last is None or progress.start is None:
            return self._fallback
        startup = max(0.0, progress.start.time - self._spec.created)
        return fallback_to(self._run, self._config, settings, startup, progress.slow_step)

    def _change(self, settings: Settings) -> str:
        return f"batch size {self._config.dataloaders.batch_size} → {settings.batch_size}"
