"""The batch size written into a user's YAML: one line changes, all else stays."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from batchtui.config.rewrite import batch_size_edit
from batchtui.errors import UsageError

DEFAULT = Path(__file__).parents[2] / "configs" / "default.yaml"


def rewritten(path: Path, text: str, size: int = 128) -> str:
    path.write_bytes(text.encode())
    batch_size_edit(path, size).write()
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "dataloaders:\n  batch_size:   64   # why\n",
            "dataloaders:\n  batch_size:   128   # why\n",
        ),
        (
            "# top\r\ndataloaders: {batch_size: 64}\r\n",
            "# top\r\ndataloaders: {batch_size: 128}\r\n",
        ),
        ("dataloaders: {num_workers: 2}", "dataloaders: {batch_size: 128, num_workers: 2}"),
        ("dataloaders: {}\n", "dataloaders: {batch_size: 128}\n"),
        ("dataloaders:\n  num_workers: 2\n", "dataloaders:\n  batch_size: 128\n  num_workers: 2\n"),
        ("name: a # b", "name: a # b\ndataloaders:\n  batch_size: 128\n"),
        ("", "dataloaders:\n  batch_size: 128\n"),
        ("dataloaders: {batch_size: &size 64}\n", "dataloaders: {batch_size: &size 128}\n"),
        (
            "loaders: &l {batch_size: 64}\ndataloaders: {<<: *l, num_workers: 2}\n",
            "loaders: &l {batch_size: 64}\n"
            "dataloaders: {batch_size: 128, <<: *l, num_workers: 2}\n",
        ),
    ],
)
def test_one_value_changes_and_nothing_else(tmp_path: Path, text: str, expected: str) -> None:
    assert rewritten(tmp_path / "a.yaml", text) == expected


def test_the_documented_configuration_keeps_every_comment(tmp_path: Path) -> None:
    path = tmp_path / "default.yaml"
    before = DEFAULT.read_text()
    path.write_text(before)
    path.chmod(0o640)
    edit = batch_size_edit(path, 96)
    assert (edit.before[:14], edit.after[:14]) == ("batch_size: 64", "batch_size: 96")
    edit.write()
    assert path.read_text() == before.replace("batch_size: 64", "batch_size: 96", 1)
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["default.yaml"]


def test_what_cannot_be_changed_is_one_line_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text, reason in (
        ("dataloaders: {batch_size: 128}", "is 128 already"),
        ("size: &b 64\ndataloaders: {batch_size: *b}", "cannot be changed alone"),
        ("dataloaders: &d {batch_size: 64}\nmine: *d", "cannot be changed alone"),
        ("dataloaders: {batch_size: &b 64}\ndata: {samples: *b}", "cannot be changed alone"),
        ("dataloaders: [1]", "cannot be changed alone"),
        ("a: [", "cannot be changed alone"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=reason):
            batch_size_edit(path, 128)
        assert path.read_text() == text
    with pytest.raises(UsageError, match="cannot be read"):
        batch_size_edit(tmp_path / "none.yaml", 128)


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("dataloaders: {batch_size: 64}")
    edit = batch_size_edit(path, 128)
    path.write_text("dataloaders: {batch_size: 65}")
    with pytest.raises(UsageError, match="changed on disk"):
        edit.write()
    assert path.read_text() == "dataloaders: {batch_size: 65}"


def test_a_file_that_is_read_only_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("dataloaders: {batch_size: 64}")
    path.chmod(0o444)
    with pytest.raises(UsageError, match="cannot be written: it is read-only"):
        batch_size_edit(path, 128).write()
    assert path.read_text() == "dataloaders: {batch_size: 64}"


def test_a_disk_that_is_full_leaves_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"# {'long ' * 1000}\ndataloaders: {{batch_size: 64}}\n")
    before = path.read_text()
    edit = batch_size_edit(path, 128)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UsageError, match=r"a.yaml: cannot be written: File too large"):
            edit.write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.yaml"]
