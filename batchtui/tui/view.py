"""The view: everything the screen shows, frozen, made in the feed's thread.

In seconds, bytes and fractions; None is "not measured". Texts have passed `batchtui.text.clean`.

Named tuples, whose classes Python makes in a third of dataclasses' time: the first frame waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batchtui.records import Status

if TYPE_CHECKING:
    from batchtui.advise.kept import Kept


class Points(NamedTuple):
    """A curve: x ascending, and the lowest, highest and mean value of what a point stands for.

    A mean of None is a gap.
    """

    x: tuple[float, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    mean: tuple[float | None, ...] = ()


class Course(NamedTuple):
    """What was measured over a stretch of steps: the x of every curve are the same steps.

    `samples` and `time` tell where these steps lie on the other axes: samples trained, and
    seconds of the wall clock; None where that is unknown.
    """

    step_s: Points = Points()
    loss: Points = Points()
    variance: Points = Points()
    samples: tuple[float | None, ...] = ()
    time: tuple[float | None, ...] = ()


class Mark(NamedTuple):
    """Where on an axis a run of a chain takes over, and what changed there."""

    x: float
    label: str = ""


class Window(NamedTuple):
    """The stretch of an x axis that a chart shows, and the words at its ends."""

    start: float = 0.0
    end: float = 1.0
    left: str = ""
    right: str = ""


class Progress(NamedTuple):
    """How far the training is."""

    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    batch_size: int | None = None
    fraction: float | None = None
    remaining_s: float | None = None
    elapsed_s: float | None = None


class MemoryWarning(NamedTuple):
    """Memory that runs out: `level` is warning or critical, `text` says what and how full."""

    level: str
    text: str


class Part(NamedTuple):
    """A named share of a whole; `role` picks its look.

    `shown` is the number to print where it is not the part's own size, as for memory that is
    held *up to* an edge.
    """

    label: str
    value: float
    share: float | None
    role: str
    shown: float | None = None


class History(NamedTuple):
    """Stacked areas over time: each layer lies upon the one before; `full` is the top edge."""

    window: Window = Window()
    layers: tuple[tuple[str, Points], ...] = ()  # (role, points)
    full: float | None = None
    limit: float | None = None
    marks: tuple[Mark, ...] = ()  # where a run takes over


class CpuView(NamedTuple):
    """The processor: fractions of one core each, except `worker_cores` and the history's cores."""

    average: float | None = None
    cores: tuple[float, ...] = ()
    load: float | None = None
    iowait: float | None = None
    worker_cores: float | None = None
    worker_processes: int | None = None
    history: History = History()


class GpuRow(NamedTuple):
    """One of several GPUs or MIG slices."""

    label: str
    used: int | None = None
    total: int | None = None
    limit: int | None = None
    others: int = 0  # held by other processes
    level: str | None = None
    utilization: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    ours: bool = False  # whether the worker computes on it
    error: str | None = None


