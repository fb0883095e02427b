"""A training without torch that goes on from checkpoints, at the batch size of launch.json.

resumable.py RUN [every=0.02] [steps=1000000] [checkpoint_every=0] [save=SECONDS] [keep=1]
             [oom_above=N] [oom_in=RUN] [hang_above=N] [fail_above=N]

`save` is how long a checkpoint takes, `keep=0` leaves none, `oom_above` and its like misbehave at
larger batch sizes before the first step; `late=STEPS` makes so many steps first.
"""

import json
import os
import pathlib
import signal
import sys
import time

RUN = pathlib.Path(sys.argv[1])
OPTIONS = dict(word.split("=", 1) for word in sys.argv[2:])
LAUNCH = json.loads((RUN / "launch.json").read_text())
BATCH = LAUNCH["config"]["dataloaders"]["batch_size"]
STEPS = int(OPTIONS.get("steps", 1_000_000))
CHECKPOINT_EVERY = int(OPTIONS.get("checkpoint_every", 0))

stopping = False


def on_term(*_):
    global stopping
    stopping = True


def write(kind, **values):
    line = json.dumps({"kind": kind, "time": time.time(), **values}) + "\n"
    os.write(journal, line.encode())


def above(name):
    return name in OPTIONS and int(OPTIONS[name]) < BATCH


def save():
    """Write a checkpoint as the real worker does: whole, under its name, or not at all."""
    if OPTIONS.get("keep") == "0":
        write("checkpoint", step=step, samples=samples, epoch=1, error="No space left on device")
        return
    folder = RUN / "checkpoints"
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:08d}.pt"
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    text = json.dumps({"step": step, "samples": samples})
    with open(temporary, "w") as file:
        for part in (text[:8], text[8:]):
            file.write(part)
            file.flush()
            time.sleep(float(OPTIONS.get("save", 0)) / 2)
        os.fsync(file.fileno())
    os.replace(temporary, path)
    write("checkpoint", step=step, samples=samples, epoch=1, file=path.name)


signal.signal(signal.SIGTERM, on_term)
(RUN / "journal").mkdir(exist_ok=True)
journal = os.open(RUN / "journal/rank-0.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
step = samples = 0
if LAUNCH["resume_from"]:
    state = json.loads(pathlib.Path(LAUNCH["resume_from"]).read_text())
    step, samples = state["step"], state["samples"]
write(
    "start", pid=os.getpid(), batch_size=BATCH, train_samples=1000, epochs=100,
    accumulate=LAUNCH["config"]["training"]["accumulate"], total_samples=100_000,
    global_batch_size=BATCH, first_step=step, first_samples=samples,
)  # fmt: skip
begun = step
while step < STEPS:
    if step - begun >= int(OPTIONS.get("late", 0)):
        if above("oom_above") or OPTIONS.get("oom_in") == RUN.name:
            account = {"type": "torch.OutOfMemoryError", "message": "CUDA out of memory. Tried",
                       "traceback": "", "time": time.time()}  # fmt: skip
            (RUN / "error.json").write_text(json.dumps(account))
            write("end", status="failed", step=step)
            sys.exit(1)
        if above("fail_above"):
            sys.exit("CUDA error: invalid configuration argument")
        while above("hang_above"):
            time.sleep(0.05)
    time.sleep(float(OPTIONS.get("every", 0.02)))
    step, samples = step + 1, samples + BATCH
    write("step", step=step, samples=samples, epoch=1, batch=BATCH, step_s=0.02, loss=1 / step)
    if stopping or (CHECKPOINT_EVERY and step % CHECKPOINT_EVERY == 0):
        save()
    if stopping:
        write("end", status="stopped", step=step, samples=samples)
        os._exit(0)
write("end", status="finished", step=step, samples=samples)
os._exit(0)
