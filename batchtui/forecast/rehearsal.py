"""Go through training steps as batchtui.train's loop does, for the memory they take.

What lives how long decides the peak, so this mirrors the loop: the batch is dropped before the
next is made, output and loss stay bound until they are made anew, and gradients are cleared
where the loop clears them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils import _pytree as pytree

from batchtui.forecast.fake_device import FakeDevice
from batchtui.forecast.recorder import Recorder

MIB = 1 << 20
_FIRST_BUCKET, _BUCKET = 1 * MIB, 25 * MIB  # DistributedDataParallel's defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a loop trains.

    Attributes:
        zero_grad: where gradients are cleared: at the start of the iteration, between forward
            and backward, or at the end of the iteration.
        processes: more than one adds DistributedDataParallel's gradient buckets.
        evaluation: whether a batch of the same size is evaluated after the steps.
    """

    zero_grad: Literal["start", "backward", "end"] = "start"
    steps: int = 2  # an optimizer has its state from the second on
    accumulate: int = 1
    amp: Literal["off", "bf16", "fp16"] = "off"
    clip_grad_norm: float | None = None
    channels_last: bool = False
    processes: int = 1
    evaluation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is trained.

    Attributes:
        model: makes the module; runs on ordinary CPU tensors.
        batch: makes a batch of that many samples on the CPU; runs on fake tensors.
        forward: (module, batch on the device) → output.
        loss: (output, batch on the device) → scalar loss.
        optimizer: (parameters) → optimizer.
        evaluate: (module, batch on the device) → anything kept until the next batch;
            default: forward, then loss.
    """

    model: Callable[[], torch.nn.Module]
    batch: Callable[[int], Any]
    forward: Callable[[torch.nn.Module, Any], Any]
    loss: Callable[[Any, Any], torch.Tensor]
    optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
    evaluate: Callable[[torch.nn.Module, Any], Any] | None = None


def rehearse(
    task: Task,
    plan: Plan,
    module: torch.nn.Module,
    device: FakeDevice,
    recorder: Recorder,
    batch_size: int,
    target: str,
) -> None:
    """Train and evaluate `module`, whose parameters lie on `device` already.

    Args:
        target: the kind of device forecast for, which may be another than `device` plays.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    nodes = device.accumulators(parameters)
    optimizer = task.optimizer(module.parameters())
    if target == "cuda" and device.kind != "cuda":
        use_foreach(optimizer)
    scaler = torch.amp.GradScaler(device.kind, enabled=plan.amp == "fp16")
    if plan.processes > 1:
        for size in bucket_sizes(parameters):
            recorder.reserve(size, "ddp bucket", "gradients")
    module.train()
    batch = output = loss = None
    for _ in range(plan.steps):
        for micro in range(plan.accumulate):
            recorder.phase = "inputs"
            batch = None
            batch = _on_device(task.batch(batch_size), device, plan, recorder)
            if plan.zero_grad == "start" and micro == 0:
                optimizer.zero_grad()
            recorder.phase = "forward"
            with _autocast(plan, device.kind):
                output = task.forward(module, batch)
                loss = task.loss(output, batch)
            if plan.zero_grad == "backward" and micro == 0:
                optimizer.zero_grad()
            recorder.phase = "backward"
            share = loss / plan.accumulate if plan.accumulate > 1 else loss
            scaler.scale(share).backward()
            del share
            for parameter in parameters:
                recorder.mark(parameter.grad, "gradients")
        recorder.phase = "optimizer"
        if plan.clip_grad_norm is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(parameters, plan.clip_grad_norm)
        scaler.step(optimizer)
        scaler.update()
        mark_state(optimizer, recorder)
        if plan.zero_grad == "end":
            optimizer.zero_grad()
    if plan.evaluation:
        recorder.phase = "evaluation"
        batch = None
        _evaluate(task, plan, module, device, recorder, batch_size)
    recorder.close()
    del nodes, batch, output, loss


def _evaluate(
    task: Task,
    plan: Plan,
    module: torch.nn.Module,
    device: FakeDevice,
    recorder: Recorder,
    batch_size: int,
) -> None:
    module.eval()
    with torch.no_grad():
        batch = _on_device(task.batch(batch_size), device, plan, recorder)
        with _autocast(plan, device.kind):
            if task.evaluate is not None:
                kept = task.evaluate(module, batch)
            else:
                output = task.forward(module, batch)
                kept = task.loss(output, batch)
    del kept


def _on_device(batch: Any, device: FakeDevice, plan: Plan, recorder: Recorder) -> Any:
    """Move a batch's tensors to the device, pictures in the layout the model wants."""

    def move(tensor: torch.Tensor) -> torch.Tensor:
        if plan.channels_last and tensor.dim() == 4 and tensor.is_floating_point():
            moved = tensor.to(device.device, memory_format=torch.channels_last)
        else:
            moved = tensor.to(device.device)
        recorder.mark(moved, "inputs")
        return moved

    return pytree.tree_map_only(torch.Tensor, move, batch)


def _autocast(plan: Plan, kind: str) -> contextlib.AbstractContextManager[Any]:
    if plan.amp == "off":
        return contextlib.nullcontext()
    return torch.autocast(kind, torch.bfloat16 if plan.amp == "bf16" else torch.float16)


def use_foreach(optimizer: torch.optim.Optimizer) -> None:
    """Choose foreach as the optimizer would on CUDA."""
    for group in optimizer.param_groups:
        if group.get("foreach", False) is None and not group.get("fused"):
            group["foreach"] = not group.get("differentiable", False)


def mark_state(optimizer: torch.optim.Optimizer, recorder: Recorder) -> None:
    for tensor in pytree.tree_leaves(dict(optimizer.state)):
        recorder.mark(tensor, "optimizer")


def bucket_sizes(parameters: list[torch.nn.Parameter]) -> list[int]:
    """Return the bytes of DistributedDataParallel's gradient buckets.

    Buckets take gradients in reverse order up to 25 MiB each, the first up to 1 MiB.
    """
    sizes: list[int] = []
    current, limit = 0, _FIRST_BUCKET
    for parameter in reversed(parameters):
        current += parameter.numel() * parameter.element_size()
        if current >= limit:
            sizes.append(current)
            current, limit = 0, _BUCKET
    return [*sizes, current] if current else sizes
