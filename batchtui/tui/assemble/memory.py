"""The memory pane's part of a view: one GPU, several, or the worker's own memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from batchtui import units
from batchtui.records import GpuSample, MachineSample, Step
from batchtui.text import clean
from batchtui.tui.assemble.windows import recent_window
from batchtui.tui.facts import Facts
from batchtui.tui.view import GpuRow, History, Mark, MemoryView, MemoryWarning, Part, Points

WARNING, CRITICAL = 0.90, 0.95


def warning(meta: Mapping[str, object]) -> MemoryWarning | None:
    """Return the supervisor's word on memory that runs out."""
    level = meta.get("memory_level")
    if level not in ("warning", "critical"):
        return None
    return MemoryWarning(
        str(level), clean(str(meta.get("memory_what") or "memory nearly full"), 120)
    )


def memory_view(facts: Facts) -> MemoryView:
    """Show GPUs where the run uses them, and else the memory of the worker's processes."""
    machine = facts.machine
    device = str(facts.meta.get("device") or "")
    if machine is not None and machine.gpus and device != "cpu":
        if len(machine.gpus) == 1:
            return _one_gpu(facts, machine.gpus[0])
        return _many_gpus(facts, machine.gpus, device)
    if device not in ("", "cpu"):
        return _other_accelerator(facts, device)
    return _host(facts, machine)


def _host(facts: Facts, machine: MachineSample | None) -> MemoryView:
    if machine is None:
        return MemoryView(title="Memory", note="no sample yet")
    used, total, worker = machine.limit_used, machine.limit_total, machine.worker_resident
    parts = [Part("worker", worker, _share(worker, total), "a")] if worker is not None else []
    if used is not None:
        others = max(0, used - (worker or 0))
        parts.append(Part("others" if worker is not None else "used", others,
                          _share(others, total), "other"))  # fmt: skip
    if used is not None and total is not None:
        parts.append(Part("free", max(0, total - used), _share(total - used, total), "free"))
    on_purpose = bool(machine.gpus)
    reason = "the run is on the CPU" if on_purpose else machine.gpu_status
    source = clean(machine.limit_source or units.MISSING, 60)
    facts_line = [("limit of", "this host" if source == "host" else source)]
    if machine.shm_total:
        shared = f"{units.gib(machine.shm_used)} of {units.gib(machine.shm_total)}"
        facts_line.append(("/dev/shm", shared))
    peak = facts.summary.peak_bytes
    if peak is not None:
        facts_line.insert(0, ("worker's peak", units.gib(peak)))
    return MemoryView(
        title="Memory · CPU" if on_purpose else "Memory · no GPU",
        note=clean(reason or "", 80),
        used=used,
        total=total,
        others=max(0, (used or 0) - (worker or 0)),
        limit=_limit(facts.meta, total),
        level=_level(facts, used, total),
        parts=tuple(parts),
        facts=tuple(facts_line),
        history=_history(facts, "worker_resident", "limit_used", total),
    )


def _one_gpu(facts: Facts, gpu: GpuSample) -> MemoryView:
    name = clean(gpu.name or "GPU", 40)
    sensors = (
        f"compute {units.percent(gpu.utilization)}",
        _celsius(gpu.temperature_c),
        _power(gpu.power_w, gpu.power_limit_w),
    )
    return MemoryView(
        title=f"GPU memory · {name}",
        note=clean(gpu.error or "", 80),
        used=gpu.used,
        total=gpu.total,
        others=others_on(gpu),
        limit=_limit(facts.meta, gpu.total),
        level=_level(facts, gpu.used, gpu.total),
        parts=_gpu_parts(gpu, facts.recent),
        sensors=" · ".join(sensors),
        history=_history(facts, "worker_used", "used", gpu.total),
    )


def _gpu_parts(gpu: GpuSample, recent: Sequence[Step]) -> tuple[Part, ...]:
    """Split what is used at its edges: allocated, the step's peak, reserved; then other processes.

    The allocator's numbers come from the worker, the others from the driver. What the worker
    holds beyond its allocator is the context: the driver's and the libraries' own memory.
    """
    step = recent[-1] if recent else None
    allocated = step.allocated if step else None
    peak = step.peak if step else None
    reserved = step.reserved if step else None
    parts: list[Part] = []
    done = 0

    def upto(label: str, value: int | None, role: str) -> None:
        nonlocal done
        if value is not None:
            more = max(0, value - done)
            parts.append(Part(label, more, _share(value, gpu.total), role, shown=value))
            done += more

    upto("allocated", allocated, "a")
    upto("peak", peak, "b")
    upto("reserved", reserved, "c")
    if gpu.worker_used is not None and gpu.worker_used > done:
        more = gpu.worker_used - done
        name, role = ("context", "d") if done else ("worker", "a")
        parts.append(Part(name, more, _share(more, gpu.total), role))
        done = gpu.worker_used
    others = gpu.others_used
    if others is None and gpu.used is not None and gpu.worker_used is None:
        others = max(0, gpu.used - done)
    if others is not None:
        parts.append(Part("others", others, _share(others, gpu.total), "other"))
    return tuple(parts)


