"""What installs and starts the program elsewhere: conda recipe, container, Slurm."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from system_runs import Workplace, environment, metrics, wait_for
from wheels import built_wheel

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "install"
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """An environment in which Slurm has given one node with two processes."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, does in (("srun", 'exec "$@"'), ("scontrol", "echo localhost")):
        (commands / name).write_text(f"#!/bin/sh\n{does}\n")
        (commands / name).chmod(0o755)
    own = os.pathsep.join((str(commands), str(Path(sys.executable).parent)))
    return environment() | {
        "PATH": f"{own}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
        "SLURM_CPUS_PER_TASK": "2",
    }


def job(place: Workplace, run: Path, *options: str) -> list[str]:
    """What sbatch would start."""
    ours = place.command(run, *options)[4:]  # without: python -m multicryogan train
    return ["bash", str(INSTALL / "train.slurm"), *ours]


def test_the_conda_recipe_asks_for_what_pip_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = yaml.safe_load((INSTALL / "recipe.yaml").read_text())
    wanted = [f"python{project['requires-python']}", *project["dependencies"]]
    pairs = [re.split(r"(?=>=)", line) for line in wanted]
    named = [f"{CONDA_NAMES.get(name, name)} {least}" for name, least in pairs]
    assert sorted(recipe["requirements"]["run"]) == sorted(named)
    assert recipe["context"]["version"] == project["version"]
    assert recipe["about"]["summary"] == project["description"]
    entry = project["scripts"]["multicryogan"]
    assert recipe["build"]["python"]["entry_points"] == [f"multicryogan = {entry}"]


@pytest.mark.slow
def test_the_package_of_conda_passes_its_own_test(tmp_path: Path) -> None:
    imports, commands = yaml.safe_load((INSTALL / "recipe.yaml").read_text())["tests"]
    names = ", ".join(imports["python"]["imports"])
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for line in (f"python -c 'import {names}'", *commands["script"]):
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment() | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.slow
def test_the_container_copies_what_the_package_needs(tmp_path: Path) -> None:
    text = (INSTALL / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY .*", text, re.M)]
    names = {name for line in copied for name in line}
    assert {"constraints.txt", "pyproject.toml"} <= names
    assert built_wheel(tmp_path / "copied", names) == built_wheel(tmp_path / "whole")


@pytest.mark.slow
def test_a_slurm_job_trains_on_all_processes(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    place, run = Workplace(tmp_path), tmp_path / "run"
    done = subprocess.run(
        job(place, run), env=cluster, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("96 particles") == 1
    assert metrics(run)[-1]["images_seen"] == place.config.train.images


@pytest.mark.slow
def test_a_slurm_job_that_runs_out_of_time_saves_and_goes_on(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    place, run = Workplace(tmp_path, {"train": {"images": 100_000}}), tmp_path / "run"
    process = subprocess.Popen(
        job(place, run),
        env=cluster,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(run / "metrics.jsonl", process)
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert f"the same command goes on: {run}" in said
    assert any((run / "checkpoints").glob("step_*.pt"))
