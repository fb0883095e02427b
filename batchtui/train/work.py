"""The training put together: device, model, data, checkpoint, loop."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch

from batchtui.config.schema import Config
from batchtui.records import Start
from batchtui.train import build, checkpoint, data, device, trial
from batchtui.train.build import Targets
from batchtui.train.checkpoint import Checkpoints
from batchtui.train.evaluate import evaluate
from batchtui.train.launch import Launched
from batchtui.train.learner import Learner
from batchtui.train.loop import Trainer
from batchtui.train.meters import make_meter
from batchtui.train.milestones import Milestones
from batchtui.train.parallel import Alone, Together
from batchtui.train.sampler import Plan, mix
from batchtui.train.schedule import Schedule


def work(launched: Launched) -> str:
    """Train; return "finished" or "stopped".

    Raises:
        ConfigError: the configuration cannot be trained here, in one line.
    """
    config, journal, ranks = launched.config, launched.journal, launched.ranks
    journal.phase("looking up the model")
    targets = build.resolve_all(config)
    resumed = _load_checkpoint(launched.spec.resume_from)
    several = ranks.world_size > 1
    where = device.choose(config.device, ranks.local_rank if several else None)
    if launched.spec.trial_limit:
        device.confine(where, launched.spec.trial_limit)
    team = Together(ranks, where) if several else Alone(ranks)
    _seed(config, ranks.rank)

    journal.phase("building the model")
    learner = _build_learner(config, targets, where, team)
    fresh = checkpoint.hyperparameters(learner.optimizer)

    journal.phase("loading the data")
    splits = _load_data(config, targets, team)
    samples, trial_steps = len(splits.training), launched.spec.trial_steps
    if trial_steps:
        splits = trial.cut(splits, config, trial_steps, team.world_size, journal)
    plan = _plan(config, len(splits.training), team)
    reference = int(resumed["reference_batch"]) if resumed else plan.global_batch
    schedule = _build_schedule(config, targets, learner, plan.size, reference)
    constants = {"seed": config.training.seed, "train_samples": plan.size}
    if resumed is not None:
        _go_on(launched, resumed, learner, schedule, fresh, constants)
    _announce(launched, learner, plan, samples, len(splits.held_out or ()))

    memory = device.Memory(where)
    milestones = Milestones(
        config=config,
        learner=learner,
        schedule=schedule,
        team=team,
        memory=memory,
        journal=journal,
        progress=launched.progress,
        checkpoints=None if trial_steps else _checkpoints(launched),
        constants={**constants, "reference_batch": reference},
        hyperparameters=fresh,
    )
    if splits.held_out is not None:
        held_out = data.evaluation_loader(splits.held_out, config, where, ranks)
        milestones.evaluate = lambda: evaluate(learner, held_out, team, launched.stop.__bool__)

    journal.phase("first batch")
    trainer = Trainer(
        learner=learner,
        schedule=schedule,
        plan=plan,
        batches=data.training_batches(splits.training, config, where, plan, launched.progress),
        config=config.training,
        team=team,
        meter=make_meter(where),
        memory=memory,
        journal=journal,
        stop=launched.stop,
        progress=launched.progress,
        milestones=milestones,
    )
    if resumed is not None:  # last, since everything above may draw random numbers
        checkpoint.restore_random_state(resumed["rng"], where)
    launched.stop.begin_training()
    status = trainer.run()
    team.close()
    if team.leads:
        print(f"{status} after {launched.progress.step:,} steps", flush=True)
    return status


def _load_checkpoint(file: str | None) -> dict[str, Any] | None:
    return checkpoint.load(Path(file)) if file else None


def _seed(config: Config, rank: int) -> None:
    """Make the model's weights a function of the seed, and dropout and its like of the rank too."""
    training = config.training
    if training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    seed = mix(training.seed, rank)
    torch.manual_seed(seed)
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:  # the user's code has it
        numpy.random.seed(seed & 0xFFFFFFFF)


