from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchtui.records import Evaluation, GpuSample, RunSummary, Status
from batchtui.runs.series import Boundary
from batchtui.tui.assemble import windows
from batchtui.tui.assemble.whole import build_view
from batchtui.tui.facts import Facts
from batchtui.tui.view import Mark
from tests.tui import fake
from tests.tui.fake import GIB


def test_a_run_of_which_nothing_is_known() -> None:
    view = build_view(Facts(now=fake.NOW, summary=RunSummary(run="r", status="starting")))
    assert view.status is Status.STARTING
    assert view.steps.reason == "no step yet"
    assert view.memory.note == "no sample yet"
    assert view.progress.fraction is None
    assert view.batch.variance_reason == "no per-sample losses recorded"


def test_the_phase_is_shown_where_it_is_not_training() -> None:
    for phase, word, detail in (
        (None, "training", None),
        ("training", "training", None),
        ("evaluating", "evaluating", None),
        ("writing a checkpoint", "training", "writing a checkpoint"),
    ):
        view = build_view(fake.facts(20, meta={"phase": phase}))
        assert (view.word, view.detail) == (word, detail)
    view = build_view(fake.facts(0, status="starting", meta={"phase": "importing torch"}))
    assert (view.word, view.detail) == ("starting", "importing torch")
    assert view.steps.reason == "no step yet: importing torch"


def test_silence_is_measured_for_a_lost_run() -> None:
    view = build_view(fake.facts(20, status="lost", meta={"heartbeat": fake.NOW - 42}))
    assert view.detail == "no sign of life for 42s"


def test_progress_counts_samples_of_all_epochs() -> None:
    progress = build_view(fake.facts(1350)).progress
    assert progress.fraction == pytest.approx(0.1)
    assert progress.remaining_s == pytest.approx(64 * 150 * 90 * 0.9 * 0.139 / 64)
    for status in ("finished", "stopping", "lost"):
        assert build_view(fake.facts(1350, status=status)).progress.remaining_s is None


def test_memory_without_a_gpu_is_the_workers_against_the_lowest_limit() -> None:
    memory = build_view(fake.facts(20)).memory
    assert memory.title == "Memory · no GPU"
    assert memory.note == "no NVIDIA driver"
    assert [(part.label, round(part.value / GIB, 1)) for part in memory.parts] == [
        ("worker", 4.1), ("others", 3.3), ("free", 8.6)
    ]  # fmt: skip
    assert memory.limit == int(0.95 * 16 * GIB)
    assert ("limit of", "cgroup /user.slice") in memory.facts
    assert [role for role, _ in memory.history.layers] == ["a", "other"]


def test_memory_of_one_gpu_is_split_at_its_edges() -> None:
    memory = build_view(fake.facts(20, sample=fake.machine(gpus=(fake.gpu(),)))).memory
    assert memory.title == "GPU memory · NVIDIA GeForce RTX 4090"
    shown = {part.label: part.shown if part.shown is not None else part.value
             for part in memory.parts}  # fmt: skip
    assert round(shown["allocated"] / GIB, 1) == 6.1
    assert round(shown["peak"] / GIB, 1) == 13.9
    assert round(shown["reserved"] / GIB, 1) == 15.1
    assert round(shown["others"] / GIB, 1) == 2.3
    assert sum(part.value for part in memory.parts) == pytest.approx(17.8 * GIB, rel=1e-3)
    assert memory.sensors == "compute 91% · 62°C · 313 of 450 W"


def test_a_gpu_of_which_the_driver_says_nothing() -> None:
    blind = GpuSample(index=0, name="A100", error="GPU is lost")
    memory = build_view(fake.facts(0, sample=fake.machine(gpus=(blind,)))).memory
    assert memory.used is None
    assert memory.note == "GPU is lost"
    assert memory.sensors == "compute n/a · n/a · n/a"


def test_on_a_gpu_machine_a_cpu_run_shows_its_own_memory() -> None:
    sample = fake.machine(gpus=(fake.gpu(),))
    memory = build_view(fake.facts(20, sample=sample, meta={"device": "cpu"})).memory
    assert memory.title == "Memory · CPU"


def test_several_gpus_have_a_row_each_with_its_level() -> None:
    gpus = (fake.gpu(0, 20.0), fake.gpu(1, 22.0), fake.gpu(2, 23.5, error="ECC"))
    memory = build_view(fake.facts(20, sample=fake.machine(gpus=gpus))).memory
    assert memory.title == "3 × NVIDIA GeForce RTX 4090"
    assert [row.level for row in memory.gpus] == [None, "warning", "critical"]
    assert memory.gpus[2].error == "ECC"
    made = fake.facts(20, sample=fake.machine(gpus=gpus))
    assert build_view(made).batch.headroom == 0  # the fullest is above its limit


def test_an_accelerator_without_a_driver_library_shows_what_torch_says() -> None:
    facts = fake.facts(20, sample=fake.machine(gpus=(fake.gpu(),)), meta={"device": "xpu:0"})
    facts = dataclasses.replace(facts, machine=fake.machine())
    memory = build_view(facts).memory
    assert memory.title == "xpu:0 memory"
    assert memory.note == "as torch reports it"


def test_parts_of_a_step_add_up() -> None:
    parts = build_view(fake.facts(50)).steps.parts
    assert [part.label for part in parts][:3] == ["data wait", "to device", "forward"]
    assert sum(part.share or 0 for part in parts) == pytest.approx(1.0)


