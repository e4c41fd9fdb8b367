"""Known rotations, shifts and hands are found again."""

import pytest
import torch

from evaluation_phantoms import asymmetric_points, blobs, hinge
from multicryogan.evaluation import (
    Frames,
    align,
    align_neighbours,
    apply_alignment,
    common_alignment,
    fsc,
)
from multicryogan.evaluation.rigid import mirror, move
from multicryogan.imaging import project, shift_images
from multicryogan.rng import stream
from multicryogan.rotations import geodesic_distance_deg, random_rotations

REFLECT = torch.tensor([1.0, 1.0, -1.0])


def pose(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = stream(seed, "pose")
    return random_rotations((), generator), 5 * torch.rand(3, generator=generator) - 2.5


@pytest.mark.parametrize(
    ("seed", "noise", "box"),
    [(0, 0.0, 24), (1, 0.0, 25), (2, 0.5, 25), (3, 0.5, 24)],
)
def test_pose_and_hand_of_a_phantom_are_found(
    seed: int, noise: float, box: int
) -> None:
    is_mirrored = seed % 2 == 1
    points = asymmetric_points(box, seed=10 + seed)
    rotation, shift = pose(seed)
    seen = points * REFLECT if is_mirrored else points
    volume = blobs(box, points)
    grain = torch.randn(box, box, box, generator=stream(seed, "noise"))
    volume = volume + noise * volume.std() * grain
    found = align(volume, blobs(box, seen @ rotation.T + shift))
    assert found.is_mirrored == is_mirrored
    assert geodesic_distance_deg(found.rotation, rotation) < 1
    assert (found.shift - shift).norm() < 0.2


def test_without_hands_no_mirror_is_offered() -> None:
    volume = blobs(16, asymmetric_points(16, seed=0))
    assert not align(mirror(volume), volume, hands=False).is_mirrored


def test_applying_the_alignment_gives_the_reference() -> None:
    points = asymmetric_points(24, seed=5)
    rotation, shift = pose(7)
    volume, reference = (
        blobs(24, points),
        blobs(24, points * REFLECT @ rotation.T + shift),
    )
    moved = apply_alignment(volume[None], align(volume, reference))[0]
    assert (moved - reference).norm() / reference.norm() < 0.05


def test_correlation_of_a_perfect_alignment_is_one() -> None:
    volume = blobs(24, asymmetric_points(24, seed=0))
    assert align(volume, volume).correlation == pytest.approx(1, abs=0.01)


def test_noise_beyond_the_last_shell_is_not_compared() -> None:
    volume = blobs(24, asymmetric_points(24, seed=0), sigma=2.5)
    grain = torch.randn(24, 24, 24, generator=stream(0, "noise"))
    noisy = volume + volume.std() * grain
    assert align(noisy, volume, max_shell=4).correlation > 0.9


def test_large_boxes_are_aligned_in_their_own_voxels() -> None:
    points = asymmetric_points(48, seed=1)
    rotation, shift = pose(3)
    found = align(blobs(48, points, 2.0), blobs(48, points @ rotation.T + shift, 2.0))
    assert (found.shift - shift).norm() < 0.2


def test_one_alignment_serves_all_conformations() -> None:
    states = hinge(24, [0, 15, 30])
    rotation, shift = pose(5)
    volumes = move(mirror(states), rotation.expand(3, 3, 3), shift.expand(3, 3))
    aligned = apply_alignment(volumes, common_alignment(volumes, states))
    assert fsc(aligned, states)[:, :10].min() > 0.97


def test_first_volume_stays_when_neighbours_are_aligned() -> None:
    volumes = hinge(24, [0, 10])
    torch.testing.assert_close(align_neighbours(volumes)[0][0], volumes[0])


def test_volumes_with_axes_of_symmetry_stay() -> None:
    volumes = hinge(24, [0, 40])
    laid, frames = align_neighbours(volumes, has_frame=True)
    assert torch.equal(laid, volumes)
    assert torch.equal(frames.rotation, torch.eye(3).expand(2, 3, 3))
    assert not torch.equal(align_neighbours(volumes)[0], volumes)


def test_motions_of_a_long_chain_are_still_rotations() -> None:
    _, frames = align_neighbours(hinge(24, list(range(0, 40, 5))))
    product = frames.rotation @ frames.rotation.mT
    torch.testing.assert_close(
        product, torch.eye(3).expand_as(product), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_shift_of_a_quarter_box_is_found(is_mirrored: bool) -> None:
    points = 0.6 * asymmetric_points(24, seed=6)
    rotation, shift = pose(6)[0], torch.tensor([5.0, -5.0, 5.0])
    seen = points * REFLECT if is_mirrored else points
    found = align(blobs(24, points), blobs(24, seen @ rotation.T + shift))
    assert (found.shift - shift).norm() < 0.2


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_poses_follow_a_volume_that_is_moved(is_mirrored: bool) -> None:
    """The image of the moved volume at the new pose, shifted, is that of the old."""
    box, index = 32, torch.zeros(3, dtype=torch.int64)
    volume = blobs(box, asymmetric_points(box, seed=2), 2.0)[None]
    rotation, shift = pose(4)
    frames = Frames(rotation[None], shift[None], torch.tensor([is_mirrored]))
    old = random_rotations((3,), stream(9, "pose"))
    new, where = frames.poses(old, index)
    torch.testing.assert_close(torch.linalg.det(new), torch.ones(3))
    before = project(volume, old[None])
    after = shift_images(project(frames.apply(volume), new[None]), where[None], 1.0)
    assert (after - before).norm() / before.norm() < 0.03
