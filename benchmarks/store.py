"""What it costs to keep a run and to look at it, however long it is.

- open: from a run directory to what a first chart needs, the summary and the loss and step time
  of the whole run in 200 columns, in a process that has just begun; beside it what TensorBoard
  (EventAccumulator) and trackio (its dashboard's query) take for the same two series.
- ingest: journal bytes to committed rows and rollups, steps a second of one core's time.
- supervisor: processor time and memory of a real supervisor whose worker makes 50 steps a second.

`python -m benchmarks.store [--sizes 10000,100000] [--peers-python PATH] [--no-supervisor] [--json]`
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batchtui.records import LaunchSpec, Step
from batchtui.runs.directory import RunDirectory
from batchtui.runs.journal import JournalTail
from batchtui.runs.reader import RunReader
from batchtui.runs.store import RunStore
from benchmarks.store_peers import PEERS, peer_openings

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
_ROUNDS = 9
_BATCH = 5_000
_INGEST_STEPS = 200_000
_WATCHED_S = 20.0
_STEPS_PER_S = 50.0

_OPEN = """
import gc, sys, time
from pathlib import Path
from batchtui.runs.directory import RunDirectory
from batchtui.runs.reader import RunReader
gc.collect()
begin = time.perf_counter()
reader = RunReader(RunDirectory(Path(sys.argv[1])))
with reader.open():
    reader.summary()
    series = reader.step_series(["loss", "step_s"], width=200)