class MemoryView(NamedTuple):
    """The memory that the batch size has to fit into: one GPU's, or the worker's own."""

    title: str = "Memory"
    note: str = ""  # why it is not a GPU's, or what limits it
    used: int | None = None
    total: int | None = None
    others: int = 0  # held by other processes; of several GPUs the most on one of the run's
    limit: int | None = None  # where this run counts memory as full
    level: str | None = None
    parts: tuple[Part, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    sensors: str = ""  # compute, temperature, power
    history: History = History()
    gpus: tuple[GpuRow, ...] = ()  # filled where there is more than one


class Startup(NamedTuple):
    """What a worker does before its first step, and which of it is going on."""

    phases: tuple[str, ...]
    current: int
    elapsed_s: float | None = None  # of the current phase


class StepsView(NamedTuple):
    """How long steps take, and what they are made of."""

    course: Course = Course()  # of the last minutes
    p50: float | None = None
    p95: float | None = None
    now: float | None = None
    ceiling: float | None = None  # draw no higher than this; what is above is marked
    highest: float | None = None
    samples_per_s: float | None = None
    parts: tuple[Part, ...] = ()
    reason: str | None = None  # why there is nothing to draw
    startup: Startup | None = None  # what is done before there is something


class LossView(NamedTuple):
    """The loss, its variance within a batch, and what was reached on the held-out split."""

    course: Course = Course()  # of the whole run
    total_steps: float | None = None
    total_samples: float | None = None
    wide: bool = False  # only a logarithmic scale shows all of it
    floor: float | None = None  # draw no lower on such a scale; `lowest` is what there is below
    lowest: float | None = None
    latest: float | None = None
    latest_variance: float | None = None
    variance_end: float | None = None  # where its curve ends, however well it is known
    trend_free: float | None = None  # V
    ratio: float | None = None  # R
    noise_reason: str | None = None  # why there is no V, or no ratio
    dynamics: bool = False  # R stays above 2: not sampling noise
    accuracy: float | None = None
    best_accuracy: float | None = None
    best_epoch: int | None = None
    held_out_loss: float | None = None  # where there is no accuracy
    evaluation_reason: str | None = None
    nonfinite: int = 0
    alarm: str | None = None  # NaN, spikes
    reason: str | None = None


class LogLine(NamedTuple):
    """A line of the worker's output, or something that happened to the run."""

    number: int  # counts from the first line read; the line of a number may grow at its end
    text: str
    level: str = "info"  # info, warning, error
    time: float | None = None
    event: bool = False


class LogView(NamedTuple):
    """The end of the log; `skipped` says what was not read, because it came too fast."""

    lines: tuple[LogLine, ...] = ()
    skipped: str | None = None
    reason: str | None = None


class BatchView(NamedTuple):
    """What the advisor knows about the batch size."""

    size: int | None = None  # per process and micro-batch
    global_size: int | None = None
    train_samples: int | None = None
    variance: float | None = None  # pooled s² of per-sample losses
    variance_reason: str | None = None
    headroom: int | None = None  # bytes from what is used now to the limit
    limit: int | None = None  # bytes at which memory counts as full
    others: int = 0  # bytes that other processes hold there
    peak: int | None = None  # most bytes measured at this size
    samples_per_s: float | None = None
    alive: bool = False
    # What a restart changes, or goes by.
    accumulate: int = 1
    world_size: int = 1
    optimizer: str = ""
    lr: float | None = None  # as configured
    lr_rule: str = "auto"
    samples: int = 0  # trained
    config_path: str | None = None
    started: float | None = None
    kept: Kept | None = None  # where an ended run goes on


class Fact(NamedTuple):
    """A line of the summary of an ended run."""

    label: str
    value: str
    rest: str = ""  # what may be left out where there is no room


class Replay(NamedTuple):
    """Where a replay of a run is."""

    moment: float
    speed: float = 1.0  # seconds of the run in one of the clock on the wall
    held: bool = False
    ended: bool = False  # nothing later is recorded
    start: float = 0.0
    end: float = 0.0
    note: str = ""  # what there is to know at the end


class View(NamedTuple):
    """One look at a run."""

    taken: float
    run: str
    status: Status
    word: str  # the status as shown: training, evaluating, starting, …
    detail: str | None = None  # what it is doing meanwhile, or why it ended
    trouble: str | None = None  # why this look is incomplete
    warning: MemoryWarning | None = None
    progress: Progress = Progress()
    cpu: CpuView = CpuView()
    memory: MemoryView = MemoryView()
    steps: StepsView = StepsView()
    loss: LossView = LossView()
    log: LogView = LogView()
    batch: BatchView = BatchView()
    reason: str | None = None  # why it went on from its parent: "batch size 64 → 128"
    summary: tuple[Fact, ...] = ()  # of an ended run
    marks: tuple[Mark, ...] = ()  # restarts
    origin: float = 0.0  # time of the first step
    close_up: Course | None = None  # of the stretch of steps that was asked for

    @property
    def moment(self) -> str:
        """When the machine was last looked at, where that is not now."""
        ended = "" if self.status.alive else "at the end"
        return "last seen" if self.status is Status.LOST else ended

    replay: Replay | None = None  # where this look is one at the past
