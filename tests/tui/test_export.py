"""What `e` writes: the focused chart as SVG and CSV."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from batchtui.tui.assemble.whole import build_view
from batchtui.tui.export import export, to_csv, to_svg
from batchtui.tui.facts import Takeover
from batchtui.tui.panes.header import HeaderPane
from batchtui.tui.picture import Picture, pictured
from tests.tui import fake
from tests.tui.fake import NOW, facts
from tests.tui.screen import has, running, settle


@pytest.mark.parametrize(("digit", "name", "columns"), [
    ("1", "cpu", ["time_unix_s", "worker_cores", "others_cores"]),
    ("2", "memory", ["time_unix_s", "worker_bytes", "others_bytes"]),
    ("3", "steps", ["step", "samples", "time_unix_s", "step_s", "step_s_min", "step_s_max"]),
    ("4", "loss", ["step", "samples", "time_unix_s", "loss", "loss_min", "loss_max",
                   "variance", "variance_min", "variance_max"]),
])  # fmt: skip
async def test_e_exports_the_focused_chart(
    digit: str, name: str, columns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(facts(200)) as (app, pilot):
        await pilot.press(digit, "e")
        header = app.screen.query_one(HeaderPane)
        await settle(pilot, lambda: "written to" in header.notice)
    stem = f"digits-resnet18-001-{name}"
    rows = list(csv.reader((tmp_path / f"{stem}.csv").open()))
    assert rows[0] == columns
    assert len(rows) > 100
    assert all(float(cell) >= 0 for cell in rows[1])
    drawn = ElementTree.fromstring((tmp_path / f"{stem}.svg").read_text())
    assert "digits-resnet18-001 · " in (tmp_path / f"{stem}.svg").read_text()
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) >= 1


def test_an_exported_history_has_its_limit_and_restarts_in_the_units_of_the_screen() -> None:
    view = build_view(
        dataclasses.replace(
            facts(200), takeovers=[Takeover(NOW - 900, 32), Takeover(NOW - 153, 128)]
        )
    )
    picture = pictured(view.memory.history, "memory, GiB", "bytes", 1 << 30)
    assert picture is not None
    drawn = to_svg(picture)
    assert re.search(r">limit</text>", drawn)
    assert re.search(r">128</text>", drawn)
    assert max(value or 0 for value in picture.curves[0][1].mean) < 5  # GiB of the worker
    assert float(to_csv(picture).splitlines()[-1].split(",")[1]) > 3e9


async def test_e_says_where_there_is_no_chart() -> None:
    async with running(facts(20)) as (app, pilot):
        await pilot.press("5", "e")
        assert has(app, "no chart has the focus")


def test_an_export_replaces_nothing_and_tells_of_a_failure(tmp_path: Path) -> None:
    loss = fake.points([1.0, 2.0, 3.0, 4.0], [1.0, 0.1, None, 1e-3])
    picture = Picture("a <b>", "step", (("loss & more", loss),),
                      (("step", loss.x), ("loss", loss.mean)), log=True)  # fmt: skip
    assert export(picture, "../x", tmp_path).startswith(".._x.svg")
    assert export(picture, "../x", tmp_path).startswith(".._x-2.svg")
    assert (tmp_path / ".._x-2.csv").read_text() == to_csv(picture)
    assert to_csv(picture).splitlines()[3] == "3.0,"
    assert len(re.findall("<polyline", to_svg(picture))) == 2  # a gap is a gap
    ElementTree.fromstring(to_svg(picture))
    (tmp_path / "file").write_text("")
    assert "not written" in export(picture, "x", tmp_path / "file")
