"""Whether systemd ends a detached run when its user logs out, and what to do about it.

A login is a scope unit. With `KillUserProcesses=yes` logind ends all that runs in it at logout,
daemons too. What runs under the user's own manager instead (`user@1000.service`) ends with that
manager, after the last logout, unless the user lingers.
"""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass

_ADVICE = "loginctl enable-linger, then systemd-run --user --scope batchtui …"
_YES = frozenset({"yes", "true", "on", "1", "y", "t"})


@dataclass(frozen=True, slots=True)
class Logout:
    """What happens at logout to the processes of a user.

    `kills` is logind's setting; `scope` says where this process lives: `session`, `user` (below
    the user's manager) or None, outside of both.
    """

    user: str
    kills: bool
    lingers: bool
    scope: str | None

    @property
    def danger(self) -> str | None:
        """Say in one line why a run would end at logout, and what helps; None if it lives."""
        if self.scope == "session" and self.kills:
            return f"systemd-logind ends {self.user}'s processes at logout: {_ADVICE}"
        if self.scope == "user" and not self.lingers:
            return (
                f"systemd ends {self.user}'s services after the last logout: loginctl enable-linger"
            )
        return None


def logout(root: str = "/", *, user: str | None = None, proc: str = "/proc") -> Logout:
    """Find out for a user, by default the one who runs this. Never raises.

    `root` is where /etc, /run, /usr and /var are, for tests.
    """
    name = user or _user()
    settings = _settings(root)
    kills = settings.get("KillUserProcesses", "no").lower() in _YES
    only = settings.get("KillOnlyUsers", "").split()
    spared = settings.get("KillExcludeUsers", "root").split()
    return Logout(
        user=name,
        kills=kills and name not in spared and (not only or name in only),
        lingers=os.path.exists(f"{root}/var/lib/systemd/linger/{name}"),
        scope=_scope(proc),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in many containers
        return str(os.getuid())


def _scope(proc: str) -> str | None:
    """Return which of systemd's units this process is in."""
    units = _read(f"{proc}/self/cgroup")
    if re.search(r"/session-[^/]+\.scope(/|$)", units, re.MULTILINE):
        return "session"
    return "user" if re.search(r"/user@\d+\.service(/|$)", units, re.MULTILINE) else None


def _settings(root: str) -> dict[str, str]:
    """Return the settings of logind.conf(5), later files over earlier ones.

    The main file is the first one found. Drop-ins follow in the order of their names; of two
    with the same name the one in /etc hides that in /run, and that the one in /usr. Setting
    nothing (`Key=`) brings the default back. The file as shipped shows the compiled default as
    a comment (`#KillUserProcesses=no`).
    """
    places = [f"{root}/{place}/systemd" for place in ("etc", "run", "usr/local/lib", "usr/lib")]
    settings: dict[str, str] = {}
    main = next((text for place in places if (text := _read(f"{place}/logind.conf"))), "")
    defaults = dict(re.findall(r"^#(\w+)=(.*)$", main, re.MULTILINE))
    drop_ins: dict[str, str] = {}
    for place in reversed(places):
        for name in _names(f"{place}/logind.conf.d"):
            drop_ins[name] = f"{place}/logind.conf.d/{name}"
    texts = [main, *(_read(path) for _, path in sorted(drop_ins.items()))]
    for key, value in (pair for text in texts for pair in _assignments(text)):
        settings[key] = value or defaults.get(key, "")
    return {**defaults, **{key: value for key, value in settings.items() if value}}


def _assignments(text: str) -> list[tuple[str, str]]:
    """Return the assignments of the section [Login]."""
    found, section = [], ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        key, equals, value = line.partition("=")
        if section == "[Login]" and equals and line[0] not in "#;":
            found.append((key.strip(), value.strip()))
    return found


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.endswith(".conf")]
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
