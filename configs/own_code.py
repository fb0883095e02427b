"""What own-code.yaml trains: a model, its data and its loss, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

LENGTH = 64  # points of a wave


class Network(nn.Module):
    """Tell the frequency of a noisy wave: (B, LENGTH) → (B, 1)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Unflatten(1, (1, LENGTH)),
            nn.Conv1d(1, width, kernel_size=9, padding=4),
            nn.ReLU(),
            nn.Conv1d(width, width, kernel_size=9, padding=4),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(8),
            nn.Flatten(),
            nn.Linear(8 * width, 1),
        )

    def forward(self, waves: Tensor) -> Tensor:
        """Return the frequency of each wave."""
        return self.layers(waves)


def waves(samples: int = 20_000, noise: float = 0.3) -> tuple[TensorDataset, TensorDataset]:
    """Return waves to train on and a tenth as many held out: pairs of (wave, frequency)."""
    generator = torch.Generator().manual_seed(0)
    total = samples + samples // 10
    frequency = 0.5 + 4.5 * torch.rand(total, 1, generator=generator)
    phase = 6.28 * torch.rand(total, 1, generator=generator)
    time = torch.linspace(0, 6.28, LENGTH)
    clean = torch.sin(frequency * time + phase)
    noisy = clean + noise * torch.randn(total, LENGTH, generator=generator)
    training = TensorDataset(noisy[:samples], frequency[:samples])
    held_out = TensorDataset(noisy[samples:], frequency[samples:])
    return training, held_out


class PerSampleHuber(nn.Module):
    """Huber's loss of each sample: (B, 1), (B, 1) → (B,)."""

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.loss = nn.HuberLoss(delta=delta, reduction="none")

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return one value a sample; batchtui takes their mean and their variance."""
        return self.loss(output, target).squeeze(1)
