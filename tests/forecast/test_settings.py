"""PYTORCH_CUDA_ALLOC_CONF, as PyTorch reads it."""

from __future__ import annotations

import pytest

from batchtui.errors import UsageError
from batchtui.forecast.settings import (
    MIB,
    UNLIMITED,
    AllocatorSettings,
    cublas_workspace,
    kernel_code,
)


def test_defaults() -> None:
    for text in ("", None):
        parsed = AllocatorSettings.parse(text)
        assert parsed.max_split_size == UNLIMITED
        assert not parsed.expandable_segments


def test_all_options_at_once() -> None:
    parsed = AllocatorSettings.parse(
        "backend:native, max_split_size_mb:128,garbage_collection_threshold:0.8,"
        "expandable_segments:True,roundup_power2_divisions:8,pinned_use_background_threads:True"
    )
    assert parsed.max_split_size == 128 * MIB
    assert parsed.garbage_collection_threshold == 0.8
    assert parsed.expandable_segments
    assert parsed.roundup_power2_divisions == (8,) * 16


def test_lists_fill_below_the_first_and_above_the_last() -> None:
    parsed = AllocatorSettings.parse("roundup_power2_divisions:[64:8,128:2,>:1]")
    assert parsed.roundup_power2_divisions == (8,) * 7 + (1,) * 9
    parsed = AllocatorSettings.parse("roundup_power2_divisions:[4:2,64:8]")
    assert parsed.roundup_power2_divisions == (2, 2, 2, 0, 0, 0, 8, *[0] * 9)


@pytest.mark.parametrize(
    ("size", "divisions", "rounded"),
    [(1, 0, 512), (513, 0, 1024), (1200, 4, 1536), (4096, 4, 4096), (4097, 4, 5120),
     (1200 * MIB, 4, 1280 * MIB)],
)  # fmt: skip
def test_rounding(size: int, divisions: int, rounded: int) -> None:
    text = f"roundup_power2_divisions:{divisions}" if divisions else ""
    assert AllocatorSettings.parse(text).round(size) == rounded


def test_the_newer_name_of_the_variable_wins() -> None:
    parsed = AllocatorSettings.from_environment(
        {
            "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:40",
            "PYTORCH_ALLOC_CONF": "max_split_size_mb:60",
        }
    )
    assert parsed.max_split_size == 60 * MIB
    assert AllocatorSettings.from_environment({}) == AllocatorSettings()


@pytest.mark.parametrize(
    "text",
    [
        "max_split_size:40",
        "max_split_size_mb:10",
        "max_split_size_mb=40",
        "max_split_size_mb:40;expandable_segments:True",
        "roundup_power2_divisions:3",
        "roundup_power2_divisions:[64:8,128",
        "roundup_power2_divisions:[65:8]",
        "garbage_collection_threshold:1.5",
        "expandable_segments:yes",
        "expandable_segments",
    ],
)
def test_what_pytorch_refuses_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        AllocatorSettings.parse(text)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cublas_workspaces() -> None:
    assert cublas_workspace({}) == 8_519_680
    assert cublas_workspace({}, "NVIDIA GeForce RTX 3060") == 8_519_680
    assert cublas_workspace({}, "NVIDIA H100 80GB HBM3") == 32 * MIB
    assert cublas_workspace({"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}, "H100") == 32 * MIB
    assert cublas_workspace({"CUBLAS_WORKSPACE_CONFIG": ":4096:2:16:8"}) == 8_519_680


def test_code_that_a_step_loads() -> None:
    assert kernel_code("NVIDIA GeForce RTX 4060") == kernel_code("RTX4060") == 30 * MIB
    assert kernel_code("A100-SXM4-40GB") == 94 * MIB
    assert kernel_code("Tesla V100") == kernel_code(None) == 0