print(1e3 * (time.perf_counter() - begin))
assert sum(series.count) == int(sys.argv[2])
"""


@dataclass
class Results:
    """All that was measured; None or a reason where it could not be."""

    open_ms: dict[str, float]
    open_cold_ms: dict[str, float]
    bytes_per_step: float
    peers: dict[str, dict[str, float | str]]
    ingest_steps_per_s: float  # a second of one core's time
    ingest_steps_per_clock_s: float  # the disk included, and whoever else uses the machine
    supervisor_cpu_percent: float | None
    supervisor_mib: float | None


def measure(
    sizes: list[int], peers_python: str, peer_limit_s: float, with_supervisor: bool
) -> Results:
    """Measure everything, saying on stderr what is being waited for."""
    with tempfile.TemporaryDirectory(prefix="batchtui-store-") as name:
        folder = Path(name)
        say("ingest")
        rates = [ingest(folder / f"ingest-{n}") for n in range(3)]
        by_clock, by_core = (statistics.median(column) for column in zip(*rates, strict=True))
        open_ms, cold_ms, per_step = openings(folder / "run", sizes)
        peers = {}
        for peer in PEERS:
            say(peer)
            peers[peer] = peer_openings(peer, peers_python, sizes, peer_limit_s)
        cpu, mib = supervisor(folder / "runs") if with_supervisor else (None, None)
    return Results(open_ms, cold_ms, per_step, peers, by_core, by_clock, cpu, mib)


def steps(first: int, stop: int) -> Iterator[Step]:
    """Yield steps as a worker measures them, all fields filled."""
    rng = random.Random(first)
    for number in range(first, stop):
        noise = rng.random()
        seconds = 0.02 * (1 + noise)
        yield Step(
            time=1.7e9 + 0.02 * number,
            step=number,
            samples=64 * number,
            epoch=number // 1000 + 1,
            batch=64,
            loss=2.5 / (1 + number / 1000) + noise,
            variance=noise * noise,
            lr=0.1,
            grad_norm=1.5 * noise,
            step_s=seconds,
            data_s=0.03 * seconds,
            transfer_s=0.02 * seconds,
            forward_s=0.3 * seconds,
            backward_s=0.58 * seconds,
            optimizer_s=0.05 * seconds,
            allocated=9_000_000_000 + number,
            reserved=44_000_000_000,
            peak=38_000_000_000 + number % 977,
        )


def new_run(path: Path) -> RunDirectory:
    """Make a run directory."""
    run = RunDirectory(path)
    run.journals.mkdir(parents=True)
    run.write_launch(LaunchSpec(run=run.name, config={}, cwd="/", python=sys.executable))
    return run


def ingest(path: Path) -> tuple[float, float]:
    """Read a journal into a store as a supervisor does.

    Returns steps a second, by the clock and by processor time.
    """
    run = new_run(path)
    with open(run.journals / "rank-0.jsonl", "w", encoding="ascii") as file:
        for step in steps(1, _INGEST_STEPS + 1):
            file.write(json.dumps({"kind": "step", **asdict(step)}) + "\n")
    begin, processor = time.perf_counter(), time.process_time()
    tail, store = JournalTail(run.journals, 0), RunStore(run.database)
    while not tail.caught_up:
        records = tail.read(_BATCH)
        store.add_steps([record for record in records if isinstance(record, Step)])
        store.set_position(0, tail.position)
        store.commit()
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    assert RunReader(run).recent_steps(1)[0].step == _INGEST_STEPS
    store.close()
    return _INGEST_STEPS / seconds, _INGEST_STEPS / processor


def openings(path: Path, sizes: list[int]) -> tuple[dict[str, float], dict[str, float], float]:
    """Let one run grow; at each size, open it from new processes.

    Returns the median milliseconds with the file in the system's cache, the same without, and
    the bytes of a step at the last size.
    """
    run, written = new_run(path), 0
    warm, cold = {}, {}
    for size in sorted(sizes):
        say(f"a run of {size:,} steps")
        store = RunStore(run.database)
        store.set_meta(run=run.name, status="finished", steps=size)
        while written < size:
            stop = min(written + _BATCH, size)
            store.add_steps(list(steps(written + 1, stop + 1)))
            store.commit()
            written = stop
        store.close(final=True)
        cold[str(size)] = statistics.median(opening(run, size, cold=True) for _ in range(_ROUNDS))
        opening(run, size)
        warm[str(size)] = statistics.median(opening(run, size) for _ in range(_ROUNDS))
    return warm, cold, run.database.stat().st_size / written


def opening(run: RunDirectory, size: int, cold: bool = False) -> float:
    """Return the milliseconds from a run directory to a first chart, in a process of its own."""
    if cold:
        with open(run.database, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, "-c", _OPEN, str(run.path), str(size)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def supervisor(root: Path) -> tuple[float, float]:
    """Watch a supervisor for a while: per cent of a core, and resident MiB at the end."""
    from benchmarks.live_run import live_run

    say("a supervisor")
    root.mkdir()
    with live_run(root, {}, steps_per_s=_STEPS_PER_S, device="cpu") as name:
        time.sleep(5.0)
        pid = RunReader(RunDirectory(root / name)).meta()["supervisor_pid"]
        before, begin = processor_seconds(pid), time.monotonic()
        time.sleep(_WATCHED_S)
        percent = 100 * (processor_seconds(pid) - before) / (time.monotonic() - begin)
        return percent, resident_mib(pid)


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process in nanosecond resolution, its threads included."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def say(what: str) -> None:
    """Tell on stderr what is being measured."""
    print(f"measuring: {what} …", file=sys.stderr, flush=True)


def table(results: Results) -> str:
    """Return the results for people."""

    def cell(value: float | str | None) -> str:
        return f"{value:>14.1f}" if isinstance(value, float) else f"{value or 'n/a':>14}"

    rows = [f"{'open, ms':14}" + "".join(f"{int(size):>14,}" for size in results.open_ms)]
    columns: dict[str, dict[str, Any]] = {
        "batchtui": results.open_ms,
        "… not cached": results.open_cold_ms,
        **results.peers,
    }
    rows += [f"{name:14}" + "".join(map(cell, column.values())) for name, column in columns.items()]
    rows += [
        f"disk           {results.bytes_per_step:,.0f} bytes a step",
        f"ingest         {results.ingest_steps_per_s:,.0f} steps a second of processor time, "
        f"{results.ingest_steps_per_clock_s:,.0f} by the clock",
        f"supervisor     {cell(results.supervisor_cpu_percent).strip()} % of a core, "
        f"{cell(results.supervisor_mib).strip()} MiB",
    ]
    return "\n".join(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="steps, with commas")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--peer-limit", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--no-supervisor", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    results = measure(sizes, options.peers_python, options.peer_limit, not options.no_supervisor)
    print(json.dumps(asdict(results)) if options.json else table(results))


if __name__ == "__main__":
    main()
