"""Which samples a training was trained on: what tiny.Witness wrote down, run by run."""

from __future__ import annotations

import re

from batchtui.runs.directory import RunDirectory

Steps = list[list[int]]  # the samples of each


def chain_of(run: RunDirectory) -> list[RunDirectory]:
    """Return the runs of one training, first to last."""
    chain = [run]
    while (parent := chain[0].read_launch().parent) is not None:
        chain.insert(0, RunDirectory(run.path.parent / parent))
    return chain


def trained(run: RunDirectory) -> Steps:
    """Return the steps that a run has trained itself."""
    file = run.path / "trained"
    lines = file.read_text().splitlines() if file.exists() else []
    return [[int(word) for word in line.split()] for line in lines]


def kept_steps(chain: list[RunDirectory]) -> dict[str, Steps]:
    """Return the steps of each run that the next one went on from."""
    firsts = [_first(run) for run in chain]
    kept = {}
    for number, run in enumerate(chain):
        steps, last = trained(run), number == len(chain) - 1
        kept[run.name] = steps if last else steps[: firsts[number + 1] - firsts[number]]
    return kept


def epochs_of(kept: dict[str, Steps], samples: int) -> list[list[int]]:
    """Return the samples of each epoch in order, for epochs of so many samples."""
    seen = [sample for steps in kept.values() for step in steps for sample in step]
    return [sorted(seen[at : at + samples]) for at in range(0, len(seen), samples)]


def _first(run: RunDirectory) -> int:
    """Return after which step a run goes on."""
    found = re.search(r"step-(\d+)\.pt\Z", run.read_launch().resume_from or "step-0.pt")
    assert found is not None
    return int(found[1])
