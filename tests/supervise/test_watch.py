"""What a supervisor sees and what it makes of it, with a sampler that says what the test wants."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from batchtui.config.schema import Config, Launch, Limits
from batchtui.records import GpuSample, MachineSample, Record, Start, Status, Step
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
from batchtui.runs.store import RunStore
from batchtui.supervise.ledger import Ledger
from batchtui.supervise.patience import Patience
from batchtui.supervise.watch import Watch

GIB = 1 << 30


class Sampler:
    """Returns the same sample until told otherwise."""

    def __init__(self) -> None:
        self.next = MachineSample(time=1.0)
        self.kills: int | None = 0

    def sample(self) -> MachineSample:
        return dataclasses.replace(self.next)

    def oom_kills(self) -> int | None:
        return self.kills

    def close(self) -> None:
        pass


class Bench:
    """A watch, and hands on all that it looks at."""

    def __init__(self, run: RunDirectory, config: Config) -> None:
        run.journals.mkdir()
        self.run = run
        self.sampler = Sampler()
        self.now = 0.0
        self.messages: list[str] = []
        self.ledger = Ledger(RunStore(run.database), self.messages.append)
        self.watch = Watch(
            run, config, self.ledger, self.sampler, Patience(), clock=lambda: self.now
        )

    def write(self, *records: Record, rank: int = 0) -> None:
        with open(self.run.journals / f"rank-{rank}.jsonl", "a") as file:
            for record in records:
                values = {"kind": record.kind, **dataclasses.asdict(record)}
                print(json.dumps(values), file=file)

    def tick(self, seconds: float = 1.0) -> str | None:
        self.now += seconds
        why = self.watch.tick()
        if self.ledger.commit():
            self.watch.committed()
        return why

    @property
    def meta(self) -> dict[str, Any]:
        return self.ledger.store.meta()


@pytest.fixture
def bench(run: RunDirectory) -> Iterator[Bench]:
    bench = Bench(run, Config())
    yield bench
    bench.ledger.close(0)


def start(**more: Any) -> Start:
    return Start(
        **{
            "time": 1.0,
            "pid": 7,
            "batch_size": 4,
            "global_batch_size": 4,
            "train_samples": 100,
            "epochs": 2,
            "total_samples": 200,
            **more,
        }
    )


def step(number: int, **more: Any) -> Step:
    return Step(
        **{"time": 1.0, "step": number, "samples": 4 * number, "epoch": 1, "batch": 4, **more}
    )


def test_status_follows_the_journal(bench: Bench) -> None:
    bench.tick()
    assert bench.ledger.status is Status.STARTING
    bench.write(start())
    bench.tick()
    assert bench.ledger.status is Status.RUNNING
    bench.write(step(1, step_s=0.5))
    bench.tick()
    bench.tick(31.0)
    assert bench.ledger.status is Status.LOST
    bench.write(step(2, step_s=0.5))
    bench.tick()
    assert bench.ledger.status is Status.RUNNING
    assert bench.messages[-2:] == [
        "warning: no sign of life for 31s",
        "info: the worker speaks again",
    ]


def test_a_stopping_run_stays_so(bench: Bench) -> None:
    bench.write(start(), step(1))
    bench.tick()
    bench.ledger.stopping("asked")
    bench.tick(1000.0)
    assert bench.ledger.status is Status.STOPPING


def test_memory_on_the_host(bench: Bench) -> None:
    bench.write(start())
    for resident in (3 * GIB, 5 * GIB, 4 * GIB):
        bench.sampler.next = MachineSample(
            time=1.0, worker_resident=resident, limit_total=20 * GIB, limit_used=8 * GIB
        )
        bench.tick()
    bench.sampler.next = MachineSample(time=1.0)
    bench.tick()
    assert (bench.meta["peak_bytes"], bench.meta["limit_bytes"]) == (5 * GIB, 20 * GIB)


def test_memory_on_a_gpu(bench: Bench) -> None:
    cards = (
        GpuSample(index=0, uuid="GPU-aa", total=80 * GIB, used=70 * GIB),
        GpuSample(index=1, uuid="GPU-bb", total=24 * GIB, used=23 * GIB),
    )
    bench.sampler.next = MachineSample(time=1.0, gpus=cards, worker_resident=99 * GIB)
    bench.write(start(device="cuda:0", device_uuid="GPU-bb"))
    bench.write(step(1, reserved=9 * GIB, peak=8 * GIB), step(2, reserved=7 * GIB))
    bench.tick()
    assert (bench.meta["peak_bytes"], bench.meta["limit_bytes"]) == (9 * GIB, 24 * GIB)
    assert (bench.meta["memory_level"], bench.meta["memory_what"]) == ("critical", "GPU 1")
    bench.tick()
    assert [m for m in bench.messages if "GPU" in m] == [
        "error: GPU 1 is 96% full: 23.0 GiB of 24.0 GiB"
    ]


def full(worker: int) -> MachineSample:
    return MachineSample(
        time=1.0, limit_total=10 * GIB, limit_used=10 * GIB - 1, worker_resident=worker
    )


def test_full_memory_asks_for_a_stop(bench: Bench) -> None:
    bench.sampler.next = full(9 * GIB)
    assert bench.tick() is None
    assert "over limits.memory (95%)" in (bench.tick() or "")


def test_full_memory_only_warns_if_told_so_or_others_hold_it(
    bench: Bench, run: RunDirectory
) -> None:
    bench.sampler.next = full(1 * GIB)
    assert [bench.tick() for _ in range(4)] == [None] * 4
    other = RunDirectory(run.path.parent / "other")
    other.path.mkdir()
    warned = Bench(other, Config(limits=Limits(on_exhaustion="warn")))
    warned.sampler.next = full(9 * GIB)
    assert [warned.tick() for _ in range(4)] == [None] * 4
    assert warned.meta["memory_level"] == "critical"
    warned.ledger.close(0)


def test_kernel_kills_are_told_and_counted_for_a_while(bench: Bench) -> None:
    bench.tick()
    bench.sampler.kills = 2
    assert bench.watch.oom_kills == 2
    bench.tick()
    assert bench.messages == ["error: the kernel killed a process here for want of memory"]
    for _ in range(20):
        bench.tick()
    assert bench.watch.oom_kills == 0
    bench.sampler.kills = None
    assert bench.watch.oom_kills is None


def test_several_ranks(run: RunDirectory) -> None:
    bench = Bench(run, Config(launch=Launch(processes=2)))
    for rank in range(2):
        bench.write(start(rank=rank, pid=rank, world_size=2), rank=rank)
        bench.write(step(1, samples=8, step_s=0.5), step(2, samples=16, step_s=0.5), rank=rank)
    bench.tick()
    assert bench.meta["samples_per_s"] == 16.0
    bench.ledger.close(0)
    assert [rank.start.pid for rank in RunReader(run).ranks()] == [0, 1]


def test_a_journal_s_old_files_go_once_they_are_recorded(bench: Bench) -> None:
    bench.write(start(), step(1))
    bench.tick()
    first = bench.run.journals / "rank-0.jsonl"
    second = bench.run.journals / "rank-0.0002.jsonl"
    second.write_text(json.dumps({"kind": "step", **dataclasses.asdict(step(2))}) + "\n{torn")
    bench.tick()
    bench.tick()
    assert not first.exists()
    assert second.exists()
    assert bench.meta["steps"] == 2


def test_bad_lines_are_counted(bench: Bench) -> None:
    (bench.run.journals / "rank-0.jsonl").write_bytes(b'{"kind": "step"}\n\xff\n{}\n')
    bench.tick()
    assert bench.meta["bad_lines"] == 3


def test_a_long_backlog_is_read_in_pieces(bench: Bench) -> None:
    bench.write(start(), *(step(number) for number in range(1, 12_000)))
    bench.tick()
    assert bench.watch.behind
    assert 0 < bench.meta["steps"] < 11_999
    while bench.watch.behind:
        bench.watch.pull()
    bench.tick()
    assert bench.meta["steps"] == 11_999


def test_everything_is_read_at_the_end(bench: Bench) -> None:
    bench.write(start(), *(step(number) for number in range(1, 12_000)))
    assert bench.watch.finish()
    assert bench.meta["steps"] == 11_999
