"""A supervisor in the foreground, with the patience of a test: host.py RUN PATIENCE -- WORKER…

`{run}` in the worker's command stands for the run's folder: the next run has the same command.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from batchtui.errors import BatchtuiError, SuperviseError
from batchtui.runs.directory import RunDirectory
from batchtui.supervise.daemon import ignore_terminal
from batchtui.supervise.patience import Patience
from batchtui.supervise.supervisor import Supervisor
from batchtui.supervise.watch import machine_sampler

run, patience, _, *words = sys.argv[1:]


def sampler(family, path):
    """Return the machine's own, which sees memory as full from the test's batch size on."""
    real = machine_sampler(family, path)
    size = RunDirectory(Path(run)).read_launch().config["dataloaders"]["batch_size"]
    if size >= int(os.environ.get("BATCHTUI_TEST_FULL", size + 1)):
        sample = real.sample
        full = {"limit_total": 1000, "limit_used": 990, "worker_resident": 900}
        real.sample = lambda: dataclasses.replace(sample(), **full)
    return real


def launch(following):
    """Start the supervisor of the next run, and wait until it is up."""
    words = [sys.executable, __file__, str(following.path), *sys.argv[2:]]
    with open(following.supervisor_log, "ab") as log:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    answer = process.stdout.readline().strip()
    if answer != "up":
        raise SuperviseError(answer)


ignore_terminal()
try:
    Supervisor(
        RunDirectory(Path(run)),
        sampler=sampler,
        command=lambda spec, config, run: [word.replace("{run}", str(run.path)) for word in words],
        patience=Patience(**json.loads(patience)),
        launch=launch,
    ).run(lambda: print("up", flush=True))
except BatchtuiError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
