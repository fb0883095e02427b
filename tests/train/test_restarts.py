"""Restarts at other batch sizes: each epoch trains every sample exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchtui.config.schema import Data
from tests.train.helpers import newest, records, tiny
from tests.train.test_work import train

SAMPLES, EPOCHS = 30, 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "sizes",
    [(4, 8), (8, 4), (8, 7), (6, 6), (4, 30), (4, 8, 3, 7)],
    ids=["double", "half", "does not divide", "same", "all at once", "three in a row"],
)
def test_every_sample_is_trained_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], workers: int
) -> None:
    trained = tmp_path / "trained"
    monkeypatch.setenv("TRAINED", str(trained))
    resume, done = None, 0
    for number, size in enumerate(sizes):
        folder = tmp_path / str(number)
        config = tiny(
            batch_size=size,
            epochs=EPOCHS,
            workers=workers,
            model="tests.train.tiny.Witness",
            data=Data(target="tests.train.tiny:numbered"),
        )
        last = number == len(sizes) - 1
        # After one step, two more, three more: never at the edge of an epoch.
        state = train(folder, config, stop_after=None if last else number, resume=resume)
        assert last or 0 < state["epoch_samples"] < SAMPLES
        resume, done = newest(folder), done + sum(s["batch"] for s in records(folder, "step"))
        assert state["samples"] == done
    seen = [int(line) for line in trained.read_text().split()]
    epochs = [seen[start : start + SAMPLES] for start in range(0, len(seen), SAMPLES)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(SAMPLES))] * EPOCHS
