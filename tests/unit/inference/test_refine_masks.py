"""Refining a run under the masks that a user gives."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from multicryogan.config import LawConfig, RefineConfig, SimulationConfig, run_config
from multicryogan.errors import InputError
from multicryogan.evaluation import align_neighbours
from multicryogan.inference import load_manifold, refine_run
from multicryogan.inference.masks import sphere
from multicryogan.io import ParticleStack, read_particles, read_volume, write_volume
from multicryogan.networks import Generator
from multicryogan.synthetic import read_truth, simulate
from multicryogan.training.build import has_frame
from refinement_data import Known, few_poses

BOX, VOXEL_SIZE, IMAGES = 12, 13.0, 40
CONFIG = run_config({"data": {"box": BOX}})
SETTINGS = RefineConfig(iterations=1, conformations=2, components=1, start_shell=3)


@pytest.fixture(autouse=True, scope="module")
def small() -> Any:  # noqa: ANN401
    """Few poses."""
    with few_poses():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks") / "data"
    law = LawConfig(kind="discrete", weights=(0.5, 0.5))
    config = SimulationConfig(images=IMAGES, box=BOX, pixel_size=VOXEL_SIZE, law=law)
    simulate(config, folder)
    return folder


@pytest.fixture(scope="module")
def generator(data: Path) -> Generator:
    return Known(read_truth(data).maps)


Run = Callable[..., None]


@pytest.fixture(scope="module")
def run(generator: Generator, data: Path) -> Run:
    """Refine into a folder."""
    stack: ParticleStack = read_particles(data / "particles.star")

    def go(
        folder: Path, settings: RefineConfig = SETTINGS, start: Generator = generator
    ) -> None:
        folder.mkdir(exist_ok=True)
        refine_run(start, CONFIG, settings, stack, 1, folder)

    return go


def half_box() -> Tensor:
    """(D, D, D) mask of one half."""
    return (torch.arange(BOX) > BOX // 2).float().expand(BOX, BOX, BOX)


def given(folder: Path, **names: str) -> RefineConfig:
    """Write a mask and name it in the settings."""
    write_volume(folder / "mask.mrc", half_box(), VOXEL_SIZE)
    files = {option: str(folder / name) for option, name in names.items()}
    return dataclasses.replace(SETTINGS, **files)  # type: ignore[arg-type]


def test_a_focus_confines_the_motion_and_fixes_the_frame(
    tmp_path: Path, run: Run
) -> None:
    run(tmp_path / "out", given(tmp_path, focus_mask="mask.mrc"))
    manifold, config, _ = load_manifold(tmp_path / "out")
    moved = (manifold.volumes[0] - manifold.volumes[1]).abs()
    assert float(moved[..., : BOX // 2 + 1].max()) == 0
    assert float(moved[..., BOX // 2 + 1 :].max()) > 0
    assert has_frame(config)
    laid, _ = align_neighbours(manifold.volumes, has_frame=has_frame(config))
    assert torch.equal(laid, manifold.volumes)


def test_the_focus_of_a_run_is_kept(
    tmp_path: Path, run: Run, generator: Generator
) -> None:
    focused = copy.deepcopy(generator)
    focused.focus = half_box()
    run(tmp_path, start=focused)
    first, second = load_manifold(tmp_path)[0].volumes
    assert torch.equal(first[..., : BOX // 2 + 1], second[..., : BOX // 2 + 1])
    assert not torch.equal(first, second)


def test_density_stays_in_a_mask_that_is_given(tmp_path: Path, run: Run) -> None:
    run(tmp_path / "out", given(tmp_path, mask="mask.mrc"))
    volumes = load_manifold(tmp_path / "out")[0].volumes
    power = volumes.square().mean((0, 1, 2))
    assert float(power[: BOX // 2 - 1].mean()) < 0.1 * float(power[BOX // 2 :].mean())


def test_the_mask_is_written_and_comes_back_with_a_checkpoint(
    tmp_path: Path, run: Run
) -> None:
    """The one that volumes were kept in: drawn from the data, or as given."""
    run(tmp_path / "auto")
    drawn = read_volume(tmp_path / "auto/mask.mrc")
    assert drawn.voxel_size == pytest.approx(VOXEL_SIZE)
    assert drawn.values.max() > 0.9
    assert not torch.allclose(drawn.values, sphere(drawn.values))
    (tmp_path / "auto/mask.mrc").unlink()
    run(tmp_path / "auto")  # nothing left to do but to write
    again = read_volume(tmp_path / "auto/mask.mrc").values
    assert torch.equal(again, drawn.values)
    run(tmp_path / "out", given(tmp_path, mask="mask.mrc"))
    written = read_volume(tmp_path / "out/mask.mrc").values
    assert float(written[..., : BOX // 2 - 1].max()) == 0


@pytest.mark.parametrize("option", ["mask", "focus_mask"])
def test_another_mask_of_the_same_name_is_refused(
    tmp_path: Path, run: Run, option: str
) -> None:
    settings = given(tmp_path, **{option: "mask.mrc"})
    run(tmp_path / "out", settings)
    run(tmp_path / "out", settings)  # the same goes on
    write_volume(tmp_path / "mask.mrc", half_box().flip(2), VOXEL_SIZE)
    with pytest.raises(InputError, match="other settings or particles; give another"):
        run(tmp_path / "out", settings)
