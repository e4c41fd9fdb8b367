"""The benchmark of large stacks, on a small one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark_files import load_benchmark
from multicryogan.data.preprocess import Preprocessing
from multicryogan.data.sampler import ImageSampler
from multicryogan.io import ParticleStack, read_particles
from training_data import tiny_config

load_benchmark("quality_table")  # quality imports it
quality = load_benchmark("quality")  # large_stack imports it
large_stack = load_benchmark("large_stack")

LAYOUT = large_stack.Layout(rows=300, stacks=3, box=32, written=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sets")
    large_stack.make_sets(made, LAYOUT)
    return made


@pytest.fixture(scope="module")
def large(folder: Path) -> ParticleStack:
    return read_particles(folder / "large.star")


def test_rows_cover_all_stacks_evenly(large: ParticleStack) -> None:
    assert len(large) == 300
    assert np.bincount(large.image_keys[:, 0]).tolist() == [100, 100, 100]
    assert np.unique(large.image_keys[:, 1]).tolist() == [0, 25, 50, 75]


def test_rows_name_images_that_were_written(large: ParticleStack) -> None:
    large.check_files()
    deviation = large.images(slice(None)).std(axis=(1, 2))
    assert deviation.min() > 0.9


def test_stacks_are_holes_for_the_most_part(folder: Path) -> None:
    for path in large_stack.stacks_of(folder):
        found = path.stat()
        assert found.st_size == 1024 + 100 * 32**2 * 4
        assert 512 * found.st_blocks < found.st_size / 4


def test_a_batch_comes_from_all_stacks_in_random_order(large: ParticleStack) -> None:
    optics = large.ctf_params()
    sampler = ImageSampler(large, Preprocessing(16, 1, 7.0, 1.0), 0, optics)
    drawn = sampler.batch(120, 0)[1]
    assert optics is not None
    assert drawn is not None
    own, found = optics.defocus_u_angstrom, drawn.defocus_u_angstrom
    rows = (found[:, None] == own).int().argmax(1)
    counts = torch.bincount(rows // LAYOUT.per_stack, minlength=3)
    assert counts.min() > 25
    rising = (rows.diff() > 0).float().mean()
    assert 0.3 < rising < 0.7


def test_both_stacks_are_trained_in_turns(folder: Path, tmp_path: Path) -> None:
    sets = {name: folder / f"{name}.star" for name in ("large", "small")}
    config = large_stack.working_box(tiny_config(), 16)
    found = large_stack.speed(sets, config, folder, (3, 1), "cpu")
    assert found["box"] == 16
    assert found["images_per_second"].keys() == sets.keys()
    assert 0 < found["ratio"]["low"] <= found["ratio"]["median"]


def test_the_ratio_is_that_of_turns_beside_each_other() -> None:
    rates = {"large": [1.0, 20.0, 300.0], "small": [2.0, 40.0, 600.0]}
    assert large_stack.ratio_of(rates) == {"low": 0.5, "median": 0.5, "high": 0.5}


def test_the_report_is_json(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given: list[str] = []

    def run_command(command: list[str], log: Path) -> object:
        given.append(Path(command[1]).name)
        return quality.Ending(0, "done", 0.1, 1.2345)

    monkeypatch.setattr(large_stack, "run_command", run_command)
    monkeypatch.setattr(large_stack, "speed", lambda *given: {"ratio": 1.0})
    monkeypatch.setattr(large_stack, "keep_freed_memory", lambda: None)
    small = ["--rows", "60", "--stacks", "3", "--box", "32", "--written", "4"]
    assert large_stack.main([*small, "--boxes", "16"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert given == ["large.star", "small.star"]
    assert report["peak_gb"] == {"large": 1.234, "small": 1.234}
    assert report["speed"] == [{"ratio": 1.0}]
    assert {"commit", "machine", "seed", "threads"} <= report.keys()


def test_a_run_that_fails_says_why(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = quality.Ending(2, "multicryogan: no", 0.1, 1.0)
    monkeypatch.setattr(large_stack, "run_command", lambda *given: failed)
    with pytest.raises(RuntimeError, match="multicryogan: no"):
        large_stack.peak_gb(folder / "large.star", tiny_config(), tmp_path, [])
