"""The joint law of the imaging parameters."""

from dataclasses import fields

import pytest
import torch

from multicryogan.imaging import CTFParams, ImagingParams
from multicryogan.priors import ImagingPrior, LatentPrior, ViewLaw
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.rng import stream

ROWS = 50
VOLUMES, POSES = 8, 250


def optics() -> CTFParams:
    """Every field tells the row, so that mixed rows show."""
    row = torch.arange(float(ROWS))
    return CTFParams(
        defocus_u_angstrom=10_000 + row,
        defocus_v_angstrom=9_000 + row,
        defocus_angle_deg=row,
        phase_shift_deg=2 * row,
        voltage_kv=200 + row,
        cs_mm=2 + row / 100,
        amplitude_contrast=row / 1000,
        bfactor_angstrom2=row,
        scale=1 + row,
        group=row.long() // 10,
    )


def rows_of(volumes: int) -> torch.Tensor:
    """Conformations of volumes, in turn."""
    return torch.arange(volumes) % 2


def drawn_by(
    optics: CTFParams | None, shift_sigma_angstrom: float = 0.0, volumes: int = VOLUMES
) -> ImagingParams:
    prior = ImagingPrior(optics, shift_sigma_angstrom, 0)
    return prior.sample(rows_of(volumes), POSES, "train", 0)


def test_all_fields_of_a_draw_come_from_one_row() -> None:
    drawn = drawn_by(optics()).ctf
    assert drawn is not None
    row = drawn.defocus_angle_deg.long()
    for field in fields(CTFParams):
        expected = getattr(optics(), field.name)[row]
        torch.testing.assert_close(getattr(drawn, field.name), expected)


def test_every_row_is_drawn_about_as_often() -> None:
    drawn = drawn_by(optics()).ctf
    assert drawn is not None
    counts = drawn.defocus_angle_deg.long().flatten().bincount(minlength=ROWS)
    assert counts.min() > 15  # 40 expected
    assert counts.max() < 75


def test_absent_optics_mean_no_ctf() -> None:
    assert drawn_by(None).ctf is None


def test_no_shift_without_a_deviation() -> None:
    assert drawn_by(None).shift_angstrom is None


def test_shifts_have_the_deviation_asked_for() -> None:
    shift = drawn_by(None, 6.0, 40).shift_angstrom
    assert shift is not None
    assert shift.shape == (40, 250, 2)
    expected = 36 * torch.eye(2)
    torch.testing.assert_close(
        torch.cov(shift.flatten(0, 1).T), expected, atol=1.5, rtol=0
    )


def test_no_contrast_without_a_spread() -> None:
    assert drawn_by(optics()).contrast is None


def test_contrasts_have_the_spread_asked_for() -> None:
    for known in (None, optics()):
        prior = ImagingPrior(known, 0.0, 0, contrast_spread=0.3)
        contrast = prior.sample(torch.zeros(100).long(), 1_000, "train", 3).contrast
        assert contrast is not None
        assert contrast.shape == (100, 1_000)
        assert float(contrast.min()) > 0
        assert float(contrast.mean()) == pytest.approx(1, abs=5e-3)
        assert float(contrast.std()) == pytest.approx(0.3, rel=0.02)


def test_views_are_uniform_rotations() -> None:
    rotation = drawn_by(None, volumes=40).rotation
    assert rotation.shape == (40, 250, 3, 3)
    flat = rotation.flatten(0, 1)
    eye = torch.eye(3).expand_as(flat)
    torch.testing.assert_close(flat @ flat.mT, eye, atol=1e-5, rtol=0)
    # E[R] = 0 and E[R_ij²] = 1/3 under the uniform law.
    torch.testing.assert_close(flat.mean(0), torch.zeros(3, 3), atol=0.03, rtol=0)
    thirds = torch.full((3, 3), 1 / 3)
    torch.testing.assert_close(flat.square().mean(0), thirds, atol=0.02, rtol=0)


def test_the_same_step_repeats_and_another_differs() -> None:
    prior = ImagingPrior(optics(), 5.0, 3)
    first, again = (prior.sample(rows_of(2), 2, "train", 4) for _ in range(2))
    later = prior.sample(rows_of(2), 2, "train", 5)
    assert torch.equal(first.rotation, again.rotation)
    assert not torch.equal(first.rotation, later.rotation)


def test_poses_and_optics_say_nothing_about_the_conformation() -> None:
    latents, angles, defoci = [], [], []
    prior, latent = ImagingPrior(optics(), 0.0, 0), LatentPrior("segment", 1)
    for step in range(400):
        params = prior.sample(rows_of(4), 1, "train", step)
        assert params.ctf is not None
        latents.append(latent.sample(4, stream(0, "train/latent", step=step))[:, 0])
        angles.append(params.rotation[:, 0, 2, 2])
        defoci.append(params.ctf.defocus_u_angstrom[:, 0])
    together = torch.stack([torch.cat(x) for x in (latents, angles, defoci)])
    off_diagonal = torch.corrcoef(together) - torch.eye(3)
    assert off_diagonal.abs().max() < 0.08  # 3 sigma of 1,600 draws


def test_views_follow_the_law_of_their_conformation() -> None:
    poles = torch.stack([(s * view_directions(CELLS)[:, 2] > 0.9) for s in (1, -1)])
    weights = poles / poles.sum(1, keepdim=True)
    prior = ImagingPrior(None, 0.0, 0, ViewLaw(weights))
    rotation = prior.sample(rows_of(4), 250, "train", 0).rotation
    assert rotation.shape == (4, 250, 3, 3)
    up = rotation[..., 2, 2]
    assert (up[::2] > 0.6).all()
    assert (up[1::2] < -0.6).all()
