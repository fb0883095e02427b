"""Traces at any batch size, rows, verdicts, and what a key press costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.config.schema import Config, to_dict
from batchtui.errors import BatchtuiError
from batchtui.forecast.events import CATEGORIES, PHASES, Trace, peak_by_category
from batchtui.forecast.fit import Measured
from batchtui.forecast.forecast import Forecaster, forecast
from batchtui.forecast.prospect import Prospect
from batchtui.forecast.replay import replay, smallest_capacity
from batchtui.forecast.rows import TORCHRUN, Context, Forecast
from batchtui.forecast.settings import MIB, AllocatorSettings
from batchtui.forecast.verdict import FITS, TIGHT, WILL_NOT_FIT

GIB = 1 << 30
DEFAULTS = AllocatorSettings()
KEYS = [
    "batch_size", "device", "capacity_bytes", "peak_bytes", "low_bytes", "high_bytes",
    "reserved_bytes", "survives_bytes", "verdict", "method", "assumptions", "breakdown",
]  # fmt: skip


def make_trace(layers: int = 30, steps: int = 2, device: str = "cuda") -> Trace:
    """Trace a made-up network: parameters, then activations that live until the backward."""
    events: list[list[int]] = []
    number = 0

    def malloc(fixed: int, per_sample: int, category: str, phase: int) -> int:
        nonlocal number
        number += 1
        at = CATEGORIES.index(category)
        events.append([1, number, fixed + 8 * per_sample, fixed + 32 * per_sample, at, phase])
        return number

    def free(storage: int, phase: int) -> None:
        size = next(event for event in events if event[1] == storage)
        events.append([-1, storage, *size[2:5], phase])

    for _ in range(layers):
        malloc(3 * MIB, 0, "parameters", 0)
    for step in range(steps):
        batch = malloc(0, 150_528 * 4, "inputs", 1)
        kept = [
            malloc(0, 1_000_000 + 70_000 * (layer % 7), "activations", 2) for layer in range(layers)
        ]
        gradients = []
        for activation in reversed(kept):
            temporary = malloc(0, 1_200_000, "temporaries", 3)
            gradients.append(malloc(3 * MIB, 0, "gradients", 3))
            free(activation, 3)
            free(temporary, 3)
        if step == 0:
            for _ in range(layers):
                malloc(3 * MIB, 0, "optimizer", 4)
        for gradient in gradients:
            free(gradient, 4)
        free(batch, 4)
    return Trace(device=device, batch_sizes=(8, 32), method=f"fake {device}", events=events)


def test_a_trace_survives_json() -> None:
    trace = make_trace()
    again = Trace.from_json(trace.to_json())
    assert again == trace
    assert again.at(77) == trace.at(77)
    with pytest.raises(BatchtuiError, match="no memory trace"):
        Trace.from_json('{"version": 2}')
    with pytest.raises(BatchtuiError, match="no memory trace"):
        Trace.from_json("torn")


@given(st.integers(1, 4096))
def test_every_event_is_affine_in_the_batch_size(size: int) -> None:
    trace = make_trace(layers=3)
    for (action, storage, size_bytes, _, _), event in zip(
        trace.at(size), trace.events, strict=True
    ):
        assert (action, storage) == (event[0], event[1])
        assert size_bytes == event[2] + (event[3] - event[2]) * (size - 8) // 24


def test_a_trace_of_one_size_answers_for_it_alone() -> None:
    trace = make_trace()
    trace.batch_sizes = (32, 32)
    assert trace.covers(32)
    assert not trace.covers(33)
    with pytest.raises(ValueError, match="traced at batch size 32 only"):
        trace.at(64)
    with pytest.raises(BatchtuiError, match="nothing to forecast from"):
        Forecaster(trace).row(64)


def test_peak_and_what_it_is_made_of() -> None:
    events = make_trace().at(16)
    peak, held = peak_by_category(events)
    assert sum(held.values()) == peak
    assert held["parameters"] == 90 * MIB
    result = replay(events, DEFAULTS)
    assert peak <= result.peak_allocated <= result.peak_reserved


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 300))
def test_the_smallest_capacity_survives_and_less_does_not(size: int) -> None:
    events = make_trace(layers=8).at(size)
    free = replay(events, DEFAULTS)
    least = smallest_capacity(events, DEFAULTS)
    assert free.peak_allocated <= least <= free.peak_reserved
    assert not replay(events, DEFAULTS, least).out_of_memory
    assert replay(events, DEFAULTS, least - 2 * MIB).out_of_memory


def test_a_hopper_holds_larger_workspaces() -> None:
    trace = make_trace()
    trace.events.insert(0, [1, 100_000, 8_519_680, 8_519_680, CATEGORIES.index("workspace"), 2])
    plain = peak_by_category(trace.at(8))[0]
    context = Context(cublas_workspace=32 * MIB)
    large = Forecaster(trace, context=context).trace
    assert large is not None
    assert peak_by_category(large.at(8))[0] == plain + 32 * MIB - 8_519_680


def test_rows_are_the_public_format() -> None:
    [row] = forecast(make_trace(), [64], capacity=24 * GIB)
    values = json.loads(json.dumps(row.to_dict()))
    assert list(values) == KEYS
    parts = values["breakdown"]
    assert list(parts) == [
        "parameters", "gradients", "optimizer", "activations", "inputs", "other",
    ]  # fmt: skip
    assert sum(parts.values()) == values["peak_bytes"]
    assert values["low_bytes"] < values["peak_bytes"] < values["high_bytes"]
    assert values["high_bytes"] <= 1.1 * values["peak_bytes"]
    assert values["survives_bytes"] <= values["reserved_bytes"]
    assert values["method"] == "fake cuda, replay"
    assert any("CUDA context" in line for line in values["assumptions"])


def test_what_a_model_is_decides_how_sure_the_forecast_is() -> None:
    def width(**values: object) -> float:
        trace = make_trace()
        for name, value in values.items():
            setattr(trace, name, value)
        row = Forecaster(trace).row(64)
        return (row.high_bytes - row.low_bytes) / row.peak_bytes

    assert width(convolutional=False) < 0.06 < width() < width(method="fake cpu") < 0.2


def test_verdicts_follow_the_capacity() -> None:
    trace = make_trace()
    survives = Forecaster(trace).row(256).survives_bytes
    assert survives is not None

    def says(capacity: int, **values: object) -> str:
        context = Context(overhead=0, **values)  # type: ignore[arg-type]
        return Forecaster(trace, capacity=capacity, context=context).row(256).verdict

    assert says(2 * survives) == FITS
    assert says(survives + 8 * MIB) == TIGHT
    assert says(survives - 8 * MIB) == WILL_NOT_FIT
    assert says(2 * survives, others=survives + 8 * MIB) == WILL_NOT_FIT
    assert Forecaster(trace).row(256).verdict is None  # nothing is known of the device


def test_a_run_that_died_is_believed() -> None:
    trace = make_trace()
    died = [Measured(200, out_of_memory=True, capacity=24 * GIB)]
    rows = forecast(trace, [128, 200, 256], capacity=24 * GIB, measured=died)
    assert [row.verdict for row in rows] == [FITS, WILL_NOT_FIT, WILL_NOT_FIT]
    assert "a run at batch size 200 ran out of memory" in rows[0].assumptions


def test_runs_correct_the_forecast_and_narrow_its_interval() -> None:
    trace = make_trace()
    plain = Forecaster(trace).row(96)
    seen = [
        Measured(size, round(Forecaster(trace).row(size).peak_bytes * 1.03)) for size in (64, 80)
    ]
    row = Forecaster(trace, measured=seen[:1]).row(96)
    assert row.peak_bytes > plain.peak_bytes
    assert row.method == "fake cuda, replay, corrected by 1 measured run"
    row = Forecaster(trace, measured=seen).row(96)
    assert row.high_bytes - row.low_bytes < plain.high_bytes - plain.low_bytes
    assert row.method == "fake cuda, replay, corrected by 2 measured runs"
    runs = [Measured(32, 2 * GIB), Measured(64, 3 * GIB)]
    fitted = Forecaster(None, measured=runs, capacity=8 * GIB).row(96)
    assert fitted.peak_bytes == 4 * GIB
    assert fitted.method == "fit over 2 measured runs"
    assert fitted.survives_bytes is None
    assert set(fitted.breakdown.values()) == {None}


def test_what_was_measured_beats_a_trace_that_it_contradicts() -> None:
    run = Measured(64, 44 * GIB, capacity=48 * GIB, run="tuesday")
    rows = forecast(make_trace(), [8, 32, 64, 128], capacity=40 * GIB, measured=[run])
    assert all(row.high_bytes >= row.peak_bytes > 40 * GIB for row in rows)
    assert {row.verdict for row in rows} == {WILL_NOT_FIT}
    assert rows[0].low_bytes < 20 * GIB  # it may have grown with the batch
    assert rows[3].method == "1 measured run, carried over by the trace (fake cuda, replay)"
    for row in rows:
        [note] = [line for line in row.assumptions if "trace says" in line]
        assert note.startswith("tuesday took 44.0 GiB at batch size 64, far more than")
    runs = [run, Measured(32, 22 * GIB, capacity=48 * GIB)]
    [row] = forecast(make_trace(), [16], capacity=40 * GIB, measured=runs)
    assert row.peak_bytes == 11 * GIB
    assert row.verdict == FITS
    assert row.method == "fit over 2 measured runs"


def test_the_largest_safe_size_is_safe_and_largest() -> None:
    forecaster = Forecaster(make_trace(), capacity=12 * GIB)
    largest = forecaster.largest_safe()
    assert largest is not None
    assert forecaster.row(largest).verdict == FITS
    assert forecaster.row(int(largest * 1.1)).verdict != FITS
    assert Forecaster(make_trace(), capacity=GIB // 2).largest_safe() is None
    assert Forecaster(make_trace()).largest_safe() is None


def test_on_a_cpu_tensors_stand_upon_the_process() -> None:
    trace = make_trace(device="cpu")
    context = Context(overhead=GIB)
    row = Forecaster(trace, device="cpu", capacity=64 * GIB, context=context).row(32)
    assert row.peak_bytes == GIB + peak_by_category(trace.at(32))[0]
    assert row.reserved_bytes is None
    assert row.verdict == FITS
    seen = [Measured(16, 3 * GIB + peak_by_category(trace.at(16))[0])]
    row = Forecaster(trace, device="cpu", measured=seen, context=context).row(32)
    assert row.peak_bytes == 3 * GIB + peak_by_category(trace.at(32))[0]


def test_on_a_cpu_all_processes_count_at_their_batch_size() -> None:
    config = to_dict(Config())
    config["dataloaders"]["num_workers"] = 0
    config["launch"]["processes"] = 2
    trace = make_trace(device="cpu")

    def row(size: int, capacity: int | None = None) -> Forecast:
        return Prospect(config, [trace], device="cpu", capacity=capacity, base=GIB).row(size)

    bare = row(64).peak_bytes
    assert bare == 2 * (GIB + peak_by_category(trace.at(64))[0]) + TORCHRUN
    assert "the peak is that of all 2 processes and torchrun together" in row(64).assumptions
    config["dataloaders"]["num_workers"] = 3
    batch = 64 * 150_528 * 4
    held = row(64).peak_bytes - bare
    assert 2 * 2 * 7 * batch < held < 2 * 2 * 7 * batch + GIB  # training's and evaluation's
    assert row(64).breakdown["inputs"] == 2 * batch
    assert row(64, row(64).peak_bytes - 1).verdict == WILL_NOT_FIT


def test_an_evaluation_that_takes_the_most_is_said() -> None:
    trace = make_trace()
    last = CATEGORIES.index("activations")
    trace.events.append([1, 10_000, 1 << 30, 4 << 30, last, PHASES.index("evaluation")])
    said = "the evaluation takes the most, not the training"
    assert said in Forecaster(trace).row(64).assumptions
    assert said not in Forecaster(make_trace()).row(64).assumptions


def test_what_loaders_take_of_the_host_is_said_where_containers_die_of_it() -> None:
    config = to_dict(Config())
    [note] = [
        note
        for note in Prospect(config, [make_trace()], device="cuda").row(32).assumptions
        if "/dev/shm" in note
    ]
    assert note.startswith("the host holds 5 batches in /dev/shm or pinned, 588 KiB a sample")
    config["dataloaders"]["batch_size"] = 8
    few = Prospect(config, [make_trace()], device="cuda").row(32).assumptions
    assert not any("/dev/shm" in note for note in few)


def test_a_key_press_is_answered_at_once() -> None:
    forecaster = Forecaster(make_trace(layers=600), capacity=40 * GIB)  # 10,000 events
    spent: Sequence[float] = sorted(_press(forecaster, size) for size in (64, 96, 128, 192, 256))
    assert spent[0] < 0.050  # the machine may be busy: once is enough to show that it can


def _press(forecaster: Forecaster, size: int) -> float:
    began = time.process_time()
    forecaster.row(size, seconds=0.0)
    return time.process_time() - began


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, batchtui.forecast.forecast;"
        "print([name for name in ('torch', 'numpy', 'textual') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
