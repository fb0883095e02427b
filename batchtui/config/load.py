"""Read a user's configuration: YAML file, then environment, then command line.

Everything that can be known without importing torch is checked here, and each complaint names
the file and line (or the option) it is about. Model and data are looked up by the worker.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from batchtui.config import keys
from batchtui.config.check import check
from batchtui.config.document import Document, read_document, scalar
from batchtui.config.schema import Config, to_dict
from batchtui.config.targets import check_targets
from batchtui.errors import ConfigError

ENVIRONMENT_PREFIX = "BATCHTUI_"
# Variables of ours that are no configuration keys.
_RESERVED = frozenset({"BATCHTUI_RUNS"})


def load_config(
    path: Path,
    overrides: Sequence[tuple[str, str]] = (),
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """Return the checked configuration of a file.

    `overrides` are (origin, "key.path=value") of the command line, later ones winning; the
    environment's BATCHTUI_SECTION__KEY stands between them and the file.

    Raises:
        ConfigError: one line naming the place, the value, and what is valid.
    """
    document = read_document(path)
    for origin, assignment in [*_from_environment(environment), *overrides]:
        _assign(document, origin, assignment)
    config = _convert(document)
    check_targets(config, document, [path.absolute().parent, Path.cwd()])
    return config


def dump_config(config: Config) -> str:
    """Return a configuration as YAML, every key spelt out."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=100)


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Turn BATCHTUI_DATALOADERS__BATCH_SIZE=32 into dataloaders.batch_size=32."""
    found = []
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _RESERVED:
            path = name[len(ENVIRONMENT_PREFIX) :].lower().replace("__", ".")
            # A lone unknown word may belong to another program or version; a path is meant for us.
            if "." in path or keys.is_key((path,)):
                found.append((f"environment {name}", f"{path}={environment[name]}"))
    return found


def _assign(document: Document, origin: str, assignment: str) -> None:
    """Set one `key.path=value`, creating the sections on the way."""
    dotted, equals, text = assignment.partition("=")
    path = tuple(part.strip() for part in dotted.split("."))
    if not equals or not all(path):
        raise ConfigError(f"{assignment!r} is no key.path=value", origin)
    keys.require(path, origin)
    if keys.section(path) is not None:
        raise ConfigError(
            f"{dotted} is a section; set one of its keys, such as {dotted}.{keys.names(path)[0]}=…",
            origin,
        )
    values = document.values
    for part in path[:-1]:
        inner = values.get(part)
        if not isinstance(inner, dict):
            inner = values[part] = {}
        values = inner
    values[path[-1]] = scalar(text, origin)
    document.origins[path] = origin


def _convert(document: Document) -> Config:
    """Check types and ranges, and build the configuration."""
    try:
        config = msgspec.convert(document.values, Config)
    except msgspec.ValidationError as error:
        raise _type_error(document, str(error)) from None
    check(config, document)
    return config


def _type_error(document: Document, message: str) -> ConfigError:
    """Say msgspec's complaint in the user's words, with the value and its place."""
    reason, _, where = message.partition(" - at `")
    path = tuple(where.rstrip("`").removeprefix("$").lstrip(".").split(".")) if where else ()
    if reason.startswith("Object missing required field"):
        field = reason.split("`")[1]
        return ConfigError(f"{'.'.join([*path, field])} is missing", document.place(path))
    value: Any = document.values
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    expected = keys.describe(path)
    return ConfigError(f"{'.'.join(path)}: {value!r} is not {expected}", document.place(path))
