"""Refining a run from start to end: what is written, and how it goes on."""

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from multicryogan.cli.assign import read_conformations
from multicryogan.cli.refine import say_resolution
from multicryogan.config import (
    LawConfig,
    RefineConfig,
    RunConfig,
    SimulationConfig,
    run_config,
)
from multicryogan.errors import InputError
from multicryogan.evaluation import HalfSetFSC, fsc
from multicryogan.imaging import Symmetry, symmetrise
from multicryogan.inference import MANIFOLD, load_manifold, refine_run, starts
from multicryogan.inference.refine import describe, half_volumes, split_rows
from multicryogan.inference.refined import Refined, write_refined
from multicryogan.inference.refinement import State
from multicryogan.io import ParticleStack, half_sets, read_particles
from multicryogan.networks import Generator
from multicryogan.priors.views import CELLS, view_cells
from multicryogan.rotations import euler_to_matrix
from multicryogan.synthetic import read_truth, simulate
from multicryogan.training.build import build_generator
from refinement_data import TREE, Known, few_poses

BOX, VOXEL_SIZE, IMAGES, HELD_OUT = 12, 13.0, 120, 6
CONFIG = run_config({"data": {"box": BOX}})
SETTINGS = RefineConfig(iterations=3, conformations=2, components=1, start_shell=3)


