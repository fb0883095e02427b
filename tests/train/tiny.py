"""Models and data small enough to train in a test, as a user's own module would hold them."""

from __future__ import annotations

import os
import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset


class Net(nn.Module):
    """A convolution, batch norm, dropout and a linear layer."""

    def __init__(self, classes: int = 3, dropout: float = 0.25, channels: int = 8) -> None:
        """Take pictures of any size."""
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(channels, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the classes' scores."""
        return self.head(self.features(pictures))


def linear(inputs: int = 4, outputs: int = 3) -> nn.Module:
    """Return a model without batch norm or dropout: its gradients are sums over samples."""
    return nn.Linear(inputs, outputs)


class Points(Dataset[Any]):
    """Points of the plane in classes, each draw moved at random."""

    def __init__(self, samples: int, noise: float = 0.1, inputs: int = 4) -> None:
        """Make the same points each time."""
        generator = torch.Generator().manual_seed(1)
        self.labels = [index % 3 for index in range(samples)]
        self.points = torch.randn(samples, inputs, generator=generator)
        self.noise = noise

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a point near the original, and its class."""
        moved = self.points[index] + self.noise * (torch.randn(4) + random.gauss(0, 1))
        return moved, self.labels[index]


def points(samples: int = 30, held_out: int = 12) -> tuple[Dataset[Any], Dataset[Any] | None]:
    """Return training and held-out points."""
    return Points(samples), Points(held_out, noise=0.0) if held_out else None


class Pictures(Points):
    """Points drawn as noisy pictures of 6 by 6 pixels."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a picture that is different in each draw, and its class."""
        row, label = super().__getitem__(index)
        return row[:3, None, None] + 0.5 * torch.randn(3, 6, 6), label


def pictures(samples: int = 30) -> tuple[Dataset[Any], Dataset[Any]]:
    """Return training and held-out pictures."""
    return Pictures(samples), Pictures(12)


class Bad(Points):
    """Points of which one cannot be read."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Raise for sample 7."""
        if index == 7:
            raise ValueError("sample 7 is broken")
        return super().__getitem__(index)


def bad() -> tuple[Dataset[Any], None]:
    """Return points of which one cannot be read."""
    return Bad(30), None


class Counting(Points):
    """Points that note who read them: one line a draw, in the file DRAWS names."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Note the draw."""
        with open(os.environ["DRAWS"], "a") as file:
            file.write(f"{index}\n")
        return super().__getitem__(index)


class Numbered(Dataset[Any]):
    """Samples whose first number is their index."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return 30

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a sample."""
        return torch.tensor([float(index), 1.0, -1.0, 0.5]), index % 3


def numbered() -> tuple[Dataset[Any], Dataset[Any]]:
    """Return samples that tell their index, to train on and held out."""
    return Numbered(), Numbered()


class Witness(nn.Linear):
    """Writes down which samples it is trained on: one line each, in the file TRAINED names."""

    def __init__(self) -> None:
        """Take numbered samples."""
        super().__init__(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Note the samples of a batch in training."""
        if self.training:
            with open(os.environ["TRAINED"], "a") as file:
                file.writelines(f"{int(index)}\n" for index in inputs[:, 0])
        return super().forward(inputs / 30)


def explode() -> nn.Module:
    """Raise, as a user's function may."""
    raise RuntimeError("no weights here")


def nothing() -> str:
    """Return what is no model."""
    return "a model"


def nan_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return a loss that is not a number, one for each sample."""
    return output.sum(1) * torch.nan


def scalar_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return one number for a batch."""
    return nn.functional.cross_entropy(output, target)
