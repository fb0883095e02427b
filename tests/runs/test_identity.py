"""A pid is reused; an identity is not."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

from batchtui.runs.identity import Identity, boot_id


def test_this_process_is_alive() -> None:
    identity = Identity.of(os.getpid())
    assert identity is not None
    assert identity.alive()
    assert identity.boot == boot_id()


def test_another_start_or_boot_is_another_process() -> None:
    identity = Identity.of(os.getpid())
    assert identity is not None
    assert not dataclasses.replace(identity, start=(identity.start or 0) + 1).alive()
    assert not dataclasses.replace(identity, boot="another").alive()


def test_the_dead_and_the_unburied_are_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = Identity.of(child.pid)
    assert identity is not None
    assert identity.alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.alive()  # a zombie: nobody has waited for it
    child.communicate()
    assert not identity.alive()
    assert Identity.of(child.pid) is None


def test_a_name_full_of_parentheses_is_no_obstacle(tmp_path) -> None:
    name = tmp_path / ") Z 1 ("
    name.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(name), "60"])
    try:
        identity = Identity.of(child.pid)
        assert identity is not None
        assert identity.alive()
    finally:
        child.kill()
        child.wait()
