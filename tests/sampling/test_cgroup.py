"""Memory limits of control groups, on trees of files such as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui.sampling.cgroup import (
    CgroupMemory,
    MemoryLimit,
    parse_membership,
    parse_mounts,
    tightest,
)

MIB = 1 << 20
NO_LIMIT_V1 = 9223372036854771712


class Machine:
    """A /proc and a /sys/fs/cgroup in a folder."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        (self.proc / "self").mkdir(parents=True)
        self.groups = folder / "sys fs" / "cgroup"  # mountinfo escapes the blank
        self.groups.mkdir(parents=True)

    def membership(self, *lines: str) -> None:
        (self.proc / "self/cgroup").write_text("\n".join(lines) + "\n")

    def mounts(self, *mounts: tuple[str, str, str]) -> None:
        """Write mountinfo from (root, point below the groups' folder, type and options)."""
        text = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        for root, point, rest in mounts:
            place = f"{self.groups}/{point}".rstrip("/").replace(" ", "\\040")
            text += f"31 23 0:28 {root} {place} rw,nosuid shared:9 master:2 - {rest}\n"
        (self.proc / "self/mountinfo").write_text(text)

    def v2(self, path: str, limit: int | str | None, used: int = 0, **stat: int) -> None:
        folder = self.groups / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        if limit is not None:
            (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("".join(f"{k} {v}\n" for k, v in stat.items()))

    def v1(self, path: str, limit: int, used: int = 0, **stat: int) -> None:
        folder = self.groups / "memory" / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("".join(f"{k} {v}\n" for k, v in stat.items()))

    def read(self) -> CgroupMemory:
        return CgroupMemory(str(self.proc))


UNIFIED = ("/", "", "cgroup2 cgroup2 rw,nsdelegate")
MEMORY = ("/", "memory", "cgroup cgroup rw,memory")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# -------------------------------------------------------------------------------- version 2


def test_every_ancestor_counts(machine: Machine) -> None:
    machine.membership("0::/user.slice/user-7.slice/session-1.scope")
    machine.mounts(UNIFIED)
    machine.v2("user.slice", 800 * MIB, 300 * MIB)
    machine.v2("user.slice/user-7.slice", 500 * MIB, 200 * MIB)
    machine.v2("user.slice/user-7.slice/session-1.scope", "max", 100 * MIB)
    assert machine.read().limits() == [
        MemoryLimit(500 * MIB, 200 * MIB, "cgroup /user.slice/user-7.slice"),
        MemoryLimit(800 * MIB, 300 * MIB, "cgroup /user.slice"),
    ]


def test_caches_are_not_use(machine: Machine) -> None:
    machine.membership("0::/job")
    machine.mounts(UNIFIED)
    machine.v2(
        "job",
        1000 * MIB,
        900 * MIB,
        anon=300 * MIB,
        file=520 * MIB,
        shmem=20 * MIB,
        inactive_file=200 * MIB,
        active_file=300 * MIB,
        slab_reclaimable=50 * MIB,
    )
    (limit,) = machine.read().limits()
    assert limit.used == 350 * MIB, "anonymous, /dev/shm and the kernel's own"


def test_files_read_a_moment_apart(machine: Machine) -> None:
    machine.membership("0::/job")
    machine.mounts(UNIFIED)
    machine.v2("job", MIB, 10, inactive_file=11)
    assert machine.read().limits()[0].used == 0


@pytest.mark.parametrize("limit", ["max", "", "junk", "0", "-1", 1 << 62])
def test_no_limit(machine: Machine, limit: int | str) -> None:
    machine.membership("0::/job")
    machine.mounts(UNIFIED)
    machine.v2("job", limit)
    assert machine.read().limits() == []


def test_container_with_a_namespace(machine: Machine) -> None:
    """The path is / and the mount shows the container's own group."""
    machine.membership("0::/")
    machine.mounts(UNIFIED)
    machine.v2("/", 100 * MIB, 10 * MIB)
    assert machine.read().limits() == [MemoryLimit(100 * MIB, 10 * MIB, "cgroup /")]


def test_limit_that_is_set_later_is_seen(machine: Machine) -> None:
    machine.membership("0::/job")
    machine.mounts(UNIFIED)
    machine.v2("job", "max")
    memory = machine.read()
    assert memory.limits() == []
    machine.v2("job", MIB)
    assert memory.limits()[0].total == MIB


def test_move_to_another_group_is_seen_when_the_old_one_is_gone(machine: Machine) -> None:
    machine.membership("0::/old")
    machine.mounts(UNIFIED)
    machine.v2("old", MIB)
    memory = machine.read()
    assert memory.limits()[0].source == "cgroup /old"
    (machine.groups / "old").rename(machine.groups / "new")
    machine.membership("0::/new")
    assert memory.limits()[0].source == "cgroup /new"


# ------------------------------------------------------------------- version 1, and both


def test_version_1(machine: Machine) -> None:
    machine.membership("5:cpu,cpuacct:/", "4:memory:/slurm/job_7", "1:name=systemd:/x", "0::/")
    machine.mounts(MEMORY, ("/", "unified", "cgroup2 cgroup2 rw"))
    machine.v1("/", NO_LIMIT_V1, 999)
    machine.v1("slurm", 800 * MIB, 700 * MIB, total_inactive_file=100 * MIB, inactive_file=1)
    machine.v1("slurm/job_7", 400 * MIB, 300 * MIB, total_active_file=50 * MIB)
    (machine.groups / "unified").mkdir()
    limits = machine.read().limits()
    assert limits == [
        MemoryLimit(400 * MIB, 250 * MIB, "cgroup /slurm/job_7"),
        MemoryLimit(800 * MIB, 600 * MIB, "cgroup /slurm"),
    ]


def test_container_that_sees_the_hosts_path(machine: Machine) -> None:
    """Docker without a namespace: the mount's root is the path, and is cut off."""
    machine.membership("4:memory:/docker/0123abcd/inner")
    machine.mounts(("/docker/0123abcd", "memory", "cgroup cgroup rw,memory"))
    machine.v1("/", 100 * MIB)
    machine.v1("inner", 50 * MIB)
    assert [limit.source for limit in machine.read().limits()] == ["cgroup /inner", "cgroup /"]


@pytest.mark.parametrize("path", ["/docker/0123abcd", "/../../other", "/job (deleted)"])
def test_path_that_is_not_below_the_mount(machine: Machine, path: str) -> None:
    machine.membership(f"0::{path}")
    machine.mounts(UNIFIED)
    machine.v2("/", 100 * MIB)
    assert [limit.source for limit in machine.read().limits()] == ["cgroup /"]


def test_mount_where_the_path_is_wins(machine: Machine) -> None:
    machine.membership("0::/job")
    machine.mounts(("/elsewhere", "other", "cgroup2 cgroup2 rw"), UNIFIED)
    machine.v2("job", MIB)
    assert machine.read().limits()[0].source == "cgroup /job"


@pytest.mark.parametrize("missing", ["cgroup", "mountinfo"])
def test_no_groups_at_all(machine: Machine, missing: str) -> None:
    machine.membership("0::/")
    machine.mounts(UNIFIED)
    (machine.proc / "self" / missing).unlink()
    assert machine.read().limits() == []
    assert machine.read().oom_kills() is None


def test_this_machine() -> None:
    for limit in CgroupMemory().limits():
        assert limit.used >= 0
        assert limit.total > 0


# ----------------------------------------------------------------------------------- kills


def test_kills_of_version_2(machine: Machine) -> None:
    machine.membership("0::/a/b")
    machine.mounts(UNIFIED)
    machine.v2("a/b", "max")
    (machine.groups / "a/memory.events").write_text("low 0\noom 9\noom_kill 2\noom_group_kill 0\n")
    assert machine.read().oom_kills() == 2, "of the nearest that counts"
    (machine.groups / "a/b/memory.events").write_text("low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n")
    assert machine.read().oom_kills() == 1


def test_kills_of_version_1(machine: Machine) -> None:
    machine.membership("4:memory:/job")
    machine.mounts(MEMORY)
    machine.v1("job", MIB)
    control = machine.groups / "memory/job/memory.oom_control"
    control.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert machine.read().oom_kills() == 3


def test_kills_of_the_host_where_no_group_counts(machine: Machine) -> None:
    machine.membership("0::/")
    machine.mounts(UNIFIED)
    (machine.proc / "vmstat").write_text("nr_free_pages 12\noom_kill 5\n")
    assert machine.read().oom_kills() == 5


# --------------------------------------------------------------------------------- parsers


def test_tightest_is_the_one_hit_first() -> None:
    host = MemoryLimit(64, 60, "host")
    group = MemoryLimit(32, 4, "cgroup /a")
    assert tightest([host, group]) is host
    assert tightest([]) is None


PATHS = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\n\0"), max_size=20
).map(lambda text: "/" + text)


@given(memory=PATHS, unified=PATHS)
def test_membership_with_any_names(memory: str, unified: str) -> None:
    """Also with colons, and with names that look like other lines."""
    lines = f"12:cpu:/x\n4:hugetlb,memory:{memory}\n1:name=memory:/y\n0::{unified}\n"
    assert parse_membership(lines.encode()) == (memory, unified)


@given(point=PATHS, root=PATHS)
def test_mounts_with_any_names(point: str, root: str) -> None:
    def escape(text: str) -> str:
        for character in "\\ \t\n":
            text = text.replace(character, f"\\{ord(character):03o}")
        return text

    line = f"31 23 0:28 {escape(root)} {escape(point)} rw - cgroup2 none rw\n"
    (mount,) = parse_mounts(line.encode())
    assert (mount.root, mount.point, mount.unified) == (root, point, True)


@given(st.binary(max_size=300))
def test_junk_breaks_no_parser(content: bytes) -> None:
    parse_membership(content)
    parse_mounts(content)