@pytest.fixture(autouse=True, scope="module")
def small() -> Any:  # noqa: ANN401
    """Few poses, and some of few particles are held out."""
    with few_poses(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("multicryogan.data.sampler.FEWEST", IMAGES)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refine") / "data"
    law = LawConfig(kind="discrete", weights=(0.5, 0.5))
    config = SimulationConfig(
        images=IMAGES, box=BOX, pixel_size=VOXEL_SIZE, law=law, snr_db=-3.0
    )
    simulate(config, folder)
    return folder


@pytest.fixture(scope="module")
def stack(data: Path) -> ParticleStack:
    return read_particles(data / "particles.star")


@pytest.fixture(scope="module")
def generator(data: Path) -> Generator:
    return Known(read_truth(data).maps)


Run = Callable[..., tuple[Refined, list[str]]]


@pytest.fixture(scope="module")
def run(generator: Generator, stack: ParticleStack) -> Run:
    """Refine into a folder; return what was found and said."""

    def go(
        folder: Path,
        settings: RefineConfig = SETTINGS,
        stop_after: int | None = None,
        particles: ParticleStack = stack,
        start: Generator = generator,
        config: RunConfig = CONFIG,
    ) -> tuple[Refined, list[str]]:
        said: list[str] = []

        def say(state: State) -> None:
            said.append(describe(state))
            if len(said) == stop_after:
                raise KeyboardInterrupt

        folder.mkdir(exist_ok=True)
        found = refine_run(start, config, settings, particles, 1, folder, say=say)
        return found, said

    return go


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, run: Run
) -> tuple[Path, Refined, list[str]]:
    """An uninterrupted refinement of three iterations."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *run(folder)


def assert_equal(found: State, expected: State) -> None:
    assert found.iteration == expected.iteration
    assert found.shell == expected.shell
    assert torch.equal(found.maxima, expected.maxima)
    for half in (0, 1):
        for name in ("latents", "weights", "coefficients", "basis", "pairs"):
            ours, theirs = (
                getattr(state.halves[half], name) for state in (found, expected)
            )
            assert torch.equal(ours, theirs), name
    records = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in s.history]
        for s in (found, expected)
    ]
    assert records[0] == records[1]


# What is written


def test_all_files_are_there(whole: tuple[Path, Refined, list[str]]) -> None:
    names = {path.name for path in whole[0].iterdir()}
    maps = {
        f"conformation_{number:03d}{kind}.mrc"
        for number in (1, 2)
        for kind in ("", "_half1_unfil", "_half2_unfil")
    }
    tables = {"fsc.csv", "refine.json", "views.csv", "weights.csv"}
    assert names == maps | tables | {MANIFOLD, "mask.mrc", "checkpoints"}


def test_views_are_listed_beside_uniform_ones(
    whole: tuple[Path, Refined, list[str]],
) -> None:
    folder, refined, _ = whole
    table = pd.read_csv(folder / "views.csv")
    views = refined.state.manifold.views
    assert list(table.columns[:3]) == ["rot_deg", "tilt_deg", "all"]
    assert len(views.weights) == 2  # of the two conformations
    for number, weights in enumerate(views.weights, start=1):
        listed = table[f"conformation_{number:03d}"]
        np.testing.assert_allclose(listed, CELLS * weights, atol=1e-4)
    assert table["all"].mean() == pytest.approx(1, abs=1e-3)
    rotation = euler_to_matrix(
        torch.tensor(table["rot_deg"].to_numpy()),
        torch.tensor(table["tilt_deg"].to_numpy()),
        torch.zeros(CELLS).double(),
    )
    assert view_cells(rotation).tolist() == list(range(CELLS))


def read_map(path: Path) -> Tensor:
    with mrcfile.open(path) as file:
        assert float(file.voxel_size.x) == pytest.approx(VOXEL_SIZE)
        return torch.from_numpy(file.data.copy())


def test_maps_are_those_of_the_manifold(whole: tuple[Path, Refined, list[str]]) -> None:
    folder, refined, _ = whole
    halves = half_volumes(refined.state)
    for number in (0, 1):
        name = f"conformation_{number + 1:03d}"
        volume = refined.state.manifold.volumes[number]
        torch.testing.assert_close(read_map(folder / f"{name}.mrc"), volume)
        for half in (0, 1):
            found = read_map(folder / f"{name}_half{half + 1}_unfil.mrc")
            torch.testing.assert_close(found, halves[half, number])


def test_half_maps_are_sums_of_the_unfiltered_basis(
    whole: tuple[Path, Refined, list[str]],
) -> None:
    state = whole[1].state
    for half in (0, 1):
        mean, motion = state.maxima[half]
        for number in (0, 1):
            one, size = state.halves[half].coefficients[number].tolist()
            expected = one * mean + size * motion
            torch.testing.assert_close(half_volumes(state)[half, number], expected)


def test_refined_maps_are_like_the_true_ones(
    whole: tuple[Path, Refined, list[str]], data: Path
) -> None:
    curves = fsc(whole[1].state.manifold.volumes, read_truth(data).maps)
    assert (curves[:, 1:3] > 0.85).all(), curves


def test_the_report_holds_the_numbers_of_the_curves(
    whole: tuple[Path, Refined, list[str]],
) -> None:
    folder, refined, said = whole
    told = json.loads((folder / "refine.json").read_text())
    assert told["start"] == "generator"
    assert told["settings"] == dataclasses.asdict(SETTINGS)
    assert told["voxel_size"] == VOXEL_SIZE
    assert told["iterations"] == [dict(r) for r in refined.state.history]
    assert len(said) == len(told["iterations"]) == 3
    assert list(told["held_out_log_likelihood_of_starts"]) == ["generator"]
    last = refined.state.history[-1]["shell"]
    limit = BOX * VOXEL_SIZE / last
    expected = [max(limit, curve.resolution_angstrom) for curve in refined.curves]
    assert told["gold_standard_resolution_angstrom"] == pytest.approx(expected)
    assert told["last_shell_angstrom"] == pytest.approx(limit)
    table = pd.read_csv(folder / "fsc.csv")
    assert table["shell"].tolist() == list(range(last + 1))
    for number, curve in enumerate(refined.curves, start=1):
        written = table[f"conformation_{number:03d}"].to_numpy()
        np.testing.assert_allclose(written, curve.corrected[: last + 1], atol=1e-4)


def curve(*values: float) -> HalfSetFSC:
    """Of these corrected values."""
    other = torch.full((len(values),), 0.5)
    return HalfSetFSC(other, other, other, torch.tensor(values), 7, BOX, VOXEL_SIZE)


def test_the_report_tells_where_curves_fall(
    tmp_path: Path, whole: tuple[Path, Refined, list[str]]
) -> None:
    """Half-way between shells 3 and 4, never, and at once."""
    curves = (
        curve(1, 1, 0.9, 0.643, -0.357, 0.8, 0.9),
        curve(1, 1, 1, 1, 1, 1, 1),
        curve(1, 0.1, 1, 1, 1, 1, 1),
    )
    shells = {"last_shell": 5, "start_shell": 1}
    refined = dataclasses.replace(whole[1], curves=curves, **shells)
    write_refined(refined, CONFIG, SETTINGS, VOXEL_SIZE, tmp_path)
    told = json.loads((tmp_path / "refine.json").read_text())
    found = told["gold_standard_resolution_angstrom"]
    box_angstrom = BOX * VOXEL_SIZE
    assert found[:2] == pytest.approx([box_angstrom / 3.5, box_angstrom / 5])
    assert found[2] is None
    table = pd.read_csv(tmp_path / "fsc.csv")
    assert table["conformation_001"].tolist() == [1, 1, 0.9, 0.643, -0.357, 0.8]
    assert table["conformation_003"].tolist() == [1, 0.1, 1, 1, 1, 1]


def test_halves_that_share_little_but_their_start_tell_no_resolution(
    tmp_path: Path, whole: tuple[Path, Refined, list[str]]
) -> None:
    refined = whole[1]
    assert refined.warnings == []
    last = refined.state.history[-1] | {"log_likelihood": [1.0, 1.2]}
    state = dataclasses.replace(refined.state, history=(last,))
    poor = dataclasses.replace(refined, state=state)
    (warning,) = poor.warnings
    assert "an image tells 1.1 nats" in warning
    write_refined(poor, CONFIG, SETTINGS, VOXEL_SIZE, tmp_path)
    told = json.loads((tmp_path / "refine.json").read_text())
    assert told["gold_standard_resolution_angstrom"] == [None, None]
    assert told["warnings"] == [warning]
    assert say_resolution(poor) == "no resolution is known of 2 conformations"


@pytest.mark.parametrize(
    ("courses", "best"),
    [
        ([(4, False, 9.0), (5, False, 8.0), (5, False, 8.2)], None),  # other shells
        ([(5, False, 9.0), (5, True, 8.5), (5, True, 8.45)], None),  # little
        ([(5, True, 8.0), (5, True, 8.6), (5, True, 8.4)], 2),
        ([(5, True, None), (5, True, None)], None),
    ],
)
def test_images_that_are_held_out_tell_when_it_gets_worse(
    courses: list[tuple[int, bool, float | None]],
    best: int | None,
    whole: tuple[Path, Refined, list[str]],
) -> None:
    refined = whole[1]
    history = tuple(
        refined.state.history[-1]
        | {"iteration": number, "shell": shell, "fine": fine, "held_out": held_out}
        for number, (shell, fine, held_out) in enumerate(courses, start=1)
    )
    state = dataclasses.replace(refined.state, history=history)
    found = dataclasses.replace(refined, state=state)
    if best is None:
        assert found.warnings == []
    else:
        (warning,) = found.warnings
        assert f"explained worse (8.40 nats) than after iteration {best} (8.60)" in (
            warning
        )
        # It says nothing of the resolution.
        assert found.resolutions_angstrom == refined.resolutions_angstrom


def test_conformations_without_a_resolution_are_left_out(
    whole: tuple[Path, Refined, list[str]],
) -> None:
    curves = (curve(1, 1, 0.9, 0.643, -0.357, 0.8, 0.9), curve(1, 0.1, 1, 1, 1, 1, 1))
    shells = {"last_shell": 5, "start_shell": 1}
    refined = dataclasses.replace(whole[1], curves=curves, **shells)
    size = BOX * VOXEL_SIZE / 3.5
    said = f"resolution {size:.1f} Å over 1 of 2 conformations"
    assert say_resolution(refined) == f"gold-standard {said}"


def test_each_line_tells_its_iteration(whole: tuple[Path, Refined, list[str]]) -> None:
    _, refined, said = whole
    for line, record in zip(said, refined.state.history, strict=True):
        mean = sum(record["log_likelihood"]) / 2
        first = f"iteration {record['iteration']}: shells to {record['shell']}, "
        assert line.startswith(first)
        assert f"log-likelihood {mean:.2f} nats" in line
        assert f"held out {record['held_out']:.2f}" in line


# The manifold as a file


def learned(refined: Refined) -> RunConfig:
    """The config, with the spread of contrasts that was found: none but by noise."""
    spread = refined.state.manifold.contrast_spread
    assert 0 < spread < CONFIG.imaging.contrast_spread
    return dataclasses.replace(
        CONFIG, imaging=dataclasses.replace(CONFIG.imaging, contrast_spread=spread)
    )


def test_the_manifold_comes_back(whole: tuple[Path, Refined, list[str]]) -> None:
    folder, refined, _ = whole
    manifold, config, voxel_size = load_manifold(folder)
    assert config == learned(refined)
    assert voxel_size == VOXEL_SIZE
    for name in ("latents", "weights", "coefficients", "basis", "pairs"):
        ours, expected = (getattr(m, name) for m in (manifold, refined.state.manifold))
        assert torch.equal(ours, expected), name


@pytest.mark.parametrize(
    ("content", "cure"),
    [(None, "give a folder of refine"), (b"", "no manifold"), (b"x" * 99, "no manif")],
)
def test_what_is_no_manifold_is_told_in_a_line(
    tmp_path: Path, content: bytes | None, cure: str
) -> None:
    if content is not None:
        (tmp_path / MANIFOLD).write_bytes(content)
    with pytest.raises(InputError, match=cure) as told:
        load_manifold(tmp_path)
    assert "\n" not in str(told.value)
    assert MANIFOLD in str(told.value)


@pytest.mark.parametrize("wrong", ["tensor", "header", "fit"])
def test_a_file_of_other_tensors_is_no_manifold(
    wrong: str, tmp_path: Path, whole: tuple[Path, Refined, list[str]]
) -> None:
    manifold = whole[1].state.manifold
    tensors = {
        name: getattr(manifold, name)
        for name in ("latents", "weights", "coefficients", "basis")
    }
    header = {"config": json.dumps(dataclasses.asdict(CONFIG)), "voxel_size": "13.0"}
    if wrong == "tensor":
        del tensors["weights"]
    elif wrong == "fit":
        tensors["coefficients"] = torch.ones(2, 3)
    else:
        del header["config"]
    save_file(tensors, tmp_path / MANIFOLD, header)
    with pytest.raises(InputError, match="is no manifold of multicryogan") as told:
        load_manifold(tmp_path)
    assert "\n" not in str(told.value)


def test_assign_takes_the_refined_conformations(
    whole: tuple[Path, Refined, list[str]],
) -> None:
    folder, refined, _ = whole
    manifold, config, voxel_size = read_conformations(folder, 0)
    assert torch.equal(manifold.volumes, refined.state.manifold.volumes)
    assert (config, voxel_size) == (learned(refined), VOXEL_SIZE)
    with pytest.raises(InputError, match="leave the option away"):
        read_conformations(folder, 2)


# Going on


def test_a_stopped_refinement_goes_on_and_comes_to_the_same(
    tmp_path: Path, run: Run, whole: tuple[Path, Refined, list[str]]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=1)
    assert not (tmp_path / "refine.json").exists()
    found, said = run(tmp_path)
    assert [line.split(":")[0] for line in said] == ["iteration 2", "iteration 3"]
    assert_equal(found.state, whole[1].state)
    assert_same_results(tmp_path, whole[0])


def assert_same_results(ours: Path, theirs: Path) -> None:
    assert (ours / "fsc.csv").read_text() == (theirs / "fsc.csv").read_text()
    name = "conformation_002_half1_unfil.mrc"
    assert torch.equal(read_map(ours / name), read_map(theirs / name))
    found, expected = (load_manifold(folder)[0] for folder in (ours, theirs))
    assert torch.equal(found.volumes, expected.volumes)


@pytest.fixture
def finished(
    tmp_path: Path, whole: tuple[Path, Refined, list[str]]
) -> tuple[Path, Path]:
    """Checkpoints of the whole refinement in a folder, and the newest of them."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for path in (whole[0] / "checkpoints").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return tmp_path, max(folder.iterdir())


