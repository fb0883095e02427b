"""The loop: right gradients, however a batch is cut, and nothing that waits for the device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from batchtui.config.schema import Loss, Training
from batchtui.errors import ConfigError
from batchtui.train.build import PerSampleLoss
from batchtui.train.device import Memory, MemoryReading
from batchtui.train.journal import Journal
from batchtui.train.launch import Progress, Ranks
from batchtui.train.learner import Learner
from batchtui.train.loop import EpochTally, Trainer
from batchtui.train.meters import DeviceMeter, HostMeter, Meter
from batchtui.train.parallel import Alone
from batchtui.train.sampler import Plan
from batchtui.train.schedule import Schedule
from tests.train import tiny as own
from tests.train.helpers import StopAfter, records

CPU = torch.device("cpu")
SAMPLES = 30


class NoMilestones:
    """Epochs that end without an evaluation or a checkpoint."""

    def __init__(self) -> None:
        self.ended: list[EpochTally] = []
        self.saved = 0

    def end_epoch(self, tally: EpochTally) -> bool:
        self.ended.append(tally)
        return True

    def save(self) -> None:
        self.saved += 1


def make(
    folder: Path,
    *,
    batch: int = 8,
    model: nn.Module | None = None,
    loss: Any = nn.CrossEntropyLoss,
    fused: bool = False,
    amp: str = "off",
    meter: Meter | None = None,
    memory: Memory | None = None,
    stop: StopAfter | None = None,
    **training: Any,
) -> Trainer:
    torch.manual_seed(0)
    model = model or own.linear()
    config = Training(**{"epochs": 1, "amp": amp, **training})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    plan = Plan(SAMPLES, 0, batch, config.accumulate)
    data = own.Points(SAMPLES, noise=0.0)
    learner = Learner(
        model=model,
        network=model,
        loss=PerSampleLoss(loss, Loss()),
        optimizer=optimizer,
        scaler=torch.amp.GradScaler("cpu", enabled=amp == "fp16"),
        device=CPU,
        amp=config.amp,
    )

    def batches() -> Iterator[Any]:
        for draws in plan.draws(config.epochs, 1, 0):
            rows = [data[index] for _, index in draws]
            yield torch.stack([row for row, _ in rows]), torch.tensor([label for _, label in rows])

    return Trainer(
        learner=learner,
        schedule=Schedule(None, None, optimizer, plan.global_batch, SAMPLES),
        plan=plan,
        batches=batches(),
        config=config,
        team=Alone(Ranks()),
        meter=meter or HostMeter(),
        memory=memory or Memory(CPU),
        journal=Journal(folder / "journal"),
        stop=StopAfter(10**9) if stop is None else stop,
        progress=Progress(),
        milestones=NoMilestones(),
    )


def finish(trainer: Trainer) -> str:
    status = trainer.run()
    trainer.journal.close()
    return status


@pytest.mark.parametrize(("batch", "accumulate"), [(8, 1), (4, 2), (3, 4), (1, 8), (30, 1), (7, 4)])
def test_the_gradient_is_the_mean_over_the_global_batch(
    tmp_path: Path, batch: int, accumulate: int
) -> None:
    """Compare with plain gradient descent on whole groups, their uneven rests included."""
    trainer = make(tmp_path, batch=batch, accumulate=accumulate)
    torch.manual_seed(0)
    plain = own.linear()
    data = own.Points(SAMPLES, noise=0.0)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    norms = []
    for group in Plan(SAMPLES, 0, batch * accumulate).epoch(1):
        (indices,) = group.micro_batches
        inputs = torch.stack([data[index][0] for index in indices])
        targets = torch.tensor([data[index][1] for index in indices])
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(inputs), targets).backward()
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in plain.parameters()]).item())
        optimizer.step()
    assert finish(trainer) == "finished"
    for trained, expected in zip(
        trainer.learner.model.parameters(), plain.parameters(), strict=True
    ):
        assert torch.allclose(trained, expected, atol=1e-6)
    steps = records(tmp_path, "step")
    assert [step["grad_norm"] for step in steps] == pytest.approx(norms, rel=1e-4)
    assert steps[-1]["samples"] == SAMPLES


def test_a_record_holds_the_losses_of_its_step(tmp_path: Path) -> None:
    trainer = make(tmp_path, batch=4, accumulate=2)
    trainer.learner.optimizer.param_groups[0]["lr"] = 0.0
    finish(trainer)
    data = own.Points(SAMPLES, noise=0.0)
    for step, group in zip(records(tmp_path, "step"), Plan(SAMPLES, 0, 4, 2).epoch(1), strict=True):
        drawn = [data[index] for batch in group.micro_batches for index in batch]
        scores = trainer.learner.model(torch.stack([row for row, _ in drawn]))
        labels = torch.tensor([label for _, label in drawn])
        losses = nn.functional.cross_entropy(scores, labels, reduction="none")
        assert step["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
        assert step["variance"] == pytest.approx(losses.var().item(), rel=1e-4)
        assert step["batch"] == group.samples


def test_the_parts_of_a_step_add_up_to_no_more_than_it(tmp_path: Path) -> None:
    finish(make(tmp_path, batch=4, accumulate=2))
    names = ("data_s", "transfer_s", "forward_s", "backward_s", "optimizer_s")
    for step in records(tmp_path, "step"):
        parts = [step[name] for name in names]
        assert all(part >= 0 for part in parts)
        assert sum(parts) <= step["step_s"] + 1e-9


class Waiting(AssertionError):
    """The host asked the device for a number."""


class NoWaiting(TorchDispatchMode):
    """Fails on what makes a host wait for its accelerator, on CPU tensors just as well."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"):
            raise Waiting(func._schema.name)
        return func(*args, **(kwargs or {}))


