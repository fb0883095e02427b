"""Look a `target` up without importing it.

Importing torchvision to find out that a model's name is misspelt takes seconds. The source tells
as much in milliseconds: packages are found on the path, and a name that no line of the module, nor
of what it imports with a star, so much as mentions does not exist. Where the source is silent
(extension modules, names made at run time) the worker finds out.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from batchtui.config.document import Document
from batchtui.config.schema import Config
from batchtui.errors import ConfigError

_STAR = re.compile(r"^from\s+(\S+)\s+import\s+\*", re.MULTILINE)
_DEFINED = re.compile(r"^(?:class|def|async def)\s+(\w+)", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z]\w{2,}\b")
_MADE_AT_RUN_TIME = re.compile(r"^def __getattr__|\bglobals\(\)", re.MULTILINE)
_MAX_MODULES = 100


def check_targets(config: Config, document: Document, folders: Iterable[Path]) -> None:
    """Refuse targets that do not exist; `folders` come before the interpreter's own path.

    Raises:
        ConfigError: with the place, the target, and the nearest name.
    """
    if config.launch.python is not None:
        return  # another environment: only its own interpreter knows what is in it
    search = (*(str(folder) for folder in folders), *sys.path)
    scheduler = config.scheduler
    for key, target in (
        ("model", config.model.target),
        ("data", config.data.target),
        ("loss", config.loss.target),
        ("optimizer", config.optimizer.target),
        ("scheduler", scheduler.target if scheduler else None),
    ):
        if target is not None and (problem := missing(target, search)):
            place = document.place((key, "target"))
            raise ConfigError(f"{key}.target: {target!r}: {problem}", place)


def missing(target: str, search: tuple[str, ...]) -> str | None:
    """Say why a target cannot be imported, or None if it can or nobody knows."""
    module, colon, names = target.partition(":")
    parts = module.split(".")
    attributes = names.split(".") if colon else []
    spec, found = _find(parts, search)
    if spec is None:
        return f"there is no module {parts[0]!r}{_nearest_module(parts[0], search)}"
    rest = [*parts[found:], *attributes]
    if found < len(parts) and colon:
        return f"there is no module {'.'.join(parts[: found + 1])!r}"
    if not rest:
        return "is a module; name a class or function in it"
    sources = _sources(spec.name, spec.origin, search)
    word = re.compile(rf"\b{re.escape(rest[0])}\b")
    if sources is None or any(word.search(source) for source in sources):
        return None
    # What a package imports from its modules is no definition, but the word stands there.
    defined = {name for source in sources for name in _DEFINED.findall(source)}
    words = {name for source in sources for name in _WORD.findall(source)}
    hint = _nearest(rest[0], defined) or _nearest(rest[0], words)
    return f"{spec.name} has no {rest[0]!r}{hint}"


def _find(parts: list[str], search: tuple[str, ...]) -> tuple[ModuleSpec | None, int]:
    """Return the spec of the longest prefix that is a module, and its length."""
    spec: ModuleSpec | None = None
    path: list[str] | None = list(search)
    found = 0
    for depth in range(len(parts)):
        name = ".".join(parts[: depth + 1])
        try:
            # Unlike importlib.util.find_spec this imports no parent.
            inner = PathFinder.find_spec(name, path)
        except (ImportError, ValueError, OSError):
            inner = None
        if inner is None:
            break
        spec, found = inner, depth + 1
        if inner.submodule_search_locations is None:
            break
        path = list(inner.submodule_search_locations)
    if spec is None and parts[0] in sys.builtin_module_names:
        return ModuleSpec(parts[0], None), 1
    return spec, found


def _sources(module: str, origin: str | None, search: tuple[str, ...]) -> list[str] | None:
    """Return the source of a module and of all it imports with a star; None if some is hidden."""
    sources: list[str] = []
    queue, seen = [(module, origin)], {module}
    while queue:
        module, origin = queue.pop()
        if origin is None or not origin.endswith(".py") or len(seen) > _MAX_MODULES:
            return None
        try:
            source = Path(origin).read_text("utf-8")
        except (OSError, ValueError):
            return None
        if _MADE_AT_RUN_TIME.search(source):
            return None
        sources.append(source)
        for star in _STAR.findall(source):
            name = _absolute(star, module, Path(origin).name == "__init__.py")
            spec, found = _find(name.split("."), search)
            if spec is None or found < len(name.split(".")):
                return None
            if name not in seen:
                seen.add(name)
                queue.append((name, spec.origin))
    return sources


def _absolute(name: str, module: str, is_package: bool) -> str:
    """Resolve `..inner` as module `module` means it."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    package = module.split(".")
    drop = level - 1 if is_package else level
    package = package[: len(package) - drop]
    return ".".join([*package, *filter(None, [name[level:]])])


def _nearest(word: str, known: Iterable[str]) -> str:
    public = [name for name in known if not name.startswith("_")]
    near = difflib.get_close_matches(word, public, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _nearest_module(word: str, search: tuple[str, ...]) -> str:
    names: set[str] = set()
    for folder in search:
        try:
            names.update(entry.name.removesuffix(".py") for entry in Path(folder or ".").iterdir())
        except OSError:
            continue
    return _nearest(word, {name for name in names if name.isidentifier()})