def test_a_broken_checkpoint_falls_back_to_the_one_before(
    finished: tuple[Path, Path], run: Run, whole: tuple[Path, Refined, list[str]]
) -> None:
    folder, newest = finished
    newest.write_bytes(newest.read_bytes()[:-2_000])
    found, said = run(folder)
    assert [line.split(":")[0] for line in said] == ["iteration 3"]
    assert_equal(found.state, whole[1].state)


def test_a_finished_refinement_writes_its_files_again(
    finished: tuple[Path, Path], run: Run, whole: tuple[Path, Refined, list[str]]
) -> None:
    found, said = run(finished[0])
    assert said == []
    assert_equal(found.state, whole[1].state)
    assert_same_results(finished[0], whole[0])


@pytest.mark.parametrize(
    "change", [{"components": 0}, {"conformations": 3}, {"seed": 1}]
)
def test_other_settings_are_refused(
    finished: tuple[Path, Path], run: Run, change: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="other settings or particles; give another"):
        run(finished[0], dataclasses.replace(SETTINGS, **change))


def test_other_particles_are_refused(
    finished: tuple[Path, Path], run: Run, tmp_path: Path
) -> None:
    law = LawConfig(kind="discrete")
    few = SimulationConfig(images=20, box=BOX, pixel_size=VOXEL_SIZE, law=law)
    simulate(few, tmp_path / "few")
    other = read_particles(tmp_path / "few" / "particles.star")
    with pytest.raises(InputError, match="other settings or particles; give another"):
        run(finished[0], particles=other)


