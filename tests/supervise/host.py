"""A supervisor in the foreground, with the patience of a test: host.py RUN PATIENCE -- WORKER…"""

import json
import sys
from pathlib import Path

from batchtui.errors import BatchtuiError
from batchtui.runs.directory import RunDirectory
from batchtui.supervise.daemon import ignore_terminal
from batchtui.supervise.patience import Patience
from batchtui.supervise.supervisor import Supervisor

run, patience, _, *words = sys.argv[1:]
ignore_terminal()
try:
    Supervisor(
        RunDirectory(Path(run)),
        command=lambda spec, config, run: words,
        patience=Patience(**json.loads(patience)),
    ).run(lambda: print("up", flush=True))
except BatchtuiError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
