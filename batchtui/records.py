"""What the processes tell each other: journal records, samples of the machine, a run's summary.

Standard library only: the worker may run in another environment's interpreter, which has torch
and nothing of ours. Times are seconds, sizes are bytes, wall-clock stamps are Unix seconds.
None means "not measured".

A journal is JSON lines, one object a line, appended with O_APPEND; `kind` names the record and
the other keys are the fields of the class below. Any program can write one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar


class Status(str, Enum):
    """Where a run stands; the values are the words shown to the user."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    OUT_OF_MEMORY = "out of memory"
    LOST = "lost"  # silent, presumed dead; running again as soon as it speaks

    @property
    def alive(self) -> bool:
        """Whether a process may still be training."""
        return self in _ALIVE


_ALIVE = frozenset({Status.STARTING, Status.RUNNING, Status.STOPPING, Status.LOST})


class Fields:
    """Equality and repr by fields, once: to generate them for each class slows every start."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({', '.join(fields)})"


# ---------------------------------------------------------------------------- the journal


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Start(Fields):
    """Who trains what: the first record of a rank, once model and data stand."""

    kind: ClassVar[str] = "start"
    time: float
    pid: int
    rank: int = 0
    world_size: int = 1
    device: str = "cpu"  # torch's name: cpu, cuda:0, mps, xpu:0
    device_name: str | None = None
    device_uuid: str | None = None  # NVML's spelling, GPU-…: how the sampler finds the card
    torch: str | None = None
    batch_size: int  # per process and micro-batch
    accumulate: int = 1
    global_batch_size: int  # batch size × world size × accumulation
    train_samples: int  # size of the training split
    eval_samples: int = 0
    epochs: int
    total_samples: int  # samples to train in all epochs
    parameters: int | None = None
    first_step: int = 0  # steps already trained by the runs it resumes
    first_samples: int = 0  # samples already trained by them


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Phase(Fields):
    """What the worker is busy with, where that is not training steps."""

    kind: ClassVar[str] = "phase"
    time: float
    phase: str  # a few words: "importing torch", "loading the data", "evaluating", …


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Step(Fields):
    """One optimizer step. The five parts add up to no more than `step_s`."""

    kind: ClassVar[str] = "step"
    time: float  # wall clock at its end
    step: int  # counts from 1, parents' steps included
    samples: int  # samples trained up to here, parents' included: the clock of a training
    epoch: int  # counts from 1
    batch: int  # samples of this step on this rank
    loss: float | None = None  # mean over the step's samples; None with nonfinite: NaN or inf
    variance: float | None = None  # s², unbiased variance of the per-sample losses
    nonfinite: bool = False  # the loss was NaN or infinite
    lr: float | None = None
    grad_norm: float | None = None
    step_s: float | None = None  # end of the previous step to the end of this one
    data_s: float | None = None  # waiting for the loader
    transfer_s: float | None = None  # host to device
    forward_s: float | None = None
    backward_s: float | None = None
    optimizer_s: float | None = None
    allocated: int | None = None  # accelerator memory in tensors, at the step's end
    reserved: int | None = None  # … and held by the caching allocator
    peak: int | None = None  # most allocated during the step


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Evaluation(Fields):
    """A pass over the held-out split."""

    kind: ClassVar[str] = "evaluation"
    time: float
    step: int
    samples: int
    epoch: int
    loss: float | None = None
    accuracy: float | None = None  # fraction of samples whose top class is right
    eval_samples: int = 0
    seconds: float | None = None
    peak: int | None = None  # most accelerator memory allocated during the pass


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Checkpoint(Fields):
    """A checkpoint that is complete on disk, or the reason why there is none."""

    kind: ClassVar[str] = "checkpoint"
    time: float
    step: int
    samples: int
    epoch: int
    file: str | None = None  # name within checkpoints/
    bytes: int | None = None
    seconds: float | None = None
    error: str | None = None


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Note(Fields):
    """A line the worker wants the user to see; `level` is info or warning."""

    kind: ClassVar[str] = "note"
    time: float
    level: str = "info"
    message: str


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class End(Fields):
    """The worker's last record; without one it died."""

    kind: ClassVar[str] = "end"
    time: float
    status: str  # finished, stopped or failed
    step: int = 0
    samples: int = 0
    message: str | None = None
    dropped_records: int = 0  # records that could not be written


