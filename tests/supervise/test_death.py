"""Why a training ended: evidence in, words out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchtui.records import End, Status, WorkerError
from batchtui.runs.directory import RunDirectory
from batchtui.supervise.account import read_account, root_cause
from batchtui.supervise.death import Evidence, RankDeath, describe_exit, explain

OOM, FAILED, STOPPED = Status.OUT_OF_MEMORY, Status.FAILED, Status.STOPPED


def end(status: str, message: str | None = None) -> End:
    return End(time=1.0, status=status, message=message)


def error(name: str, message: str = "", rank: int = 0) -> WorkerError:
    return WorkerError(type=name, message=message, traceback="", time=1.0, rank=rank)


GPU_MESSAGE = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.5 GiB\n"
    "See documentation for Memory Management"
)
LOADER = "DataLoader worker (pid(s) 4711, 4712) exited unexpectedly"
ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 8589934592 bytes."
)
SHARED = "unable to allocate shared memory(shm) for file </torch_1_2_3>: Success (0)"


@pytest.mark.parametrize(
    ("evidence", "status", "cause"),
    [
        # The worker's own word.
        ({"exit_code": 0, "end": end("finished")}, Status.FINISHED, None),
        ({"exit_code": 1, "end": end("finished", "20 epochs")}, Status.FINISHED, "20 epochs"),
        ({"exit_code": -11, "end": end("finished")}, Status.FINISHED, None),
        ({"exit_code": 0, "end": end("stopped"), "asked": "by you"}, STOPPED, "by you"),
        ({"exit_code": 1, "end": end("stopped"), "asked": "by you"}, STOPPED, "by you"),
        ({"exit_code": 0, "end": end("stopped")}, STOPPED, "SIGTERM from outside"),
        ({"exit_code": -9, "end": end("stopped"), "killed": "slow"}, STOPPED, None),
        # Our own hand.
        ({"exit_code": -9, "asked": "by you", "killed": "too slow"}, STOPPED, "by you; too slow"),
        ({"exit_code": -9, "killed": "too slow", "oom_kills": 1}, STOPPED, "too slow"),
        ({"exit_code": 1, "asked": "by you", "killed": "at once"}, STOPPED, "by you; at once"),
        ({"exit_code": -15, "asked": "by you"}, STOPPED, "by you"),
        ({"exit_code": 143, "asked": "by you"}, STOPPED, "by you"),
        ({"exit_code": -11, "asked": "by you", "pid": 7}, FAILED, "SIGSEGV (signal 11), pid 7"),
        # Memory, in the words of an exception.
        (
            {"exit_code": 1, "error": error("torch.OutOfMemoryError", GPU_MESSAGE)},
            OOM,
            "GPU out of memory: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
            "capacity of 23.5 GiB",
        ),
        ({"error": error("torch.cuda.OutOfMemoryError")}, OOM, "GPU out of memory"),
        ({"error": error("RuntimeError", "CUDA error: out of memory")}, OOM, "GPU out of memory"),
        ({"error": error("RuntimeError", "MPS backend out of memory (…)")}, OOM, "GPU out"),
        ({"error": error("RuntimeError", ALLOCATOR)}, OOM, "host out of memory: [enforce"),
        ({"error": error("RuntimeError", "std::bad_alloc")}, OOM, "host out of memory"),
        ({"error": error("builtins.MemoryError")}, OOM, "host out of memory: MemoryError"),
        (
            {
                "error": error(
                    "RuntimeError",
                    "Caught MemoryError in DataLoader worker process 0.\nTraceback…",
                )
            },
            OOM,
            "host out of memory: Caught MemoryError in DataLoader worker process 0.",
        ),
        (
            {"error": error("RuntimeError", "could not create a primitive"), "memory": 0.97},
            OOM,
            "probably host out of memory",
        ),
        (
            {"error": error("RuntimeError", "could not create a primitive"), "memory": 0.2},
            FAILED,
            "RuntimeError: could not create a primitive",
        ),
        ({"error": error("RuntimeError", SHARED)}, OOM, "/dev/shm full: unable to allocate"),
        (
            {
                "error": error(
                    "RuntimeError", "DataLoader worker (pid 4) is killed by signal: Bus error."
                )
            },
            OOM,
            "/dev/shm full",
        ),
        # Data loaders: who killed them?
        (
            {"error": error("RuntimeError", LOADER), "oom_kills": 1},
            OOM,
            f"host out of memory: the kernel killed a data loader (RuntimeError: {LOADER})",
        ),
        (
            {"error": error("RuntimeError", LOADER), "oom_kills": 0, "shm": 0.99},
            OOM,
            "/dev/shm full",
        ),
        (
            {"error": error("RuntimeError", LOADER), "oom_kills": 0},
            FAILED,
            f"RuntimeError: {LOADER} (and the kernel reports no out-of-memory kill)",
        ),
        # Other exceptions.
        ({"error": error("a.b.OddError", "no such\nfile")}, FAILED, "OddError: no such"),
        ({"error": error("ValueError")}, FAILED, "ValueError"),
        ({"error": error("ValueError", "x", rank=3)}, FAILED, "ValueError: x (rank 3)"),
        ({"error": error("ValueError", "\x1b]52;c;eA==\x07x")}, FAILED, "ValueError: x"),
        # One of several ranks.
        (
            {
                "exit_code": 1,
                "rank_death": RankDeath(1, -9, 7),
                "error": error("RuntimeError", "Connection reset by peer"),
                "oom_kills": 0,
            },
            FAILED,
            "rank 1 killed by SIGKILL (signal 9), pid 7, from outside",
        ),
        ({"exit_code": 1, "rank_death": RankDeath(1, -9, 7), "oom_kills": 1}, OOM, "host out of"),
        (
            {"exit_code": 1, "rank_death": RankDeath(1, 1, 7), "error": error("ValueError")},
            FAILED,
            "ValueError",
        ),
        (
            {
                "exit_code": 1,
                "rank_death": RankDeath(0, -15, 7),
                "asked": "x",
                "end": end("stopped"),
            },
            STOPPED,
            "x",
        ),
        # No word at all.
        (
            {"exit_code": -9, "pid": 7, "oom_kills": 2},
            OOM,
            "host out of memory: the kernel killed the worker (killed by SIGKILL (signal 9), "
            "pid 7)",
        ),
        ({"exit_code": 137, "oom_kills": 1}, OOM, "host out of memory: the kernel killed"),
        (
            {"exit_code": -9, "pid": 7, "oom_kills": 0},
            FAILED,
            "killed by SIGKILL (signal 9), pid 7, from outside: not by batchtui, and the kernel "
            "reports no out-of-memory kill",
        ),
        ({"exit_code": -9}, FAILED, "counter can't be read here"),
        ({"exit_code": -11, "pid": 7}, FAILED, "killed by SIGSEGV (signal 11), pid 7"),
        ({"exit_code": -7, "pid": 7, "shm": 0.95}, OOM, "/dev/shm full: killed by SIGBUS"),
        ({"exit_code": -7, "pid": 7, "shm": 0.1}, FAILED, "killed by SIGBUS (signal 7), pid 7: a"),
        (
            {"exit_code": -6, "log_tail": "terminate called\n  what():  std::bad_alloc\n"},
            OOM,
            "host out of memory: what():  std::bad_alloc (killed by SIGABRT (signal 6))",
        ),
        ({"exit_code": 1, "log_tail": "a\nValueError: b\n\n"}, FAILED, "code 1: ValueError: b"),
        ({"exit_code": 3}, FAILED, "ended with code 3"),
        ({"exit_code": 0}, FAILED, "the worker ended with code 0, but not at its end"),
        ({}, FAILED, "the worker is gone without a word"),
        ({"exit_code": 1, "end": end("failed")}, FAILED, "ended with code 1"),
    ],
)
def test_explain(evidence: dict[str, Any], status: Status, cause: str | None) -> None:
    verdict = explain(Evidence(**evidence))
    assert verdict.status is status
    if cause is not None:
        assert verdict.cause is not None
        assert cause in verdict.cause
        assert verdict.cause.isprintable()
        assert len(verdict.cause) <= 300
    if verdict.status is OOM:
        assert verdict.advice


def test_a_full_shm_is_no_matter_of_the_batch() -> None:
    verdict = explain(Evidence(error=error("RuntimeError", SHARED)))
    assert verdict.advice is not None
    assert "num_workers" in verdict.advice


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "killed by SIGKILL (signal 9), pid 5"),
        (-40, "killed by signal 40 (signal 40), pid 5"),
        (139, "ended with code 139, which stands for SIGSEGV, pid 5"),
        (255, "ended with code 255"),
        (2, "ended with code 2, pid 5"),
    ],
)
def test_describe_exit(code: int, words: str) -> None:
    assert words in describe_exit(code, 5)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"message": NaN'],
)
def test_an_account_that_is_none(run: RunDirectory, content: bytes) -> None:
    run.error.write_bytes(content)
    assert read_account(run) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"type": "ValueError", "message": "x", "step": 4, "rank": 1}, ("ValueError", "x", 4, 1)),
        ({"type": 3, "message": ["x"], "step": "4"}, ("unknown error", "", None, 0)),
        ({"message": "x" * 500_000, "time": "late"}, ("unknown error", "x" * 65536, None, 0)),
        ({"time": 10**400}, ("unknown error", "", None, 0)),
    ],
)
def test_an_account_is_read_with_care(
    run: RunDirectory, values: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    run.error.write_text(json.dumps(values))
    account = read_account(run)
    assert account is not None
    assert (account.type, account.message, account.step, account.rank) == expected


def test_what_torchrun_kept_counts_where_there_is_no_better_account(run: RunDirectory) -> None:
    kept = {"message": {"message": "RuntimeError: boom", "extraInfo": {"timestamp": "17"}}}
    (run.path / "torchrun-error.json").write_text(json.dumps(kept))
    account = read_account(run)
    assert account is not None
    assert (account.type, account.message, account.time) == ("RuntimeError", "boom", 17.0)
    run.error.write_text('{"type": "ValueError", "message": "first"}')
    account = read_account(run)
    assert account is not None
    assert account.type == "ValueError"


def test_what_torchrun_reports_of_the_first_rank_to_fail() -> None:
    report = """\
Failures:
[1]:
  time      : 2026-11-22_22:32:13
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 13525)
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-22_22:32:05
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 13526)  (SIGKILL)
  error_file: <N/A>
============================================================
"""
    assert root_cause("noise\n" + report) == RankDeath(rank=1, exit_code=-9, pid=13526)
    assert root_cause("") is None
    assert root_cause(report[: report.index("exitcode  : -9")]) is None
