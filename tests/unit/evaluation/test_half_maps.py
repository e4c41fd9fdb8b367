"""Half maps of known signal and noise: curves, mask and resolution in closed form."""

import math

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import asymmetric_points, blobs, grid_points
from multicryogan.errors import InputError
from multicryogan.evaluation.fsc import fsc
from multicryogan.evaluation.half_maps import (
    gold_standard_angstrom,
    half_set_fsc,
    randomise_phases,
    solvent_mask,
)
from multicryogan.fourier import shell_index, shell_mean, shell_weights
from multicryogan.rng import stream

BOXES = [48, 49]
VOXEL_SIZE = 2.0


def noise(box: int, name: str) -> Tensor:
    return torch.randn(box, box, box, generator=stream(0, name)).double()


def shaped(white: Tensor, amplitude: Tensor) -> Tensor:
    """White noise whose shells are multiplied by (D//2+1,) amplitudes."""
    box = white.shape[-1]
    shells = shell_index(box, 3, like=white).clamp(max=box // 2)
    spectrum = torch.fft.rfftn(white) * amplitude[shells]
    return torch.fft.irfftn(spectrum, s=white.shape)


def ball(box: int, radius: float) -> Tensor:
    return (grid_points(box).norm(dim=-1) <= radius).double()


def falling_snr(box: int) -> Tensor:
    """(D//2+1,) power of signal over that of noise: 1 in shell 12."""
    shell = torch.arange(box // 2 + 1).double()
    return 10 ** (2 - shell / 6)


def noisy_pair(box: int) -> tuple[Tensor, Tensor]:
    signal = shaped(noise(box, "signal"), falling_snr(box).sqrt())
    return signal + noise(box, "first"), signal + noise(box, "second")


def standard_errors(box: int) -> Tensor:
    """(D//2+1,) spread of the correlation of two independent shells."""
    ones = torch.ones(box, box, box // 2 + 1).double()
    shells = shell_index(box, 3, like=ones).flatten().clamp(max=box // 2 + 1)
    counts = torch.zeros(box // 2 + 2).double()
    counts.index_add_(0, shells, shell_weights(box, 3, like=ones).flatten())
    return counts[:-1].rsqrt()


@pytest.mark.parametrize("box", BOXES)
def test_halves_of_known_noise_correlate_as_snr_over_one_plus_snr(box: int) -> None:
    first, second = noisy_pair(box)
    found = half_set_fsc(first, second, torch.ones_like(first), VOXEL_SIZE, 0)
    snr = falling_snr(box)
    error = (found.unmasked - snr / (1 + snr)).abs()
    assert (error < 4 * standard_errors(box))[1:].all()
    torch.testing.assert_close(found.masked, found.unmasked)


@pytest.mark.parametrize("box", BOXES)
def test_resolution_is_where_snr_is_one_sixth(box: int) -> None:
    """FSC = 0.143 at SNR = 0.143 / 0.857, here at shell 16.67."""
    first, second = noisy_pair(box)
    found = half_set_fsc(first, second, torch.ones_like(first), VOXEL_SIZE, 0)
    shell = 6 * (2 - math.log10(0.143 / 0.857))
    expected = box * VOXEL_SIZE / shell
    assert found.unmasked_resolution_angstrom == pytest.approx(expected, rel=0.03)
    assert found.resolution_angstrom == pytest.approx(expected, rel=0.03)
    assert not found.reaches_nyquist


@pytest.mark.parametrize("box", BOXES)
def test_phases_are_random_from_the_first_shell_below_0_8(box: int) -> None:
    first, second = noisy_pair(box)
    found = half_set_fsc(first, second, torch.ones_like(first), VOXEL_SIZE, 0)
    start = found.first_random_shell
    assert found.unmasked[1:start].min() >= 0.8 > found.unmasked[start]
    torch.testing.assert_close(found.randomised[:start], found.masked[:start])
    assert (found.randomised[start:].abs() < 4 * standard_errors(box)[start:]).all()
    same = start + 2
    assert torch.equal(found.corrected[:same], found.masked[:same])
    assert not torch.equal(found.corrected[same], found.masked[same])


@pytest.mark.parametrize("box", BOXES)
def test_a_mask_brings_back_the_signal_that_solvent_noise_hides(box: int) -> None:
    """White signal in a ball of share f, noise everywhere, equal power per voxel.

    FSC is f / (f + 1) unmasked and 1 / 2 under the mask.
    """
    mask = ball(box, 0.3 * box)
    share = mask.mean().item()
    signal = noise(box, "signal") * mask
    first, second = signal + noise(box, "first"), signal + noise(box, "second")
    found = half_set_fsc(first, second, mask, VOXEL_SIZE, 0)
    high = slice(6, None)
    unmasked, corrected = found.unmasked[high].mean(), found.corrected[high].mean()
    assert unmasked.item() == pytest.approx(share / (share + 1), abs=0.02)
    assert corrected.item() == pytest.approx(0.5, abs=0.03)
    assert found.unmasked_resolution_angstrom > 2 * found.resolution_angstrom


def leaking_pair(box: int) -> tuple[Tensor, Tensor]:
    """Strong common signal in shells 1 to 4, and nothing but noise beyond."""
    low = (torch.arange(box // 2 + 1) <= 4).double()
    common = shaped(noise(box, "signal"), 30 * low)
    return common + noise(box, "first"), common + noise(box, "second")


@pytest.mark.parametrize("box", BOXES)
def test_agreement_that_a_tight_mask_makes_of_noise_is_taken_away(box: int) -> None:
    first, second = leaking_pair(box)
    found = half_set_fsc(first, second, ball(box, 7), VOXEL_SIZE, 0)
    assert found.first_random_shell == 5
    noise_only = slice(8, None)
    assert found.unmasked[noise_only].mean().abs() < 0.02
    assert found.masked[noise_only].mean() > 0.3
    assert found.corrected[noise_only].mean().abs() < 0.1
    assert found.resolution_angstrom > 0.8 * box * VOXEL_SIZE / 8


def test_a_corrected_curve_is_masked_less_random_over_one_less_random() -> None:
    first, second = leaking_pair(48)
    found = half_set_fsc(first, second, ball(48, 7), VOXEL_SIZE, 0)
    masked, random = found.masked[7:], found.randomised[7:]
    torch.testing.assert_close(found.corrected[7:], (masked - random) / (1 - random))
    assert random.max() > 0.5


def test_halves_of_noise_alone_agree_on_nothing() -> None:
    first, second = noise(48, "first"), noise(48, "second")
    found = half_set_fsc(first, second, ball(48, 7), VOXEL_SIZE, 0)
    assert found.corrected[3:].mean().abs() < 0.05
    assert found.unmasked_resolution_angstrom == math.inf


def test_a_common_grey_level_is_no_signal() -> None:
    first, second = noise(48, "first"), noise(48, "second")
    mask = ball(48, 7)
    plain = half_set_fsc(first, second, mask, VOXEL_SIZE, 0)
    lifted = half_set_fsc(first + 50, second + 50, mask, VOXEL_SIZE, 0)
    torch.testing.assert_close(lifted.corrected[1:], plain.corrected[1:])
    assert fsc((first + 50) * mask, (second + 50) * mask)[3:].mean() > 0.5


def test_equal_halves_reach_nyquist_and_need_no_correction() -> None:
    half = noise(32, "first")
    found = half_set_fsc(half, half, ball(32, 8), VOXEL_SIZE, 0)
    assert found.first_random_shell == 17
    assert torch.equal(found.corrected, found.masked)
    assert found.reaches_nyquist
    assert found.resolution_angstrom == pytest.approx(4.0)


def test_the_same_seed_gives_the_same_curves() -> None:
    first, second = leaking_pair(32)
    found = [half_set_fsc(first, second, ball(32, 6), 1.0, s) for s in (3, 3, 4)]
    assert torch.equal(found[0].randomised, found[1].randomised)
    assert not torch.equal(found[0].randomised, found[2].randomised)


@pytest.mark.parametrize("box", [16, 17])
def test_random_phases_keep_every_amplitude(box: int) -> None:
    volume = noise(box, "a")[None]
    scrambled = randomise_phases(volume, 3, stream(0, "phases"))
    before, after = torch.fft.rfftn(volume[0]), torch.fft.rfftn(scrambled[0])
    torch.testing.assert_close(after.abs(), before.abs())
    shells = shell_index(box, 3, like=volume)
    torch.testing.assert_close(after[shells < 3], before[shells < 3])
    alike = shell_mean((before.conj() * after).real, box, 3)
    assert (alike[3:].abs() < 0.3 * box**3).all()


@pytest.mark.parametrize("level", [0.0, -1.0, 1.0])
def test_resolution_is_interpolated_and_blind_to_shell_0(level: float) -> None:
    curve = torch.tensor([level, 0.9, 0.243, 0.043, 0.0])
    assert gold_standard_angstrom(curve, 8, 5.0) == pytest.approx(8 * 5 / 2.5)


def test_resolution_is_infinite_where_the_curve_falls_at_once() -> None:
    assert gold_standard_angstrom(torch.tensor([1.0, 0.1, 0.9]), 4, 5.0) == math.inf


def test_resolution_is_nyquist_where_the_curve_never_falls() -> None:
    assert gold_standard_angstrom(torch.ones(17), 32, 5.0) == pytest.approx(10)


def gaussian(box: int, sigma_voxels: float) -> Tensor:
    return (-grid_points(box).square().sum(-1) / (2 * sigma_voxels**2)).exp()


@pytest.mark.parametrize("box", BOXES)
def test_the_mask_has_a_plateau_and_a_cosine_edge(box: int) -> None:
    """One bright voxel: the mask is a function of the distance from it."""
    volume = torch.zeros(box, box, box)
    volume[box // 2, box // 2, box // 2] = 1
    mask = solvent_mask(
        volume,
        VOXEL_SIZE,
        low_pass_angstrom=0.1,
        dilation_angstrom=8.0,
        edge_angstrom=20.0,
    )
    distance = VOXEL_SIZE * grid_points(box).norm(dim=-1)
    ramp = ((distance - 8) / 20).clamp(0, 1)
    torch.testing.assert_close(mask, 0.5 * (1 + torch.cos(math.pi * ramp)))


def test_the_low_pass_falls_to_one_half_where_told() -> None:
    """A Gaussian of 6 Å under a low-pass of 20 Å, its spread 3.75 Å, has 7.07 Å."""
    volume = gaussian(48, 3.0)
    mask = solvent_mask(volume, 2.0, dilation_angstrom=0.0, edge_angstrom=0.0)
    wide = gaussian(48, math.hypot(3.0, 20 * math.sqrt(math.log(2) / 2) / math.pi / 2))
    expected = solvent_mask(
        wide, 2.0, low_pass_angstrom=0.1, dilation_angstrom=0.0, edge_angstrom=0.0
    )
    assert (mask - expected).abs().mean() < 2e-4


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_the_mask_holds_the_molecule_with_and_without_noise(sigma: float) -> None:
    box = 48
    molecule = blobs(box, asymmetric_points(box, seed=0), sigma=2.0)
    noisy = molecule + sigma * noise(box, "first").float()
    mask = solvent_mask(noisy, 4.0)
    assert (mask * molecule).sum() / molecule.sum() > 0.93
    assert mask.mean() < 0.2


def test_a_speck_far_away_is_left_out_and_a_second_part_is_kept() -> None:
    volume = torch.zeros(48, 48, 48)
    volume[10:20, 10:20, 10:20] = 1
    volume[30:36, 30:36, 30:36] = 1  # a fifth of the first
    volume[40:42, 8:10, 40:42] = 1
    mask = solvent_mask(
        volume,
        5.0,
        low_pass_angstrom=5.0,
        dilation_angstrom=0.0,
        edge_angstrom=0.0,
    )
    assert mask[15, 15, 15] == 1
    assert mask[33, 33, 33] == 1
    assert mask[38:44, 6:12, 38:44].sum() == 0


def test_an_empty_map_has_no_mask() -> None:
    with pytest.raises(InputError, match="no density rises 3 spreads"):
        solvent_mask(torch.zeros(16, 16, 16), 5.0)


def test_a_mask_of_another_box_is_refused() -> None:
    half = torch.zeros(16, 16, 16)
    with pytest.raises(ValueError, match="expected cubic volumes"):
        half_set_fsc(half, half, torch.zeros(17, 17, 17), 5.0, 0)
