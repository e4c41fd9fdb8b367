"""Ctrl-C, SIGTERM and SIGKILL while `multicryogan train` runs."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from system_runs import PATIENCE_SECONDS, Workplace, environment, metrics, wait_for

ENDLESS = ("--images", "10000000")
OFTEN = {"output": {"checkpoint_minutes": 0.0}}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_has_a_checkpoint_and_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    place, run = Workplace(tmp_path, {"data": {"box": 16}}), tmp_path / "run"
    process = place.start(run, *ENDLESS)
    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, said
    assert "stopped; the same command goes on" in said
    assert "Traceback" not in said
    stopped = len(metrics(run))
    assert (run / "checkpoints" / f"step_{stopped:08d}.pt").is_file()
    assert (run / "snapshot.safetensors").is_file()

    images = 4 * (stopped + 3)
    assert "done" in place.train(run, "--images", str(images))
    assert [line["step"] for line in metrics(run)] == list(range(1, stopped + 4))


@pytest.mark.slow
def test_a_simulation_that_is_ended_leaves_nothing_half_written(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "multicryogan", "simulate", "--threads", "1"]
    command += ["-o", str(tmp_path / "data"), "--images", "100000"]
    with subprocess.Popen(command, env=environment()) as process:
        try:
            wait_for(tmp_path / f".data.{process.pid}" / "clean.tmp", process)
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 143
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    place, run = Workplace(tmp_path, {**OFTEN, "data": {"box": 16}}), tmp_path / "run"
    process = place.start(run, *ENDLESS)
    while not any((run / "checkpoints").glob("step_*.pt")):
        time.sleep(0.02)
    process.kill()
    process.communicate()
    last = max(int(p.stem[5:]) for p in (run / "checkpoints").glob("step_*.pt"))
    place.train(run, "--images", str(4 * (last + 2)))
    assert [line["step"] for line in metrics(run)] == list(range(1, last + 3))
