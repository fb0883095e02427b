"""What systemd does at logout, on trees of configuration files."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchtui.sampling.logind import Logout, logout

SHIPPED = "[Login]\n#NAutoVTs=6\n#KillUserProcesses=no\n#KillExcludeUsers=root\n"


class Machine:
    """The folders of systemd below a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.put("etc/systemd/logind.conf", SHIPPED)
        self.unit("/user.slice/user-1000.slice/session-4.scope")

    def put(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def unit(self, path: str) -> None:
        self.put("proc/self/cgroup", f"0::{path}\n")

    def logout(self, user: str = "ada") -> Logout:
        return logout(str(self.root), user=user, proc=f"{self.root}/proc")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_as_shipped(machine: Machine) -> None:
    assert machine.logout() == Logout("ada", kills=False, lingers=False, scope="session")
    assert machine.logout().danger is None


@pytest.mark.parametrize("value", ["yes", "true", "1", "on", "Yes"])
def test_killer(machine: Machine, value: str) -> None:
    machine.put("etc/systemd/logind.conf", f"[Login]\nKillUserProcesses = {value}\n")
    assert machine.logout().kills
    assert "systemd-run --user --scope" in (machine.logout().danger or "")


def test_lingering_does_not_spare_a_session(machine: Machine) -> None:
    machine.put("etc/systemd/logind.conf", "[Login]\nKillUserProcesses=yes\n")
    machine.put("var/lib/systemd/linger/ada", "")
    assert machine.logout().lingers
    assert machine.logout().danger is not None


def test_compiled_default_is_read_from_the_shipped_comment(machine: Machine) -> None:
    machine.put("etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=yes\n")
    assert machine.logout().kills


def test_drop_ins_in_order_of_their_names(machine: Machine) -> None:
    machine.put("usr/lib/systemd/logind.conf.d/50-a.conf", "[Login]\nKillUserProcesses=yes\n")
    assert machine.logout().kills
    machine.put("etc/systemd/logind.conf.d/10-b.conf", "[Login]\nKillUserProcesses=no\n")
    assert machine.logout().kills, "50 comes after 10"
    machine.put("etc/systemd/logind.conf.d/50-a.conf", "[Login]\nKillUserProcesses=no\n")
    assert not machine.logout().kills, "/etc hides the file of the same name"


def test_empty_value_brings_the_default_back(machine: Machine) -> None:
    machine.put("etc/systemd/logind.conf.d/a.conf", "[Login]\nKillUserProcesses=yes\n")
    machine.put("etc/systemd/logind.conf.d/b.conf", "[Login]\nKillUserProcesses=\n")
    assert not machine.logout().kills


def test_other_sections_and_comments_do_not_count(machine: Machine) -> None:
    text = "[Sleep]\nKillUserProcesses=yes\n[Login]\n;KillUserProcesses=yes\n = \n\n"
    machine.put("etc/systemd/logind.conf.d/a.conf", text)
    assert not machine.logout().kills


def test_main_file_elsewhere(machine: Machine) -> None:
    (machine.root / "etc/systemd/logind.conf").unlink()
    machine.put("usr/lib/systemd/logind.conf", "[Login]\nKillUserProcesses=yes\n")
    assert machine.logout().kills


def test_users_named(machine: Machine) -> None:
    killer = "[Login]\nKillUserProcesses=yes\n"
    machine.put("etc/systemd/logind.conf", killer)
    assert not machine.logout("root").kills, "spared by default"
    machine.put("etc/systemd/logind.conf", killer + "KillExcludeUsers=root ada\n")
    assert not machine.logout("ada").kills
    machine.put("etc/systemd/logind.conf", killer + "KillOnlyUsers=bob\n")
    assert not machine.logout("ada").kills
    assert machine.logout("bob").kills


def test_below_the_users_manager(machine: Machine) -> None:
    machine.unit("/user.slice/user-1000.slice/user@1000.service/app.slice/run-7.scope")
    assert machine.logout().scope == "user"
    assert "enable-linger" in (machine.logout().danger or "")
    machine.put("var/lib/systemd/linger/ada", "")
    assert machine.logout().danger is None


def test_without_systemd(tmp_path: Path) -> None:
    assert logout(str(tmp_path), user="ada", proc=str(tmp_path)).danger is None


def test_this_machine() -> None:
    assert logout().user
