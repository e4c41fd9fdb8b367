"""Starts from a map, and from the poses of the particle file."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from multicryogan.config import GeneratorConfig
from multicryogan.errors import InputError
from multicryogan.fourier import frequency_radius
from multicryogan.io import ParticleStack, Volume, write_volume
from multicryogan.priors import VIEW_STEPS
from multicryogan.priors.views import CELLS, view_cells, view_directions
from multicryogan.rng import Shard
from multicryogan.rotations import super_fibonacci
from multicryogan.training import Trainer, load_snapshot
from multicryogan.training.build import build_generator
from multicryogan.training.laws import Laws
from multicryogan.training.warm import (
    SHELL,
    TRUSTED,
    file_directions,
    known_start,
    start_voxels,
)
from training_data import tiny_config, tiny_stack

FIELD = 160.0  # Å, of the images
PLACE, WIDTH = (20.0, -12.0, 8.0), 16.0  # of a Gaussian, (x, y, z) in Å


def gaussian(box: int, voxel_size: float) -> Tensor:
    axis = voxel_size * (torch.arange(box, dtype=torch.float64) - box // 2)
    x, y, z = ((-0.5 * ((axis - at) / WIDTH).square()).exp() for at in PLACE)
    return (z[:, None, None] * y[:, None] * x).float()


def low_passed(volume: Tensor) -> Tensor:
    spectrum = torch.fft.rfftn(volume)
    kept = frequency_radius(len(volume), 3, like=volume) <= SHELL
    passed: Tensor = torch.fft.irfftn(spectrum * kept, s=volume.shape)
    return passed


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1])


@pytest.mark.parametrize(
    ("box", "voxel_size"), [(80, 2.0), (81, 2.0), (50, 2.5), (100, 2.5), (61, 3.1)]
)
@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_map_of_any_box_is_the_start_at_its_place(
    box: int, voxel_size: float, level: float
) -> None:
    volume = Volume(3 * gaussian(box, voxel_size) + level, voxel_size)
    voxels = start_voxels(volume, 16, FIELD)
    generator = build_generator(tiny_config(), 16, voxels)
    made = generator.shaped(voxels)
    expected = low_passed(gaussian(16, FIELD / 16))
    assert correlation(made, expected) > 0.995


def test_a_map_of_voxels_too_coarse_is_refused() -> None:
    with pytest.raises(InputError, match=r"20 Å, 8 of them .* 16 are needed: give"):
        start_voxels(Volume(gaussian(12, 20.0), 20.0), 16, FIELD)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (torch.ones(40, 40, 40), "holds one value"),
        (torch.full((40, 40, 40), 1e30), "holds one value"),
        (torch.ones(1, 1, 1), "has 1 voxels along each side"),
    ],
)
def test_a_map_that_shows_nothing_is_refused(
    tmp_path: Path, values: torch.Tensor, said: str
) -> None:
    write_volume(tmp_path / "map.mrc", values, 4.0)
    shape = GeneratorConfig(start_map=str(tmp_path / "map.mrc"))
    with pytest.raises(InputError, match=rf"map\.mrc: the starting map {said}.*; give"):
        known_start(shape, 16, FIELD)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_a_map_does_not_count(scale: float) -> None:
    voxels = start_voxels(Volume(scale * gaussian(80, 2.0), 2.0), 16, FIELD)
    expected = start_voxels(Volume(gaussian(80, 2.0), 2.0), 16, FIELD)
    torch.testing.assert_close(voxels, expected, rtol=1e-4, atol=1e-6)


def test_a_run_begins_with_the_map(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.mrc", gaussian(80, 2.0), 2.0)
    changes = {"generator": {"start_map": str(tmp_path / "map.mrc")}}
    stack = tiny_stack(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    trainer = Trainer(tiny_config(changes), stack, 1, run, shard=Shard(), device="cpu")
    generator = trainer.players.generator
    generator.open_band(16.0)
    generator.open_motion(0)
    with torch.no_grad():
        volume = generator(torch.tensor([[0.5]]))[0]
    assert correlation(volume, low_passed(gaussian(16, 10.0))) > 0.97


def test_a_run_keeps_its_focus(tmp_path: Path) -> None:
    """From the coarse box to the fine one, over a break, and in the snapshot."""
    write_volume(tmp_path / "map.mrc", gaussian(80, 2.0), 2.0)
    mask = torch.zeros(80, 80, 80)
    mask[:, :, 40:] = 1
    write_volume(tmp_path / "mask.mrc", mask, 2.0)
    files = {"start_map": "map.mrc", "focus_mask": "mask.mrc"}
    shape = {key: str(tmp_path / name) for key, name in files.items()}
    stack, run = tiny_stack(tmp_path), tmp_path / "run"
    run.mkdir()
    for is_first in (True, False):
        changes = {"generator": shape, "train": {"images": 36}}
        config = tiny_config(changes)
        trainer = Trainer(config, stack, 1, run, shard=Shard(), device="cpu")
        focus = trainer.players.generator.focus
        assert focus is not None
        if is_first:
            assert focus.shape == (16, 16, 16)
            trainer.train()
        (tmp_path / "mask.mrc").unlink(missing_ok=True)
    assert focus.shape == (32, 32, 32)
    generator, _, _ = load_snapshot(run)
    assert generator.focus is not None
    assert torch.equal(generator.focus, focus)
    with torch.no_grad():
        first, last = generator(torch.tensor([[0.0], [1.0]]))
    moved = (first - last).abs() > 0
    assert not moved[:, :, :13].any()
    assert moved[:, :, 16:].any()


def test_the_focus_belongs_to_the_starting_map(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.mrc", gaussian(80, 2.0), 2.0)
    write_volume(tmp_path / "mask.mrc", torch.ones(40, 40, 40), 2.0)
    shape = GeneratorConfig(
        start_map=str(tmp_path / "map.mrc"), focus_mask=str(tmp_path / "mask.mrc")
    )
    with pytest.raises(InputError, match=r"spans 80\.0 Å.* 160\.0 Å"):
        known_start(shape, 16, FIELD)


class WithPoses:
    """A particle file that holds poses."""

    def __init__(self, count: int) -> None:
        every = super_fibonacci(20 * count)
        self.poses = every[every[:, 2, 2] > 0.5][:count]

    def rotations(self) -> Tensor:
        """(N, 3, 3)."""
        return self.poses


def with_poses(count: int) -> ParticleStack:
    return WithPoses(count)  # type: ignore[return-value]


def test_directions_of_a_file_are_those_of_its_poses() -> None:
    stack = with_poses(500)
    found = file_directions(stack, "C1")
    rotation = stack.rotations()
    assert found is not None
    assert rotation is not None
    assert found.sum() == 500
    assert torch.equal(found, view_cells(rotation).bincount(minlength=CELLS).float())


def test_poses_of_a_file_count_in_all_symmetric_directions() -> None:
    """All look from the north, and D3 takes the north to the south."""
    found = file_directions(with_poses(400), "D3")
    assert found is not None
    z = view_directions(CELLS)[:, 2]
    assert float(found.sum()) == pytest.approx(400)
    assert float(found[z < 0].sum()) == pytest.approx(200)


def test_poses_of_many_particles_can_be_overruled() -> None:
    found = file_directions(with_poses(5_000), "C1")
    assert found is not None
    assert float(found.sum()) == pytest.approx(TRUSTED)


def test_poses_count_beside_a_map_alone() -> None:
    config = tiny_config({"imaging": {"shift_sigma_angstrom": 3.0}})
    assert Laws.begun(config, with_poses(300)).views is None
    generator = replace(config.generator, start_map="map.mrc")
    laws = Laws.begun(replace(config, generator=generator), with_poses(300))
    assert laws.counts.shape == (VIEW_STEPS, CELLS)
    assert float(laws.counts.sum()) == pytest.approx(300)
    assert math.sqrt(laws.shift_square / laws.images / 2) == pytest.approx(3.0)


def test_a_file_without_poses_says_nothing(tmp_path: Path) -> None:
    assert file_directions(tiny_stack(tmp_path), "C1") is None
