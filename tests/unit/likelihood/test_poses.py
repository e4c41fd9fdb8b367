"""Poses that divide: how much they measure, how near they are, what they cover."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.likelihood.poses import CHILDREN, ROOTS, PoseTree, children
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

TREE = PoseTree(576)
LEVELS = [0, 1, 2]


def every(level: int, tree: PoseTree = TREE) -> Tensor:
    """(N, 3, 3) all poses of a level."""
    return tree.rotations(torch.arange(tree.count(level)), level)


def angles(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) radians between (N, 3, 3) and (M, 3, 3) rotations."""
    trace = a.double().flatten(1) @ b.double().flatten(1).T
    return ((trace - 1) / 2).clamp(-1, 1).acos()


@pytest.mark.parametrize("level", LEVELS)
def test_cells_measure_all_rotations(level: int) -> None:
    cell = TREE.spacing(level) ** 3
    assert TREE.count(level) * cell == pytest.approx(8 * math.pi**2)


def test_the_default_tree_has_spacings_of_30_and_15_degrees() -> None:
    tree = PoseTree()
    assert tree.roots == ROOTS == 576
    assert math.degrees(tree.spacing(0)) == pytest.approx(29.54, abs=0.01)
    assert math.degrees(tree.spacing(1)) == pytest.approx(14.77, abs=0.01)


@pytest.mark.parametrize("level", LEVELS)
def test_poses_are_rotations(level: int) -> None:
    matrix = every(level).double()
    unit = torch.eye(3, dtype=torch.float64).expand_as(matrix)
    torch.testing.assert_close(matrix @ matrix.mT, unit, rtol=0, atol=1e-6)
    assert (torch.linalg.det(matrix) > 0).all()


@pytest.mark.parametrize("level", [1, 2, 3])
def test_children_are_the_corners_of_a_cube_about_their_parent(level: int) -> None:
    pose = torch.randint(TREE.count(level - 1), (50,), generator=stream(0, "poses"))
    parent = TREE.rotations(pose, level - 1).repeat_interleave(CHILDREN, 0)
    # In the frame of the image.
    turn = TREE.rotations(children(pose).flatten(), level) @ parent.mT
    angle = (((turn.diagonal(dim1=1, dim2=2).sum(1)) - 1) / 2).double().acos()
    expected = torch.full_like(angle, math.sqrt(3) / 4 * TREE.spacing(level - 1))
    torch.testing.assert_close(angle, expected, rtol=2e-3, atol=0)
    # The axis of each turn is a diagonal: its three numbers are alike but for signs.
    axis = torch.stack((turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]), -1) - torch.stack(
        (turn[:, 1, 2], turn[:, 2, 0], turn[:, 0, 1]), -1
    )
    axis = torch.nn.functional.normalize(axis, dim=1).abs()
    diagonal = torch.full_like(axis, 3**-0.5)
    torch.testing.assert_close(axis, diagonal, rtol=0, atol=1e-4)


def test_children_are_all_poses_of_the_next_level() -> None:
    found = children(torch.arange(TREE.count(1))).flatten()
    torch.testing.assert_close(found.sort().values, torch.arange(TREE.count(2)))


@pytest.mark.parametrize("level", LEVELS)
def test_four_poses_are_quarter_turns_of_each_other(level: int) -> None:
    mates = every(level).view(-1, 4, 3, 3)
    turn = mates[:, 1:] @ mates[:, :-1].mT  # in the frame of the image
    # x goes to y, y to -x: counter-clockwise.
    expected = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(turn, expected.expand_as(turn), rtol=0, atol=1e-6)


def test_poses_that_do_not_fall_into_quarter_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4 roots, got 30"):
        PoseTree(30).rotations(torch.zeros(1, dtype=torch.int64), 0)


@pytest.mark.parametrize("level", LEVELS)
def test_siblings_are_a_cell_of_theirs_apart(level: int) -> None:
    tree = PoseTree()
    siblings = tree.rotations(children(torch.tensor([11]))[0], level + 1)
    angle = angles(siblings, siblings) / tree.spacing(level + 1)
    found = angle.sort(1).values[:, 1:]
    # Three neighbours along edges, three across faces, one opposite.
    cube = torch.tensor([1.0] * 3 + [math.sqrt(2)] * 3 + [math.sqrt(3)])
    torch.testing.assert_close(
        found, cube.double().expand(CHILDREN, -1), rtol=0.02, atol=0
    )


@pytest.mark.parametrize(
    ("level", "mean", "largest"), [(0, 0.50, 0.9), (1, 0.53, 1.2), (2, 0.56, 1.6)]
)
def test_no_rotation_is_far_from_a_pose(
    level: int, mean: float, largest: float
) -> None:
    """In units of the spacing; cells that are cubes side by side: 0.48 and 0.87."""
    some = random_rotations((2_000,), stream(0, "seen"))
    nearest = angles(some, every(level)).amin(1) / TREE.spacing(level)
    assert 0.47 < nearest.mean() < mean
    assert nearest.max() < largest


@pytest.mark.parametrize("level", LEVELS)
def test_as_many_poses_are_near_any_rotation(level: int) -> None:
    some, within = random_rotations((200,), stream(0, "seen")), 1.2
    share = (angles(some, every(level)) < within).double().mean(1)
    # Of the angle of random rotations, the density is (1 - cos) / pi.
    expected = (within - math.sin(within)) / math.pi
    assert share.mean().item() == pytest.approx(expected, rel=0.01)
    assert share.std() < 0.05 * expected


@pytest.mark.parametrize("level", LEVELS)
def test_poses_are_uniform_to_second_order(level: int) -> None:
    flat = every(level).double().flatten(1)  # (N, 9)
    mean, second = flat.mean(0), flat.T @ flat / len(flat)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=4e-3)
    unit = torch.eye(9, dtype=torch.float64) / 3
    torch.testing.assert_close(second, unit, rtol=0, atol=4e-3)


@pytest.mark.parametrize("level", LEVELS)
def test_a_subset_of_poses_is_made_as_all_are(level: int) -> None:
    pose = torch.tensor([7, 0, TREE.count(level) - 1, 7])
    torch.testing.assert_close(TREE.rotations(pose, level), every(level)[pose])


@pytest.mark.parametrize("roots", [40, 576, ROOTS])
@pytest.mark.parametrize("max_shell", [3, 7, 15, 31])
def test_the_last_level_is_the_first_that_is_fine_enough(
    roots: int, max_shell: int
) -> None:
    tree = PoseTree(roots)
    levels = tree.levels(max_shell)
    # Half a cell turns a mode at this shell by one pixel of the transform, or less.
    assert tree.spacing(levels) * max_shell <= 2 * 1.08
    if levels > 1:
        assert tree.spacing(levels - 1) * max_shell > 2 * 1.07
    else:
        assert levels == 1


def test_fine_poses_are_half_as_far_apart_and_at_most_4_degrees() -> None:
    tree = PoseTree()
    fine = [tree.fine_level(shell) for shell in (4, 8, 15, 16, 31)]
    assert fine == [3, 3, 3, 3, 4]
    assert fine[2:] == [tree.levels(shell) + 1 for shell in (15, 16, 31)]
    assert math.degrees(tree.spacing(3)) < 4


def test_finer_levels_are_good_for_twice_the_shells() -> None:
    tree = PoseTree()
    assert [tree.shell(level) for level in range(4)] == [4, 8, 16, 31]
