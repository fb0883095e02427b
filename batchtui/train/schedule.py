"""The learning rate's schedule, with samples trained for its clock.

A scheduler counts ticks. One tick is a number of samples that a training keeps for life: the
global batch it was launched with, or the data set. At twice the batch size a step is two ticks,
and the same samples see the same learning rate.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from batchtui.config.schema import Scheduler
from batchtui.errors import ConfigError
from batchtui.train.targets import call

# Arguments that mean "as long as the training", where the configuration does not set them.
WHOLE_RUN = ("T_max", "total_steps", "total_iters")


class Schedule:
    """A scheduler and how far it has come; without one the rate stays."""

    def __init__(
        self,
        target: Callable[..., Any] | None,
        config: Scheduler | None,
        optimizer: torch.optim.Optimizer,
        tick_samples: int,
        total_samples: int,
    ) -> None:
        """One tick is `tick_samples`; the training ends after `total_samples`.

        Raises:
            ConfigError: the target raises, or is no scheduler.
        """
        self.tick_samples = tick_samples
        self.ticks = 0
        self._scheduler: Any = None
        if target is None or config is None:
            return
        self._total = max(1, total_samples // tick_samples)
        arguments = dict(config.args)
        self._filled = [name for name in WHOLE_RUN if name in _open_arguments(target, arguments)]
        arguments.update(dict.fromkeys(self._filled, self._total))
        self._scheduler = call(target, "scheduler.target", optimizer, **arguments)
        if not hasattr(self._scheduler, "step") or not hasattr(self._scheduler, "state_dict"):
            kind = type(self._scheduler).__name__
            raise ConfigError(f"scheduler.target: returned a {kind}, not a scheduler")

    def advance(self, samples: int) -> None:
        """Tick up to where a training of `samples` stands."""
        due = samples // self.tick_samples
        if self._scheduler is None:
            self.ticks = due
            return
        while self.ticks < due:
            self.ticks += 1
            # Some end exactly with the training, and refuse the tick after its last step.
            limit = getattr(self._scheduler, "total_steps", None)
            if limit is None or self._scheduler.last_epoch + 1 < limit:
                self._scheduler.step()

    def rescale(self, group: int, ratio: float) -> None:
        """Multiply the learning rate that the schedule starts from, of one parameter group."""
        rates = getattr(self._scheduler, "base_lrs", None)
        if rates is not None and group < len(rates):
            rates[group] *= ratio

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs."""
        inner = self._scheduler.state_dict() if self._scheduler is not None else None
        return {"tick_samples": self.tick_samples, "ticks": self.ticks, "scheduler": inner}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; an end that follows the training follows its new length."""
        self.ticks = int(state["ticks"])
        if self._scheduler is not None and state["scheduler"] is not None:
            self._scheduler.load_state_dict(state["scheduler"])
            for name in self._filled:
                if hasattr(self._scheduler, name) and name != "total_steps":
                    setattr(self._scheduler, name, self._total)


def _open_arguments(target: Callable[..., Any], given: dict[str, Any]) -> set[str]:
    if "epochs" in given and "steps_per_epoch" in given:
        return set()  # OneCycleLR's other way to say how long it is
    try:
        return set(inspect.signature(target).parameters) - set(given)
    except (TypeError, ValueError):
        return set()