Record = Start | Phase | Step | Evaluation | Checkpoint | Note | End
RECORD_TYPES: tuple[type, ...] = (Start, Phase, Step, Evaluation, Checkpoint, Note, End)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class WorkerError(Fields):
    """error.json: the worker's own account of its death."""

    type: str  # the exception's qualified name
    message: str
    traceback: str
    time: float
    rank: int = 0
    step: int | None = None
    phase: str | None = None


# ------------------------------------------------------------------- samples of the machine


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class GpuSample(Fields):
    """One GPU (or MIG slice) as NVML sees it. A sensor that fails costs its field alone."""

    index: int  # NVML's; a MIG slice has 100 × (card + 1) + slice
    uuid: str | None = None
    name: str | None = None
    used: int | None = None
    total: int | None = None
    worker_used: int | None = None  # held by the processes of this run
    others_used: int | None = None  # used − worker_used, where both are known
    utilization: float | None = None  # fraction
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    error: str | None = None  # e.g. "GPU is lost"


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class MachineSample(Fields):
    """One pass over all sensors: one timestamp. Fractions are 0…1."""

    time: float
    cpu: float | None = None  # fraction of all cores
    cores: tuple[float, ...] = ()  # fraction of each core
    load1: float | None = None
    iowait: float | None = None  # fraction of all cores' time
    memory_total: int | None = None  # host
    memory_available: int | None = None  # host
    limit_total: int | None = None  # the lowest limit over the worker: a cgroup's or the host's
    limit_used: int | None = None  # used under that limit, page cache excluded
    limit_source: str | None = None  # "host", or "cgroup /path"
    worker_cpu: float | None = None  # in cores: 1.5 is one and a half
    worker_resident: int | None = None  # RssAnon + RssShmem of the worker's process tree
    worker_processes: int | None = None
    shm_used: int | None = None  # /dev/shm
    shm_total: int | None = None
    disk_free: int | None = None  # where the run directory lies
    gpus: tuple[GpuSample, ...] = ()
    gpu_status: str | None = None  # why there are no GPUs to show: "no NVIDIA driver"


# ------------------------------------------------------------------------------ the run


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Event(Fields):
    """Something worth remembering with the run. `level`: info, warning or error."""

    time: float
    level: str
    kind: str  # started, phase, checkpoint, memory, stop, lost, revived, ended, …
    message: str
    step: int | None = None


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class RunSummary(Fields):
    """What `runs --json` lists and `show --json` begins with, and a little more for the screen.

    The first block is a public format: names and order are stable.
    """

    run: str
    status: str
    parent: str | None = None
    batch_size: int | None = None
    global_batch_size: int | None = None
    epoch: int | None = None
    steps: int = 0  # parents' included
    samples: int = 0  # parents' included, all epochs
    samples_per_s: float | None = None
    step_time_p50_s: float | None = None
    loss: float | None = None
    loss_variance: float | None = None
    peak_bytes: int | None = None  # accelerator: most reserved; CPU: most resident
    limit_bytes: int | None = None
    started: float | None = None
    ended: float | None = None
    cause: str | None = None  # why it ended, in one line


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Fallback(Fields):
    """The last run that was known to work, and how long a new size may take for its first step."""

    run: str  # whose configuration is gone back to
    batch_size: int
    first_step_within: float  # seconds from the launch


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class LaunchSpec(Fields):
    """launch.json: all that supervisor and worker need to know of a run, written once."""

    run: str
    config: dict[str, object]  # the resolved configuration, as config.schema.Config takes it
    config_path: str | None = None  # absolute path of the user's file
    cwd: str  # where the user stood: relative paths of the configuration mean this folder
    python: str  # the worker's interpreter
    parent: str | None = None
    resume_from: str | None = None  # absolute path of a checkpoint file
    created: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)  # added to the worker's
    trial_steps: int = 0  # more than 0: no training, but so many steps to see what they take
    trial_limit: int = 0  # of a trial on an accelerator: bytes that its allocator may have
    reason: str | None = None  # why it goes on from its parent: "batch size 64 → 128"
    fallback: Fallback | None = None  # what to go back to, once, if this one dies of its size
    went_back: bool = False  # from a size that did
