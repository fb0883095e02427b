"""Why a training ended, in words: evidence in, verdict out.

The worker's own account comes first: its last journal record, then error.json. Where it had no
time to give one, the exit status, what the kernel counted and the end of its log have to do.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace

from batchtui.records import End, Status, WorkerError
from batchtui.text import clean

_CAUSE_LENGTH = 300  # characters
_NEAR_FULL = 0.9  # of a limit: from here on it may well have been hit between two samples
_LOG_LINES = 20  # of the log's end: what stands further up did not kill it

_OURS = ("ConfigError", "DataError")  # their messages are whole sentences for the user

_SMALLER_BATCH = (
    "lower dataloaders.batch_size; training.accumulate keeps the global batch size, "
    "training.amp: bf16 halves most activations"
)
_LESS_HOST_MEMORY = (
    "lower dataloaders.batch_size or dataloaders.num_workers; limits.low_memory: true makes "
    "malloc give memory back"
)
_LESS_SHARED_MEMORY = (
    "not a matter of the batch size alone: lower dataloaders.num_workers or prefetch_factor, "
    "or enlarge /dev/shm (docker run --shm-size, --ipc=host)"
)


@dataclass(frozen=True, slots=True)
class RankDeath:
    """How the first rank to fail ended, as torchrun saw it."""

    rank: int
    exit_code: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known when a worker is gone."""

    exit_code: int | None = None  # negative: a signal; None: nobody could see it
    pid: int | None = None
    end: End | None = None  # the worker's last record
    error: WorkerError | None = None
    log_tail: str = ""
    rank_death: RankDeath | None = None  # of several ranks, the first
    oom_kills: int | None = None  # by how much the kernel's counter rose; None: unreadable
    asked: str | None = None  # why it was asked to stop; None: it was not
    killed: str | None = None  # why we ended it without its word; None: we did not
    memory: float | None = None  # the fullest that the host's or cgroup's limit was of late
    shm: float | None = None  # … and /dev/shm


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended. `advice` is a line for the user, or None."""

    status: Status
    cause: str | None
    advice: str | None = None


def explain(evidence: Evidence) -> Verdict:
    """Name the cause of a death; one line, fit to print."""
    verdict = _by_its_word(evidence) or _by_our_hand(evidence)
    rank = evidence.rank_death
    if verdict is None and rank is not None and rank.exit_code < 0:
        # What the others say of it, a lost connection, is no cause.
        evidence = replace(evidence, exit_code=rank.exit_code, pid=rank.pid, error=None)
        verdict = _by_exit(evidence, f"rank {rank.rank} ")
    if verdict is None and evidence.error is not None:
        verdict = _by_error(evidence, evidence.error)
    if verdict is None:
        verdict = _by_exit(evidence)
    cause = clean(verdict.cause, _CAUSE_LENGTH) if verdict.cause else None
    return Verdict(verdict.status, cause, verdict.advice)


def describe_exit(exit_code: int | None, pid: int | None = None) -> str:
    """Put an exit status into words: `killed by SIGSEGV (signal 11), pid 4711`."""
    which = f", pid {pid}" if pid is not None else ""
    if exit_code is None:
        return "gone, nobody saw how"
    if exit_code < 0:
        return f"killed by {_signal_name(-exit_code)} (signal {-exit_code}){which}"
    if exit_code > 128:
        # What a shell or torchrun makes of a child's signal.
        name = _signal_name(exit_code - 128)
        return f"ended with code {exit_code}, which stands for {name}{which}"
    return f"ended with code {exit_code}{which}"


# ------------------------------------------------------------------------ the four sources


def _by_its_word(evidence: Evidence) -> Verdict | None:
    """Believe the worker's last record, if it says that all went well.

    torchrun ends with code 1 after a clean stop, and an interpreter may crash while it shuts
    down: neither takes anything from a training that is complete.
    """
    end = evidence.end
    if end is None or end.status not in (Status.FINISHED.value, Status.STOPPED.value):
        return None
    if end.status == Status.FINISHED.value:
        return Verdict(Status.FINISHED, end.message)
    return Verdict(Status.STOPPED, evidence.asked or end.message or "SIGTERM from outside")


def _by_our_hand(evidence: Evidence) -> Verdict | None:
    silent = evidence.error is None and evidence.end is None
    if evidence.killed is not None and (silent or evidence.exit_code in (None, -signal.SIGKILL)):
        before = f"{evidence.asked}; " if evidence.asked else ""
        return Verdict(Status.STOPPED, f"{before}{evidence.killed}")
    by_term = evidence.exit_code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    if evidence.asked is not None and silent and by_term:
        # Too early for the worker to answer, e.g. while it still imported torch.
        return Verdict(Status.STOPPED, evidence.asked)
    return None


def _by_error(evidence: Evidence, error: WorkerError) -> Verdict:
    name = error.type.rpartition(".")[2]
    text = f"{name}: {error.message}" if error.message else name
    if name in _OURS and error.message:
        text = error.message
    verdict = _memory_death(name, error.message, evidence)
    if verdict is not None:
        return verdict
    if "DataLoader worker" in text and ("exited unexpectedly" in text or "Killed" in text):
        return _loader_death(evidence, text)
    where = f" (rank {error.rank})" if error.rank else ""
    return Verdict(Status.FAILED, f"{_first_line(text)}{where}")


def _by_exit(evidence: Evidence, who: str = "") -> Verdict:
    """Judge a death that nobody explained."""
    code = evidence.exit_code
    how = who + describe_exit(code, evidence.pid)
    killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    if killed and evidence.oom_kills:
        return Verdict(
            Status.OUT_OF_MEMORY,
            f"host out of memory: the kernel killed the worker ({how})",
            _LESS_HOST_MEMORY,
        )
    if code == -signal.SIGKILL:
        return Verdict(Status.FAILED, f"{how}, from outside: not by batchtui, {_kernel(evidence)}")
    lines = [line for line in evidence.log_tail.split("\n") if line.strip()][-_LOG_LINES:]
    last_words = _memory_death("", "\n".join(lines), evidence) if code != 0 else None
    if last_words is not None:
        return Verdict(last_words.status, f"{last_words.cause} ({how})", last_words.advice)
    if code == -signal.SIGBUS:
        return _bus_error(evidence, how)
    if code is None:
        return Verdict(Status.FAILED, "the worker is gone without a word")
    if code == 0:
        return Verdict(Status.FAILED, "the worker ended with code 0, but not at its end")
    if code > 0 and lines:
        how += f": {lines[-1].strip()}"
    return Verdict(Status.FAILED, how)


# ---------------------------------------------------------------------- deaths of memory

_GPU = re.compile(
    r"\b(?:CUDA|HIP|XPU|MPS backend) out of memory|CUDA error: out of memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation"
)
_SHARED = re.compile(
    r"unable to allocate shared memory ?\(shm\)|unable to write to file </torch_"
    r"|Bus error|out of shared memory"
)
_HOST = re.compile(
    r"DefaultCPUAllocator: (?:can't allocate|not enough) memory|std::bad_alloc"
    r"|\bMemoryError\b|Cannot allocate memory"
)
_PRIMITIVE = "could not create a primitive"


def _memory_death(name: str, message: str, evidence: Evidence) -> Verdict | None:
    """Recognise an exception, or a log's end, that speaks of memory."""
    if _SHARED.search(message):
        return Verdict(
            Status.OUT_OF_MEMORY, f"/dev/shm full: {_at(_SHARED, message)}", _LESS_SHARED_MEMORY
        )
    if name == "OutOfMemoryError" or _GPU.search(message):
        return Verdict(
            Status.OUT_OF_MEMORY,
            f"GPU out of memory: {_at(_GPU, message)}".removesuffix(": "),
            _SMALLER_BATCH,
        )
    if name == "MemoryError" or _HOST.search(message):
        return Verdict(
            Status.OUT_OF_MEMORY,
            f"host out of memory: {_at(_HOST, message) or name}",
            _LESS_HOST_MEMORY,
        )
    if _PRIMITIVE in message and _near(evidence.memory):
        return Verdict(
            Status.OUT_OF_MEMORY,
            f"probably host out of memory: oneDNN {_PRIMITIVE}, with memory near its limit",
            _LESS_HOST_MEMORY,
        )
    return None


