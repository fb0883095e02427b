"""The next run of a training: at another batch size, from the last one's checkpoint.

The supervisor of the old run starts it, so that nothing depends on who asked and may be gone:
the old one counts as alive until the new one's supervisor is up.
"""

from __future__ import annotations

import copy
import dataclasses
import shutil
import time
from collections.abc import Callable
from typing import Any

from batchtui.config.schema import Config, from_dict
from batchtui.errors import BatchtuiError, UsageError
from batchtui.records import Fallback, LaunchSpec, Status
from batchtui.runs.directory import RunDirectory, create_run
from batchtui.supervise import worker
from batchtui.supervise.custody import Custody
from batchtui.supervise.death import Verdict
from batchtui.supervise.ledger import Ledger
from batchtui.supervise.progress import Progress

# A first step may take so long before the new size counts as one that never gets there: the
# start-up of the last run several times over, and its slow steps, as many times as they grow.
_FIRST_STEP_S = 60.0
_STARTUPS, _STEPS = 3.0, 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What a restart may change; `lr` None leaves the configured learning rate."""

    batch_size: int
    accumulate: int
    lr: float | None = None

    @classmethod
    def parse(cls, message: dict[str, Any]) -> Settings:
        """Read a request.

        Raises:
            UsageError: it is not one.
        """
        size, accumulate, lr = (message.get(key) for key in ("batch_size", "accumulate", "lr"))
        whole = all(type(number) is int and number > 0 for number in (size, accumulate))
        if not whole or not (lr is None or isinstance(lr, (int, float))):
            raise UsageError("a restart needs batch_size, accumulate and, maybe, lr")
        return cls(int(str(size)), int(str(accumulate)), lr)


@dataclasses.dataclass(frozen=True, slots=True)
class Successor:
    """A run to come: its folder has a name already, and nothing in it."""

    run: RunDirectory
    settings: Settings
    reason: str


def reserve(parent: RunDirectory, settings: Settings, reason: str) -> Successor:
    """Take the name of the next run.

    Raises:
        BatchtuiError: the folder of runs cannot be written.
    """
    stem = parent.read_launch().config.get("name")
    return Successor(create_run(parent.path.parent, str(stem)), settings, reason)


def prepare(parent: RunDirectory, successor: Successor, fallback: Fallback | None) -> None:
    """Fill a reserved folder with all that supervisor and worker need to know.

    Raises:
        BatchtuiError: it cannot be written; the folder is gone then.
    """
    spec = parent.read_launch()
    config = copy.deepcopy(spec.config)
    settings, run = successor.settings, successor.run
    config["dataloaders"]["batch_size"] = settings.batch_size  # type: ignore[index]
    config["training"]["accumulate"] = settings.accumulate  # type: ignore[index]
    if settings.lr is not None:
        config["optimizer"]["args"]["lr"] = settings.lr  # type: ignore[index]
    checkpoint = parent.latest_checkpoint()
    from batchtui.config.load import dump_config  # YAML is needed here alone

    try:
        run.config.write_text(dump_config(from_dict(config)), encoding="utf-8")
        run.write_launch(
            dataclasses.replace(
                spec,
                run=run.name,
                config=config,
                parent=parent.name,
                resume_from=str(checkpoint) if checkpoint else None,
                created=time.time(),
                reason=successor.reason,
                fallback=fallback,
            )
        )
    except (OSError, BatchtuiError) as error:
        discard(run)
        if isinstance(error, BatchtuiError):
            raise
        raise BatchtuiError(f"{run.path}: cannot be written ({error.strerror})") from None


def discard(run: RunDirectory) -> None:
    """Remove a run that never trained."""
    shutil.rmtree(run.path, ignore_errors=True)


def fallback_from(
    config: Config, settings: Settings, startup: float | None, slow_step: float | None
) -> Fallback:
    """Return what a run at new settings may go back to: this configuration's own.

    Args:
        config: of the run that is left.
        settings: of the one to come.
        startup: seconds from the launch of the old run to its model and data.
        slow_step: 95th percentile of its step time, in seconds.
    """
    old = config.dataloaders.batch_size * config.training.accumulate
    growth = max(1.0, settings.batch_size * settings.accumulate / old)
    within = _FIRST_STEP_S + _STARTUPS * (startup or 0.0) + _STEPS * growth * (slow_step or 1.0)
    lr = config.optimizer.args.get("lr")
    return Fallback(
        batch_size=config.dataloaders.batch_size,
        accumulate=config.training.accumulate,
        lr=float(lr) if isinstance(lr, (int, float)) else None,
        first_step_within=within,
    )


def back(spec: LaunchSpec) -> Settings | None:
    """Return the settings that a run goes back to if its size is too much; None: to none."""
    if spec.fallback is None:
        return None
    return Settings(spec.fallback.batch_size, spec.fallback.accumulate, spec.fallback.lr)


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
        self._since = clock()
        self._next: Successor | None = None
        self._too_late: str | None = None
        if self._spec.reason is not None:
            ledger.event("info", "restart", self._spec.reason)

    def asked(self, message: dict[str, Any], custody: Custody) -> dict[str, Any]:
        """Answer a request for a restart, and begin to stop the worker."""
        if custody.asked is not None or custody.exit_code is not None:
            return {"ok": False, "error": f"{self._run.name} is stopping already"}
        try:
            settings = Settings.parse(message)
            old = self._config.dataloaders.batch_size
            reason = f"batch size {old} → {settings.batch_size}"
            self._next = reserve(self._run, settings, reason)
        except BatchtuiError as error:
            return {"ok": False, "error": str(error)}
        custody.stop(f"restarting, {reason}, as {self._next.run.name}")
        return {"ok": True, "run": self._next.run.name}

    def overdue(self, progress: Progress) -> str | None:
        """Return why a new batch size has to be given up: its first step does not come."""
        fallback = self._spec.fallback
        if fallback is None or progress.last is not None or self._too_late is not None:
            return None
        waited = self._clock() - self._since
        if waited < fallback.first_step_within:
            return None
        size = self._config.dataloaders.batch_size
        self._too_late = f"no first step within {waited:.0f} s at batch size {size}"
        return self._too_late

    def judge(self, verdict: Verdict) -> Verdict:
        """Return the verdict on the run; one that was given up has failed, and not stopped."""
        if self._too_late is None or verdict.status is Status.FINISHED:
            return verdict
        return dataclasses.replace(verdict, status=Status.FAILED, cause=self._too_late)

    def hand_over(self, verdict: Verdict, progress: Progress) -> None:
        """Start the next run, if there is to be one; whatever fails is an event.

        To be called once the worker is gone, and before the run counts as ended.
        """
        died = verdict.status is Status.OUT_OF_MEMORY or self._too_late is not None
        settings = back(self._spec)
        fallback: Fallback | None = None
        try:
            if self._next is not None:
                if verdict.status is Status.FINISHED:
                    discard(self._next.run)
                    return
                fallback = self._last_good(progress)
            elif died and settings is not None:
                self._next = reserve(self._run, settings, self._way_back(verdict, settings))
            else:
                return
            prepare(self._run, self._next, fallback)
            self._ledger.store.set_meta(successor=self._next.run.name)
            self._ledger.event(
                "info", "restart", f"{self._next.reason}: goes on as {self._next.run.name}"
            )
            self._ledger.commit()
            worker.adopt_orphans(False)  # the next supervisor is to be nobody's child
            self._launch(self._next.run)
        except (BatchtuiError, OSError) as error:
            if self._next is not None:
                discard(self._next.run)
            self._ledger.store.set_meta(successor=None)
            self._ledger.event("error", "restart", f"could not be restarted: {error}")

    def _way_back(self, verdict: Verdict, settings: Settings) -> str:
        size = self._config.dataloaders.batch_size
        what = "ran out of memory" if verdict.status is Status.OUT_OF_MEMORY else "never got going"
        return f"back to batch size {settings.batch_size}: {size} {what}"

    def _last_good(self, progress: Progress) -> Fallback | None:
        """Return this run's settings, if it has shown that they work."""
        assert self._next is not None
        if progress.last is None or progress.start is None:
            return self._spec.fallback
        startup = progress.start.time - self._spec.created
        settings = self._next.settings
        return fallback_from(self._config, settings, max(0.0, startup), progress.slow_step)
