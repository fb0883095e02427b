"""The one way to NVIDIA's library: every call of pynvml, and how it may refuse.

The codes are those of nvml.h; only the ones that change what happens next have a name here.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """NVML's return codes, as far as we tell them apart."""

    UNINITIALIZED = 1
    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    DRIVER_NOT_LOADED = 9
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    VERSION_MISMATCH = 18


_WITHOUT_SENSOR = frozenset({Code.NOT_SUPPORTED, Code.FUNCTION_NOT_FOUND})
_WITHOUT_CARD = frozenset({Code.GPU_IS_LOST, Code.RESET_REQUIRED})
_WITHOUT_SESSION = frozenset({Code.UNINITIALIZED, Code.DRIVER_NOT_LOADED})

_WORDS: dict[int, str] = {
    Code.NO_PERMISSION: "no permission to use the NVIDIA driver",
    Code.DRIVER_NOT_LOADED: "NVIDIA driver not loaded",
    Code.LIBRARY_NOT_FOUND: "no NVIDIA driver",
    Code.VERSION_MISMATCH: "NVIDIA driver and library differ in version: reboot",
}


class Refused(Exception):
    """NVML did not answer. `code` is its return code, None if the call never got that far."""

    def __init__(self, code: int | None, text: str) -> None:
        """Take the code and its text."""
        super().__init__(text)
        self.code = code

    @property
    def sensor_missing(self) -> bool:
        """Whether this card or driver just does not offer the metric."""
        return self.code in _WITHOUT_SENSOR

    @property
    def card_lost(self) -> bool:
        """Whether nothing can be asked of this card any more."""
        return self.code in _WITHOUT_CARD

    @property
    def session_lost(self) -> bool:
        """Whether nothing can be asked at all before another nvmlInit."""
        return self.code in _WITHOUT_SESSION

    @property
    def why_no_gpus(self) -> str:
        """The refusal as a reason for showing no GPUs."""
        return _WORDS.get(self.code or 0, f"NVML: {self}")


class Funnel:
    """Calls pynvml's functions by name."""

    def __init__(self, module: Any = None) -> None:
        """Take a stand-in for pynvml; the real one is imported at the first call."""
        self._module = module

    def ask(self, names: str, *args: Any) -> Any:
        """Return the answer of the first of `names` (`new|old`) that this driver offers.

        Raises:
            Refused: whatever went wrong. Beside its own errors pynvml lets through TypeError
                and UnicodeDecodeError, and raises `NVMLError(0)`, a success, for no data.
        """
        refused = Refused(None, "no function named")
        for name in names.split("|"):
            try:
                if self._module is None:
                    import pynvml

                    self._module = pynvml
                return getattr(self._module, name)(*args)
            except Exception as error:
                refused = _refusal(error)
            if not refused.sensor_missing:
                break
        raise refused

    def value(self, names: str, *args: Any) -> Any:
        """Return the answer, or None where this metric alone cannot be had.

        Raises:
            Refused: the card is lost, or the session.
        """
        try:
            return self.ask(names, *args)
        except Refused as refused:
            if refused.card_lost or refused.session_lost:
                raise
            return None


def _refusal(error: Exception) -> Refused:
    if isinstance(error, ImportError):
        return Refused(None, "the module pynvml of the package nvidia-ml-py is missing")
    if isinstance(error, (AttributeError, TypeError)):  # an older pynvml
        return Refused(Code.FUNCTION_NOT_FOUND, "Function Not Found")
    code = getattr(error, "value", None)
    if not isinstance(code, int):
        return Refused(None, f"{type(error).__name__}: {error}")
    return Refused(code, str(error) if code else "no data")


# "Not available" is a number with all bits set, 32 or 64 of them.


def size(value: int | None) -> int | None:
    """Return bytes, None for NVML's "not available"."""
    return value if value is not None and 0 <= value < 1 << 63 else None


def scaled(value: int | None, scale: float, most: int = (1 << 31) - 1) -> float | None:
    """Return a reading in our unit, None for one that is out of its range."""
    return value * scale if value is not None and 0 <= value <= most else None


def text(value: bytes | str | None) -> str | None:
    """Return a name; older versions of pynvml give bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
