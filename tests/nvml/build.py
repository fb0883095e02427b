"""Compile the stand-in for NVIDIA's library, and write what it shall answer.

`python -m tests.nvml.build DIR --gpus 8 --animate` does both and keeps the cards busy.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
LIBRARY = "libnvidia-ml.so.1"
GIB = 1 << 30


def compile_library(folder: Path) -> Path:
    """Compile the library into a folder and return its path.

    Raises:
        RuntimeError: no C compiler, or it refused.
    """
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None:
        raise RuntimeError(
            f"the stand-in for {LIBRARY} needs a C compiler, and there is no `{compiler}`: "
            "install gcc or clang, or name one in $CC"
        )
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / LIBRARY
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra"]
    command += [f"-Wl,-soname,{LIBRARY}", "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return library


def environment(library: Path, control: Path) -> dict[str, str]:
    """Return what a program's environment needs to meet the stand-in."""
    return {"LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML": str(control)}


@dataclass
class Gpu:
    """One block of the control file; `lines` holds whatever else is to stand in it."""

    number: int = 0
    name: str = "NVIDIA A100-SXM4-80GB"
    total: int = 80 * GIB
    reserved: int = 640 << 20
    used: int = 0
    utilization: int = 0
    temperature: int = 31
    power: int = 62_000  # milliwatts
    power_limit: int = 400_000
    processes: Mapping[int | str, int | str] = field(default_factory=dict)  # bytes by pid
    lines: tuple[str, ...] = ()

    @property
    def uuid(self) -> str:
        """A UUID of the form that NVML gives, other for each number."""
        return f"GPU-5a1e0000-0000-4000-8000-{self.number:012x}"

    def text(self) -> str:
        """Return the block."""
        keys = ("name", "uuid", "total", "reserved", "used", "utilization", "temperature")
        values = [f"{key} {getattr(self, key)}" for key in (*keys, "power", "power_limit")]
        values += [f"process {pid} {size}" for pid, size in self.processes.items()]
        return "\n  ".join((f"gpu {self.number}", *values, *self.lines)) + "\n"


def write_control(path: Path, *gpus: Gpu, lines: tuple[str, ...] = ()) -> None:
    """Replace the control file, as one step for whoever reads it."""
    text = "\n".join(("driver 570.86.15", "cuda 12080", *lines, *(gpu.text() for gpu in gpus)))
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def busy(count: int, training: int, second: float, rng: random.Random, fill: float) -> list[Gpu]:
    """Return cards at work, `second` after their start.

    The first `training` cards belong to the asking process's child. `fill` seconds after the
    start their memory is full; 0: never.
    """
    cards = []
    for number in range(count):
        ours = number < training
        wave = 0.5 + 0.5 * math.sin(second / 23 + number)
        share = 0.55 + 0.03 * wave + 0.02 * number if ours else 0.1 + 0.6 * wave * (number % 3) / 2
        if ours and fill:
            share += (0.99 - share) * min(1.0, second / fill)
        load = min(1.0, (0.93 if ours else 0.75 * (number % 3) / 2) + rng.uniform(-0.05, 0.05))
        load = max(0.0, load)
        card = Gpu(number)
        card.used = int(share * (card.total - card.reserved))
        card.utilization = round(100 * load)
        card.temperature = round(34 + 33 * load + 3 * wave)
        card.power = round(62_000 + 290_000 * load + rng.uniform(0, 8_000))
        users: dict[int | str, int | str] = {"child": card.used - (GIB if number else 0)}
        card.processes = (users | ({1: GIB} if number else {})) if ours else {1: card.used}
        cards.append(card)
    return cards


def main() -> int:
    """Compile, write a control file, say how to use them, and animate the cards if asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.nvml.build", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="cards (default 1)")
    parser.add_argument("--training", type=int, default=1, metavar="N", help="of them in use by us")
    parser.add_argument("--animate", action="store_true", help="change their values each second")
    parser.add_argument("--fill", type=float, default=0, metavar="S", help="memory full after S s")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end the animation then")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        library = compile_library(options.folder.resolve())
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    control = library.with_name("gpus.txt")
    rng, second = random.Random(options.seed), 0
    write_control(control, *busy(options.gpus, options.training, 0, rng, options.fill))
    print(" ".join(f"{name}={value}" for name, value in environment(library, control).items()))
    sys.stdout.flush()
    try:
        while options.animate and second < options.seconds:
            time.sleep(1)
            second += 1
            cards = busy(options.gpus, options.training, second, rng, options.fill)
            write_control(control, *cards)
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
