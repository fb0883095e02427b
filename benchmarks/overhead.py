"""What being watched costs: a training step with and without batchtui, back to back.

    python benchmarks/overhead.py [--rounds 8] [--pairs 15] [--json]

The same model, batches and optimizer go through a plain PyTorch loop, and through the worker's
own `Trainer` with its loss variance, gradient norm, timings and journal. The two take turns in
short blocks, so that whatever else the machine does hits both; a round's ratio is the median over
its pairs of blocks. Each round is a process of its own, since where a process's memory happens to
lie favours one loop or the other by up to 3 % for as long as it lives; the result is the median
over the rounds. The journal is measured once more by itself in a cold cache: between two records
64 MiB are written, as a training step would.

On one thread, and in that thread's processor time: neither loop ever waits, so on a machine that
does nothing else it is the time on the wall, and on a busy one it leaves out the time others took.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from batchtui.config.schema import Loss, Training
from batchtui.records import Step
from batchtui.train.build import PerSampleLoss
from batchtui.train.device import Memory
from batchtui.train.journal import Journal
from batchtui.train.launch import Progress, Ranks
from batchtui.train.learner import Learner
from batchtui.train.loop import EpochTally, Trainer
from batchtui.train.meters import make_meter
from batchtui.train.parallel import Alone
from batchtui.train.sampler import Plan, Seeded
from batchtui.train.schedule import Schedule
from batchtui.train.stop import StopRequest

BATCH = 32
STEPS_A_BLOCK = 15
COLD_BYTES = 64 << 20
DEVICE = torch.device("cpu")


def network(width: int) -> nn.Module:
    """Return a small convolutional network; its time grows with the square of `width`."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, width), (width, width), (width, 2 * width), (2 * width, width)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the same few batches for ever, from memory: the loader is not what is measured."""
    generator = torch.Generator().manual_seed(0)
    few = [
        (
            torch.randn(BATCH, 3, 16, 16, generator=generator),
            torch.randint(0, 10, (BATCH,), generator=generator),
        )
        for _ in range(8)
    ]
    return itertools.cycle(few)


