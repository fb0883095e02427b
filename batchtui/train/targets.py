"""From `package.module:name` to the object, or one line that says why not.

The launching process has looked the names up in the sources already; here they are imported,
in the environment that trains.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from batchtui.errors import ConfigError


def resolve(target: str, key: str = "target") -> Callable[..., Any]:
    """Import what a target names; `key` is where it stands in the configuration.

    Raises:
        ConfigError: no such module or name, a module that cannot be imported, no callable.
    """
    module_name, colon, names = target.partition(":")
    module, rest = _import_longest(module_name.split("."), key, target, bool(colon))
    if colon and rest:
        raise ConfigError(f"{key}: {target!r}: {_missing(module, rest[0])}")
    found: Any = module
    for name in [*rest, *filter(None, names.split("."))]:
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigError(f"{key}: {target!r}: {_missing(found, name)}") from None
    if not callable(found):
        kind = "module" if isinstance(found, ModuleType) else type(found).__name__
        raise ConfigError(f"{key}: {target!r} is a {kind}, not a class or function")
    return found


def check_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], key: str, positional: int = 0
) -> None:
    """Refuse arguments that the signature of `function` does not have.

    `positional` arguments are passed before them. A signature that cannot be read, or that
    takes any keyword, passes.

    Raises:
        ConfigError: naming the argument and the nearest that exists.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    names = [
        name
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    taken = [name for name in names[:positional] if parameters[name].default is inspect._empty]
    for name in arguments:
        if name not in names or name in taken:
            nearest = _nearest(name, [other for other in names if other not in taken])
            raise ConfigError(f"{key}.{name}: {_name(function)} has no such argument{nearest}")


def call(function: Callable[..., Any], key: str, /, *positional: Any, **arguments: Any) -> Any:
    """Call a target, turning whatever it raises into one line.

    Raises:
        ConfigError: naming the target, its arguments and the exception.
    """
    try:
        return function(*positional, **arguments)
    except ConfigError:
        raise
    except Exception as error:
        given = ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())
        reason = _first_line(error)
        raise ConfigError(f"{key}: {_name(function)}({given}) raised {reason}") from error


def _import_longest(
    parts: list[str], key: str, target: str, all_modules: bool
) -> tuple[ModuleType, list[str]]:
    """Import the longest prefix that is a module; return it and what is left.

    Unless `all_modules`, the last part is a name of its package before it is a module.
    """
    module: ModuleType | None = None
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if module is not None and not hasattr(module, "__path__"):
            return module, parts[depth - 1 :]
        last = depth == len(parts) and not all_modules
        if module is not None and last and hasattr(module, parts[-1]):
            return module, parts[-1:]
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise _broken(key, target, name, error) from error
            if module is not None:
                return module, parts[depth - 1 :]
            nearest = _nearest(name, _importable())
            place = f"{sys.executable} knows no module {name!r}"
            raise ConfigError(f"{key}: {target!r}: {place}{nearest}") from None
        except Exception as error:
            raise _broken(key, target, name, error) from error
    assert module is not None
    return module, []


def _broken(key: str, target: str, module: str, error: Exception) -> ConfigError:
    reason = _first_line(error)
    return ConfigError(f"{key}: {target!r}: importing {module} failed: {reason}")


def _missing(owner: Any, name: str) -> str:
    names = [known for known in dir(owner) if not known.startswith("_")]
    if isinstance(owner, ModuleType) and hasattr(owner, "__path__"):
        names += [module.name for module in pkgutil.iter_modules(owner.__path__)]
    return f"{_name(owner)} has no {name!r}{_nearest(name, names)}"


def _importable() -> Iterable[str]:
    return {module.name for module in pkgutil.iter_modules()} | set(sys.stdlib_module_names)


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _name(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or type(value).__name__
    return f"{module}.{name}" if module and module != "builtins" else name


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