def _many_gpus(facts: Facts, gpus: Sequence[GpuSample], device: str) -> MemoryView:
    names = {clean(gpu.name or "GPU", 40) for gpu in gpus}
    title = f"{len(gpus)} × {names.pop()}" if len(names) == 1 else f"{len(gpus)} GPUs"
    own = own_gpu(gpus, device)
    rows = tuple(
        GpuRow(
            label=str(gpu.index) if len(gpus) < 100 else f"{gpu.index}",
            used=gpu.used,
            total=gpu.total,
            limit=_limit(facts.meta, gpu.total),
            others=others_on(gpu),
            level=level_of(gpu.used, gpu.total),
            utilization=gpu.utilization,
            temperature_c=gpu.temperature_c,
            power_w=gpu.power_w,
            ours=bool(gpu.worker_used) or gpu is own,
            error=clean(gpu.error, 60) if gpu.error else None,
        )
        for gpu in gpus
    )
    return MemoryView(
        title=title,
        used=_sum(gpu.used for gpu in gpus),
        total=_sum(gpu.total for gpu in gpus),
        others=max((row.others for row in rows if row.ours), default=0),
        level=_level(facts, None, None),
        gpus=rows,
        history=_history(facts, "worker_used", "used", own.total) if own else History(),
    )


def own_gpu(gpus: Sequence[GpuSample], device: str) -> GpuSample | None:
    """Return the first GPU on which the worker was found, else the one that its device names."""
    found = next((gpu for gpu in gpus if gpu.worker_used), None)
    return found or next((gpu for gpu in gpus if device == f"cuda:{gpu.index}"), None)


def others_on(gpu: GpuSample) -> int:
    """Return the bytes that other processes hold, as far as that can be told."""
    if gpu.others_used is not None:
        return gpu.others_used
    return max(0, (gpu.used or 0) - gpu.worker_used) if gpu.worker_used else 0


def _other_accelerator(facts: Facts, device: str) -> MemoryView:
    """Show what torch reports of a device that no driver library of ours can ask."""
    step = facts.recent[-1] if facts.recent else None
    sample = GpuSample(index=0, used=step.reserved if step else None)
    name = facts.meta.get("device_name")
    return MemoryView(
        title=f"{clean(device, 12)} memory" + (f" · {clean(str(name), 40)}" if name else ""),
        note="as torch reports it",
        used=sample.used,
        total=facts.summary.limit_bytes,
        limit=_limit(facts.meta, facts.summary.limit_bytes),
        level=_level(facts, sample.used, facts.summary.limit_bytes),
        parts=_gpu_parts(sample, facts.recent),
    )


def headroom(memory: MemoryView, meta: Mapping[str, object]) -> tuple[int, int] | tuple[None, None]:
    """Return the bytes from what is used now to the limit, and the limit.

    Of several GPUs the worker's fullest.
    """
    readings = [(row.used, row.total) for row in memory.gpus if row.ours]
    if not memory.gpus:
        readings = [(memory.used, memory.total)]
    full = [
        (used, _limit(meta, total) or total)
        for used, total in readings
        if used is not None and total is not None
    ]
    return min(((max(0, limit - used), limit) for used, limit in full), default=(None, None))


def _history(facts: Facts, own: str, all_of_it: str, full: int | None) -> History:
    used = facts.memory.get(all_of_it)
    if used is None or not used.x:
        return History()
    return stacked(facts, facts.memory.get(own), used, full, _limit(facts.meta, full))


def stacked(
    facts: Facts, worker: Points | None, used: Points, full: float | None, limit: int | None
) -> History:
    """Lay what others use upon what the worker uses."""
    window = recent_window(used.x[0], used.x[-1])
    layers: list[tuple[str, Points]] = []
    rest = used
    if worker is not None and len(worker.x) == len(used.x):
        layers.append(("a", worker))
        values = tuple(
            None if all_ is None else max(0.0, all_ - (mine or 0.0))
            for all_, mine in zip(used.mean, worker.mean, strict=True)
        )
        rest = Points(used.x, values, values, values)
    layers.append(("other", rest))
    marks = tuple(
        Mark(run.time, units.count(run.batch_size) if run.batch_size != before.batch_size else "")
        for before, run in pairwise(facts.takeovers)
    )
    return History(window, tuple(layers), float(full) if full else None, limit, marks)


def _limit(meta: Mapping[str, object], total: int | None) -> int | None:
    """Return where memory counts as full: `limits.memory` of the configuration."""
    config = meta.get("config")
    limits = config.get("limits") if isinstance(config, Mapping) else None
    value = limits.get("memory") if isinstance(limits, Mapping) else None
    if isinstance(value, str):
        try:
            return units.parse_size(value)
        except ValueError:
            return None
    if isinstance(value, (int, float)) and total is not None:
        return int(value * total) if value <= 1 else int(value)
    return None


def level_of(used: int | None, total: int | None) -> str | None:
    """Return warning from 90 % on, critical from 95 % on."""
    if used is None or not total:
        return None
    fraction = used / total
    return "critical" if fraction >= CRITICAL else "warning" if fraction >= WARNING else None


def _level(facts: Facts, used: int | None, total: int | None) -> str | None:
    said = warning(facts.meta)
    return said.level if said else level_of(used, total)


def _share(value: float | None, total: float | None) -> float | None:
    return None if value is None or not total else value / total


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _celsius(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.0f}°C"


def _power(value: float | None, limit: float | None) -> str:
    if value is None:
        return units.MISSING
    return f"{value:.0f} W" if limit is None else f"{value:.0f} of {limit:.0f} W"