def _build_learner(config: Config, targets: Targets, where: torch.device, team: Alone) -> Learner:
    training = config.training
    model = build.build_model(targets.model, config.model.args)
    channels_last = build.wants_channels_last(model, training, where)
    build.to_device(model, where, channels_last)
    half = training.amp == "fp16"
    network: Any = team.wrap(model)
    return Learner(
        model=model,
        network=torch.compile(network) if training.compile else network,
        loss=build.PerSampleLoss(targets.loss, config.loss).to(where),
        optimizer=build.build_optimizer(targets.optimizer, config.optimizer, model, fused=half),
        scaler=torch.amp.GradScaler(where.type, enabled=half),
        device=where,
        amp=training.amp,
        channels_last=channels_last,
    )


def _load_data(config: Config, targets: Targets, team: Alone) -> data.Splits:
    """Load the data, on the leading rank first: it may have to be downloaded."""
    if not team.leads:
        team.wait()
    splits = data.load(config.data, config.training.seed, targets.data)
    if team.leads:
        team.wait()
    data.check_batch_size(config.dataloaders.batch_size, team.world_size, len(splits.training))
    return splits


def _plan(config: Config, size: int, team: Alone) -> Plan:
    return Plan(
        size,
        config.training.seed,
        config.dataloaders.batch_size,
        config.training.accumulate,
        team.rank,
        team.world_size,
    )


def _build_schedule(
    config: Config, targets: Targets, learner: Learner, size: int, reference: int
) -> Schedule:
    by_epoch = config.scheduler is not None and config.scheduler.unit == "epoch"
    return Schedule(
        targets.scheduler,
        config.scheduler,
        learner.optimizer,
        tick_samples=size if by_epoch else reference,
        total_samples=size * config.training.epochs,
    )


def _go_on(
    launched: Launched,
    state: dict[str, Any],
    learner: Learner,
    schedule: Schedule,
    fresh: list[dict[str, Any]],
    constants: dict[str, Any],
) -> None:
    """Take everything up where the checkpoint left it."""
    path = Path(str(launched.spec.resume_from))
    checkpoint.check_same(path, state, constants)
    checkpoint.load_model(path, state, learner.model)
    checkpoint.load_optimizer(path, state, learner.optimizer, schedule, fresh)
    if learner.scaler.is_enabled() and state["scaler"]:
        learner.scaler.load_state_dict(state["scaler"])
    for name in ("step", "samples", "epoch", "epoch_samples", "best_accuracy"):
        setattr(launched.progress, name, state[name])


def _checkpoints(launched: Launched) -> Checkpoints:
    return Checkpoints(launched.checkpoints, launched.config.training.keep_checkpoints)


def _announce(
    launched: Launched, learner: Learner, plan: Plan, train_samples: int, eval_samples: int
) -> None:
    """Write the first record, and a line for people."""
    config, ranks, progress = launched.config, launched.ranks, launched.progress
    name, uuid = device.describe(learner.device)
    parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    launched.journal.write(
        Start(
            time=time.time(),
            pid=os.getpid(),
            rank=ranks.rank,
            world_size=ranks.world_size,
            device=str(learner.device),
            device_name=name,
            device_uuid=uuid,
            torch=torch.__version__,
            batch_size=config.dataloaders.batch_size,
            accumulate=config.training.accumulate,
            global_batch_size=plan.global_batch,
            train_samples=train_samples,
            eval_samples=eval_samples,
            epochs=config.training.epochs,
            total_samples=plan.size * config.training.epochs,
            parameters=parameters,
            first_step=progress.step,
            first_samples=progress.samples,
        )
    )
    if ranks.rank == 0:
        print(
            f"{config.model.target} ({parameters:,} parameters) on {name or learner.device}, "
            f"torch {torch.__version__}: {plan.size:,} samples, batch size "
            f"{config.dataloaders.batch_size}, from step {progress.step}",
            flush=True,
        )
