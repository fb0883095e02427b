"""What learns: the model, and all that a step of it needs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from batchtui.errors import ConfigError
from batchtui.train.build import PerSampleLoss

AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Learner:
    """A model on its device, its loss and its optimizer."""

    model: nn.Module  # what is evaluated and saved
    network: Any  # the same, perhaps compiled, perhaps one of several that share gradients
    loss: PerSampleLoss
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    amp: Literal["off", "bf16", "fp16"] = "off"
    channels_last: bool = False

    def __post_init__(self) -> None:
        """Note which parameters train."""
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]

    def place(self, batch: Any) -> tuple[Any, Any]:
        """Bring a batch of (inputs, targets) to the device."""
        if not isinstance(batch, (list, tuple)) or len(batch) != 2:
            kind = type(batch).__name__
            raise ConfigError(f"data: a sample has to be a pair (input, target), not a {kind}")
        inputs, targets = self._move(batch[0]), self._move(batch[1])
        if self.channels_last and isinstance(inputs, Tensor) and inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs, targets

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the model computes in half precision, if it shall."""
        if self.amp == "off":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=AMP[self.amp])

    def clip(self, limit: float | None) -> Tensor:
        """Return the norm of all gradients, after which they may be clipped to `limit`."""
        if limit is not None:
            return torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        gradients = [p.grad for p in self.parameters if p.grad is not None and not p.grad.is_sparse]
        if gradients and self.device.type == "cpu":
            # torch's own function sorts by device and type first, which takes a small model as
            # long again; elsewhere it starts one kernel for all of them, and not one for each.
            norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
            return torch.linalg.vector_norm(torch.stack(norms))
        return torch.nn.utils.get_total_norm(gradients).to(self.device)

    def _move(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(self.device, non_blocking=True)
        if isinstance(value, dict):
            return {key: self._move(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._move(item) for item in value]
        return value
