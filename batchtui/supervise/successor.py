"""The folder of the next run: reserved, filled, discarded; and what a restart may change."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import time
from typing import Any

from batchtui.config.schema import Config, from_dict
from batchtui.errors import BatchtuiError, StoreError, SuperviseError, UsageError
from batchtui.records import Fallback
from batchtui.runs.directory import RunDirectory, create_run
from batchtui.supervise.ledger import Ledger
from batchtui.supervise.lock import RunLock

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
        if not whole or not (lr is None or type(lr) in (int, float)):
            raise UsageError("a restart needs batch_size, accumulate and, maybe, lr")
        return cls(int(str(size)), int(str(accumulate)), None if lr is None else float(str(lr)))

    def applied(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return a configuration with these settings in it."""
        changed = copy.deepcopy(config)
        changed["dataloaders"]["batch_size"] = self.batch_size
        changed["training"]["accumulate"] = self.accumulate
        if self.lr is not None:
            changed["optimizer"]["args"]["lr"] = self.lr
        return changed


def reserve(parent: RunDirectory) -> RunDirectory:
    """Take the name of the next run: its folder is there, and nothing in it.

    Raises:
        BatchtuiError: the folder of runs cannot be written.
    """
    return create_run(parent.path.parent, str(parent.read_launch().config.get("name")))


def prepare(
    run: RunDirectory,
    parent: RunDirectory,
    config: dict[str, Any],
    *,
    reason: str,
    fallback: Fallback | None = None,
    went_back: bool = False,
) -> None:
    """Fill a reserved folder with all that supervisor and worker need to know.

    Raises:
        BatchtuiError: it cannot be written.
    """
    checkpoint = parent.latest_checkpoint()
    from batchtui.config.load import dump_config  # YAML is needed here alone

    try:
        run.config.write_text(dump_config(from_dict(config)), encoding="utf-8")
    except OSError as error:
        raise BatchtuiError(f"{run.path}: cannot be written ({error.strerror})") from None
    run.write_launch(
        dataclasses.replace(
            parent.read_launch(),
            run=run.name,
            config=config,
            parent=parent.name,
            resume_from=str(checkpoint) if checkpoint else None,
            created=time.time(),
            reason=reason,
            fallback=fallback,
            went_back=went_back,
        )
    )


def discard(run: RunDirectory) -> None:
    """Remove a run that never trained."""
    shutil.rmtree(run.path, ignore_errors=True)


def discard_unborn(run: RunDirectory) -> bool:
    """Remove a run whose supervisor never came up; return whether it was one."""
    if not run.path.exists():
        return True
    try:
        if run.database.exists() or (lock := RunLock.acquire(run, patience=0.0)) is None:
            return False
    except SuperviseError:
        return False
    try:
        if run.database.exists():  # it came up just now, and has ended already
            return False
        discard(run)
        return True
    finally:
        lock.release(finished=False)


def fallback_to(
    run: RunDirectory,
    config: Config,
    settings: Settings,
    startup: float | None,
    slow_step: float | None,
) -> Fallback | None:
    """Return what a run at new settings may go back to: this one's; None: they are the same.

    Args:
        run: that is left.
        config: its own.
        settings: of the one to come.
        startup: seconds from the launch of the old run to its model and data.
        slow_step: 95th percentile of its step time, in seconds.
    """
    size, accumulate = config.dataloaders.batch_size, config.training.accumulate
    if (size, accumulate) == (settings.batch_size, settings.accumulate):
        return None
    growth = max(1.0, settings.batch_size * settings.accumulate / (size * accumulate))
    within = _FIRST_STEP_S + _STARTUPS * (startup or 0.0) + _STEPS * growth * (slow_step or 1.0)
    return Fallback(run=run.name, batch_size=size, first_step_within=within)


def clear_unborn(run: RunDirectory, ledger: Ledger) -> None:
    """Remove the successor that a run's supervisor died before it could start."""
    name = ledger.store.meta().get("successor")
    if isinstance(name, str) and discard_unborn(RunDirectory(run.path.parent / name)):
        ledger.store.set_meta(successor=None)
        ledger.event("warning", "restart", "the restart was lost with the supervisor")


def goes_on_as(run: RunDirectory, successor: object) -> RunDirectory | None:
    """Return the run that took over from one, once it is there; None: none, or not yet."""
    if not isinstance(successor, str) or "/" in successor:
        return None
    following = RunDirectory(run.path.parent / successor)
    try:
        born = following.database.exists() and following.read_launch().parent == run.name
    except StoreError:
        return None
    return following if born else None
