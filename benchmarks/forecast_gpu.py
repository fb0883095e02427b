"""Forecasts against memory that others measured on GPUs; needs none.

`python benchmarks/forecast_gpu.py FOLDER [--json]`: FOLDER holds tables (*.csv) and allocator
snapshots (snapshots/*.json.gz). Per table: the error of the forecast from nothing measured, the
wrong verdicts and the rows inside the 90 % interval, beside other tools' columns; then forecasts
after one and two runs of the same configuration, and the allocator's replay of each snapshot.
`--measure` runs models on this machine's GPU and writes a table of the same form into FOLDER.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from batchtui.text import clean
from benchmarks import snapshots
from benchmarks.gpu_scores import Scored, after_runs, as_traced, score, summary
from benchmarks.gpu_tables import Row, Traces, read_table

NVIDIA_SMI = {"schedtune": 224, "timm": None}  # tables of the whole card: image size, if traced
BARS = {
    "xmem_cnn": (1.0, 1.8, 4.5),
    "xmem_transformer": (0.5, 1.5, 5.0),
}  # median, mean, p90


def replay_snapshots(folder: Path) -> dict[str, Any]:
    """Replay every snapshot; list those that are not right to the byte."""
    replayed = exact = moved = 0
    wrong = []
    for path in sorted(folder.glob("*.json.gz")):
        replayed += 1
        try:
            outcome = snapshots.replay_snapshot(snapshots.load(path))
        except Exception as error:  # of another form: the rest is replayed all the same
            wrong.append(f"{path.name}: {type(error).__name__}: {error}".splitlines()[0])
            continue
        exact += outcome.exact
        moved += outcome.moved
        if not outcome.exact:
            wrong.append(f"{path.name}: {outcome}")
    return {"replayed": replayed, "exact": exact, "blocks_elsewhere": moved, "wrong": wrong}


def run(folder: Path, *, only: list[str], verbose: bool) -> dict[str, Any]:
    """Score every table of the folder."""
    result: dict[str, Any] = {"tables": {}, "after_one_run": {}, "after_two_runs": {}}
    traces = Traces()
    left_out: list[str] = []
    for path in sorted(folder.glob("*.csv")):
        name = path.stem
        if only and name not in only:
            continue
        began = time.perf_counter()
        rows = read_table(path, left_out)
        whole = name in NVIDIA_SMI
        size = NVIDIA_SMI.get(name)
        if whole and size is not None:
            rows = as_traced(rows, size)
        if not whole:
            scored = score(rows, traces)
            result["tables"][name] = summary(scored)
            if verbose:
                show_rows(scored)
        known = traces if not whole or size is not None else None
        if known is not None:
            result["after_one_run"][name] = after_runs(rows, known, runs=1, reach=4, whole=whole)
        result["after_two_runs"][name] = after_runs(rows, known, runs=2, reach=2, whole=whole)
        left_out += not_traced(name, rows, traces)
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    if (folder / "snapshots").is_dir():
        result["snapshots"] = replay_snapshots(folder / "snapshots")
    traces.close()
    if left_out:
        result["left_out"] = left_out
    return result


def not_traced(table: str, rows: list[Row], traces: Traces) -> list[str]:
    """Return a line for each model of a table that has no trace, with its rows and the reason."""
    missing = Counter(
        (row.model, row.optimizer, traces.failures[row.subject])
        for row in rows
        if row.subject in traces.failures
    )
    return [
        f"{table}: {count} row{'s' * (count > 1)} of {model} with {optimizer}: {why}"
        for (model, optimizer, why), count in sorted(missing.items())
    ]


def show_rows(scored: list[Scored]) -> None:
    """Print each row on standard error."""
    for item in sorted(scored, key=lambda item: (item.row.model, item.row.batch_size)):
        row: Row = item.row
        print(
            f"{row.gpu:15.15} {row.model:36.36} {row.optimizer:9} {row.batch_size:5}"
            f" {row.measured >> 20:7} MiB{' out of memory' if row.out_of_memory else ''}"
            f" {item.peak >> 20:7} {item.error:+7.2f} %"
            f" {'' if item.low <= row.measured <= item.high else 'outside':8}"
            f" {item.verdict}{' WRONG' if item.wrong else ''}",
            file=sys.stderr,
        )


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    print("nothing measured       rows  median    mean     p90   missed   wrong  inside  widest")
    for name, table in result["tables"].items():
        print(_line(name, table))
        if name in BARS:
            print(f"  to reach                  {BARS[name][0]:8.2f}{BARS[name][1]:8.2f}"
                  f"{BARS[name][2]:8.2f}     1.00    3.00   85–95   10.00")  # fmt: skip
        for tool, values in table["anchors"].items():
            print(_line(f"  {tool}", values))
    for key, title, bar in (
        ("after_one_run", "after one run, scaled up to 4×", "median 0.8, p90 3"),
        ("after_two_runs", "after two runs, scaled up to 2×", "median 0.6"),
    ):
        print(f"\n{title} (to reach: {bar})")
        for name, values in result[key].items():
            print(_line(name, {"rows": values["cases"], **values}))
    if "snapshots" in result:
        found = result["snapshots"]
        print(f"\nsnapshots: {found['exact']} of {found['replayed']} exact, "
              f"{found['blocks_elsewhere']} blocks at another address")  # fmt: skip
        for line in found["wrong"]:
            print(f"  {line}")
    for line in result.get("left_out", ()):
        print(clean(f"left out: {line}"))


def _line(name: str, values: dict[str, Any]) -> str:
    cells = [f"{name:22} {values['rows']:5}"]
    for key in ("median", "mean", "p90", "missed_oom", "wrong_verdicts"):
        cells.append(_cell(values.get(key)))
    cells += [_cell(values.get("inside_interval")), _cell(values.get("widest_interval"))]
    return "".join(cells).rstrip()


def _cell(value: float | None) -> str:
    return f"{'':8}" if value is None else f"{value:8.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rows", action="store_true", help="print each row on standard error")
    parser.add_argument("--table", action="append", default=[], help="only this table")
    parser.add_argument("--measure", action="store_true", help="measure on this machine's GPU")
    options = parser.parse_args()
    if options.measure:
        from benchmarks.gpu_measure import measure

        return measure(options.folder)
    if not options.folder.is_dir():
        print(f"{options.folder}: no such folder; nothing is scored", file=sys.stderr)
        return 0
    result = run(options.folder, only=options.table, verbose=options.rows)
    if options.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
