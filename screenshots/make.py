"""Draw pictures of the screen on a run: SVG by Textual, PNG from it by headless Chromium.

    python screenshots/make.py RUN_DIRECTORY [--size 120x36] [--name main] [--press KEY…] [--mono]

The run may be alive or ended; what is drawn is the real program on its real data. Without
Chromium, or without the font Fira Code (Debian: fonts-firacode), only the SVG is written.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from textual.pilot import Pilot

from batchtui.commands.outlook import RunProspects
from batchtui.runs.directory import RunDirectory
from batchtui.tui.app import BatchtuiApp
from batchtui.tui.outlook import TRACING
from batchtui.tui.source import RunSource
from batchtui.tui.widgets.pane import Pane

HERE = Path(__file__).parent
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S = 10.0
_TRACE_S = 180.0
_CLOSER_LOOK_S = 5.0


async def draw(
    run: Path, size: tuple[int, int], press: list[str], *, mono: bool, forecast: bool
) -> str:
    """Return an SVG of the screen on a run, after some keys were pressed."""
    directory = RunDirectory(run.resolve())
    app = BatchtuiApp(
        RunSource(directory),
        lambda now: "",
        prospect=RunProspects(directory, directory.path.parent) if forecast else None,
        restart=lambda name, plan: None,
        colour=not mono,
    )
    async with app.run_test(size=size) as pilot:
        for _ in range(int(_PATIENCE_S / 0.05)):
            await pilot.pause(0.05)
            if all(pane.view is not None for pane in app.screen.query(Pane)):
                break
        else:
            raise SystemExit(f"{run}: nothing could be read within {_PATIENCE_S:.0f} s")
        for key in ["", *press]:
            if key:
                await pilot.press(key)
            await _foreseen(pilot)
        await pilot.pause(0.2)
        return app.export_screenshot(title=f"batchtui · {size[0]}x{size[1]}")


async def _foreseen(pilot: Pilot[int]) -> None:
    """Wait until the forecast stands, as long as it may take to trace a model."""
    for _ in range(int(_TRACE_S / 0.1)):
        await pilot.pause(0.1)
        outlook = next(pane.outlook for pane in pilot.app.query(Pane))
        if outlook is None or outlook.reason != TRACING:
            break
    await pilot.pause(_CLOSER_LOOK_S)


def rasterise(svg: Path, png: Path) -> bool:
    """Draw an SVG with Chromium; return False where there is no Chromium."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        return False
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text())
    assert box is not None
    width, height = (round(float(value)) + 1 for value in box.groups())
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={profile}", f"--window-size={width},{height}",
                "--default-background-color=00000000", f"--screenshot={png}",
                svg.resolve().as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
    return True


def main() -> int:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(description="Draw the screen on a run as SVG and PNG.")
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--size", default="120x36", help="columns x rows (default: 120x36)")
    parser.add_argument("--name", default="main", help="of the files (default: main)")
    parser.add_argument("--press", nargs="*", default=[], metavar="KEY", help="e.g. 4 z")
    parser.add_argument("--mono", action="store_true", help="as with NO_COLOR")
    parser.add_argument(
        "--no-forecast", action="store_true", help="for a simulated training, which has no model"
    )
    parser.add_argument("--into", type=Path, default=HERE, help="folder (default: this one)")
    arguments = parser.parse_args()
    width, _, height = arguments.size.partition("x")
    svg = asyncio.run(
        draw(
            arguments.run,
            (int(width), int(height)),
            arguments.press,
            mono=arguments.mono,
            forecast=not arguments.no_forecast,
        )
    )
    stem = arguments.into / f"{arguments.name}-{arguments.size}"
    stem.with_suffix(".svg").write_text(svg)
    drawn = rasterise(stem.with_suffix(".svg"), stem.with_suffix(".png"))
    print(f"{stem}.svg" + (f" and {stem}.png" if drawn else "; no Chromium, so no PNG"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
