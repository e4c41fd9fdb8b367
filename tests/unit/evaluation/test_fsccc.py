"""The matrix of equation 7 against the FSC of each pair."""

import pytest
import torch

from evaluation_phantoms import about_z, asymmetric_points, blobs, hinge, scrambled
from multicryogan.evaluation import (
    align_neighbours,
    fsc,
    fsc_area,
    fsccc,
    fsccc_aligned,
)
from multicryogan.rng import stream


@pytest.mark.parametrize("box", [16, 17])
def test_entries_are_the_fsc_areas_of_pairs(box: int) -> None:
    volumes = torch.randn(3, box, box, box, generator=stream(0, "a")).cumsum(0)
    expected = fsc_area(fsc(volumes[:, None], volumes[None]))
    torch.testing.assert_close(fsccc(volumes), expected, atol=1e-5, rtol=0)


def test_one_volume_gives_a_matrix_of_one() -> None:
    volume = torch.randn(1, 16, 16, 16, generator=stream(0, "a"))
    torch.testing.assert_close(fsccc(volume), torch.ones(1, 1))


def drifting(box: int, step_deg: float = 4.0) -> torch.Tensor:
    points = asymmetric_points(box, seed=1)
    turns = [about_z(step_deg * i) for i in range(7)]
    return torch.stack([blobs(box, points @ turn.T) for turn in turns])


def test_a_drifting_rotation_looks_like_a_motion_in_the_raw_matrix() -> None:
    assert fsccc(drifting(24))[0, -1] < 0.7


@pytest.mark.parametrize("step_deg", [0.5, 4.0])
def test_a_drifting_rotation_is_gone_after_aligning_neighbours(
    step_deg: float,
) -> None:
    assert fsccc_aligned(drifting(24, step_deg)).min() > 0.99


def test_neighbours_are_found_by_latent_and_not_by_order() -> None:
    order = torch.tensor([0, 5, 2, 6, 3, 1, 4])
    assert fsccc_aligned(drifting(24)[order], order / 6).min() > 0.97


def test_jumps_of_rotation_and_hand_are_gone_after_aligning_neighbours() -> None:
    volume = blobs(24, asymmetric_points(24, seed=1))
    assert fsccc_aligned(scrambled(volume.expand(3, -1, -1, -1), seed=4)).min() > 0.97


def test_neighbours_of_like_frames_are_not_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("multicryogan.evaluation.neighbours.align")
    assert fsccc_aligned(drifting(24)).min() > 0.99


def test_a_refined_line_is_laid_on_itself_without_a_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("multicryogan.evaluation.neighbours.align")
    unlike = hinge(24, [0, 40])
    laid, _ = align_neighbours(unlike, may_jump=False)
    assert fsccc(laid)[0, 1] > fsccc(unlike)[0, 1]
    with pytest.raises(NameError):
        align_neighbours(unlike)


def test_a_true_motion_survives_aligning_neighbours() -> None:
    volumes = hinge(24, [0, 7, 14, 21, 28])
    lost_raw = 1 - fsccc(volumes)[0, -1]
    assert 1 - fsccc_aligned(volumes)[0, -1] > 0.25 * lost_raw
