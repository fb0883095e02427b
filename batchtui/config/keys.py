"""Which keys a configuration has, read off the schema: names, nearest names, kinds."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from typing import Any, Literal

from batchtui.config.schema import Config, choices
from batchtui.errors import ConfigError

Path = tuple[str, ...]

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def section(path: Path) -> type | None:
    """Return the schema class that `path` leads to, or None if it leads to a value."""
    kind: Any = Config
    for part in path:
        hint = typing.get_type_hints(kind).get(part)
        kind = next((c for c in choices(hint) if dataclasses.is_dataclass(c)), None)
        if kind is None:
            return None
    return typing.cast(type, kind)


def names(path: Path) -> list[str]:
    """Return the keys of a section."""
    kind = section(path)
    return [field.name for field in dataclasses.fields(kind)] if kind else []


def is_key(path: Path) -> bool:
    """Whether a path is a key of the schema, or lies within a free one such as `args`."""
    for depth in range(len(path)):
        valid = names(path[:depth])
        if not valid:
            return _is_free(path[:depth])
        if path[depth] not in valid:
            return False
    return True


def require(path: Path, place: str) -> None:
    """Refuse an unknown key, naming the nearest valid one.

    Raises:
        ConfigError: no such key.
    """
    for depth in range(len(path)):
        if is_key(path[: depth + 1]):
            continue
        valid = names(path[:depth])
        dotted = ".".join(path[: depth + 1])
        if not valid:
            raise ConfigError(f"{'.'.join(path[:depth])} is a value and has no keys", place)
        raise ConfigError(f"unknown key {dotted!r}; {suggest(path[depth], valid)}", place)


def suggest(word: str, valid: list[str]) -> str:
    """Name the valid word nearest to a wrong one, or else all of them."""
    near = difflib.get_close_matches(word.lower(), valid, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(valid)}"


def describe(path: Path) -> str:
    """Say in words what kind of value a key takes."""
    if section(path) is not None:
        return f"a section; it has the keys {', '.join(names(path))}"
    parent = section(path[:-1])
    hint = typing.get_type_hints(parent).get(path[-1]) if parent else None
    if hint is None:
        return "of the right kind"
    return _describe(hint)


def _describe(hint: Any) -> str:
    if len(choices(hint)) > 1:
        return " or ".join(_describe(choice) for choice in choices(hint))
    if typing.get_origin(hint) is Literal:
        return " or ".join(str(choice) for choice in typing.get_args(hint))
    if hint is type(None):
        return "null"
    if typing.get_origin(hint) is dict:
        return "a mapping of names to values"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _is_free(path: Path) -> bool:
    parent = section(path[:-1]) if path else None
    if parent is None:
        return len(path) > 1 and _is_free(path[:-1])
    hint = typing.get_type_hints(parent).get(path[-1])
    return typing.get_origin(hint) is dict
