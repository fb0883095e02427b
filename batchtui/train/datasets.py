"""The data sets that need no files of the user's: digits, fake, cifar10.

All hold their samples in memory and make pictures of shape (3, image_size, image_size).
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from batchtui.config.schema import Data
from batchtui.errors import ConfigError
from batchtui.train.sampler import mix

# Mean and standard deviation of a pixel, over the whole set, in units of white.
DIGITS_PIXEL = (0.305, 0.376)
CIFAR_MEAN, CIFAR_DEVIATION = (0.491, 0.482, 0.447), (0.247, 0.244, 0.262)


def load_digits(config: Data, seed: int) -> tuple[Dataset[Any], Dataset[Any]]:
    """Return scikit-learn's 1,797 scans of handwritten digits, 8×8, drawn larger."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise needs("digits", "scikit-learn", error) from error
    digits = datasets.load_digits()
    pictures = torch.from_numpy(digits.images).float().div_(16).unsqueeze_(1)
    labels = torch.from_numpy(digits.target).long()
    kept, held_out = stratified(labels.tolist(), config.held_out, seed)
    return (
        Digits(pictures[kept], labels[kept], config.image_size, augment=True),
        Digits(pictures[held_out], labels[held_out], config.image_size, augment=False),
    )


class Digits(Dataset[Any]):
    """Grey pictures, resized; for training also turned, moved and scaled a little."""

    def __init__(self, pictures: Tensor, labels: Tensor, size: int, augment: bool) -> None:
        """`pictures` has shape (samples, 1, 8, 8), from 0 for paper to 1 for ink."""
        self._pictures, self._labels = pictures, labels.tolist()
        self._size = size
        self._augment = augment

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a normalised picture and its digit."""
        turn, scale, right, down = 0.0, 1.0, 0.0, 0.0
        if self._augment:
            turn, scale, right, down = (torch.rand(4) * 2 - 1).tolist()
            # ±10°, ±10 %, and ± half a pixel of the original.
            turn, scale, right, down = turn * 0.17, 1 + scale * 0.1, right / 8, down / 8
        cosine, sine = math.cos(turn) * scale, math.sin(turn) * scale
        placed = torch.tensor([[[cosine, -sine, right], [sine, cosine, down]]])
        # One bilinear look-up does the resizing too.
        grid = functional.affine_grid(placed, [1, 1, self._size, self._size], align_corners=False)
        picture = functional.grid_sample(
            self._pictures[index : index + 1], grid, align_corners=False
        )
        mean, deviation = DIGITS_PIXEL
        normal = picture[0].sub_(mean).div_(deviation)
        return normal.expand(3, -1, -1), self._labels[index]


def load_fake(config: Data, seed: int) -> tuple[Dataset[Any], Dataset[Any]]:
    """Return pictures of noise with a tint for each class: cheap, and it can be learnt."""
    held_out = max(1, round(config.samples * config.held_out))
    noise = torch.randn(3, 2 * config.image_size, 2 * config.image_size, generator=_generator(seed))
    tints = torch.randn(config.classes, 3, 1, 1, generator=_generator(seed, 1))
    return (
        Fake(noise, tints, 0, config.samples - held_out),
        Fake(noise, tints, config.samples - held_out, config.samples),
    )


class Fake(Dataset[Any]):
    """Windows on one sheet of noise, tinted: a sample costs one copy."""

    def __init__(self, noise: Tensor, tints: Tensor, first: int, last: int) -> None:
        """Samples `first` to `last` of an endless series."""
        self._noise, self._tints = noise, tints
        self._first, self._last = first, last

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._last - self._first

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a picture and its class."""
        number = mix(self._first + index)
        size = self._noise.shape[-1] // 2
        top, left = number % size, number // size % size
        label = number // size**2 % len(self._tints)
        window = self._noise[:, top : top + size, left : left + size]
        return window + self._tints[label], label


def load_cifar10(config: Data, seed: int) -> tuple[Dataset[Any], Dataset[Any]]:
    """Return CIFAR-10's 50,000 and 10,000 pictures, downloading them to `data.root` once."""
    try:
        from torchvision.datasets import CIFAR10
    except ImportError as error:
        raise needs("cifar10", "torchvision", error) from error
    try:
        parts = [CIFAR10(config.root, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:  # no network, no space, a damaged file
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"data.root: CIFAR-10 could not be fetched into {config.root!r}: {reason}"
        ) from error
    training, held_out = (
        Cifar(
            torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(),
            part.targets,
            config.image_size,
            augment,
        )
        for part, augment in zip(parts, (True, False), strict=True)
    )
    return training, held_out


class Cifar(Dataset[Any]):
    """Colour pictures in bytes; for training moved by up to 4 pixels and mirrored."""

    def __init__(self, pictures: Tensor, labels: list[int], size: int, augment: bool) -> None:
        """`pictures` has shape (samples, 3, 32, 32), in bytes."""
        self._pictures, self._labels = pictures, labels
        self._size = size
        self._augment = augment
        self._mean = torch.tensor(CIFAR_MEAN).view(3, 1, 1)
        self._deviation = torch.tensor(CIFAR_DEVIATION).view(3, 1, 1)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a normalised picture and its class."""
        picture = self._pictures[index].float().div_(255)
        picture = (picture - self._mean) / self._deviation
        if self._augment:
            top, left, mirror = (torch.rand(3) * torch.tensor([9, 9, 2])).long().tolist()
            side = picture.shape[-1]
            picture = functional.pad(picture, [4, 4, 4, 4])[:, top : top + side, left : left + side]
            picture = picture.flip(-1) if mirror else picture
        if picture.shape[-1] != self._size:
            picture = functional.interpolate(
                picture[None], (self._size, self._size), mode="bilinear", align_corners=False
            )[0]
        return picture, self._labels[index]


def stratified(labels: list[int], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split indices so that each class gives the same fraction to the second part."""
    kept: list[int] = []
    held_out: list[int] = []
    classes: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        classes.setdefault(label, []).append(index)
    for label in sorted(classes):
        members = classes[label]
        order = torch.randperm(len(members), generator=_generator(seed, label)).tolist()
        cut = min(round(len(members) * fraction), len(members) - 1)
        held_out += [members[place] for place in order[:cut]]
        kept += [members[place] for place in order[cut:]]
    return sorted(kept), sorted(held_out)


def _generator(*seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(mix(*seed))


def needs(name: str, package: str, error: ImportError) -> ConfigError:
    """Return the complaint about a library that a data set cannot do without."""
    return ConfigError(
        f"data.name: {name} needs {package}, which {sys.executable} cannot import ({error}); "
        f"install it there, or choose other data"
    )
