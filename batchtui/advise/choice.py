"""The next batch size as the user picks it, before any forecast."""

from __future__ import annotations

import math


def stepped(size: int, direction: int, largest: int | None = None) -> int:
    """Return the batch size a small step above (+1) or below (−1).

    A step is an eighth of the power of two at or below the size, and sizes are multiples of it:
    from 64 on, multiples of 8, which tensor cores like. It stays within 1 and `largest`, the size
    of the training split.
    """
    below = size if direction > 0 else size - 1
    step = max(1, 1 << max(0, max(1, below).bit_length() - 4))
    size = (size // step + 1) * step if direction > 0 else (size - 1) // step * step
    return _within(size, largest)


def doubled(size: int, direction: int, largest: int | None = None) -> int:
    """Return twice (+1) or half (−1) a batch size, within the same bounds."""
    return _within(2 * size if direction > 0 else size // 2, largest)


def _within(size: int, largest: int | None) -> int:
    return max(1, size if largest is None else min(size, largest))


def parse(text: str, largest: int | None = None) -> int:
    """Read a typed batch size.

    Raises:
        ValueError: one line that says what is wrong with it.
    """
    text = text.strip().replace(",", "").replace("_", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise ValueError("a batch size is a whole number above 0")
    size = int(text)
    if size < 1:
        raise ValueError("a batch size is a whole number above 0")
    if largest is not None and size > largest:
        raise ValueError(f"the training split has only {largest:,} samples")
    return size


def steps_per_epoch(train_samples: int | None, global_batch_size: int | None) -> int | None:
    """Return how many optimizer steps an epoch takes, the last one perhaps smaller."""
    if not train_samples or not global_batch_size:
        return None
    return math.ceil(train_samples / global_batch_size)
