"""A training small enough for tests: a few thousand weights, and a step as long as asked."""

from __future__ import annotations

import os
import sys
import time

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset


class Net(nn.Module):
    """One linear layer behind a pause, which stands for the work of a real model."""

    def __init__(self, pause_s: float = 0.02, noise: str = "") -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)
        self.pause_s = pause_s
        self.noise = noise

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        time.sleep(self.pause_s)
        if self.noise == "lines":
            sys.stdout.write("a line of no use to anyone\n" * 20_000)
        elif self.noise == "hostile":
            hostile = b"\x1b]52;c;ZXZpbA==\x07 \x1b[2J [/] \xff\xfe 50%\r100%\r" + b"x" * 1_000_000
            os.write(1, hostile + b"\n")
        elif self.noise == "segfault" and self.training:
            import ctypes

            ctypes.string_at(0)
        elif self.noise == "nan" and self.training:
            return self.layer(inputs) * float("nan")
        return self.layer(inputs)


def data() -> tuple[TensorDataset, TensorDataset]:
    """256 samples to train on and 32 held out, of 16 numbers in 4 classes."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(288, 16, generator=generator)
    targets = inputs[:, :4].argmax(dim=1)
    return TensorDataset(inputs[:256], targets[:256]), TensorDataset(inputs[256:], targets[256:])


class Hungry(Net):
    """Asks for more memory than any machine has, above a batch size."""

    def __init__(self, most: int = 32, **options: float) -> None:
        super().__init__(**options)
        self.most = most

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training and len(inputs) > self.most:
            torch.empty(1 << 50)
        return super().forward(inputs)


def wide() -> nn.Module:
    """Keep 100 kB a sample for the backward pass."""
    return nn.Sequential(nn.Linear(16, 12_800), nn.Sigmoid(), nn.Linear(12_800, 4))


def many() -> tuple[TensorDataset, None]:
    """Ten million samples that take no room."""
    size = 10_000_000
    zero = torch.zeros(1)
    return TensorDataset(zero.expand(size, 16), zero.long().expand(size)), None


def broken() -> nn.Module:
    """Raise, as a user's own code may."""
    raise RuntimeError("the weights are on another disk")


class Witness(Net):
    """Writes down which samples it is trained on: a line a step, in the run's file `trained`.

    Its state is some megabytes, so that a checkpoint takes a while. It pauses until there is a
    file `fast` beside the configuration.
    """

    def __init__(self, megabytes: int = 0, **options: float) -> None:
        super().__init__(**options)
        self.dropout = nn.Dropout(0.25)
        self.register_buffer("ballast", torch.zeros(megabytes << 18))
        self.file = os.open(f"{sys.argv[1]}/trained", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if os.path.exists("fast"):
            self.pause_s = 0.0
        if self.training:
            os.write(self.file, f"{' '.join(str(int(x)) for x in inputs[:, 0])}\n".encode())
        return super().forward(self.dropout(inputs / 100))


class Numbered(Dataset[tuple[torch.Tensor, int]]):
    """Samples whose first number is their index, all others new in each draw."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.cat([torch.tensor([float(index)]), torch.randn(15)]), index % 4


def numbered(samples: int = 60) -> tuple[Numbered, Numbered]:
    """Return numbered samples, to train on and held out."""
    return Numbered(samples), Numbered(12)
