"""How much memory a training may take, beside others that use some of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchtui.commands.forecast import Device
from batchtui.commands.room import Room, room_for
from batchtui.config.schema import Config, Limits
from batchtui.errors import UsageError, WillNotFit
from batchtui.sampling.cgroup import MemoryLimit
from tests.sampling.test_cgroup import UNIFIED, Machine

GIB, MIB = 1 << 30, 1 << 20
CPU = Device("cpu", None, 0, None, "a CPU process")
CONTEXT = 410 * MIB


def on_cpu(limit: str | None, *limits: tuple[int, int], memory: float | str = 0.95) -> Room:
    found = [MemoryLimit(total * GIB, used * GIB, f"limit {total}") for total, used in limits]
    return room_for(Config(limits=Limits(memory=memory)), CPU, limit, lambda: found)


def test_what_others_use_is_not_there() -> None:
    assert on_cpu(None, (100, 40)).size == 95 * GIB - 40 * GIB
    assert on_cpu(None, (100, 40), memory="50GiB").size == 10 * GIB
    assert on_cpu("20GiB", (100, 40)).size == 20 * GIB
    capped = on_cpu("80GiB", (100, 40))
    assert capped.size == 60 * GIB - 256 * MIB  # which the machine needs itself
    assert capped.notes == ["of --limit 80.0 GiB only 59.8 GiB are free now"]


def test_the_limit_that_is_hit_first_counts() -> None:
    room = on_cpu(None, (100, 40), (16, 1))
    assert room.size == int(0.95 * 16 * GIB) - 1 * GIB
    assert "limit 16" in room.source


def test_a_group_of_version_2(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.membership("0::/user.slice/job.scope")
    machine.mounts(UNIFIED)
    machine.v2("user.slice", 40 * GIB, 30 * GIB)
    machine.v2("user.slice/job.scope", 16 * GIB, 2 * GIB, inactive_file=1 * GIB)
    room = room_for(Config(), CPU, None, machine.read().limits)
    assert room.size == int(0.95 * 40 * GIB) - 30 * GIB  # the group above is the tighter one
    assert "cgroup /user.slice" in str(room)
    machine.v2("user.slice", 40 * GIB, 3 * GIB)
    assert room_for(Config(), CPU, None, machine.read().limits).size == int(0.95 * 16 * GIB) - GIB


def test_nothing_left() -> None:
    with pytest.raises(WillNotFit, match="no memory left"):
        on_cpu(None, (100, 97))
    with pytest.raises(UsageError, match="give --limit"):
        on_cpu(None)
    assert on_cpu("2GiB").size == 2 * GIB


def test_on_a_card_the_context_and_the_neighbours_come_off() -> None:
    card = Device("cuda", 24 * GIB, 4 * GIB, "a card", "a card, 24.0 GiB")
    room = room_for(Config(), card, "10GiB")
    assert (room.size, room.budget) == (10 * GIB, 10 * GIB - CONTEXT)
    assert room_for(Config(), card, "23GiB").size == 20 * GIB
    assert room_for(Config(), card, None).size == int(0.95 * 24 * GIB) - 4 * GIB
    unknown = Device("cuda", None, 0, None, "a GPU of unknown size")
    with pytest.raises(UsageError, match="size of the GPU"):
        room_for(Config(), unknown, None)
