"""Errors of poses up to one turn and one hand of all."""

import torch

from multicryogan.evaluation.pose_errors import pose_errors_deg
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0]))


def true_poses(count: int = 200) -> torch.Tensor:
    return random_rotations((count,), stream(0, "pose"))


def test_a_turned_or_mirrored_frame_is_no_error() -> None:
    true, turn = true_poses(), random_rotations((1,), stream(0, "turn"))
    for found in (true @ turn, MIRROR @ true @ turn @ MIRROR):
        assert float(pose_errors_deg(found, true).max()) < 0.1


def test_errors_are_those_left_after_the_turn() -> None:
    """A third of the poses is wrong at random, the others by 5 degrees."""
    true, turn = true_poses(), random_rotations((1,), stream(0, "turn"))
    angle = torch.deg2rad(torch.tensor(5.0))
    axis = torch.nn.functional.normalize(
        torch.randn(200, 3, generator=stream(0, "axis")), dim=1
    )
    cross = torch.linalg.cross(axis[:, None].expand(-1, 3, -1), torch.eye(3)[None])
    small = torch.linalg.matrix_exp(angle * cross.mT)
    found = small @ true @ turn
    found[::3] = random_rotations((67,), stream(0, "wrong"))
    errors = pose_errors_deg(found, true)
    right = torch.ones(200, dtype=torch.bool)
    right[::3] = False
    torch.testing.assert_close(
        errors[right].median(), torch.tensor(5.0), atol=0.6, rtol=0
    )
    assert float(errors[~right].median()) > 90


def test_conformations_may_each_have_their_turn() -> None:
    true, turns = true_poses(), random_rotations((2,), stream(0, "turn"))
    conformation = torch.arange(200) % 2 * 7
    found = true @ turns[conformation // 7]
    assert float(pose_errors_deg(found, true, conformation).max()) < 0.1
    assert float(pose_errors_deg(found, true).max()) > 10


def test_poses_at_random_are_far_off() -> None:
    found = random_rotations((200,), stream(0, "other"))
    assert float(pose_errors_deg(found, true_poses()).median()) > 80
