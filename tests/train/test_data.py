"""Data sets by name, and what is wrong with them in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from batchtui.config.schema import Data
from batchtui.errors import ConfigError
from batchtui.train.data import check_batch_size, load
from batchtui.train.datasets import Cifar, stratified
from batchtui.train.failure import DataError
from tests.train import tiny as own


def test_digits_are_scans_with_a_held_out_split() -> None:
    training, held_out = load(Data(name="digits", image_size=20), seed=0)
    assert len(training) + len(held_out) == 1797
    assert len(held_out) == pytest.approx(0.2 * 1797, abs=5)
    picture, label = held_out[0]
    assert picture.shape == (3, 20, 20)
    assert label in range(10)
    assert torch.equal(picture, held_out[0][0])
    pixels = torch.stack([held_out[index][0] for index in range(100)])
    assert abs(pixels.mean().item()) < 0.1
    assert abs(pixels.std().item() - 1) < 0.2
    torch.manual_seed(0)
    first = training[0][0]
    assert not torch.equal(first, training[0][0])  # augmented


def test_the_split_depends_on_the_seed_alone_and_keeps_the_classes() -> None:
    labels = [index % 4 for index in range(100)]
    kept, held_out = stratified(labels, 0.2, seed=3)
    assert (kept, held_out) == stratified(labels, 0.2, seed=3)
    assert held_out != stratified(labels, 0.2, seed=4)[1]
    assert sorted(kept + held_out) == list(range(100))
    assert [sum(labels[index] == k for index in held_out) for k in range(4)] == [5] * 4
    assert stratified([0, 0, 1], 0.9, seed=0)[1] != [0, 1, 2]  # a class keeps one to train on


def test_fake_pictures_are_a_function_of_their_index() -> None:
    config = Data(name="fake", image_size=16, samples=50, classes=4)
    training, held_out = load(config, seed=0)
    again, _ = load(config, seed=0)
    assert (len(training), len(held_out)) == (40, 10)
    assert torch.equal(training[7][0], again[7][0])
    assert not torch.equal(training[7][0], training[8][0])
    assert training[0][0].shape == (3, 16, 16)
    assert {training[index][1] for index in range(40)} == {0, 1, 2, 3}


def test_cifar_pictures_are_moved_mirrored_and_resized() -> None:
    pictures = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    plain = Cifar(pictures, [3, 4], 32, augment=False)[1]
    assert plain[1] == 4
    assert plain[0].shape == (3, 32, 32)
    assert Cifar(pictures, [3, 4], 48, augment=True)[0][0].shape == (3, 48, 48)


def test_a_download_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"data\.root: CIFAR-10 could not be fetched") as caught:
        load(Data(name="cifar10", root=str(tmp_path / "data")), seed=0)
    assert "\n" not in str(caught.value)


def test_own_data_may_hold_nothing_out() -> None:
    config = Data(target="tests.train.tiny:points", args={"samples": 9, "held_out": 0})
    training, held_out = load(config, 0, own.points)
    assert (len(training), held_out) == (9, None)


@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        (lambda: 5, {}, "returned a int; it has to return (training, held-out)"),
        (lambda: ([], None), {}, "returned an empty data set"),
        (own.points, {"sample": 3}, "data.args.sample"),
        (own.explode, {}, "raised RuntimeError: no weights here"),
        (lambda: (iter([1]), None), {}, "returned a list_iterator"),
    ],
)
def test_own_data_that_is_none_is_one_line(function: object, args: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(Data(target="own:data", args=args), 0, function)


def test_a_batch_larger_than_the_data_set_names_both() -> None:
    check_batch_size(100, 1, 100)
    with pytest.raises(ConfigError, match=r"batch_size: 4096 is larger.*1,438 samples"):
        check_batch_size(4096, 1, 1438)
    with pytest.raises(ConfigError, match="60 on each of 2 processes"):
        check_batch_size(60, 2, 100)


# ------------------------------------------------------------------------------ pictures


def draw(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def folder(root: Path, count: int = 10) -> Data:
    for number in range(count):
        draw(root / "cats" / f"{number}.png", (250, 0, 0))
        draw(root / "dogs" / "deeper" / f"{number}.JPG", (0, 0, 250))
    (root / "cats" / "notes.txt").write_text("no picture")
    (root / ".hidden").mkdir()
    return Data(name="imagefolder", root=str(root), image_size=8)


def test_a_folder_for_each_class_is_split(tmp_path: Path) -> None:
    training, held_out = load(folder(tmp_path), seed=0)
    assert held_out is not None
    assert (len(training), len(held_out)) == (16, 4)
    assert {label for _, label in training.samples} == {0, 1}
    red = next(sample for sample in (held_out[i] for i in range(4)) if sample[1] == 0)[0]
    assert red.shape == (3, 8, 8)
    assert red[0].mean() > red[2].mean()


def test_train_and_val_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        folder(tmp_path / split, count)
    config = Data(name="imagefolder", root=str(tmp_path))
    training, held_out = load(config, seed=0)
    assert (len(training), len(held_out or ())) == (6, 4)
    draw(tmp_path / "val" / "birds" / "0.png", (0, 0, 0))
    with pytest.raises(ConfigError, match=r"birds is a class that train/ does not have"):
        load(config, seed=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "absent", "does not exist"),
        (lambda root: (root / "cats").mkdir() or root, "no picture in the class folder"),
        (lambda root: root, "has no folders in it"),
        (
            lambda root: ((root / "f").write_text("") and root) or root / "f",
            "is a file, not a folder",
        ),
    ],
)
def test_a_folder_without_pictures_is_one_line(tmp_path: Path, make: object, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.root: .*{words}"):
        load(Data(name="imagefolder", root=str(make(tmp_path))), seed=0)  # type: ignore[operator]


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_a_damaged_picture_is_named(tmp_path: Path, content: bytes | None) -> None:
    config = folder(tmp_path)
    training, _ = load(config, seed=0)
    path = Path(training.samples[0][0])
    path.write_bytes(path.read_bytes()[:40] if content is None else content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        training[0]
