"""What others do to find a batch size, each in a process of its own:

    python benchmarks/finder_peers.py METHOD CASE.json TRIED

Appends each size to the file TRIED before it is tried, since the process may be killed, and prints
the size found.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

STEPS = 3
FIRST, HIGHEST = 16, 4096


class Pictures(Dataset[Any]):
    """Noise, as batchtui's `fake` data are."""

    def __init__(self, pixels: int, samples: int) -> None:
        self.pixels, self.samples = pixels, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.randn(3, self.pixels, self.pixels), index % 10


class Case:
    """A model, its optimizer and its data."""

    def __init__(self, path: str, tried: str) -> None:
        self.values = json.loads(Path(path).read_text())
        self._tried = tried

    def model(self) -> nn.Module:
        import torchvision

        name = self.values["model"]["target"].rpartition(".")[2]
        return getattr(torchvision.models, name)(**self.values["model"]["args"])

    def optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        name = self.values["optimizer"]["target"].rpartition(".")[2]
        return getattr(torch.optim, name)(parameters, **self.values["optimizer"]["args"])

    def loader(self, batch_size: int) -> DataLoader[Any]:
        """Return the batches of a size, having noted that it is tried now."""
        with open(self._tried, "a") as file:
            file.write(f"{batch_size}\n")
        data = self.values["data"]
        return DataLoader(Pictures(data["image_size"], data["samples"]), batch_size=batch_size)


def lightning(case: Case, mode: str) -> int:
    """Return what Lightning's BatchSizeFinder says."""
    import lightning.pytorch as pl
    from lightning.pytorch.tuner import Tuner

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.batch_size = FIRST
            self.model = case.model()

        def training_step(self, batch: Any, index: int) -> Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return case.optimizer(self.parameters())

        def train_dataloader(self) -> DataLoader[Any]:
            return case.loader(self.batch_size)

    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    found = Tuner(trainer).scale_batch_size(
        Module(), mode=mode, init_val=FIRST, steps_per_trial=STEPS, max_trials=12
    )
    return int(found or 0)


def accelerate(case: Case) -> int:
    """Return what accelerate's find_executable_batch_size ends with."""
    from accelerate.utils import find_executable_batch_size

    @find_executable_batch_size(starting_batch_size=HIGHEST // 4)
    def train(batch_size: int) -> int:
        model = case.model()
        optimizer = case.optimizer(model.parameters())
        batches = iter(case.loader(batch_size))
        for _ in range(STEPS):
            pictures, targets = next(batches)
            nn.functional.cross_entropy(model(pictures), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        return batch_size

    return int(train())


def main() -> int:
    """Run one method."""
    method, path, tried = sys.argv[1:]
    case = Case(path, tried)
    if method == "accelerate":
        found = accelerate(case)
    else:
        found = lightning(case, method.partition(" ")[2])
    print(found, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
