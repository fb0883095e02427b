"""What is asked of NVIDIA's cards: one reading of everything, for every card.

A call waits as long as the driver makes it wait, so all this runs in the thread of
`gpu.GpuSampler`. A sensor that fails costs its field; a lost card, or a lost session with the
driver, is asked again after a pause that grows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from batchtui.records import GpuSample
from batchtui.sampling.funnel import Code, Funnel, Refused, scaled, size, text

_MEMORY_V2 = 0x02000028  # nvmlMemory_v2: the structure's version, and its size
_SENSOR_GPU = 0  # NVML_TEMPERATURE_GPU
_ENUMERATE_S = 60.0  # MIG slices are made and removed while cards are in use
_RETRY_S = (10.0, 300.0)


@dataclass(slots=True)
class Row:
    """One card or slice, and the bytes each process holds there.

    `processes` is None where NVML does not tell; a process's bytes are where it hides those.
    """

    gpu: GpuSample
    processes: dict[int, int | None] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer for all cards. `status` says why there are none."""

    rows: tuple[Row, ...] = ()
    status: str | None = None


class Pause:
    """When to try again: after twice as long with each failure."""

    def __init__(self, now: float, first: float, longest: float) -> None:
        """Begin with the first pause; seconds."""
        self._length, self._longest = first, longest
        self._until = now
        self.extend(now)

    def over(self, now: float) -> bool:
        """Whether it is time to try."""
        return now >= self._until

    def extend(self, now: float) -> None:
        """Wait again, for longer."""
        self._until = now + self._length
        self._length = min(2 * self._length, self._longest)


@dataclass(slots=True)
class _Card:
    """A card, or a slice of one, and since when it does not answer."""

    index: int
    handle: Any = None
    uuid: str | None = None
    name: str | None = None
    lost: str | None = None
    pause: Pause | None = None

    def sample(self) -> GpuSample:
        """Return what is known without asking."""
        return GpuSample(index=self.index, uuid=self.uuid, name=self.name, error=self.lost)