def _loader_death(evidence: Evidence, text: str) -> Verdict:
    """Judge the death of a data loader's process, which the training noticed."""
    line = _first_line(text)
    if evidence.oom_kills:
        return Verdict(
            Status.OUT_OF_MEMORY,
            f"host out of memory: the kernel killed a data loader ({line})",
            _LESS_HOST_MEMORY,
        )
    if _near(evidence.shm):
        return Verdict(Status.OUT_OF_MEMORY, f"/dev/shm full: {line}", _LESS_SHARED_MEMORY)
    return Verdict(Status.FAILED, f"{line} ({_kernel(evidence)})")


def _bus_error(evidence: Evidence, how: str) -> Verdict:
    """Judge a SIGBUS: a page that could not be had, nearly always in a full /dev/shm."""
    if _near(evidence.shm):
        return Verdict(Status.OUT_OF_MEMORY, f"/dev/shm full: {how}", _LESS_SHARED_MEMORY)
    return Verdict(
        Status.FAILED,
        f"{how}: a full /dev/shm, or a mapped file that was cut short",
        _LESS_SHARED_MEMORY,
    )


def _kernel(evidence: Evidence) -> str:
    if evidence.oom_kills is None:
        return "and the kernel's out-of-memory counter can't be read here"
    return "and the kernel reports no out-of-memory kill"


def _near(fraction: float | None) -> bool:
    return fraction is not None and fraction >= _NEAR_FULL


def _at(pattern: re.Pattern[str], message: str) -> str:
    """Return the line in which a pattern was found, else the first one."""
    found = pattern.search(message)
    if found is None:
        return _first_line(message)
    start = message.rfind("\n", 0, found.start()) + 1
    return _first_line(message[start:])


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