def test_another_generator_is_refused(
    finished: tuple[Path, Path], run: Run, generator: Generator
) -> None:
    other = copy.deepcopy(generator)
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    with pytest.raises(InputError, match="other settings or particles; give another"):
        run(finished[0], start=other)


def test_another_symmetry_is_refused(
    finished: tuple[Path, Path], run: Run, generator: Generator
) -> None:
    other = copy.deepcopy(generator)
    other.symmetry = Symmetry("C2")
    with pytest.raises(InputError, match="other settings or particles; give another"):
        run(finished[0], start=other)


def test_a_refinement_can_be_made_longer(finished: tuple[Path, Path], run: Run) -> None:
    longer = dataclasses.replace(SETTINGS, iterations=4)
    _, said = run(finished[0], longer)
    assert [line.split(":")[0] for line in said] == ["iteration 4"]


# Starts


def test_a_rigid_generator_is_refined_as_one_map(tmp_path: Path, run: Run) -> None:
    config = run_config({"data": {"box": BOX}, "generator": {"kind": "volume"}})
    start = build_generator(config, BOX)
    settings = dataclasses.replace(SETTINGS, iterations=1, components=0)
    found, _ = run(tmp_path, settings, start=start, config=config)
    assert found.state.halves[0].coefficients.tolist() == [[1.0], [1.0]]
    assert found.state.maxima.shape == (2, 1, BOX, BOX, BOX)
    first, second = found.curves
    assert torch.equal(first.corrected, second.corrected)
    assert torch.equal(*load_manifold(tmp_path)[0].volumes)