def bare(width: int) -> Callable[[], None]:
    """Return a function that does one step of a plain loop."""
    model, loss, source = network(width), nn.CrossEntropyLoss(), batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        inputs, targets = next(source)
        loss(model(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class NoMilestones:
    """No epoch ends here."""

    def end_epoch(self, tally: EpochTally) -> bool:
        """Go on."""
        return True

    def save(self) -> None:
        """Save nothing."""


def watched(width: int, folder: Path) -> Callable[[], None]:
    """Return a function that does one step of the worker's loop."""

    def leave(reason: str) -> None:
        raise SystemExit(reason)

    model = network(width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    plan = Plan(size=BATCH << 20, seed=0, batch_size=BATCH)
    trainer = Trainer(
        learner=Learner(
            model=model,
            network=model,
            loss=PerSampleLoss(nn.CrossEntropyLoss, Loss()),
            optimizer=optimizer,
            scaler=torch.amp.GradScaler("cpu", enabled=False),
            device=DEVICE,
        ),
        schedule=Schedule(None, None, optimizer, plan.global_batch, plan.size),
        plan=plan,
        batches=batches(),
        config=Training(epochs=1, checkpoint_every=0),
        team=Alone(Ranks()),
        meter=make_meter(DEVICE),
        memory=Memory(DEVICE),
        journal=Journal(folder),
        stop=StopRequest(leave),
        progress=Progress(),
        milestones=NoMilestones(),
    )
    groups = plan.epoch(1)

    def step() -> None:
        trainer.step(next(groups))
        if trainer.team.any(bool(trainer.stop)):
            raise SystemExit("stopped")

    return step


def block(step: Callable[[], None]) -> float:
    """Return the processor seconds of a step, averaged over a block: rare costs count too."""
    started = time.thread_time()
    for _ in range(STEPS_A_BLOCK):
        step()
    return (time.thread_time() - started) / STEPS_A_BLOCK


def fitting_width(seconds: float) -> int:
    """Return the width whose plain step takes about so long on this machine."""
    width = 16
    while width < 256 and (block(bare(width)), block(bare(width)))[1] < seconds:
        width += 8
    return width


def compare(width: int, pairs: int, folder: Path) -> dict[str, Any]:
    """Run both loops in turns."""
    steps = bare(width), watched(width, folder)
    for step in steps:
        block(step)
    ratios, plain, ours = [], [], []
    for number in range(pairs):
        order = steps if number % 2 == 0 else steps[::-1]
        took = {step: block(step) for step in order}
        plain.append(took[steps[0]])
        ours.append(took[steps[1]])
        ratios.append(ours[-1] / plain[-1])
    return {
        "step_ratio": statistics.median(ratios),
        "bare_ms": statistics.median(plain) * 1e3,
        "watched_ms": statistics.median(ours) * 1e3,
    }


def rounds(count: int, pairs: int, step_ms: float) -> dict[str, Any]:
    """Compare in so many fresh processes, one after another."""
    command = [
        sys.executable,
        __file__,
        "--round",
        "--pairs",
        str(pairs),
        "--step-ms",
        str(step_ms),
    ]
    results = [json.loads(subprocess.check_output(command)) for _ in range(count)]
    ratios = [result["step_ratio"] for result in results]
    low, _, high = statistics.quantiles(ratios, n=4)
    medians = {key: statistics.median(result[key] for result in results) for key in results[0]}
    return medians | {"step_ratio_quartiles": [low, high], "step_ratios": ratios}


def journal_us(folder: Path, records: int = 300) -> float:
    """Return the mean microseconds of a record when every cache has been swept before it."""
    journal, spent = Journal(folder), 0.0
    sweep = torch.zeros(COLD_BYTES, dtype=torch.uint8)
    for number in range(1, records + 1):
        begun = time.perf_counter()
        sweep.add_(1)
        while time.perf_counter() - begun < 0.02:  # the pace of a 20 ms step
            # Allocating, as steps do: else malloc tidies up all of them in the journal's time.
            sweep[: 1 << 20] + 1
        step = Step(
            time=time.time(), step=number, samples=BATCH * number, epoch=1, batch=BATCH,
            loss=2.302585 / number, variance=0.123456 / number, lr=0.1, grad_norm=1.5 / number,
            step_s=0.0201, data_s=1.25e-4, transfer_s=2.5e-6, forward_s=0.00712,
            backward_s=0.0113, optimizer_s=0.00123, allocated=1 << 33, reserved=1 << 34,
            peak=3 << 32,
        )  # fmt: skip
        started = time.thread_time()
        journal.write(step)
        spent += time.thread_time() - started
    journal.close()
    return spent / records * 1e6


def seeding_us(samples: int = 20_000) -> float:
    """Return what a draw's own seed costs, in the loader's process."""
    data = Seeded([0] * samples, 0)
    draws = [(1, index) for index in range(samples)]
    started = time.perf_counter()
    data.__getitems__(draws)
    return (time.perf_counter() - started) / samples * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8, help="processes (default: 8)")
    parser.add_argument("--pairs", type=int, default=15, help="pairs of blocks in each")
    parser.add_argument("--step-ms", type=float, default=20.0, help="the bare step aimed at")
    parser.add_argument("--round", action="store_true", help="compare in this process alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.round:
            width = fitting_width(options.step_ms / 1e3)
            print(json.dumps(compare(width, options.pairs, Path(folder))))
            return
        result = rounds(options.rounds, options.pairs, options.step_ms)
        result["journal_us"] = journal_us(Path(folder))
        result["seeding_us"] = seeding_us()
    if options.json:
        print(json.dumps(result))
        return
    low, high = result["step_ratio_quartiles"]
    print(f"bare PyTorch step           {result['bare_ms']:8.2f} ms")
    print(f"the same under batchtui     {result['watched_ms']:8.2f} ms")
    print(f"ratio (quartiles of rounds) {result['step_ratio']:8.4f}    ({low:.4f} to {high:.4f})")
    print(f"journal, cold cache         {result['journal_us']:8.1f} µs a step")
    print(f"seeding a draw (in a loader){result['seeding_us']:8.1f} µs a sample")


if __name__ == "__main__":
    main()
