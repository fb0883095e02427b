"""What a step took: the host's clock, and events of a device that runs behind the host."""

from __future__ import annotations

import pytest
import torch

from batchtui.records import Step
from batchtui.train.meters import (
    BACKWARD,
    DATA,
    FORWARD,
    OPTIMIZER,
    DeviceMeter,
    HostMeter,
    Values,
    make_meter,
)


def step(number: int) -> Step:
    return Step(time=0.0, step=number, samples=number, epoch=1, batch=4)


def values(loss: float = 0.5, variance: float = 0.25, norm: float = 3.0) -> Values:
    return torch.tensor(loss), torch.tensor(variance), torch.tensor(norm)


class Device:
    """A device's queue: events happen when `run_to` lets it come that far."""

    def __init__(self) -> None:
        self.queued_at = 0.0  # milliseconds on the device when all queued work is done
        self.now = 0.0
        self.synchronised = 0

    def work(self, milliseconds: float) -> None:
        self.queued_at += milliseconds

    def event(self) -> Event:
        return Event(self)


class Event:
    def __init__(self, device: Device) -> None:
        self.device = device
        self.at: float | None = None

    def record(self) -> None:
        self.at = self.device.queued_at

    def query(self) -> bool:
        return self.at is not None and self.at <= self.device.now

    def synchronize(self) -> None:
        self.device.synchronised += 1
        self.device.now = max(self.device.now, self.at or 0.0)

    def elapsed_time(self, end: Event) -> float:
        assert self.query(), "the time of an event that has not happened is an error"
        assert end.query(), "the time of an event that has not happened is an error"
        assert self.at is not None
        assert end.at is not None
        return end.at - self.at


def train(meter: DeviceMeter, device: Device, number: int, micro_batches: int = 1) -> None:
    for _ in range(micro_batches):
        meter.begin()
        device.work(1)
        meter.mark(DATA)
        device.work(4)
        meter.mark(FORWARD)
        device.work(8)
        meter.mark(BACKWARD)
    device.work(2)
    meter.mark(OPTIMIZER)
    meter.finish(step(number), values(0.5 * number, 0.25 * number, 3.0 * number))


def test_the_host_clock_counts_parts_and_the_whole() -> None:
    now = [0.0]
    meter = HostMeter(lambda: now[0])

    def spend(seconds: float) -> None:
        now[0] += seconds

    for number in (1, 2):
        spend(0.5)  # bookkeeping: in the step, in none of its parts
        meter.begin()
        spend(1)
        meter.mark(DATA)
        spend(2)
        meter.mark(FORWARD)
        meter.finish(step(number), values())
    first, second = meter.finished()
    assert (first.step_s, first.data_s, first.forward_s, first.backward_s) == (3.5, 1, 2, 0)
    assert (second.step_s, second.data_s) == (3.5, 1)
    assert (second.loss, second.variance, second.grad_norm) == (0.5, 0.25, 3.0)
    assert meter.finished() == []


def test_a_restart_forgets_what_was_no_step() -> None:
    now = [0.0]
    meter = HostMeter(lambda: now[0])
    now[0] = 100.0
    meter.restart()
    now[0] = 101.0
    meter.finish(step(1), values())
    assert meter.finished()[0].step_s == 1.0


def test_events_are_read_when_the_device_has_come_to_them() -> None:
    device = Device()
    meter = DeviceMeter(device.event, torch.empty(8, 3))
    for number in (1, 2, 3):
        train(meter, device, number)
    assert meter.finished() == []
    device.now = 15.0  # one step
    (first,) = meter.finished()
    assert first.step == 1
    assert first.step_s == pytest.approx(0.015)
    assert first.forward_s == pytest.approx(0.004)
    assert first.backward_s == pytest.approx(0.008)
    assert first.optimizer_s == pytest.approx(0.002)
    device.now = 100.0
    assert [record.step for record in meter.finished()] == [2, 3]
    assert device.synchronised == 0


def test_micro_batches_add_up() -> None:
    device = Device()
    meter = DeviceMeter(device.event, torch.empty(8, 3))
    train(meter, device, 1, micro_batches=3)
    device.now = 1e9
    (record,) = meter.finished()
    assert record.data_s == pytest.approx(0.003)
    assert record.backward_s == pytest.approx(0.024)
    assert record.step_s == pytest.approx(0.041)


def test_numbers_of_a_step_are_its_own_though_the_ring_goes_round() -> None:
    device = Device()
    meter = DeviceMeter(device.event, torch.empty(2, 3))
    losses = []
    for number in range(1, 20):
        train(meter, device, number)
        device.now = device.queued_at - 1  # all but the last step
        losses += [record.loss for record in meter.finished()]
    assert losses == [number * 0.5 for number in range(1, 19)]


def test_a_host_far_ahead_loses_numbers_and_no_record() -> None:
    device = Device()
    meter = DeviceMeter(device.event, torch.empty(2, 3))
    for number in (1, 2, 3):
        train(meter, device, number)
    device.now = 1e9
    records = meter.finished()
    assert [record.loss for record in records] == [0.5, 1.0, None]
    assert not any(record.nonfinite for record in records)
    assert records[2].step_s == pytest.approx(0.015)


def test_waiting_is_the_only_synchronisation() -> None:
    device = Device()
    meter = DeviceMeter(device.event, torch.empty(8, 3))
    for number in (1, 2):
        train(meter, device, number)
    assert [record.step for record in meter.wait()] == [1, 2]
    assert device.synchronised == 1
    assert meter.wait() == []
    device.work(5000)  # an evaluation
    meter.restart()
    train(meter, device, 3)
    assert meter.wait()[0].step_s == pytest.approx(0.015)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_flagged(loss: float) -> None:
    meter = HostMeter()
    meter.finish(step(1), values(loss, float("nan"), 1.0))
    (record,) = meter.finished()
    assert record.nonfinite
    assert record.loss is None
    assert record.variance is None
    assert record.grad_norm == 1.0


def test_the_cpu_has_the_hosts_clock() -> None:
    assert isinstance(make_meter(torch.device("cpu")), HostMeter)
