"""What happens between steps: an evaluation, a checkpoint, a line for people."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from batchtui.config.schema import Config
from batchtui.records import Checkpoint, Evaluation
from batchtui.train import checkpoint
from batchtui.train.checkpoint import Checkpoints
from batchtui.train.device import Memory
from batchtui.train.evaluate import Result
from batchtui.train.journal import Journal
from batchtui.train.launch import Progress
from batchtui.train.learner import Learner
from batchtui.train.loop import EpochTally
from batchtui.train.parallel import Alone
from batchtui.train.schedule import Schedule

_SLOW_S = 2.0


@dataclass
class Milestones:
    """Evaluates, saves, and says so."""

    config: Config
    learner: Learner
    schedule: Schedule
    team: Alone
    memory: Memory
    journal: Journal
    progress: Progress
    checkpoints: Checkpoints | None  # None: nothing is kept
    constants: dict[str, object]  # what a resumed training must have in common
    hyperparameters: list[dict[str, Any]]  # the optimizer's at launch, before any schedule
    evaluate: Callable[[], Result | None] | None = None  # None: there is nothing held out
    save_seconds: float = math.inf  # how long the last checkpoint took; the first may take long
    say: Callable[[str], None] = field(default=lambda line: print(line, flush=True))

    def end_epoch(self, tally: EpochTally) -> bool:
        """Evaluate and report; return False where a stop came in between."""
        config, epoch = self.config.training, self.progress.epoch
        loss = tally.loss / tally.samples if tally.samples else math.nan
        # In columns: each number keeps its digits, and its place from line to line.
        number = f"{epoch:>{len(str(config.epochs))}}"
        words = [f"epoch {number}/{config.epochs}", f"loss {loss:<#7.4g}"]
        due = config.evaluate_every and (
            epoch % config.evaluate_every == 0 or epoch == config.epochs
        )
        if due and self.evaluate is not None:
            result = self._evaluate()
            if result is None:
                return False
            if result.accuracy is not None:
                words.append(f"accuracy {result.accuracy:.1%}")
            else:
                words.append(f"held-out loss {result.loss:#.4g}")
        if tally.seconds:
            rate = tally.samples * self.team.world_size / tally.seconds
            words.append(f"{rate:,.0f} samples/s")
        if self.team.leads:
            self.say("  ".join(words))
        return True

    def save(self) -> None:
        """Write a checkpoint; one that cannot be written is reported, and training goes on."""
        if not self.team.leads or self.checkpoints is None:
            return
        progress, started = self.progress, time.perf_counter()
        slow = self.save_seconds > _SLOW_S
        if slow:  # a slow disk is no hang; a quick one is not worth a word on the screen
            self.journal.phase("writing a checkpoint")
        record = Checkpoint(
            time=time.time(),
            step=progress.step,
            samples=progress.samples,
            # Between two epochs the progress stands at the beginning of the next.
            epoch=progress.epoch if progress.epoch_samples else max(1, progress.epoch - 1),
        )
        try:
            path = self.checkpoints.save(self._state())
            record.file, record.bytes = path.name, path.stat().st_size
        except Exception as error:  # whatever a user's optimizer keeps, a full disk, a lost share
            said = error.strerror if isinstance(error, OSError) else None
            reason = said or str(error).partition("\n")[0] or type(error).__name__
            record.error = reason
            self.say(f"no checkpoint at step {progress.step}: {reason}")
        self.save_seconds = time.perf_counter() - started
        record.time, record.seconds = time.time(), self.save_seconds
        self.journal.write(record)
        if slow:
            self.journal.phase("training")

    def _evaluate(self) -> Result | None:
        assert self.evaluate is not None
        self.journal.phase("evaluating")
        self.memory.reset_peak()
        started = time.perf_counter()
        result = self.evaluate()
        if result is None:
            return None
        progress = self.progress
        best = progress.best_accuracy
        if result.accuracy is not None and (best is None or result.accuracy > best):
            progress.best_accuracy = result.accuracy
        self.journal.write(
            Evaluation(
                time=time.time(),
                step=progress.step,
                samples=progress.samples,
                epoch=progress.epoch,
                loss=result.loss,
                accuracy=result.accuracy,
                eval_samples=result.samples,
                seconds=time.perf_counter() - started,
                peak=self.memory.read().peak,
            )
        )
        self.journal.phase("training")
        return result

    def _state(self) -> dict[str, Any]:
        progress = self.progress
        return {
            "version": checkpoint.VERSION,
            "model": self.learner.model.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "optimizer_class": type(self.learner.optimizer).__qualname__,
            "hyperparameters": self.hyperparameters,
            "schedule": self.schedule.state_dict(),
            "scaler": self.learner.scaler.state_dict(),
            "rng": checkpoint.random_state(self.learner.device),
            "step": progress.step,
            "samples": progress.samples,
            "epoch": progress.epoch,
            "epoch_samples": progress.epoch_samples,
            "best_accuracy": progress.best_accuracy,
            "batch_size": self.config.dataloaders.batch_size,
            "model_target": self.config.model.target,
            **self.constants,
        }
