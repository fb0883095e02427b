"""One process, or several that train one model: what the loop asks of either.

torchrun starts the processes; each knows its rank from the environment. Gradients are averaged
by DistributedDataParallel, and all else that ranks have to agree on goes through two small
collectives on the CPU.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from batchtui.train.launch import Ranks


class Alone:
    """A training in one process: nothing to agree on."""

    def __init__(self, ranks: Ranks) -> None:
        """`ranks` says which process this is, and of how many."""
        self.rank = ranks.rank
        self.world_size = ranks.world_size

    @property
    def leads(self) -> bool:
        """Return whether this rank writes checkpoints and speaks to the user."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network whose backward pass averages gradients over all ranks."""
        return network

    def own_gradients(self, network: Any) -> AbstractContextManager[None]:
        """Return a context whose backward pass leaves gradients on this rank."""
        return nullcontext()

    def any(self, asked: bool) -> bool:
        """Return whether some rank asked, one call late where there are several."""
        return asked

    def total(self, numbers: Tensor) -> Tensor:
        """Return the sums over all ranks."""
        return numbers

    def share_buffers(self, model: nn.Module) -> None:
        """Give every rank the leader's running statistics."""

    def wait(self) -> None:
        """Wait until all ranks are here."""

    def close(self) -> None:
        """Part."""


class Together(Alone):
    """A training in several processes."""

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        """Meet the other ranks; torchrun tells where."""
        super().__init__(ranks)
        self._device = device
        # Without a name torch brings gloo for tensors on the CPU beside the device's own.
        dist.init_process_group("gloo" if device.type == "cpu" else None)
        self._asked: Tensor | None = None
        self._work: Any = None

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network whose backward pass averages gradients over all ranks."""
        from torch.nn.parallel import DistributedDataParallel

        ids = None if self._device.type == "cpu" else [self._device.index]
        return DistributedDataParallel(network, device_ids=ids)

    def own_gradients(self, network: Any) -> AbstractContextManager[None]:
        """Return a context whose backward pass leaves gradients on this rank."""
        return network.no_sync()

    def any(self, asked: bool) -> bool:
        """Return whether some rank asked before its last call.

        The answer travels during the step, so that nobody waits for it; all ranks get it in
        the same step, and it costs the stop one step.
        """
        agreed = False
        if self._work is not None and self._asked is not None:
            self._work.wait()
            agreed = bool(self._asked.item())
        self._asked = torch.tensor([int(asked)])
        self._work = dist.all_reduce(self._asked, dist.ReduceOp.MAX, async_op=True)
        return agreed

    def total(self, numbers: Tensor) -> Tensor:
        """Return the sums over all ranks."""
        dist.all_reduce(numbers)
        return numbers

    def share_buffers(self, model: nn.Module) -> None:
        """Give every rank the leader's running statistics."""
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        dist.all_reduce(torch.zeros(1))

    def close(self) -> None:
        """Part."""
        if self._work is not None:
            self._work.wait()
        dist.destroy_process_group()
