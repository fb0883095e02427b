"""A YAML file as values, with the place of every key.

Scalars follow YAML 1.2: `1e-3` is a number (PyYAML's 1.1 rules make it text, and an optimizer
fails on it much later), `off`, `no` and `1:30` are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from batchtui.config import keys
from batchtui.errors import ConfigError
from batchtui.text import clean

# A configuration is a page; whatever is larger was named by mistake.
_MAX_BYTES = 1 << 20


@dataclass(slots=True)
class Document:
    """Plain values, and where each stands: `file:line`, an option, or a variable."""

    file: str
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[keys.Path, str] = field(default_factory=dict)

    def place(self, path: keys.Path) -> str:
        """Return where a key stands, or the nearest section around it."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, self.file)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"(?:{_pattern})\Z"),
        ["" if character == "\0" else character for character in _first],
    )


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def read_document(path: Path) -> Document:
    """Parse a file and refuse unknown and repeated keys.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or has a key that does not exist.
    """
    document = Document(file=clean(str(path), 200))
    text = _read_text(path, document.file)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise ConfigError("the file is empty; see configs/default.yaml", document.file)
            if not isinstance(node, yaml.MappingNode):
                raise ConfigError(
                    "expected `key: value` lines, as in configs/default.yaml", f"{document.file}:1"
                )
            _index(document, node, ())
            document.values = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _syntax_error(document.file, error) from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise ConfigError(
            f"cannot be read as YAML: {clean(str(error), 200)}", document.file
        ) from None
    return document


def scalar(text: str, place: str) -> Any:
    """Read one value as YAML would: `32` is a number, `[1, 2]` a list.

    Raises:
        ConfigError: not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{text!r} is no YAML value: {clean(reason, 200)}", place) from None


def _read_text(path: Path, file: str) -> str:
    try:
        if path.is_dir():
            raise ConfigError("is a directory; name a YAML file in it", file)
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(_missing(path), file) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"cannot be read: {reason}", file) from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError("is larger than 1 MiB; is this a configuration?", file)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8 text; is this a configuration?", f"{file}:{line}") from None
    return text


def _missing(path: Path) -> str:
    try:
        beside = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml"))
    except OSError:
        beside = []
    if not beside:
        return "no such file"
    return f"no such file; {keys.suggest(path.name, beside)}"


def _index(document: Document, node: yaml.MappingNode, path: keys.Path) -> None:
    """Note the line of every key below a mapping, checking the names on the way."""
    for key_node, value_node in node.value:
        place = f"{document.file}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError("a key must be a word", place)
        name = clean(key_node.value, 100)
        here = (*path, name)
        if name != "<<":
            keys.require(here, place)
            if here in document.origins:
                first = document.origins[here].rsplit(":", 1)[1]
                raise ConfigError(
                    f"{'.'.join(here)} stands here again; first on line {first}", place
                )
        document.origins[here] = place
        # Below `args` and `env` names are free, and an alias may loop.
        if isinstance(value_node, yaml.MappingNode) and keys.section(here) is not None:
            _index(document, value_node, here)


def _syntax_error(file: str, error: yaml.YAMLError) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    place = f"{file}:{mark.line + 1}" if mark else file
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if "'\\t'" in problem:
        return ConfigError("a tab; YAML is indented with spaces", place)
    return ConfigError(f"no valid YAML: {clean(problem, 200)}", place)
