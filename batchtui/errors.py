"""The errors a user can meet, each one line: what, which value, what to do.

BatchtuiError               exit code 1
├── UsageError              exit code 2: the command line
│   └── ConfigError         exit code 2: the configuration, with the file and line
├── RunNotFound             exit code 2: no run, or more than one, of that name
├── StoreError              exit code 1: a run.db that cannot be read
├── SuperviseError          exit code 1: a run that cannot be started or reached
└── WillNotFit              exit code 4: a batch size that memory has no room for
"""

from __future__ import annotations


class BatchtuiError(Exception):
    """Something the user can act upon; its text is the whole message."""

    exit_code = 1


class UsageError(BatchtuiError):
    """The command line asks for something that does not exist or make sense."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration that cannot be used; `place` says where: `file:line`, or an option."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place


class RunNotFound(UsageError):
    """No run, or several, answer to a name."""


class StoreError(BatchtuiError):
    """A run.db that is torn, from a newer version, or not ours."""


class SuperviseError(BatchtuiError):
    """A supervisor that cannot be started or does not answer."""


class WillNotFit(BatchtuiError):
    """A batch size that is forecast to need more memory than there is."""

    exit_code = 4
