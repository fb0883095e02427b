"""Which kinds of fake tensors to try, the most faithful first."""

from __future__ import annotations

import torch

from batchtui.forecast.fake_device import FakeDevice
from batchtui.forecast.hollow import HollowModel


def ladder(device: str, notes: list[str]) -> list[str]:
    """Return the kinds of fake tensors for a device; `notes` gets why one is left out."""
    if device != "cuda":
        return ["cpu"]
    reason = fake_cuda_failure()
    if reason is None:
        return ["cuda", "cpu"]
    notes.append(f"torch {torch.__version__} cannot fake CUDA here: {reason}")
    return ["cpu"]


def fake_cuda_failure() -> str | None:
    """Try a small backward pass on fake CUDA tensors; return why it fails, or None."""
    try:
        fake = FakeDevice("cuda")
        layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten()
        )
        HollowModel(layers).put_on(fake, lambda tensor, category: None)
        with fake.context([]):
            nodes = fake.accumulators(layers.parameters())
            layers(torch.empty(2, 3, 4, 4, device=fake.device)).sum().backward()
            devices = {p.grad.device.type for p in layers.parameters() if p.grad is not None}
        del nodes
    except Exception as error:
        return one_line(error)
    return None if devices == {"cuda"} else f"gradients come out on {devices or 'nothing'}"


def one_line(error: BaseException) -> str:
    """Say an exception in one line of at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    name = type(error).__name__
    text = f"{name}: {text}" if text else name
    return text if len(text) <= 200 else text[:199] + "…"
