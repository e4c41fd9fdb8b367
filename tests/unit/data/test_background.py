"""Which patches of background can lie under which particle."""

from pathlib import Path

import numpy as np
import pytest
import torch

from background_files import PIXEL_SIZE, noisy_particles, write_noise
from multicryogan.data.background import open_background
from multicryogan.data.preprocess import Preprocessing, read_working
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack, read_particles
from multicryogan.rng import stream

TWO = {"a.mrc": (50, 1.0), "b.mrc": (70, 3.0)}
WORKING = Preprocessing(16, 1, 7.6, 1.0)


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    return noisy_particles(tmp_path_factory.mktemp("noisy"))


def names_of(stack: ParticleStack, rows: torch.Tensor) -> np.ndarray:
    return stack.table["rlnMicrographName"].to_numpy()[rows.numpy()]


def test_a_patch_is_of_the_micrograph_of_its_particle(
    particles: ParticleStack, tmp_path: Path
) -> None:
    background = open_background(particles, write_noise(tmp_path / "ice.star", TWO))
    rows = torch.randint(160, (2_000,), generator=stream(0, "rows"))
    patches = background.choose(rows, stream(0, "patches"))
    assert (names_of(particles, rows) == names_of(background.stack, patches)).all()
    assert len(patches.unique()) == 120  # every one of them


def test_without_patches_of_the_micrograph_they_are_of_the_optics_group(
    tmp_path: Path,
) -> None:
    three = {"a.mrc": (20, 1.0), "b.mrc": (20, 1.0), "c.mrc": (20, 1.0)}
    groups = {"a.mrc": 1, "b.mrc": 2, "c.mrc": 2}
    stack = noisy_particles(tmp_path, micrographs=three, groups=groups)
    there = {"a.mrc": (9, 1.0), "c.mrc": (9, 1.0), "d.mrc": (9, 1.0)}
    groups = {"a.mrc": 1, "c.mrc": 2, "d.mrc": 2}
    path = write_noise(tmp_path / "ice.star", there, groups)
    background = open_background(stack, path)
    rows = torch.arange(20, 40).repeat(50)  # of micrograph b, which has no patch
    drawn = names_of(background.stack, background.choose(rows, stream(0, "patches")))
    assert set(drawn) == {"c.mrc", "d.mrc"}
    assert not background.is_near[20:40].any()
    assert background.is_near[:20].all()


def test_without_names_of_micrographs_every_patch_serves_its_group(
    particles: ParticleStack, tmp_path: Path
) -> None:
    path = write_noise(tmp_path / "ice.star", TWO).with_suffix(".mrcs")
    background = open_background(particles, path)
    patches = background.choose(torch.zeros(3_000, dtype=torch.long), stream(0, "x"))
    assert background.micrograph is None
    assert len(patches.unique()) == 120


def test_a_cryosparc_file_names_its_micrographs_as_well(tmp_path: Path) -> None:
    for name, count in (("particles", 30), ("ice", 12)):
        write_noise(tmp_path / f"{name}.star", {"x.mrc": (count, 1.0)})
        rows = np.zeros(
            count,
            [
                ("uid", "u8"),
                ("blob/path", "S20"),
                ("blob/idx", "u4"),
                ("blob/psize_A", "f4"),
                ("location/micrograph_path", "S20"),
            ],
        )
        rows["blob/path"], rows["blob/idx"] = f"{name}.mrcs".encode(), range(count)
        rows["blob/psize_A"] = PIXEL_SIZE
        rows["location/micrograph_path"] = [b"m/0.mrc", b"m/1.mrc"] * (count // 2)
        with (tmp_path / f"{name}.cs").open("wb") as file:
            np.save(file, rows)
    stack = read_particles(tmp_path / "particles.cs")
    background = open_background(stack, tmp_path / "ice.cs")
    rows = torch.arange(30).repeat(20)
    patches = background.choose(rows, stream(0, "patches"))
    assert torch.equal(patches % 2, rows % 2)


def test_patches_of_a_pool_are_shared_out_evenly(
    particles: ParticleStack, tmp_path: Path
) -> None:
    background = open_background(particles, write_noise(tmp_path / "ice.star", TWO))
    shared = torch.from_numpy(background.share_out())
    everyone = names_of(particles, torch.arange(160))
    assert (everyone == names_of(background.stack, shared)).all()
    uses = shared.bincount(minlength=120)
    assert uses[:50].sort().values.tolist() == [2] * 30 + [3] * 20  # 120 particles
    assert uses[50:].sum() == 40
    assert uses[50:].max() == 1


def test_larger_patches_are_cut_to_the_field_of_the_particles(
    particles: ParticleStack, tmp_path: Path
) -> None:
    alone = {"a.mrc": (200, 1.0), "b.mrc": (1, 1.0)}
    background = open_background(
        particles, write_noise(tmp_path / "ice.star", alone, box=48)
    )
    cut = background.read(torch.arange(200), WORKING, "cpu")
    ours = read_working(particles, torch.arange(120), WORKING, "cpu")
    assert cut.shape[-1] == 16
    assert cut.mean().item() == pytest.approx(3.0, abs=0.01)
    assert cut.var().item() == pytest.approx(ours.var().item(), rel=0.05)


def test_patches_are_looked_for_where_the_particles_are(
    particles: ParticleStack, tmp_path: Path
) -> None:
    path = write_noise(tmp_path / "ice.star", TWO)
    (tmp_path / "stacks").mkdir()
    path.with_suffix(".mrcs").rename(tmp_path / "stacks" / "ice.mrcs")
    with pytest.raises(InputError, match="which was not found"):
        open_background(particles, path)
    stack = read_particles(particles.path, tmp_path / "stacks")
    stack_of_patches = open_background(stack, path).stack
    assert stack_of_patches.images([0]).shape == (1, 32, 32)


def test_a_group_without_patches_is_an_error(tmp_path: Path) -> None:
    stack = noisy_particles(tmp_path, groups={"a.mrc": 1, "b.mrc": 2})
    path = write_noise(tmp_path / "ice.star", {"a.mrc": (9, 1.0)}, {"a.mrc": 1})
    with pytest.raises(InputError, match=r"no patch of rlnOpticsGroup 2.* for 40 of"):
        open_background(stack, path)


@pytest.mark.parametrize(
    ("box", "pixel_size", "words"),
    [(24, PIXEL_SIZE, "span 96.0 Å"), (40, 3.2, r"pixels of 3\.2 Å")],
)
def test_patches_sampled_otherwise_are_an_error(
    particles: ParticleStack, tmp_path: Path, box: int, pixel_size: float, words: str
) -> None:
    path = write_noise(tmp_path / "ice.star", TWO, box=box, pixel_size=pixel_size)
    with pytest.raises(InputError, match=words):
        open_background(particles, path)


def test_a_file_that_is_gone_is_an_error(particles: ParticleStack) -> None:
    with pytest.raises(InputError, match=r"no\.star do not exist; put the file back"):
        open_background(particles, "no.star")
