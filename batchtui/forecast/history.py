"""Which past runs say something about a configuration: the same one, and none that differs.

A run counts if everything that decides its memory is the same but the batch size. For those that
do not count, the difference is said. Pure: the caller reads the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from batchtui.forecast.fit import Measured
from batchtui.forecast.settings import VARIABLES

# Keys of the configuration that change what a step takes, each with the value that a missing
# key means. The arguments of a scheduler, seeds and epochs change nothing.
_KEYS: tuple[tuple[str, Any], ...] = (
    ("model.target", None),
    ("model.args", {}),
    ("data.name", None),
    ("data.target", None),
    ("data.args", {}),
    ("data.image_size", None),
    ("data.classes", None),
    ("loss.target", None),
    ("loss.args", {}),
    ("optimizer.target", None),
    ("training.amp", "off"),
    ("training.accumulate", 1),
    ("training.channels_last", "auto"),
    ("training.compile", False),
    ("training.deterministic", False),
    ("limits.low_memory", False),
    ("launch.processes", 1),
)
# On a CPU the loaders live in the same memory.
_HOST_KEYS: tuple[tuple[str, Any], ...] = (
    ("dataloaders.num_workers", 0),
    ("dataloaders.prefetch_factor", 2),
)
# Arguments of an optimizer that change numbers and no tensors.
_NUMBERS = frozenset({"lr", "weight_decay", "betas", "eps", "alpha", "lr_decay", "dampening"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """What is known of a finished or killed run; sizes in bytes.

    `whole`: `peak` is a reading of the whole card, context included.
    """

    run: str
    config: Mapping[str, Any]
    batch_size: int
    peak: int | None
    out_of_memory: bool = False
    capacity: int | None = None  # what its allocator, or on a CPU its process, could have had
    allocated: int | None = None
    device_name: str | None = None
    torch: str | None = None
    whole: bool = False
    trial: bool = False  # a few steps of `batchtui find`, and no training


def differences(
    mine: Mapping[str, Any], other: Mapping[str, Any], *, on_cpu: bool = False
) -> list[str]:
    """List what differs between two configurations and matters: `key: other's, not mine`."""
    lines = []
    for key, missing in (*_KEYS, *(_HOST_KEYS if on_cpu else ())):
        here, there = _get(mine, key, missing), _get(other, key, missing)
        if here != there:
            lines.append(f"{key}: {there}, not {here}")
    for name, reduced in _REDUCED:
        here, there = reduced(mine), reduced(other)
        if here != there:
            lines.append(f"{name}: {there}, not {here}")
    return lines


def learn(
    config: Mapping[str, Any],
    runs: Iterable[PastRun],
    *,
    device_name: str | None = None,
    torch: str | None = None,
    on_cpu: bool = False,
) -> tuple[list[Measured], list[str]]:
    """Return the runs that correct a forecast, and a line for each that does not and why."""
    measured, notes = [], []
    for past in runs:
        different = differences(config, past.config, on_cpu=on_cpu)
        if device_name and past.device_name and device_name != past.device_name:
            different.append(f"device: {past.device_name}, not {device_name}")
        if torch and past.torch and torch != past.torch:
            different.append(f"torch: {past.torch}, not {torch}")
        if different:
            more = f" and {len(different) - 1} more" if len(different) > 1 else ""
            notes.append(f"run {past.run} is left out: {different[0]}{more}")
            continue
        measured.append(
            Measured(
                batch_size=past.batch_size,
                peak=past.peak,
                out_of_memory=past.out_of_memory,
                capacity=past.capacity,
                allocated=past.allocated,
                whole=past.whole,
                run=past.run,
            )
        )
    return measured, notes


def _get(config: Mapping[str, Any], key: str, missing: Any) -> Any:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or value.get(part) is None:
            return missing
        value = value[part]
    return value


def _optimizer(config: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce an optimizer's arguments to those that make or save tensors."""
    return {
        name: bool(value) if isinstance(value, (int, float)) else value
        for name, value in sorted(_get(config, "optimizer.args", {}).items())
        if name not in _NUMBERS
    }


def _allocator(config: Mapping[str, Any]) -> str:
    environment = _get(config, "launch.env", {})
    return next((str(environment[name]) for name in VARIABLES if environment.get(name)), "default")


def _clips(config: Mapping[str, Any]) -> str:
    return "off" if _get(config, "training.clip_grad_norm", None) is None else "on"


def _evaluates(config: Mapping[str, Any]) -> bool:
    return bool(_get(config, "training.evaluate_every", 1))


_REDUCED: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
    ("optimizer.args", _optimizer),
    ("training.clip_grad_norm", _clips),
    ("evaluation", _evaluates),
    (VARIABLES[1], _allocator),
)
