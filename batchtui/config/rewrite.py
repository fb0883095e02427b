"""One value changed in a user's YAML, and every other byte left as it is.

PyYAML tells where a value stands; the text around it is never parsed and written anew, which
would cost comments, quotes and alignment.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from batchtui.errors import UsageError

_SECTION, _KEY = "dataloaders", "batch_size"


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a file that has not been written yet: its texts, and the line before and after.

    `before` is empty where a line is added.
    """

    path: Path
    old: str
    new: str
    before: str
    after: str
    modified: float  # when it was last written, in Unix seconds

    def write(self) -> None:
        """Replace the file in one piece, with the mode that it has.

        Raises:
            UsageError: it has changed since, or cannot be written; it is as it was.
        """
        if _read(self.path)[0] != self.old:
            raise UsageError(f"{self.path}: changed on disk meanwhile; look again")
        target = self.path.resolve()  # a link stays one
        temporary = None
        try:
            mode = target.stat().st_mode & 0o7777
            if not (mode & 0o222 and os.access(target, os.W_OK)):  # root may, and should not
                raise PermissionError(13, "it is read-only")
            descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            with open(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(self.new)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, target)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from None


def batch_size_edit(path: Path, size: int) -> Edit:
    """Return the edit that sets dataloaders.batch_size, adding the key where it is missing.

    Raises:
        UsageError: the file cannot be read, says that already, or cannot be changed so.
    """
    old, modified = _read(path)
    try:
        new = _changed(old, size)
        expected: Any = yaml.safe_load(old) or {}
        section = expected.get(_SECTION) or {}
        same = section.get(_KEY) == size
        expected = {**expected, _SECTION: {**section, _KEY: size}}
        sound = yaml.safe_load(new) == expected
    except (yaml.YAMLError, AttributeError, TypeError, ValueError):
        sound = same = False
    if same:
        raise UsageError(f"{path}: {_KEY} is {size} already")
    if not sound:
        raise UsageError(f"{path}: {_KEY} cannot be changed alone: edit it by hand")
    lines, then = old.splitlines(), new.splitlines()
    at = next((n for n, line in enumerate(lines) if n >= len(then) or line != then[n]), len(lines))
    added = len(then) > len(lines)
    after = next(line for line in then[at:] if _KEY in line)
    return Edit(path, old, new, "" if added else lines[at].strip(), after.strip(), modified)


def _read(path: Path) -> tuple[str, float]:
    """Return a file's text, and when it was last written."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read(), os.fstat(file.fileno()).st_mtime
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise UsageError(f"{path}: cannot be read: {reason}") from None


def _changed(text: str, size: int) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    section = _value(yaml.compose(text, yaml.SafeLoader), _SECTION)
    if section is None:
        text += "" if not text or text.endswith(end) else end
        return f"{text}{_SECTION}:{end}  {_KEY}: {size}{end}"
    value = _value(section[1], _KEY)
    if value is not None:
        start, stop = value[1].start_mark.index, value[1].end_mark.index
        if text[:stop].endswith(str(value[1].value)):  # an anchor before the number stays
            start = stop - len(str(value[1].value))
        return f"{text[:start]}{size}{text[stop:]}"
    node = section[1]
    start = node.start_mark.index
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        indent = " " * node.start_mark.column
        return f"{text[:start]}{_KEY}: {size}{end}{indent}{text[start:]}"
    if isinstance(node, yaml.MappingNode):
        comma = ", " if node.value else ""
        return f"{text[: start + 1]}{_KEY}: {size}{comma}{text[start + 1 :]}"
    stop = section[0].end_mark.index
    return f"{text[:stop]}: {{{_KEY}: {size}}}{text[node.end_mark.index :]}"  # an empty section


def _value(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return a key of a mapping and its value."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if getattr(name, "value", None) == key:
                return name, value
    return None