def test_one_huge_step_does_not_flatten_the_rest() -> None:
    facts = fake.facts(200)
    near = facts.near
    times = fake.points(list(near.step_s.x), [9.0, *near.step_s.mean[1:]])
    facts = dataclasses.replace(facts, near=near._replace(step_s=times))
    steps = build_view(facts).steps
    assert steps.ceiling == pytest.approx(3 * 0.139 * 1.2)
    assert steps.highest == 9.0


def test_the_quantiles_are_those_of_the_steps_that_the_chart_shows() -> None:
    given = fake.facts(600)
    slow = [dataclasses.replace(s, step_s=2.0, time=s.time + 2 * n) for n, s in
            enumerate(given.recent[-200:])]  # fmt: skip
    slow[-3] = dataclasses.replace(slow[-3], step_s=3.0)
    view = build_view(dataclasses.replace(given, recent=[*given.recent[:-200], *slow]))
    assert (view.steps.p50, view.steps.p95) == (2.0, 2.0)  # and not the 0.139 of a thousand
    fast = build_view(given)
    assert (fast.steps.p50, fast.steps.p95) == (0.139, 0.139 * 1.2)  # of more than is at hand


def test_noise_of_a_stale_run_is_not_shown() -> None:
    view = build_view(dataclasses.replace(fake.facts(100), now=fake.NOW + 120))
    assert view.loss.trend_free is None
    assert view.loss.noise_reason == "no step for 2m00s"


def test_a_loss_that_is_not_finite_is_loud() -> None:
    facts = fake.facts(100, meta={"nonfinite_steps": 1})
    facts.recent[-1].nonfinite = True
    assert build_view(facts).loss.alarm == "NaN or inf loss at step 100"
    facts.recent[-1].nonfinite = False
    assert build_view(facts).loss.alarm == "1 step with a NaN or inf loss"


def test_not_enough_data_is_said() -> None:
    loss = build_view(fake.facts(10)).loss
    assert loss.trend_free is None
    assert loss.noise_reason == "not enough data: 10 of 32 steps"
    assert loss.evaluation_reason == "no evaluation yet"


@given(st.floats(0, 1e9), st.floats(0, 1e6))
def test_a_window_of_time_holds_the_newest_and_jumps_by_a_quarter(
    first: float, elapsed: float
) -> None:
    last = first + elapsed
    window = windows.recent_window(first, last)
    span = window.end - window.start
    assert window.start <= last <= window.end + 1e-6
    assert 30 - 1e-3 <= span <= 300 + 1e-3
    if elapsed > 300:
        assert last - window.start >= 0.75 * 300 - 1e-3


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_a_window_of_steps_holds_all_and_is_never_mostly_empty(first: int, count: int) -> None:
    last = first + count
    window = windows.step_window(first, last, None, ended=False)
    assert window.start == first
    assert window.end >= last
    if count >= 8:
        assert window.end - first <= 1.51 * count
    assert windows.step_window(first, last, None, ended=True).end == max(last, first + 1)


def test_a_loss_of_almost_nothing_does_not_take_the_decades() -> None:
    given = fake.facts(400)
    whole = given.whole
    tiny = [1e-9 if index == 100 else value for index, value in enumerate(whole.loss.mean)]
    loss = fake.points(list(whole.loss.x), tiny)
    shown = build_view(dataclasses.replace(given, whole=whole._replace(loss=loss))).loss
    assert shown.wide
    assert shown.lowest == 1e-9
    assert shown.floor is not None
    assert shown.floor > 1e-3
    falling = [2.0 * 0.97**index for index in range(len(whole.loss.x))]
    loss = fake.points(list(whole.loss.x), list(falling))
    shown = build_view(dataclasses.replace(given, whole=whole._replace(loss=loss))).loss
    assert shown.wide
    assert shown.floor is None or shown.floor < falling[-1]  # where it ends is never cut


def test_an_ended_run_is_summed_up() -> None:
    given = fake.facts(1800, status="finished", ended=fake.NOW)
    told = {fact.label: fact.value + fact.rest for fact in build_view(given).summary}
    assert told["took"].startswith("4m10s from ")
    assert told["trained"] == "115,200 of 864,000 samples"
    assert told["accuracy"] == "97.2% best 97.2%, epoch 12"
    assert told["speed"] == "460 samples/s 139 ms a step"
    assert told["peak"] == "4.4 GiB of 16.0 GiB"
    assert told["saved"] == "step 1,500"
    assert build_view(fake.facts(20)).summary == ()


def test_a_training_without_accuracy_tells_its_held_out_loss() -> None:
    given = fake.facts(200)
    told = Evaluation(time=fake.NOW, step=150, samples=0, epoch=1, loss=2.31)
    view = build_view(dataclasses.replace(given, evaluations=[told]))
    assert (view.loss.accuracy, view.loss.held_out_loss) == (None, 2.31)


def test_restarts_are_marked_and_say_what_changed() -> None:
    chain = [Boundary(1, "a-001", 64), Boundary(500, "a-002", 64), Boundary(900, "a-003", 128)]
    view = build_view(dataclasses.replace(fake.facts(1000), chain=chain))
    assert view.marks == (Mark(500, ""), Mark(900, "128"))


def test_a_start_says_what_is_done_and_for_how_long_the_rest() -> None:
    given = fake.facts(0, status="starting", meta={"phase": "building the model"})
    startup = build_view(dataclasses.replace(given, phase_since=fake.NOW - 12)).steps.startup
    assert startup is not None
    assert startup.phases[startup.current] == "building the model"
    assert startup.elapsed_s == 12
    assert build_view(fake.facts(0, status="failed")).steps.startup is None