class Done:
    """An event of a device that is never behind."""

    def record(self) -> None: ...

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        raise Waiting("synchronize")

    def elapsed_time(self, end: Done) -> float:
        return 1.0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate": 3},
        {"clip_grad_norm": 1.0},
        {"amp": "bf16"},
        {"amp": "fp16", "fused": True},
        {"amp": "fp16", "fused": True, "clip_grad_norm": 0.1, "accumulate": 2},
    ],
    ids=str,
)
def test_a_step_never_waits_for_the_device(tmp_path: Path, options: dict[str, Any]) -> None:
    trainer = make(tmp_path, meter=DeviceMeter(Done, torch.empty(4, 3)), **options)
    groups = list(trainer.plan.epoch(1))
    with NoWaiting():
        for group in groups:
            trainer.step(group)
    assert trainer.progress.samples == SAMPLES
    with pytest.raises(Waiting), NoWaiting():  # the net would catch it
        torch.ones(1).item()


def test_clipping_keeps_the_norm_it_met(tmp_path: Path) -> None:
    before = {n: p.clone() for n, p in make(tmp_path).learner.model.named_parameters()}
    trainer = make(tmp_path, batch=30, clip_grad_norm=0.01)
    finish(trainer)
    (step,) = records(tmp_path, "step")
    assert step["grad_norm"] > 0.01
    moved = torch.cat(
        [(p - before[n]).flatten() for n, p in trainer.learner.model.named_parameters()]
    )
    assert moved.norm().item() == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_a_loss_that_is_no_number_is_noted_once_and_training_goes_on(tmp_path: Path) -> None:
    assert finish(make(tmp_path, loss=own.nan_loss)) == "finished"
    steps = records(tmp_path, "step")
    assert len(steps) == 4
    assert all(step["nonfinite"] and step["loss"] is None for step in steps)
    (note,) = records(tmp_path, "note")
    assert (note["level"], note["message"]) == ("warning", "the loss of step 1 is NaN or infinite")


def test_an_overflow_in_half_precision_skips_the_update(tmp_path: Path) -> None:
    trainer = make(tmp_path, amp="fp16", batch=30)
    weights = trainer.learner.model.weight
    before = weights.detach().clone()
    trainer.learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    assert finish(trainer) == "finished"
    assert torch.equal(weights, before)
    (step,) = records(tmp_path, "step")
    assert step["grad_norm"] is None
    assert not step["nonfinite"]


@pytest.mark.parametrize("options", [{"loss": own.scalar_loss}, {"batch": 1}], ids=str)
def test_one_number_has_no_variance_and_trains(tmp_path: Path, options: dict[str, Any]) -> None:
    finish(make(tmp_path, **options))
    steps = records(tmp_path, "step")
    assert all(step["variance"] is None and step["loss"] > 0 for step in steps)


def test_a_stop_saves_and_ends_with_the_step(tmp_path: Path) -> None:
    trainer = make(tmp_path, stop=StopAfter(2), epochs=5)
    assert finish(trainer) == "stopped"
    assert trainer.progress.step == 3
    assert trainer.milestones.saved == 1
    assert len(records(tmp_path, "step")) == 3


def test_checkpoints_come_every_so_many_steps_and_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    trainer = make(tmp_path, checkpoint_every=2, epochs=2)
    finish(trainer)
    # Steps 2 and 6 lie within their epochs of 4 steps; 4 and 8 end them.
    assert trainer.milestones.saved == 4
    assert [tally.samples for tally in trainer.milestones.ended] == [SAMPLES] * 2


class CountingMemory(Memory):
    """An allocator that counts who asked."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.reads = self.resets = 0

    def read(self) -> MemoryReading:
        self.reads += 1
        return MemoryReading(10, 20, 15)

    def reset_peak(self) -> None:
        self.resets += 1


def test_memory_is_read_once_a_step(tmp_path: Path) -> None:
    memory = CountingMemory()
    finish(make(tmp_path, memory=memory, accumulate=2))
    steps = records(tmp_path, "step")
    assert (memory.reads, memory.resets) == (len(steps), len(steps))
    assert (steps[0]["allocated"], steps[0]["reserved"], steps[0]["peak"]) == (10, 20, 15)


def test_a_sample_that_is_no_pair_is_one_line(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.batches = iter([torch.zeros(3)])
    with pytest.raises(ConfigError, match=r"a pair \(input, target\), not a Tensor"):
        trainer.run()


def test_inputs_may_be_nested(tmp_path: Path) -> None:
    learner = make(tmp_path).learner
    inputs, targets = learner.place([{"a": torch.ones(2), "b": [torch.zeros(1), "x"]}, None])
    assert inputs["b"][1] == "x"
    assert targets is None
