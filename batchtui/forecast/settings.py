"""Settings of PyTorch's CUDA caching allocator, as read from its environment variable.

The syntax is that of `PYTORCH_CUDA_ALLOC_CONF` (`PYTORCH_ALLOC_CONF` since torch 2.9):
`key:value,key:value`, where `roundup_power2_divisions` also takes a list `[64:8,128:2,>:1]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from batchtui.errors import UsageError

MIB = 1 << 20
MIN_BLOCK = 512
SMALL_REQUEST = 1 * MIB  # the largest request that the small pool serves
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB
MIN_LARGE_REQUEST = 10 * MIB  # from here on a segment is made for the request
ROUND_LARGE = 2 * MIB
UNLIMITED = 1 << 62

CUBLAS_WORKSPACE = 8_519_680  # of a handle, on everything but Hopper
HOPPER_WORKSPACE = 32 * MIB
_KERNEL_CODE = {"RTX40": 30 * MIB, "A100": 94 * MIB}
_HOPPER = ("H100", "H200", "H800", "H20", "GH200")

VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")  # the first one set wins
_INTERVALS = 16  # of roundup_power2_divisions: 1 MiB, 2 MiB, 4 MiB, … 32 GiB and above
_TOKEN = re.compile(r"[,:\[\]]|[^,:\[\]\s]+")
_KNOWN = (
    "release_lock_on_cudamalloc",
    "release_lock_on_hipmalloc",
    "pinned_use_cuda_host_register",
    "pinned_use_hip_host_register",
    "pinned_num_register_threads",
    "pinned_use_background_threads",
    "pinned_reserve_segment_size_mb",
    "graph_capture_record_stream_reuse",
)  # options that change no size on the device


@dataclass(frozen=True, slots=True)
class AllocatorSettings:
    """How the caching allocator rounds, splits and releases; sizes in bytes."""

    max_split_size: int = UNLIMITED
    max_non_split_rounding: int = LARGE_SEGMENT
    roundup_power2_divisions: tuple[int, ...] = ()  # one an interval, 0: off; empty: all off
    garbage_collection_threshold: float = 0.0  # acts only where a memory fraction is set
    memory_fraction: float | None = None  # of the device, for this process
    expandable_segments: bool = False
    backend: str = "native"

    @classmethod
    def parse(cls, text: str | None) -> AllocatorSettings:
        """Read the value of the environment variable; empty or None means the defaults.

        Raises:
            UsageError: PyTorch would refuse the text as well.
        """
        return _Parser(text or "").settings()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AllocatorSettings:
        """Read the settings that a process with this environment will use."""
        for name in VARIABLES:
            if environment.get(name):
                return cls.parse(environment[name])
        return cls()

    def round(self, size: int) -> int:
        """Round a request to the size of its block."""
        if size < MIN_BLOCK:
            return MIN_BLOCK
        if self.roundup_power2_divisions:
            interval = min(max(size.bit_length() - 21, 0), _INTERVALS - 1)
            divisions = self.roundup_power2_divisions[interval]
            if divisions > 1 and size > MIN_BLOCK * divisions:
                step = max((1 << (size.bit_length() - 1)) // divisions, 1)
                return -(-size // step) * step
        return (size + MIN_BLOCK - 1) & -MIN_BLOCK


def segment_size(size: int) -> int:
    """Size of the segment that is asked from the device for a block of `size` bytes."""
    if size <= SMALL_REQUEST:
        return SMALL_SEGMENT
    if size < MIN_LARGE_REQUEST:
        return LARGE_SEGMENT
    return -(-size // ROUND_LARGE) * ROUND_LARGE


def cublas_workspace(environment: Mapping[str, str], device_name: str | None = None) -> int:
    """Return the bytes of a cuBLAS handle's workspace.

    `CUBLAS_WORKSPACE_CONFIG` (pairs of KiB and count, `:4096:2:16:8`) rules; Hopper has more by
    default.
    """
    numbers = re.findall(r":(\d+):(\d+)", environment.get("CUBLAS_WORKSPACE_CONFIG", ""))
    if numbers:
        return sum(int(kibibytes) * int(count) for kibibytes, count in numbers) << 10
    hopper = any(name in (device_name or "").upper() for name in _HOPPER)
    return HOPPER_WORKSPACE if hopper else CUBLAS_WORKSPACE


def kernel_code(device_name: str | None) -> int:
    """Return the bytes of code that a step loads onto the device once its context stands.

    Medians over measured steps of networks of all kinds, which hold for those left out as well;
    0 where nothing is known.
    """
    plain = re.sub(r"[^A-Za-z0-9]", "", device_name or "")
    return next((size for name, size in _KERNEL_CODE.items() if name in plain), 0)


class _Parser:
    """Takes the text apart, token by token, with PyTorch's own refusals."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _TOKEN.findall(text)
        self.at = 0

    def settings(self) -> AllocatorSettings:
        values: dict[str, object] = {}
        while self.at < len(self.tokens):
            key = self.take("an option")
            self.expect(":")
            if key == "max_split_size_mb":
                values["max_split_size"] = self.megabytes(key)
            elif key == "max_non_split_rounding_mb":
                values["max_non_split_rounding"] = self.megabytes(key)
            elif key == "garbage_collection_threshold":
                values["garbage_collection_threshold"] = self.fraction(key)
            elif key == "per_process_memory_fraction":
                values["memory_fraction"] = self.fraction(key, closed=True)
            elif key == "roundup_power2_divisions":
                values["roundup_power2_divisions"] = self.divisions()
            elif key == "expandable_segments":
                values["expandable_segments"] = self.boolean(key)
            elif key == "backend":
                values["backend"] = self.take("a backend")
            elif key in _KNOWN:
                self.take(f"a value of {key}")
            else:
                raise self.error(f"unknown option {key!r}")
            if self.at < len(self.tokens):
                self.expect(",")
        return AllocatorSettings(**values)  # type: ignore[arg-type]

    def error(self, what: str) -> UsageError:
        return UsageError(f"{VARIABLES[1]}: {what} in {self.text!r}")

    def take(self, what: str) -> str:
        if self.at >= len(self.tokens) or self.tokens[self.at] in ",:]":
            raise self.error(f"expected {what}")
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, token: str) -> None:
        if self.at >= len(self.tokens) or self.tokens[self.at] != token:
            raise self.error(f"expected {token!r}")
        self.at += 1

    def number(self, key: str) -> int:
        text = self.take(f"a number for {key}")
        if not text.isdigit():
            raise self.error(f"{key} takes a whole number, not {text!r}")
        return int(text)

    def megabytes(self, key: str) -> int:
        size = self.number(key) * MIB
        if size < LARGE_SEGMENT:
            raise self.error(f"{key} must be at least {LARGE_SEGMENT // MIB}")
        return size

    def fraction(self, key: str, closed: bool = False) -> float:
        text = self.take(f"a number for {key}")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not (0 < value < 1 or (closed and value == 1)):
            raise self.error(f"{key} must lie between 0 and 1, not {text}")
        return value

    def boolean(self, key: str) -> bool:
        text = self.take(f"True or False for {key}")
        if text not in ("True", "False"):
            raise self.error(f"{key} takes True or False, not {text!r}")
        return text == "True"

    def power_of_two(self, key: str) -> int:
        value = self.number(key)
        if value & (value - 1):
            raise self.error(f"{key} takes powers of 2, not {value}")
        return value

    def divisions(self) -> tuple[int, ...]:
        """Read one number for all intervals, or `[64:8,128:2,>:1]` with intervals in MiB."""
        key = "roundup_power2_divisions"
        if self.at < len(self.tokens) and self.tokens[self.at] != "[":
            return (self.power_of_two(key),) * _INTERVALS
        self.expect("[")
        result = [0] * _INTERVALS
        last, first = 0, True
        while self.at < len(self.tokens) and self.tokens[self.at] != "]":
            above = self.tokens[self.at] == ">"
            interval = 0
            if above:
                self.at += 1
            else:
                interval = self.power_of_two(key)
                if not interval:
                    raise self.error(f"{key} takes intervals from 1 MiB on")
            self.expect(":")
            value = self.power_of_two(key)
            if above:  # PyTorch overwrites the last named interval too
                result[last:] = [value] * (_INTERVALS - last)
            else:
                last = min(interval.bit_length() - 1, _INTERVALS - 1)
                if first:
                    result[:last] = [value] * last
                    first = False
                result[last] = value
            if self.at < len(self.tokens) and self.tokens[self.at] != "]":
                self.expect(",")
        self.expect("]")
        return tuple(result)
