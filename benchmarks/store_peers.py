"""The readers that a run store stands beside: each opens a run of its own kind, of any length.

They are run in an interpreter that has them, given by its path, so that they need not be
installed beside batchtui.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence

_TENSORBOARD = """
import sys, time
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
steps, folder, limit = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
begin = time.perf_counter()
with open(folder + "/events.out.tfevents.1.here", "wb") as file:
    writer = RecordWriter(file)
    for step in range(1, steps + 1):
        values = [Summary.Value(tag=tag, simple_value=1 / step) for tag in ("loss", "step_s")]
        event = Event(wall_time=step, step=step, summary=Summary(value=values))
        writer.write(event.SerializeToString())
        if step % 10_000 == 0 and time.perf_counter() - begin > limit:
            sys.exit("too slow")
    writer.flush()
begin = time.perf_counter()
accumulator = EventAccumulator(folder)
accumulator.Reload()
assert accumulator.Scalars("loss") and accumulator.Scalars("step_s")
print(1e3 * (time.perf_counter() - begin))
"""

_TRACKIO = """
import os, sys, time
steps, folder, limit = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
os.environ["TRACKIO_DIR"] = folder
from trackio.sqlite_storage import SQLiteStorage
begin = time.perf_counter()
for first in range(1, steps + 1, 10_000):
    numbers = range(first, min(first + 10_000, steps + 1))
    values = [{"loss": 1 / step, "step_s": 1 / step} for step in numbers]
    SQLiteStorage.bulk_log("p", "r", values, steps=list(numbers))
    if time.perf_counter() - begin > limit:
        sys.exit("too slow")
begin = time.perf_counter()
logs = SQLiteStorage.get_logs("p", "r", max_points=3000, scalar_only=True)
assert logs
print(1e3 * (time.perf_counter() - begin))
"""
PEERS = {"tensorboard": _TENSORBOARD, "trackio": _TRACKIO}


def peer_openings(
    peer: str, python: str, sizes: Sequence[int], limit_s: float
) -> dict[str, float | str]:
    """Return a peer's milliseconds to two series at each size, or why there are none.

    A size that takes longer than `limit_s` to write, and all larger ones, are "too slow".
    """
    if subprocess.run([python, "-c", f"import {peer}"], capture_output=True).returncode:
        return {str(size): "not installed" for size in sizes}
    results: dict[str, float | str] = {}
    for size in sorted(sizes):
        if "too slow" in results.values():
            results[str(size)] = "too slow"
            continue
        with tempfile.TemporaryDirectory(prefix="batchtui-peer-") as folder:
            command = [python, "-c", PEERS[peer], str(size), folder, str(limit_s)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=3 * limit_s)
                text = done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]
            except subprocess.TimeoutExpired:
                text = "too slow"
        try:
            results[str(size)] = float(text)
        except ValueError:
            results[str(size)] = text
    return results
