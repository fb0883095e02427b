"""A training without torch: writes a journal, and misbehaves as told.

train.py RUN [every=0.02] [steps=1000000] [start=0] [checkpoint=0] [term=handle|ignore|default]
         [end=finished|none] [code=0] [die=SIGNAL@STEP] [error=TYPE:MESSAGE@STEP]
         [silent=STEP:SECONDS] [children=N] [sessions=N] [stubborn=1] [shm=N] [flood=1] [nan=STEP]
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

RUN = pathlib.Path(sys.argv[1])
OPTIONS = dict(word.split("=", 1) for word in sys.argv[2:])
EVERY = float(OPTIONS.get("every", 0.02))
STEPS = int(OPTIONS.get("steps", 1_000_000))

stopping = False


def write(kind, **values):
    line = json.dumps({"kind": kind, "time": time.time(), **values}) + "\n"
    os.write(journal, line.encode())


def on_term(*_):
    global stopping
    if stopping and time.monotonic() > stopping + 0.5:  # sooner, it is an echo of the first
        os._exit(1)
    stopping = stopping or time.monotonic()


def sleeper(stubborn, shm=0):
    """A process that stays, such as a data loader; one that is stubborn ignores SIGTERM."""
    code = (
        "import os, signal, time\n"
        f"{'signal.signal(signal.SIGTERM, signal.SIG_IGN)' if stubborn else ''}\n"
        f"for i in range({shm}):\n"
        "    open(f'/dev/shm/torch_{os.getpid()}_99_{i}', 'wb').write(b'x' * 4096)\n"
        "time.sleep(300)\n"
    )
    return [sys.executable, "-c", code]


term = OPTIONS.get("term", "handle")
if term == "handle":
    signal.signal(signal.SIGTERM, on_term)
elif term == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

(RUN / "journal").mkdir(exist_ok=True)
journal = os.open(RUN / "journal/rank-0.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

write("phase", phase="importing torch")
stubborn = "stubborn" in OPTIONS
for _ in range(int(OPTIONS.get("children", 0))):
    subprocess.Popen(sleeper(stubborn, int(OPTIONS.get("shm", 0))))
for _ in range(int(OPTIONS.get("sessions", 0))):
    # A session of its own, and its parent gone: nothing but a subreaper finds it.
    code = f"import subprocess; subprocess.Popen({sleeper(stubborn)!r}, start_new_session=True)"
    subprocess.run([sys.executable, "-c", code])
time.sleep(float(OPTIONS.get("start", 0)))
write(
    "start", pid=os.getpid(), batch_size=4, global_batch_size=4, train_samples=100,
    epochs=2, total_samples=4 * STEPS,
)  # fmt: skip

die_signal, _, die_step = OPTIONS.get("die", "@").partition("@")
error, _, error_step = OPTIONS.get("error", "@").rpartition("@")
silent, _, silent_for = OPTIONS.get("silent", ":").partition(":")
step = 0
for step in range(1, STEPS + 1):
    if "flood" in OPTIONS:
        os.write(1, b"a line that says nothing much at all\n" * 25_000)
    else:
        time.sleep(EVERY)
    nonfinite = str(step) == OPTIONS.get("nan")
    write(
        "step", step=step, samples=4 * step, epoch=1, batch=4, step_s=EVERY,
        loss=None if nonfinite else 1 / step, variance=0.5, nonfinite=nonfinite,
    )  # fmt: skip
    if str(step) == die_step:
        os.kill(os.getpid(), getattr(signal, die_signal))
    if str(step) == error_step:
        name, _, message = error.partition(":")
        account = {"type": name, "message": message, "traceback": "", "time": time.time()}
        (RUN / "error.json").write_text(json.dumps(account))
        write("end", status="failed", step=step)
        sys.exit(1)
    if str(step) == silent:
        time.sleep(float(silent_for))
    if stopping:
        time.sleep(float(OPTIONS.get("checkpoint", 0)))
        write("checkpoint", step=step, samples=4 * step, epoch=1, file=f"step-{step:08d}.pt")
        write("end", status="stopped", step=step, samples=4 * step)
        os._exit(0)  # what it started goes on
if OPTIONS.get("end") != "none":
    write("end", status="finished", step=step, samples=4 * step)
os._exit(int(OPTIONS.get("code", 0)))
