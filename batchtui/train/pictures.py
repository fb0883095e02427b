"""data.name: imagefolder: a folder for each class, with pictures in it.

`data.root` holds train/ and val/ (each with class folders), or the class folders themselves, of
which a fraction is then held out.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from batchtui.config.schema import Data
from batchtui.errors import ConfigError
from batchtui.train.datasets import needs, stratified
from batchtui.train.failure import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})
HELD_OUT_FOLDERS = ("val", "valid", "validation", "test")
# Mean and standard deviation of ImageNet's pixels: what pretrained models expect.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Sample = tuple[str, int]  # path, class


def load_pictures(config: Data, seed: int) -> tuple[Dataset[Any], Dataset[Any] | None]:
    """Return the pictures below `data.root`.

    Raises:
        ConfigError: no such folder, no class in it, no picture in a class.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise needs("imagefolder", "pillow", error) from error
    root = Path(config.root).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise ConfigError(f"data.root: {config.root!r} {what}")
    if (root / "train").is_dir():
        classes = _classes(root / "train")
        training = _samples(root / "train", classes)
        held_out = []
        for name in HELD_OUT_FOLDERS:
            if (root / name).is_dir():
                held_out = _held_out(root / name, classes)
                break
    else:
        classes = _classes(root)
        samples = _samples(root, classes)
        kept, rest = stratified([label for _, label in samples], config.held_out, seed)
        training, held_out = [samples[i] for i in kept], [samples[i] for i in rest]
    size = config.image_size
    return (
        Pictures(training, size, augment=True),
        Pictures(held_out, size, augment=False) if held_out else None,
    )


class Pictures(Dataset[Any]):
    """Picture files, cropped to a square; for training anywhere in the picture, and mirrored."""

    def __init__(self, samples: list[Sample], size: int, augment: bool) -> None:
        """`size` is the side of the square in pixels."""
        self.samples = samples
        self._size = size
        self._augment = augment

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a normalised picture and its class.

        Raises:
            DataError: a file that is no picture, or a damaged one, by name.
        """
        from PIL import Image, UnidentifiedImageError

        path, label = self.samples[index]
        try:
            with Image.open(path) as file:
                picture = file.convert("RGB")
            box, mirror = self._crop(*picture.size)
            picture = picture.resize((self._size, self._size), Image.Resampling.BILINEAR, box=box)
        except UnidentifiedImageError:
            raise DataError(
                f"cannot read the picture {path}: no picture, or a damaged one"
            ) from None
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise DataError(f"the picture {path} cannot be read: {error}") from error
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        values = pixels.view(self._size, self._size, 3).permute(2, 0, 1).float().div_(255)
        values = values.flip(-1) if mirror else values
        return (values - _column(MEAN)) / _column(DEVIATION), label

    def _crop(self, width: int, height: int) -> tuple[tuple[float, float, float, float], bool]:
        """Return the square to show, and whether to mirror it."""
        side = float(min(width, height))
        if not self._augment:
            side *= 0.875
            left, top = (width - side) / 2, (height - side) / 2
            return (left, top, left + side, top + side), False
        side *= random.uniform(0.6, 1.0)
        left, top = random.uniform(0, width - side), random.uniform(0, height - side)
        return (left, top, left + side, top + side), random.random() < 0.5


def _classes(folder: Path) -> dict[str, int]:
    try:
        names = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
        )
    except OSError as error:
        raise ConfigError(f"data.root: {folder} cannot be read: {error.strerror}") from error
    if not names:
        raise ConfigError(f"data.root: {folder} has no folders in it; put each class in one")
    return {name: number for number, name in enumerate(names)}


def _samples(folder: Path, classes: dict[str, int]) -> list[Sample]:
    samples: list[Sample] = []
    for name, label in classes.items():
        found = [
            (os.path.join(where, file), label)
            for where, _, files in sorted(os.walk(folder / name))
            for file in sorted(files)
            if os.path.splitext(file)[1].lower() in SUFFIXES and file[0] != "."
        ]
        if not found:
            raise ConfigError(f"data.root: no picture in the class folder {folder / name}")
        samples += found
    return samples


def _held_out(folder: Path, classes: dict[str, int]) -> list[Sample]:
    present = _classes(folder)
    unknown = [name for name in present if name not in classes]
    if unknown:
        raise ConfigError(f"data.root: {folder / unknown[0]} is a class that train/ does not have")
    return _samples(folder, {name: classes[name] for name in present})


def _column(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)