@pytest.mark.parametrize("has_motion", [False, True])
def test_the_symmetry_of_the_run_is_that_of_the_maps(
    has_motion: bool, tmp_path: Path, run: Run
) -> None:
    shape = {"kind": "volume", "symmetry": "D2", "symmetric_motion": has_motion}
    config = run_config({"data": {"box": BOX}, "generator": shape})
    settings = dataclasses.replace(SETTINGS, iterations=1, components=0)
    found, _ = run(
        tmp_path, settings, start=build_generator(config, BOX), config=config
    )
    for volumes in (found.state.maxima, load_manifold(tmp_path)[0].volumes):
        torch.testing.assert_close(symmetrise(volumes, "D2"), volumes)
    # One of four poses that are alike need not be named: nothing moves.
    poses = TREE.count(TREE.levels(found.last_shell) + 1) / 4
    assert found.pose_nats == pytest.approx(math.log(poses))


@pytest.mark.parametrize(("size", "best"), [(1.0, "random"), (-1.0, "generator")])
def test_the_start_that_explains_held_out_images_best_is_taken(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    run: Run,
    whole: tuple[Path, Refined, list[str]],
    size: float,
    best: str,
) -> None:
    """The refined manifold stands for a random start, and its negative for another."""
    refined = whole[1].state.manifold
    other = dataclasses.replace(refined, basis=size * refined.basis)
    monkeypatch.setattr(
        starts, "random_start", lambda work, latents, power, report: (other, [1.5])
    )
    settings = dataclasses.replace(SETTINGS, iterations=1, start="both")
    weak = Known(0.5 * read_maps(whole[0]))
    found, _ = run(tmp_path, settings, start=weak)
    assert found.start == best
    assert max(("generator", "random"), key=lambda name: found.scores[name]) == best
    told = json.loads((tmp_path / "refine.json").read_text())
    assert told["held_out_log_likelihood_of_starts"] == found.scores
    assert found.scores["random tries"] == [1.5]


