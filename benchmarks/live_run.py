"""A live run whose worker does nothing but write a journal: load for what reads it."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchtui.config.schema import Config, to_dict
from batchtui.records import Checkpoint, End, Evaluation, LaunchSpec, Start, Step
from batchtui.runs.directory import create_run
from batchtui.supervise.control import is_supervised, request
from batchtui.supervise.daemon import launch

STEPS_PER_S = 10.0
_EPOCH = 600  # steps
_GPU = "GPU-5a1e0000-0000-4000-8000-000000000000"  # the stand-in's first card


@contextmanager
def live_run(
    root: Path, extra: dict[str, str], *, steps_per_s: float = STEPS_PER_S, device: str = "cuda:0"
) -> Iterator[str]:
    """Supervise a journal-writing worker; yield the run's name. `extra`: environment."""
    run = create_run(root, "resnet50-imagenet")
    spec = LaunchSpec(
        run=run.name,
        config=to_dict(Config(name="resnet50-imagenet")),
        cwd=str(root),
        python=sys.executable,
        created=time.time(),
    )
    run.write_launch(spec)
    os.environ.update(extra)
    words = [sys.executable, str(Path(__file__).absolute()), str(run.path)]
    launch(run, [*words, str(steps_per_s), device])
    try:
        yield run.name
    finally:
        if is_supervised(run):
            request(run, {"op": "stop", "now": True})
        while is_supervised(run):
            time.sleep(0.1)


def write_journal(folder: Path, steps_per_s: float, device: str) -> None:
    """Train nothing, at a steady pace, until told to stop."""
    from batchtui.train.journal import Journal

    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    journal = Journal(folder / "journal", 0)
    rng = random.Random(0)
    batch, samples_an_epoch = 256, 256 * _EPOCH
    cuda = device != "cpu"
    journal.write(
        Start(
            time=time.time(),
            pid=os.getpid(),
            device=device,
            device_name="NVIDIA A100-SXM4-80GB" if cuda else None,
            device_uuid=_GPU if cuda else None,
            batch_size=batch,
            global_batch_size=batch,
            train_samples=samples_an_epoch,
            eval_samples=1000,
            epochs=90,
            total_samples=90 * samples_an_epoch,
            parameters=25_557_032,
        )
    )
    step, due = 0, time.monotonic()
    while not stopped:
        step += 1
        due += 1 / steps_per_s
        time.sleep(max(0.0, due - time.monotonic()))
        loss = 0.4 + 2.1 * math.exp(-step / 900) + rng.gauss(0, 0.05)
        seconds = (1 + (rng.random() < 0.02) * 0.4) * rng.uniform(0.135, 0.145)
        journal.write(
            Step(
                time=time.time(),
                step=step,
                samples=step * batch,
                epoch=(step - 1) // _EPOCH + 1,
                batch=batch,
                loss=loss,
                variance=0.3 * loss * rng.uniform(0.8, 1.2),
                lr=0.1,
                grad_norm=rng.uniform(0.8, 1.4),
                step_s=seconds,
                data_s=0.03 * seconds,
                transfer_s=0.02 * seconds,
                forward_s=0.3 * seconds,
                backward_s=0.58 * seconds,
                optimizer_s=0.05 * seconds,
                allocated=int(9.4 * 2**30) if cuda else None,
                reserved=int(44.1 * 2**30) if cuda else None,
                peak=int(38.2 * 2**30) if cuda else None,
            )
        )
        if step % _EPOCH == 0:
            at = {"time": time.time(), "step": step, "samples": step * batch}
            epoch = step // _EPOCH
            accuracy = 0.9 - 0.6 / (1 + epoch)
            journal.write(Evaluation(**at, epoch=epoch, loss=loss, accuracy=accuracy))  # type: ignore[arg-type]
            journal.write(Checkpoint(**at, epoch=epoch, file=f"step-{step:08d}.pt"))  # type: ignore[arg-type]
    journal.write(End(time=time.time(), status="stopped", step=step, samples=step * batch))


if __name__ == "__main__":
    write_journal(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
