"""Runs of `multicryogan` as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from multicryogan.tables import write_toml
from training_data import tiny_config, write_particles

PATIENCE_SECONDS = 90


class Workplace:
    """A folder with particles and the settings of a tiny run."""

    def __init__(self, folder: Path, changes: dict[str, Any] | None = None) -> None:
        """Write the data set and the config."""
        self.config = tiny_config(changes)
        self.particles = write_particles(folder)
        self.settings = folder / "tiny.toml"
        write_toml(self.settings, self.config)

    def command(self, run: Path, *options: str, processes: int = 1) -> list[str]:
        """Command line that trains to the folder `run`."""
        start = [sys.executable, "-m"]
        if processes > 1:
            start += ["torch.distributed.run", "--standalone"]
            start += [f"--nproc-per-node={processes}", "-m"]
        ours = ["multicryogan", "train", str(self.particles), "-o", str(run)]
        common = ["--config", str(self.settings), "--threads", "1", "--device", "cpu"]
        return [*start, *ours, *common, *options]

    def train(self, run: Path, *options: str, processes: int = 1) -> str:
        """Train to the end; return what was printed."""
        done = finish(self.command(run, *options, processes=processes))
        return done.stdout + done.stderr

    def start(self, run: Path, *options: str) -> subprocess.Popen[str]:
        """Start training and return at its first line of metrics."""
        return start(self.command(run, *options), run / "metrics.jsonl")


def finish(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which must be a good one."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def start(command: list[str], sign: Path) -> subprocess.Popen[str]:
    """Start a command and return when the file `sign` is there and not empty."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    wait_for(sign, process)
    return process


def environment() -> dict[str, str]:
    """Environment in which every thread counts."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file is there and not empty."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (path.is_file() and path.stat().st_size > 0):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def metrics(run: Path) -> list[dict[str, float]]:
    """Lines of metrics.jsonl without the clock."""
    text = (run / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in line.items() if k != "minutes"} for line in lines]


def newest_weights(run: Path, player: str) -> torch.Tensor:
    """All weights of one player in the newest checkpoint, flat."""
    path = max((run / "checkpoints").glob("step_*.pt"))
    state = torch.load(path, weights_only=True)[player]
    return torch.cat([value.double().flatten() for value in state.values()])
