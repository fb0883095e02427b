"""Find out what a batch of a data set looks like, at any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import default_collate

from batchtui.errors import BatchtuiError
from batchtui.forecast.ladder import one_line
from batchtui.forecast.trace import TraceError
from batchtui.train import data


@dataclass(frozen=True)
class BatchForm:
    """What a batch of a data set looks like, at any size.

    Attributes:
        leaves: of each tensor its dtype, and of each dimension (constant, a sample's share).
    """

    structure: Any
    leaves: list[tuple[torch.dtype, list[tuple[int, int]]] | Any]

    @classmethod
    def of(cls, dataset: Any, notes: list[str]) -> BatchForm:
        """Look at a few samples and take the longest.

        Raises:
            TraceError: the samples cannot be put together.
        """
        try:
            longest = data.longest(dataset)
            if longest.differ:
                notes.append(
                    f"samples differ in size: a batch of the longest of {longest.looked_at} "
                    "looked at"
                )
            sample = longest.sample
            two, structure = pytree.tree_flatten(default_collate([sample] * 2))
            three, _ = pytree.tree_flatten(default_collate([sample] * 3))
        except BatchtuiError:
            raise
        except Exception as error:
            raise TraceError(f"the data give no batch: {one_line(error)}") from error
        leaves = [
            (a.dtype, [(3 * x - 2 * y, y - x) for x, y in zip(a.shape, b.shape, strict=True)])
            if isinstance(a, Tensor)
            else a
            for a, b in zip(two, three, strict=True)
        ]
        return cls(structure, leaves)

    def make(self, batch_size: int) -> Any:
        """Make a batch on the CPU; without values where a fake mode is on."""
        return pytree.tree_unflatten(
            [
                torch.empty([a + b * batch_size for a, b in leaf[1]], dtype=leaf[0])
                if isinstance(leaf, tuple)
                else leaf
                for leaf in self.leaves
            ],
            self.structure,
        )
