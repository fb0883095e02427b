"""Run the real program on a run that never was: what the tests start in a pseudo-terminal.

Arguments: a scenario (still, moving, gpus, hang, crash) and the seconds between looks.
"""

from __future__ import annotations

import dataclasses
import random
import sys
import time

from batchtui.tui.app import BatchtuiApp
from batchtui.tui.facts import Facts
from batchtui.tui.session import run_screen
from tests.tui import fake


class Pressed(BatchtuiApp):
    """Does something bad in the event loop when `p` is pressed."""

    def key_p(self) -> None:
        if sys.argv[1] == "hang":
            time.sleep(60)
        if sys.argv[1] == "crash":
            _ = 1 / 0


def moving(given: Facts, reads: int) -> Facts:
    """Let a second pass with each read: steps and samples of the machine."""
    assert given.machine is not None
    chance = random.Random(reads)
    newer = fake.facts(1000, sample=fake.machine(gpus=given.machine.gpus))
    return dataclasses.replace(
        newer,
        now=fake.NOW + reads,
        summary=dataclasses.replace(newer.summary, steps=1000 + 7 * reads),
        machine=dataclasses.replace(
            given.machine,
            cpu=chance.uniform(0.3, 0.9),
            cores=tuple(chance.uniform(0.1, 1.0) for _ in given.machine.cores),
            load1=9 + chance.random(),
            gpus=tuple(
                dataclasses.replace(
                    gpu, utilization=chance.uniform(0.8, 1.0), power_w=300.0 + reads % 50
                )
                for gpu in given.machine.gpus
            ),
        ),
    )


def main() -> int:
    scenario, refresh = sys.argv[1], float(sys.argv[2])
    gpus = tuple(
        fake.gpu(index, 50 + 3 * index, 80, name="NVIDIA A100-SXM4-80GB")
        for index in range(8 if scenario == "gpus" else 0)
    )
    given = fake.facts(1000, sample=fake.machine(gpus=gpus))
    source = fake.FakeSource(given, moving if scenario in ("moving", "gpus") else None)
    return run_screen(Pressed(source, fake.stop, refresh=refresh))


if __name__ == "__main__":
    sys.exit(main())