def read_maps(folder: Path) -> Tensor:
    names = ("conformation_001.mrc", "conformation_002.mrc")
    return torch.stack([read_map(folder / name) for name in names])


def test_random_starts_need_images_that_are_held_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run
) -> None:
    monkeypatch.setattr("multicryogan.data.sampler.FEWEST", IMAGES + 1)
    with pytest.raises(InputError, match="too few particles to hold some out"):
        run(tmp_path, dataclasses.replace(SETTINGS, start="random"))


# Halves


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("is_named", [False, True])
def test_halves_are_those_that_assign_exports(
    data: Path, is_named: bool, seed: int
) -> None:
    stack, held_out = read_particles(data / "particles.star"), torch.arange(0, 120, 20)
    if is_named:
        stack.table = stack.table.assign(rlnRandomSubset=[1, 1, 2] * 40)
    first, second, out = split_rows(stack, held_out, seed)
    exported = half_sets(stack, seed)
    assert (exported[first] == 0).all()
    assert (exported[second] == 1).all()
    assert torch.equal(out, held_out)
    assert len(out) == HELD_OUT
    every = torch.cat((first, second, out)).sort().values
    assert torch.equal(every, torch.arange(IMAGES))
    if is_named:
        assert len(first) == 80 - 4  # of the held-out rows, 0, 40, 60, 100
    else:
        assert int(first[0]) == (1 if seed else 2)  # row 0 is held out


def test_the_last_iterations_are_in_fine_poses(
    whole: tuple[Path, Refined, list[str]],
) -> None:
    history = whole[1].state.history
    at_end = [record["shell"] == BOX // 2 for record in history]
    fine = [bool(record["fine"]) for record in history]
    assert at_end[-1]
    assert fine[-1]
    assert not fine[0]
    for record, line in zip(history, whole[2], strict=True):
        assert ("fine poses" in line) == bool(record["fine"])
