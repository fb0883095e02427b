"""The device that trains: which one, what it is called, what its memory holds.

`torch.accelerator` speaks for NVIDIA, AMD (which torch calls cuda), Intel and Apple alike. Its
memory functions came with torch 2.9; before that, and for their speed, cuda has its own.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from batchtui.errors import ConfigError


class MemoryReading(NamedTuple):
    """Bytes on an accelerator; None where the allocator does not say."""

    allocated: int | None = None
    reserved: int | None = None
    peak: int | None = None


def choose(name: str, local_rank: int | None = None) -> torch.device:
    """Return the device that `device: name` means here; one each where several ranks share it.

    Raises:
        ConfigError: a device that this machine, or this build of torch, does not have.
    """
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None and not torch.accelerator.is_available():
        accelerator = None
    if name == "cpu" or (name == "auto" and accelerator is None):
        return torch.device("cpu")
    wanted = torch.device(accelerator.type if name == "auto" and accelerator else name)
    if accelerator is None or wanted.type != accelerator.type:
        raise ConfigError(f"device: {name!r} is not here: {_what_there_is(accelerator)}")
    count = torch.accelerator.device_count()
    index = wanted.index if local_rank is None else local_rank
    index = 0 if index is None else index
    if index >= count:
        asked = f"{name!r}" if local_rank is None else f"one {wanted.type} device a process"
        raise ConfigError(
            f"device: {asked} asks for number {index}, but only {count} "
            f"{'is' if count == 1 else 'are'} visible"
        )
    device = torch.device(wanted.type, index)
    if device.type != "mps":  # of which there is only one
        getattr(torch, device.type).set_device(device)
    return device


def describe(device: torch.device) -> tuple[str | None, str | None]:
    """Return the device's name and, on NVIDIA's, its UUID in NVML's spelling."""
    if device.type not in ("cuda", "xpu"):
        return None, None
    try:
        properties = getattr(torch, device.type).get_device_properties(device)
        name = str(properties.name)
        uuid = getattr(properties, "uuid", None)
        if device.type != "cuda" or torch.version.hip or uuid is None:
            return name, None
        return name, _mig_uuid(device.index) or f"GPU-{uuid}"
    except (RuntimeError, AssertionError):
        return None, None


def confine(device: torch.device, size: int) -> None:
    """Let the allocator have no more than `size` bytes, where it takes such a limit.

    A trial then runs out of memory by itself, and not whoever shares the device.
    """
    if device.type not in ("cuda", "xpu"):  # Apple's counts in another total
        return
    try:
        module = getattr(torch, device.type)
        total = module.get_device_properties(device).total_memory
        module.set_per_process_memory_fraction(min(1.0, size / total), device)
    except (RuntimeError, AttributeError):  # older torch's xpu has no such limit
        pass


class Memory:
    """The accelerator's allocator, read and reset without waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        """On a CPU, and where the allocator keeps no count, every reading is empty."""
        self._device = device
        self._nested = device.type == "cuda"
        # Apple's and older torch's allocators keep no statistics under a common name.
        self._works = device.type != "cpu" and (
            self._nested or hasattr(torch.accelerator, "memory_stats")
        )

    def read(self) -> MemoryReading:
        """Return what is allocated and reserved now, and the peak since the last reset."""
        if not self._works:
            return MemoryReading()
        try:
            if self._nested:  # a tenth of the price of the flat dictionary
                nested = torch.cuda.memory_stats_as_nested_dict(self._device)
                allocated, reserved = nested["allocated_bytes"], nested["reserved_bytes"]
                return MemoryReading(
                    allocated["all"]["current"],
                    reserved["all"]["current"],
                    allocated["all"]["peak"],
                )
            flat = torch.accelerator.memory_stats(self._device)
            return MemoryReading(
                flat.get("allocated_bytes.all.current"),
                flat.get("reserved_bytes.all.current"),
                flat.get("allocated_bytes.all.peak"),
            )
        except (RuntimeError, KeyError, NotImplementedError, ValueError):
            self._works = False
            return MemoryReading()

    def reset_peak(self) -> None:
        """Begin a new peak; a note in the allocator's books, nothing on the device."""
        if not self._works:
            return
        try:
            if self._nested:
                torch.cuda.reset_peak_memory_stats(self._device)
            else:
                torch.accelerator.reset_peak_memory_stats(self._device)
        except (RuntimeError, NotImplementedError, ValueError):
            self._works = False


def _what_there_is(accelerator: torch.device | None) -> str:
    if accelerator is not None:
        return f"this machine has {accelerator.type}; use device: auto"
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built for the CPU alone; use device: auto or cpu"
    return "torch finds no accelerator it can use; use device: auto or cpu"


def _mig_uuid(index: int) -> str | None:
    """Return the slice that CUDA_VISIBLE_DEVICES names; its card's UUID would say too little."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    name = visible[index].strip() if index < len(visible) else ""
    return name if name.startswith("MIG-") else None
