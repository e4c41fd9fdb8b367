"""Moved volumes against the closed form, and the local climb."""

import pytest
import torch

from evaluation_phantoms import asymmetric_points, blobs
from multicryogan.evaluation import fsc
from multicryogan.evaluation.rigid import mirror, move, refine
from multicryogan.rng import stream
from multicryogan.rotations import geodesic_distance_deg, random_rotations

REFLECT = torch.tensor([1.0, 1.0, -1.0])


@pytest.mark.parametrize("box", [24, 25])
def test_moved_blobs_lie_at_the_moved_points(box: int) -> None:
    points = asymmetric_points(box, seed=0)
    rotation = random_rotations((3,), stream(0, "pose"))
    shift = torch.tensor([[1.3, -0.6, 0.4]]).expand(3, 3)
    volume = blobs(box, points, sigma=1.3)
    moved = move(volume.expand(3, box, box, box), rotation, shift)
    expected = torch.stack(
        [
            blobs(box, points @ r.T + t, 1.3)
            for r, t in zip(rotation, shift, strict=True)
        ]
    )
    assert (moved - expected).norm() / expected.norm() < 0.005


def test_there_and_back_keeps_fsc_up_to_nyquist() -> None:
    box = 32
    points = asymmetric_points(box, seed=2)
    volume = blobs(box, points, sigma=0.8)[None]
    rotation = random_rotations((1,), stream(1, "pose"))
    zero = torch.zeros(1, 3)
    back = move(move(volume, rotation, zero), rotation.mT, zero)
    assert fsc(volume, back)[0, : int(0.8 * 16) + 1].min() > 0.98


@pytest.mark.parametrize("box", [16, 17])
def test_an_empty_level_is_kept(box: int) -> None:
    rotation = random_rotations((1,), stream(0, "pose"))
    volume = torch.full((1, box, box, box), 3.0)
    torch.testing.assert_close(move(volume, rotation, torch.ones(1, 3)), volume)


@pytest.mark.parametrize("box", [16, 17])
def test_mirror_reflects_about_the_centre_voxel(box: int) -> None:
    points = asymmetric_points(box, seed=0) * 0.8
    torch.testing.assert_close(
        mirror(blobs(box, points)), blobs(box, points * REFLECT), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("box", [24, 25])
def test_refinement_climbs_to_the_known_pose(box: int) -> None:
    points = asymmetric_points(box, seed=0)
    rotation = torch.linalg.matrix_exp(
        torch.tensor([[0.0, -0.1, 0.05], [0.1, 0.0, -0.08], [-0.05, 0.08, 0.0]])
    )
    shift = torch.tensor([0.7, -0.5, 0.3])
    found, moved, correlation = refine(
        blobs(box, points, 1.6)[None],
        blobs(box, points @ rotation.T + shift, 1.6)[None],
        torch.eye(3)[None],
        torch.zeros(1, 3),
    )
    assert geodesic_distance_deg(found[0], rotation) < 0.3
    assert (moved[0] - shift).abs().max() < 0.03
    assert correlation.item() == pytest.approx(1, abs=0.01)


def test_refinement_leaves_its_inputs_untouched() -> None:
    volume = blobs(16, asymmetric_points(16, seed=0))[None]
    rotation, shift = torch.eye(3)[None], torch.ones(1, 3)
    before = volume.clone()
    refine(volume, volume, rotation, shift)
    assert torch.equal(volume, before)
    assert torch.equal(shift, torch.ones(1, 3))


@pytest.mark.parametrize("axis_xyz", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0)])
def test_a_small_turn_from_a_pose_on_the_voxels_is_found(
    axis_xyz: tuple[float, float, float],
) -> None:
    box, angle = 24, 0.01
    x, y, z = (angle * a for a in axis_xyz)
    skew = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation = torch.linalg.matrix_exp(skew)
    points = asymmetric_points(box, seed=1)
    found, _, _ = refine(
        blobs(box, points)[None],
        blobs(box, points @ rotation.T)[None],
        torch.eye(3)[None],
        torch.zeros(1, 3),
    )
    assert geodesic_distance_deg(found[0], rotation) < 0.1
