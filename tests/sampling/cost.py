"""Measure what one pass over the machine costs, processor time of all threads.

`python -m tests.sampling.cost [--strangers 900] [--tree 70] [--cores 128] [--passes 64]`; with
the stand-in of tests/nvml in the environment its cards are read too.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path

from batchtui.sampling.host import Host
from batchtui.sampling.machine import MachineSampler

BETWEEN_S = 0.05  # for the thread that asks the driver


def family(children: int) -> int:
    """Start a process with so many idle children; all end with this program's group."""
    parent = os.fork()
    if parent == 0:
        for _ in range(children):
            if os.fork() == 0:
                break
        time.sleep(600)
        os._exit(0)
    return parent


def many_cores(folder: str, cores: int) -> Host:
    """Return a host that reads a /proc/stat of so many cores."""
    line = " 1234567 1234 345678 99999999 12345 0 6789 0 0 0\n"
    lines = [f"cpu{number}{line}" for number in ("", *range(cores))]
    (Path(folder) / "stat").write_text("".join(lines) + "intr " + "0 " * 3000 + "\n")
    for name in ("meminfo", "loadavg"):
        (Path(folder) / name).write_text(Path("/proc", name).read_text())
    return Host(folder)


def main() -> None:
    """Print the mean and the worst pass."""
    parser = argparse.ArgumentParser(prog="python -m tests.sampling.cost", description=__doc__)
    parser.add_argument("--strangers", type=int, default=0, metavar="N", help="idle processes")
    parser.add_argument("--tree", type=int, default=4, metavar="N", help="the worker's children")
    parser.add_argument("--cores", type=int, default=0, metavar="N", help="made up; 0: this host")
    parser.add_argument("--passes", type=int, default=64, metavar="N")
    options = parser.parse_args()
    os.setpgid(0, 0)
    worker = family(options.tree)
    family(options.strangers)
    time.sleep(1 + (options.strangers + options.tree) / 500)
    with tempfile.TemporaryDirectory() as folder:
        host = many_cores(folder, options.cores) if options.cores else None
        sampler = MachineSampler(roots=lambda: [worker], run_path="/", host=host)
        sampler.sample()
        time.sleep(1)
        costs = []
        for _ in range(options.passes):
            before = time.process_time()
            sample = sampler.sample()
            time.sleep(BETWEEN_S)
            costs.append(1e3 * (time.process_time() - before))
    processes = sum(name.isdigit() for name in os.listdir("/proc"))
    print(
        f"{processes} processes, {sample.worker_processes} of them the worker's, "
        f"{options.cores or os.cpu_count()} cores, {len(sample.gpus)} GPUs: "
        f"{statistics.mean(costs):.2f} ms a pass, worst {max(costs):.2f} ms"
    )
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main()
