"""The next batch size as the user picks it, before any forecast."""

from __future__ import annotations

import math


def stepped(size: int, direction: int, largest: int | None = None) -> int:
    """Return the next power of two above (+1) or below (−1) a batch size.

    It stays within 1 and `largest`, the size of the training split.
    """
    if direction > 0:
        size = 1 << max(0, size).bit_length()
        return size if largest is None else min(size, max(1, largest))
    return max(1, 1 << ((max(2, size) - 1).bit_length() - 1))


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
