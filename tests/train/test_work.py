"""Whole trainings in this process: what they write, and how they go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from batchtui.config.schema import Config, Data, Model, Optimizer, Scheduler
from batchtui.errors import ConfigError
from batchtui.train import checkpoint, trial
from batchtui.train.data import Splits
from batchtui.train.data import longest as longest_sample
from batchtui.train.failure import summary
from batchtui.train.work import work
from tests.train.helpers import StopAfter, launched, newest, records, tiny

COSINE = Scheduler(target="torch.optim.lr_scheduler.CosineAnnealingLR")


def train(
    folder: Path, config: Config, *, stop_after: int | None = None, resume: Path | None = None
) -> dict[str, Any]:
    """Train and return the newest checkpoint."""
    stop = None if stop_after is None else StopAfter(stop_after)
    surroundings = launched(folder, config, stop, resume)
    status = work(surroundings)
    surroundings.journal.close()
    assert status == ("finished" if stop_after is None else "stopped")
    return checkpoint.load(newest(folder))


def same_weights(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(
        torch.equal(tensor, second["model"][name]) for name, tensor in first["model"].items()
    )


def pictures(**options: Any) -> Config:
    """Return a configuration with batch norm, dropout, momentum, a schedule and augmentation."""
    data = Data(target="tests.train.tiny:pictures", args={"samples": 36})
    return tiny(model="tests.train.tiny.Net", data=data, scheduler=COSINE, **options)


def test_a_training_writes_what_happened(tmp_path: Path) -> None:
    train(tmp_path, tiny(epochs=2))
    kinds = [record["kind"] for record in records(tmp_path)]
    assert kinds.count("step") == 8
    assert kinds.count("evaluation") == 2
    assert kinds.count("checkpoint") == 2
    (start,) = records(tmp_path, "start")
    assert start["train_samples"] == 30
    assert start["eval_samples"] == 12
    assert start["total_samples"] == 60
    assert start["parameters"] == 15
    assert start["device"] == "cpu"
    steps = records(tmp_path, "step")
    assert [step["step"] for step in steps] == list(range(1, 9))
    assert [step["samples"] for step in steps] == [8, 16, 24, 30, 38, 46, 54, 60]
    assert [step["epoch"] for step in steps] == [1] * 4 + [2] * 4
    assert all(step["lr"] == 0.05 and step["variance"] > 0 for step in steps)
    first, second = records(tmp_path, "evaluation")
    assert (first["samples"], second["samples"]) == (30, 60)
    assert 0 <= first["accuracy"] <= 1
    assert second["eval_samples"] == 12
    phases = [record["phase"] for record in records(tmp_path, "phase")]
    assert phases[:4] == [
        "looking up the model",
        "building the model",
        "loading the data",
        "first batch",
    ]
    (_, last) = records(tmp_path, "checkpoint")
    assert (last["step"], last["samples"], last["epoch"]) == (8, 60, 2)
    assert last["bytes"] == newest(tmp_path).stat().st_size


@pytest.mark.parametrize("stop_after", [3, 7, 11])
def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path, stop_after: int) -> None:
    """Bit for bit, with dropout, momentum and augmentation, and loaders in between."""
    whole = train(tmp_path / "whole", pictures(workers=0))
    train(tmp_path / "first", pictures(workers=0), stop_after=stop_after)
    rest = train(tmp_path / "rest", pictures(workers=0), resume=newest(tmp_path / "first"))
    assert same_weights(whole, rest)
    for key in ("step", "samples", "epoch", "epoch_samples", "best_accuracy"):
        assert whole[key] == rest[key]
    halves = records(tmp_path / "first", "step") + records(tmp_path / "rest", "step")
    once = records(tmp_path / "whole", "step")
    for key in ("step", "samples", "loss", "lr", "grad_norm"):
        assert [step[key] for step in halves] == [step[key] for step in once]
    (start,) = records(tmp_path / "rest", "start")
    assert start["first_step"] == len(records(tmp_path / "first", "step"))


def test_loader_processes_change_nothing(tmp_path: Path) -> None:
    alone = train(tmp_path / "alone", pictures(workers=0, epochs=1))
    assert same_weights(alone, train(tmp_path / "two", pictures(workers=2, epochs=1)))


def test_going_on_at_another_batch_size_trains_the_rest_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWS", str(tmp_path / "draws"))
    data = Data(target="tests.train.test_work:counting", args={})

    def config(batch_size: int, lr: float = 0.05) -> Config:
        optimizer = Optimizer(args={"lr": lr, "momentum": 0.9})
        return tiny(
            batch_size=batch_size, epochs=2, data=data, scheduler=COSINE, optimizer=optimizer
        )

    train(tmp_path / "whole", config(8))
    curve = {step["samples"]: step["lr"] for step in records(tmp_path / "whole", "step")}
    (tmp_path / "draws").unlink()
    train(tmp_path / "first", config(8), stop_after=1)
    rest = train(tmp_path / "rest", config(6), resume=newest(tmp_path / "first"))
    drawn = [int(line) for line in (tmp_path / "draws").read_text().split()]
    assert sorted(drawn[:30]) == sorted(drawn[30:]) == list(range(30))
    assert rest["samples"] == 60
    assert rest["reference_batch"] == 8
    steps = records(tmp_path / "rest", "step")
    assert [step["samples"] for step in steps] == [22, 28, 30, 36, 42, 48, 54, 60]
    # After 30 samples the first launch was at its fourth step's rate, whoever asks.
    assert steps[3]["lr"] == curve[38]


def counting() -> tuple[Any, None]:
    from tests.train.tiny import Counting

    return Counting(30), None


def test_a_stop_in_an_evaluation_repeats_it_when_going_on(tmp_path: Path) -> None:
    # Four looks after the steps of the epoch, the fifth is the evaluation's.
    train(tmp_path / "first", tiny(), stop_after=4)
    assert records(tmp_path / "first", "evaluation") == []
    train(tmp_path / "rest", tiny(), resume=newest(tmp_path / "first"))
    evaluations = records(tmp_path / "rest", "evaluation")
    assert [record["samples"] for record in evaluations] == [30, 60]


def test_a_finished_training_can_be_made_longer(tmp_path: Path) -> None:
    train(tmp_path / "first", tiny(epochs=1))
    longer = train(tmp_path / "rest", tiny(epochs=3), resume=newest(tmp_path / "first"))
    assert longer["samples"] == 90
    again = launched(tmp_path / "again", tiny(epochs=3), resume=newest(tmp_path / "rest"))
    assert work(again) == "finished"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": 40}, "train samples was 30, is 40 now"),
        ({"training": {"seed": 1}}, "seed was 0, is 1 now"),
        ({"model_args": {"outputs": 5}}, "of a different model"),
        ({"optimizer": Optimizer(target="torch.optim.Adam", args={})}, "different optimizer"),
    ],
)
def test_a_checkpoint_of_another_training_is_one_line(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    train(tmp_path / "first", tiny(), stop_after=1)
    with pytest.raises(ConfigError, match=words):
        work(launched(tmp_path / "rest", tiny(**change), resume=newest(tmp_path / "first")))


@pytest.mark.parametrize(
    "training",
    [
        {"amp": "bf16", "channels_last": True},
        {"amp": "fp16", "accumulate": 2, "clip_grad_norm": 1.0},
        {"deterministic": True, "evaluate_every": 0},
        {"evaluate_every": 3, "checkpoint_every": 1},
    ],
    ids=str,
)
def test_the_loop_in_its_other_ways(tmp_path: Path, training: dict[str, Any]) -> None:
    try:
        first = train(tmp_path, pictures(epochs=2, training=training))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(step["loss"] > 0 for step in records(tmp_path, "step"))
    evaluations = records(tmp_path, "evaluation")
    every = training.get("evaluate_every", 1)
    assert len(evaluations) == {0: 0, 1: 2, 3: 1}[every]  # the last epoch is always evaluated
    resumed = train(
        tmp_path / "more", pictures(epochs=3, training=training), resume=newest(tmp_path)
    )
    assert resumed["samples"] == first["samples"] * 3 // 2


def test_a_checkpoint_that_cannot_be_written_is_told_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    surroundings = launched(tmp_path, tiny(epochs=1))
    assert work(surroundings) == "finished"
    (record,) = records(tmp_path, "checkpoint")
    assert "Not a directory" in record["error"]
    assert "file" not in record
    assert "no checkpoint at step 4" in capsys.readouterr().out


def test_the_log_has_a_line_for_each_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, tiny(epochs=10))
    first, *epochs, last = capsys.readouterr().out.splitlines()
    assert first.startswith("tests.train.tiny.linear (15 parameters) on cpu, torch ")
    assert (epochs[0][:11], epochs[-1][:11]) == ("epoch  1/10", "epoch 10/10")
    for word in ("loss ", "accuracy "):
        assert len({line.index(word) for line in epochs}) == 1
    assert epochs[0].endswith("samples/s")
    assert last == "finished after 40 steps"


def test_a_sample_that_raises_ends_the_training_by_name(tmp_path: Path) -> None:
    config = tiny(data=Data(target="tests.train.tiny:bad"))
    with pytest.raises(ValueError, match="sample 7 is broken") as caught:
        work(launched(tmp_path, config))
    assert summary(caught.value) == "sample 7 is broken"


def test_a_batch_too_large_is_found_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="64 is larger than the data set, which has 30 samples"):
        work(launched(tmp_path, tiny(batch_size=64)))
    assert records(tmp_path, "step") == []


def test_resnet_trains_on_digits_where_its_last_map_is_one_pixel(tmp_path: Path) -> None:
    """33 samples at batch 4 leave one over, on which batch norm could not train."""
    config = tiny(
        batch_size=4,
        epochs=1,
        model="torchvision.models.resnet18",
        model_args={"num_classes": 10},
        data=Data(name="fake", image_size=32, samples=11, held_out=0.2),
    )
    train(tmp_path, config)
    assert [step["batch"] for step in records(tmp_path, "step")] == [4, 3, 2]


def test_digits_are_learnt(tmp_path: Path) -> None:
    config = Config(
        name="digits",
        device="cpu",
        model=Model(target="tests.train.tiny.Net", args={"classes": 10, "dropout": 0.0}),
        data=Data(name="digits", image_size=8, held_out=0.5),
        dataloaders=tiny(batch_size=32).dataloaders,
        optimizer=Optimizer(target="torch.optim.Adam", args={"lr": 0.02}),
        training=tiny(epochs=3).training,
    )
    train(tmp_path, config)
    losses = [record["loss"] for record in records(tmp_path, "evaluation")]
    assert losses[-1] < losses[0] < 2.4


def test_a_trial_is_a_few_steps_and_keeps_nothing(tmp_path: Path) -> None:
    surroundings = launched(tmp_path, tiny(batch_size=8, epochs=2))
    surroundings = dataclasses.replace(
        surroundings, spec=dataclasses.replace(surroundings.spec, trial_steps=4)
    )
    assert work(surroundings) == "finished"
    surroundings.journal.close()
    assert [step["batch"] for step in records(tmp_path, "step")] == [8] * 4
    evaluations = records(tmp_path, "evaluation")
    assert [evaluation["eval_samples"] for evaluation in evaluations] == [8, 8]
    assert records(tmp_path, "start")[0]["train_samples"] == 30  # all there are
    assert not (tmp_path / "checkpoints").exists()


def test_a_trial_takes_the_longest_samples_and_says_so(tmp_path: Path) -> None:
    lengths = [5, 3, 9, 4, 9, 2]
    data = [(torch.zeros(length), 0) for length in lengths]
    journal = launched(tmp_path, tiny()).journal
    splits = trial.cut(Splits(data, None), tiny(batch_size=2, epochs=2), 4, 1, journal)
    journal.close()
    assert len(splits.training) == 4
    assert {len(sample) for sample, _ in splits.training} == {9}
    assert splits.held_out is None
    (note,) = records(tmp_path, "note")
    assert "the longest of 6" in note["message"]


def test_where_samples_differ_many_are_looked_at() -> None:
    lengths = [3 + index % 2 for index in range(500)]
    lengths[333] = 40
    longest = longest_sample([(torch.zeros(length), 0) for length in lengths])
    assert (longest.place, longest.looked_at, longest.differ) == (333, 500, True)
    alike = longest_sample([(torch.zeros(3), 0)] * 500)
    assert (alike.looked_at, alike.differ) == (16, False)


def test_a_trial_fills_its_loaders_in_the_evaluation(tmp_path: Path) -> None:
    data = [(torch.zeros(3), index) for index in range(50)]
    config = tiny(batch_size=4, epochs=1, workers=2)
    journal = launched(tmp_path, config).journal
    splits = trial.cut(Splits(data[:3], data), config, 2, 1, journal)
    assert len(splits.training) == 8  # gone through several times
    assert len(splits.held_out) == (2 * 2 + 1) * 4  # fetched ahead, and in use
    assert splits.held_out[19][1] > 45  # from all over the data
