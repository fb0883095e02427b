"""Run the real program on a run that never was: what the tests start in a pseudo-terminal.

Arguments: a scenario and the seconds between looks.
"""

from __future__ import annotations

import dataclasses
import sys

from batchtui.tui.app import BatchtuiApp
from batchtui.tui.facts import Facts
from batchtui.tui.session import run_screen
from tests.tui import fake


def moving(given: Facts, reads: int) -> Facts:
    """Let a second pass with each read: steps, samples of the machine, a line of the log."""
    import random

    chance = random.Random(reads)
    return dataclasses.replace(
        fake.facts(1000 + 7 * reads, sample=fake.machine(gpus=given.machine.gpus)),
        now=fake.NOW + reads,
        machine=dataclasses.replace(
            given.machine,
            cpu=chance.uniform(0.3, 0.9),
            cores=tuple(chance.uniform(0.1, 1.0) for _ in given.machine.cores),
            load1=9 + chance.random(),
            gpus=tuple(
                dataclasses.replace(
                    gpu, utilization=chance.uniform(0.8, 1), power_w=300 + reads % 9
                )
                for gpu in given.machine.gpus
            ),
        ),
    )


def broken(given: Facts, reads: int) -> Facts:
    return given


def main() -> int:
    scenario, refresh = sys.argv[1], float(sys.argv[2])
    gpus = tuple(
        fake.gpu(index, 50 + 3 * index, 80, name="NVIDIA A100-SXM4-80GB")
        for index in range(8 if scenario == "gpus" else 0)
    )
    given = fake.facts(1000, sample=fake.machine(gpus=gpus))
    source = fake.FakeSource(given, moving if scenario != "still" else None)
    return run_screen(BatchtuiApp(source, fake.stop, refresh=refresh))


if __name__ == "__main__":
    sys.exit(main())
