"""The commands, from Python."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import multicryogan.api as mcg
from evaluation_phantoms import asymmetric_points, blobs
from multicryogan.config import LawConfig
from multicryogan.inference import load_manifold
from multicryogan.io import write_volume
from multicryogan.tables import merge
from refinement_data import few_poses
from report_data import BOX, CONFORMATIONS, VOXEL_SIZE, refined
from training_data import tiny_config

SIDE = 16
FEW = {"train": {"images": 8, "discriminator_warmup": 0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def particles(folder: Path) -> Path:
    """120 images of 16 pixels."""
    config = mcg.SimulationConfig(images=120, box=SIDE, pixel_size=10.0)
    stack = mcg.simulate(folder / "data", config)
    assert len(stack) == 120
    return stack.path


@pytest.fixture(scope="module")
def run(folder: Path, particles: Path) -> mcg.Run:
    """A run that was stopped at once."""
    config = tiny_config({**FEW, "data": {"box": SIDE}})
    return mcg.train(particles, folder / "run", config, device="cpu", threads=1)


def test_a_run_gives_a_volume_for_each_latent(run: mcg.Run) -> None:
    count, dimensions = run.latents.shape
    assert run.weights.sum() == pytest.approx(1)
    assert run.volumes.shape == (count, SIDE, SIDE, SIDE)
    assert run.volumes.dtype == np.float32
    np.testing.assert_array_equal(run.volume(run.latents[3]), run.volumes[3])
    assert not run.is_refined
    assert dimensions == 1
    assert run.volume(0.5).shape == (SIDE, SIDE, SIDE)


@pytest.mark.parametrize("latent", [[0.1, 0.2], 5.0, -0.1, math.nan, None])
def test_a_latent_that_the_run_does_not_have_is_refused(
    run: mcg.Run,
    latent: Any,  # noqa: ANN401
) -> None:
    with pytest.raises(ValueError, match="a latent of 1 numbers from 0 to 1, got"):
        run.volume(latent)


def test_refine_assign_report_and_evaluate_go_on_from_it(
    run: mcg.Run, particles: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "multicryogan.inference.findings.LEAST_TOLD", -1.0
    )  # so few tell nothing
    where = {"device": "cpu", "threads": 1}
    settings = mcg.RefineConfig(iterations=1, conformations=3)
    with few_poses():
        better = mcg.refine(run, particles, folder / "refined", settings, **where)
    assert better.is_refined
    assert len(better.latents) == 3
    with few_poses():
        told = mcg.assign(better, particles, folder / "assigned", **where)
    assert told.latent.shape == (120, 1)
    assert told.rotation.shape == (120, 3, 3)
    assert told.populations is not None
    assert told.populations["share"].sum() == pytest.approx(1, abs=1e-4)
    places = mcg.landscape(told, folder / "landscape")
    assert len(places.free_energy) == 3
    assert sum(state.share for state in places.states) == pytest.approx(1)
    page = mcg.report(
        better, run, told, folder / "landscape", output=folder / "page.html"
    )
    assert page.stat().st_size > 4e6
    scores = mcg.evaluate(better, particles.parent)
    assert scores.states


def test_particles_are_checked(particles: Path) -> None:
    found = mcg.check(particles, tiny_config({"data": {"box": SIDE}}))
    assert found.problems == ()
    assert "particles" in dict(found.facts)
    missing = mcg.check(particles, mcg.run_config({"data": {"box": 64}}))
    assert any("64" in problem for problem in missing.problems)


def test_a_check_refuses_what_training_would(particles: Path) -> None:
    with pytest.raises(mcg.InputError, match=r"data\.box is 0"):
        mcg.check(particles, mcg.run_config({"data": {"box": 0}}))


def test_maps_and_scripts_are_written(tmp_path: Path) -> None:
    mcg.write_volumes(refined(tmp_path / "refined"), tmp_path / "maps")
    assert len(list((tmp_path / "maps").glob("volume_*.mrc"))) == CONFORMATIONS
    assert (tmp_path / "maps/open.cxc").is_file()


def test_a_refined_volume_lies_between_its_conformations(tmp_path: Path) -> None:
    opened = mcg.open_run(refined(tmp_path / "refined"))
    manifold, _, _ = load_manifold(tmp_path / "refined")
    assert opened.voxel_size == VOXEL_SIZE
    assert opened.volumes.shape == (CONFORMATIONS, BOX, BOX, BOX)
    np.testing.assert_allclose(opened.volumes, manifold.volumes.numpy(), atol=1e-5)
    middle = opened.volume((opened.latents[2] + opened.latents[3]) / 2)
    wanted = (opened.volumes[2] + opened.volumes[3]) / 2
    np.testing.assert_allclose(middle, wanted, atol=1e-5)
    np.testing.assert_allclose(opened.volume(0.0), opened.volumes[0], atol=1e-5)
    assert opened.verdict["verdict"] == "sound"
    (tmp_path / "refined/verdict.json").write_text('{"verdict": "sou')
    with pytest.raises(mcg.InputError, match=r"verdict\.json: .*; delete it, and"):
        _ = mcg.open_run(tmp_path / "refined").verdict


def test_a_folder_of_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mcg.InputError):
        mcg.open_run(tmp_path)


def test_maps_are_compared_and_correlated(tmp_path: Path) -> None:
    volume = blobs(24, asymmetric_points(24, 0), sigma=1.5)
    for name, scale in (("a", 1.0), ("b", 2.0)):
        write_volume(tmp_path / f"{name}.mrc", scale * volume, 4.0)
    found = mcg.compare(tmp_path / "a.mrc", tmp_path / "b.mrc")
    assert found.scale == pytest.approx(0.5, rel=1e-3)
    assert found.correlation > 0.999
    curve = mcg.fsc(volume.numpy(), torch.tensor(2.0) * volume)
    np.testing.assert_allclose(curve, 1, atol=1e-5)
    with pytest.raises(ValueError, match="NaN or infinite somewhere"):
        mcg.fsc(volume, math.nan * volume)


def test_what_no_command_could_ask_for_is_refused(
    particles: Path, tmp_path: Path
) -> None:
    with pytest.raises(mcg.InputError, match="device is 'gpu'; give auto, cpu or cuda"):
        mcg.train(
            particles,
            tmp_path / "run",
            mcg.run_config({}),
            device="gpu",  # type: ignore[arg-type]
        )
    assert not (tmp_path / "run").exists()
    with pytest.raises(mcg.InputError, match="given no folder"):
        mcg.report()


UNLIKE: tuple[tuple[Callable[[mcg.Run, Path, Path], object], str], ...] = (
    (
        lambda _, __, new: mcg.simulate(
            new,
            mcg.SimulationConfig(law=LawConfig(kind="even")),  # type: ignore[arg-type]
        ),
        "config law.kind: 'even' is not one of",
    ),
    (
        lambda run, particles, new: mcg.refine(
            run,
            particles,
            new,
            mcg.RefineConfig(views="even"),  # type: ignore[arg-type]
        ),
        "config views: 'even' is not one of",
    ),
    (
        lambda run, particles, new: mcg.refine(
            run, particles, new, mcg.RefineConfig(mask="")
        ),
        "--mask '' is no file; give auto, sphere or a mask",
    ),
    (
        lambda run, particles, new: mcg.assign(
            run,
            particles,
            new,
            given=mcg.ParticleOptions(pixel_size="2 Å"),  # type: ignore[arg-type]
        ),
        "config pixel_size: expected float, got '2 Å'",
    ),
)


@pytest.mark.parametrize(("ask", "said"), UNLIKE, ids=[said for _, said in UNLIKE])
def test_settings_of_another_kind_are_refused(
    run: mcg.Run,
    particles: Path,
    tmp_path: Path,
    ask: Callable[[mcg.Run, Path, Path], object],
    said: str,
) -> None:
    with pytest.raises(mcg.InputError, match=re.escape(said)):
        ask(run, particles, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_files_in_settings_are_found_from_anywhere(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that names its starting map from one folder goes on from another."""
    volume = blobs(SIDE, asymmetric_points(SIDE, 0), sigma=1.5)
    write_volume(tmp_path / "map.mrc", volume, 10.0)
    (tmp_path / "below").mkdir()
    for folder, start in ((tmp_path, "map.mrc"), (tmp_path / "below", "../map.mrc")):
        monkeypatch.chdir(folder)
        changes = {"data": {"box": SIDE}, "generator": {"start_map": Path(start)}}
        config = tiny_config(merge(FEW, changes))
        found = mcg.train(particles, tmp_path / "run", config, device="cpu", threads=1)
        assert found.config.generator.start_map == str(tmp_path / "map.mrc")
