"""A training whose memory grows by a megabyte a sample, and one that no tracer can follow."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.utils.data import TensorDataset


class Net(nn.Module):
    """One linear layer, and a wide copy of its input that the backward pass keeps."""

    def __init__(self, wide: int = 1 << 14, pause_s: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)
        self.wide = wide
        self.pause_s = pause_s

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if type(inputs) is torch.Tensor:  # and no tracer's
            time.sleep(self.pause_s)
        return self.layer(inputs) + self.layer(inputs).repeat(1, self.wide // 4).sin().mean()


class Opaque(Net):
    """The same, by code of its own that takes nothing but memory."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if type(inputs) is not torch.Tensor:
            raise TypeError("this kernel needs a real tensor")
        return super().forward(inputs)


class Liar(Net):
    """The same for a tracer, and several times as much in truth."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        result = super().forward(inputs)
        if type(inputs) is torch.Tensor:
            result = result + 0 * torch.ones(len(inputs), self.wide * 8).sum()
        return result


def data(samples: int = 2000) -> tuple[TensorDataset, TensorDataset]:
    """Samples of 16 numbers in 4 classes, a quarter of them held out."""
    inputs = torch.randn(samples, 16, generator=torch.Generator().manual_seed(0))
    targets = inputs[:, :4].argmax(dim=1)
    cut = samples * 3 // 4
    return TensorDataset(inputs[:cut], targets[:cut]), TensorDataset(inputs[cut:], targets[cut:])