class Nvml:
    """A session with the driver, opened when first needed and again after it was lost."""

    def __init__(
        self,
        module: Any = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        retry_s: tuple[float, float] = _RETRY_S,
    ) -> None:
        """Take a stand-in for pynvml, and the first and the longest pause between tries."""
        self._funnel = Funnel(module)
        self._clock = clock
        self._retry_s = retry_s
        self._open = False
        self._status: str | None = None
        self._pause: Pause | None = None
        self._cards: list[_Card] = []
        self._enumerate_at = 0.0

    def read(self) -> Reading:
        """Ask every card for everything; never raises."""
        now = self._clock()
        if not self._open and self._pause is not None and not self._pause.over(now):
            return Reading(status=self._status)
        try:
            if not self._open:
                self._funnel.ask("nvmlInit")
                self._open, self._enumerate_at = True, now
            if now >= self._enumerate_at:
                self._enumerate(now)
            rows = tuple(self._row(card, now) for card in self._cards)
        except Refused as refused:
            return self._refuse(refused.why_no_gpus, now)
        except Exception as error:  # an answer of a kind that no version of pynvml gave so far
            return self._refuse(f"NVML: {type(error).__name__}: {error}", now)
        self._pause = None
        return Reading(rows, self._status)

    def versions(self) -> tuple[str | None, str | None]:
        """Return the driver's version, and the newest CUDA that it runs, as `12.4`."""
        try:
            driver = text(self._funnel.value("nvmlSystemGetDriverVersion"))
            cuda = self._funnel.value("nvmlSystemGetCudaDriverVersion")
        except Refused:
            return None, None
        return driver, None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}"

    def shutdown(self) -> None:
        """End the session."""
        if self._open:
            self._open = False
            try:
                self._funnel.ask("nvmlShutdown")
            except Refused:
                pass  # nothing is lost by that

    def _refuse(self, status: str, now: float) -> Reading:
        """Give the session up for a while."""
        self._open, self._cards, self._status = False, [], status
        self._pause = self._longer(self._pause, now)
        return Reading(status=status)

    # --------------------------------------------------------------------- finding cards

    def _enumerate(self, now: float) -> None:
        """Find all cards; what is known of one that is lost is kept."""
        known = {card.index: card for card in self._cards}
        count = self._funnel.ask("nvmlDeviceGetCount")
        self._cards = [card for index in range(count) for card in self._find(index, known, now)]
        self._status = None
        if not self._cards:
            self._status = "no permission to use the NVIDIA GPUs" if count else "no NVIDIA GPU"
        self._enumerate_at = now + _ENUMERATE_S

    def _find(self, index: int, known: dict[int, _Card], now: float) -> Iterator[_Card]:
        """Yield a card, or its slices if it is divided; nothing if it is not ours to use."""
        card = known.get(index) or _Card(index)
        if card.lost:
            yield card
            return
        try:
            card.handle = self._funnel.ask("nvmlDeviceGetHandleByIndex", index)
            slices = self._slices(card)
            self._identify(card)
        except Refused as refused:
            if refused.session_lost:
                raise
            if refused.code == Code.NO_PERMISSION:
                return  # a container that was given other cards
            self._lose(card, refused, now)
            slices = []
        yield from slices or [card]

    def _slices(self, card: _Card) -> list[_Card]:
        """Return a card's MIG slices, numbered 100 × (card + 1) + slice."""
        mode = self._funnel.value("nvmlDeviceGetMigMode", card.handle)
        if not mode or mode[0] != 1:  # now, and after the next reset
            return []
        slices = []
        most = self._funnel.value("nvmlDeviceGetMaxMigDeviceCount", card.handle) or 0
        for number in range(most):
            handle = self._funnel.value("nvmlDeviceGetMigDeviceHandleByIndex", card.handle, number)
            if handle is not None:
                slices.append(_Card(100 * (card.index + 1) + number, handle))
                self._identify(slices[-1])
        return slices

    def _identify(self, card: _Card) -> None:
        card.uuid = text(self._funnel.value("nvmlDeviceGetUUID", card.handle)) or card.uuid
        card.name = text(self._funnel.value("nvmlDeviceGetName", card.handle)) or card.name

    def _lose(self, card: _Card, refused: Refused, now: float) -> None:
        card.lost = str(refused)
        card.pause = self._longer(card.pause, now)

    def _longer(self, pause: Pause | None, now: float) -> Pause:
        if pause is None:
            return Pause(now, *self._retry_s)
        pause.extend(now)
        return pause

    # ----------------------------------------------------------------------- reading one

    def _row(self, card: _Card, now: float) -> Row:
        """Return a card's row.

        Raises:
            Refused: the session is lost.
        """
        if card.pause is not None and not card.pause.over(now):
            return Row(card.sample())
        try:
            if card.handle is None:
                card.handle = self._funnel.ask("nvmlDeviceGetHandleByIndex", card.index)
                self._identify(card)
            row = self._measure(card)
        except Refused as refused:
            if refused.session_lost:
                raise
            self._lose(card, refused, now)
            return Row(card.sample())
        card.lost = card.pause = None
        return row

    def _measure(self, card: _Card) -> Row:
        """Ask one card for everything.

        Raises:
            Refused: the card is lost, or the session.
        """
        ask, handle = self._funnel.value, card.handle
        gpu = GpuSample(index=card.index, uuid=card.uuid, name=card.name)
        try:
            gpu.used, gpu.total = self._memory(handle)
        except Refused as refused:
            if refused.card_lost or refused.session_lost:
                raise
            if refused.code in (Code.INVALID_ARGUMENT, Code.NOT_FOUND):
                self._enumerate_at = 0.0  # a slice that was removed
            if not refused.sensor_missing:
                gpu.error = str(refused)
        utilization = ask("nvmlDeviceGetUtilizationRates", handle)
        gpu.utilization = scaled(getattr(utilization, "gpu", None), 0.01, most=100)
        degrees = ask("nvmlDeviceGetTemperatureV|nvmlDeviceGetTemperature", handle, _SENSOR_GPU)
        gpu.temperature_c = scaled(degrees, 1.0, most=1000)
        gpu.power_w = scaled(ask("nvmlDeviceGetPowerUsage", handle), 1e-3)
        gpu.power_limit_w = scaled(ask("nvmlDeviceGetEnforcedPowerLimit", handle), 1e-3)
        return Row(gpu, self._processes(handle))

    def _memory(self, handle: Any) -> tuple[int | None, int | None]:
        """Return used and total bytes.

        The second version of the call tells apart what the driver keeps for itself. That is
        nobody's use, and CUDA leaves it out of a card's size as well.
        """
        memory = self._funnel.value("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
        if memory is None:
            memory = self._funnel.ask("nvmlDeviceGetMemoryInfo", handle)
        total = size(memory.total)
        if total:
            total -= getattr(memory, "reserved", 0)
        return size(memory.used), total or None

    def _processes(self, handle: Any) -> dict[int, int | None] | None:
        """Return who uses a card, for CUDA or for graphics; a process may do both.

        Asked by version: without one pynvml refuses a driver older than itself.
        """
        forms = "nvmlDeviceGet{0}RunningProcesses_v3|nvmlDeviceGet{0}RunningProcesses_v2"
        compute, graphics = (
            self._funnel.value(forms.format(use), handle) for use in ("Compute", "Graphics")
        )
        if compute is None:
            return None
        users: dict[int, int | None] = {}
        for process in [*compute, *(graphics or ())]:
            used, before = size(process.usedGpuMemory), users.get(process.pid)
            users[process.pid] = used if before is None else max(before, used or 0)
        return users
