"""Where a training that has ended can go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from batchtui.records import Checkpoint


class Kept(NamedTuple):
    """The newest checkpoint: after how many steps and samples; zeros: there is none."""

    step: int
    samples: int


def kept(checkpoints: Sequence[Checkpoint], meta: Mapping[str, Any]) -> Kept:
    """Return what a run has kept: its newest checkpoint, or the one that it began from."""
    for checkpoint in reversed(checkpoints):
        if checkpoint.error is None:
            return Kept(checkpoint.step, checkpoint.samples)
    return Kept(int(meta.get("first_step") or 0), int(meta.get("first_samples") or 0))
