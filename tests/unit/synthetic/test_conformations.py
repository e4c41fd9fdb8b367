"""Motions of atoms."""

import numpy as np
import pytest

from multicryogan.synthetic.conformations import (
    Conformations,
    Frames,
    RigidMotion,
    RigidMotions,
    enclosing_ball,
    motion_ball,
)

ATOMS = np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 3.0, 0], [0, 0, 4.0], [1.0, 1.0, 1.5]])
ELEMENTS = np.array(["C"] * 5)
ABOUT_Z = RigidMotion(
    np.array([True, True, False, False, True]),
    np.zeros(3),
    np.array([0.0, 0.0, 1.0]),
    (0.0, 90.0),
)
ABOUT_X = RigidMotion(
    np.array([False, True, True, False, True]),
    np.array([0.0, 1.0, 0.0]),
    np.array([1.0, 0.0, 0.0]),
    (0.0, 90.0),
)
FRAMES = np.stack(
    [ATOMS, ATOMS + np.array([0, 0, 2.0]), ATOMS + np.array([0, 4.0, 2.0])]
)


def assembled(conformations: Conformations, coordinates: np.ndarray) -> list:
    """Sorted atom positions of every row, from the bodies of its group."""
    placed: list = [None] * len(coordinates)
    for group in conformations.groups(coordinates):
        for i, row in enumerate(group.rows):
            atoms = [
                body.positions @ body.rotation[i].T + body.offset[i]
                for body in group.bodies
            ]
            placed[row] = np.sort(np.concatenate(atoms), axis=0)
    return placed


def test_rotation_is_right_handed_about_its_axis() -> None:
    motions = RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z,))
    placed = motions.positions(np.array([90.0]))
    np.testing.assert_allclose(placed[:2], [[0, 1, 0], [0, 2, 0]], atol=1e-12)


def test_unselected_atoms_stay() -> None:
    motions = RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z,))
    np.testing.assert_array_equal(motions.positions(np.array([30.0]))[2:4], ATOMS[2:4])


def test_pivot_is_a_fixed_point() -> None:
    motions = RigidMotions(ELEMENTS, ATOMS, (ABOUT_X,))
    placed = motions.positions(np.array([90.0]))
    # (0, 3, 0) is 2 from the axis through (·, 1, 0): it goes to (0, 1, 2).
    np.testing.assert_allclose(placed[2], [0, 1, 2], atol=1e-12)


def test_motions_apply_in_order() -> None:
    motions = RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z, ABOUT_X))
    placed = motions.positions(np.array([90.0, 90.0]))
    # (2, 0, 0) goes to (0, 2, 0) about z, then to (0, 1, 1) about x at y = 1.
    np.testing.assert_allclose(placed[1], [0, 1, 1], atol=1e-12)


def test_limits_are_the_ranges_of_the_motions() -> None:
    motions = RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z, ABOUT_X))
    np.testing.assert_array_equal(motions.limits, [[0, 90], [0, 90]])


def test_molecule_without_motion_has_one_constant_coordinate() -> None:
    motions = RigidMotions(ELEMENTS, ATOMS, ())
    np.testing.assert_array_equal(motions.limits, [[0, 0]])
    np.testing.assert_array_equal(motions.positions(np.zeros(1)), ATOMS)


@pytest.mark.parametrize(
    ("conformations", "coordinates"),
    [
        (RigidMotions(ELEMENTS, ATOMS, ()), np.zeros((2, 1))),
        (RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z,)), np.array([[0.0], [35.0]])),
        (
            RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z, ABOUT_X)),
            np.array([[10.0, 70.0], [35.0, 0.0], [60.0, 20.0]]),
        ),
        (Frames(ELEMENTS, FRAMES), np.array([[1.5], [0.25], [1.5], [2.0]])),
    ],
)
def test_bodies_of_a_row_are_its_atoms(
    conformations: Conformations, coordinates: np.ndarray
) -> None:
    for coordinate, placed in zip(
        coordinates, assembled(conformations, coordinates), strict=True
    ):
        expected = np.sort(conformations.positions(coordinate), axis=0)
        np.testing.assert_allclose(placed, expected, atol=1e-12)


def test_moving_the_molecule_moves_its_axes() -> None:
    motions = RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z, ABOUT_X))
    shift, angles = np.array([5.0, -6.0, 7.0]), np.array([40.0, 20.0])
    expected = motions.positions(angles) + shift
    np.testing.assert_allclose(motions.moved(shift).positions(angles), expected)


def test_frames_are_joined_by_straight_lines() -> None:
    frames = Frames(ELEMENTS, FRAMES)
    placed = frames.positions(np.array([1.25]))
    np.testing.assert_allclose(placed, ATOMS + np.array([0, 1.0, 2.0]))


def test_last_frame_is_reached() -> None:
    placed = Frames(ELEMENTS, FRAMES).positions(np.array([2.0]))
    np.testing.assert_allclose(placed, FRAMES[2])


def test_rendered_steps_between_frames_are_half_an_angstrom_or_less() -> None:
    assert Frames(ELEMENTS, FRAMES).steps_per_frame == 8  # the largest move is 4 Å


def test_frame_coordinates_are_rounded_to_rendered_steps() -> None:
    quantised = Frames(ELEMENTS, FRAMES).quantise(np.array([[0.3], [1.99]]))
    np.testing.assert_allclose(quantised, [[0.25], [2.0]])


def test_rigid_angles_are_not_rounded() -> None:
    angles = np.array([[0.123456789]])
    motions = RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z,))
    np.testing.assert_array_equal(motions.quantise(angles), angles)


def test_ball_around_a_cube_is_its_circumsphere() -> None:
    corners = np.array(np.meshgrid([0, 2.0], [0, 2.0], [0, 2.0])).reshape(3, -1).T
    centre, radius = enclosing_ball(corners)
    np.testing.assert_allclose(centre, [1, 1, 1], atol=0.02)
    assert radius == pytest.approx(3**0.5, rel=0.02)


@pytest.mark.parametrize("points", [[[1.0, 2, 3]], [[0.0, 0, 0], [0.0, 0, 2]]])
def test_ball_holds_one_point_or_two(points: list) -> None:
    centre, radius = enclosing_ball(np.array(points))
    np.testing.assert_allclose(centre, np.mean(points, axis=0), atol=0.02)
    assert radius == pytest.approx((len(points) - 1) * 1.0, abs=0.02)


def test_motion_ball_holds_every_state() -> None:
    motions = RigidMotions(ELEMENTS, ATOMS, (ABOUT_Z, ABOUT_X))
    centre, radius = motion_ball(motions)
    for angles in ((0.0, 0.0), (90.0, 0.0), (0.0, 90.0), (90.0, 90.0)):
        distance = np.linalg.norm(motions.positions(np.array(angles)) - centre, axis=1)
        assert distance.max() <= radius + 1e-9
