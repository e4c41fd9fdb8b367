"""The built-in molecule."""

from pathlib import Path

import numpy as np
import pytest

from multicryogan.config import MoleculeConfig
from multicryogan.synthetic.conformations import RigidMotions, motion_ball
from multicryogan.synthetic.demo import demo_molecule, helix_positions
from multicryogan.synthetic.molecule import load_conformations


@pytest.fixture(scope="module")
def conformations() -> RigidMotions:
    loaded = load_conformations(MoleculeConfig(), Path())
    assert isinstance(loaded, RigidMotions)
    return loaded


def test_backbone_has_the_bond_lengths_of_a_peptide() -> None:
    helix = helix_positions(np.zeros(3), np.array([10.0, 20.0, 30.0]))
    n, ca, c, o, cb = helix.transpose(1, 0, 2)
    for length, a, b in ((1.46, n, ca), (1.53, ca, c), (1.23, c, o), (1.53, ca, cb)):
        np.testing.assert_allclose(np.linalg.norm(a - b, axis=1), length, atol=0.03)
    peptide = np.linalg.norm(c[:-1] - n[1:], axis=1)
    np.testing.assert_allclose(peptide, 1.33, atol=0.03)


def test_helix_is_right_handed() -> None:
    ca = helix_positions(np.zeros(3), np.array([0.0, 0.0, 30.0]))[:, 1]
    (x0, y0, _), (x1, y1, _) = ca[:2]
    turn = x0 * y1 - y0 * x1  # from one residue to the next, going up
    assert ca[1, 2] > ca[0, 2]
    assert turn > 0


def test_hydrogen_bonds_close_the_helix() -> None:
    helix = helix_positions(np.zeros(3), np.array([0.0, 0.0, 30.0]))
    bond = np.linalg.norm(helix[:-4, 3] - helix[4:, 0], axis=1)  # O(i) to N(i + 4)
    np.testing.assert_allclose(bond, 2.9, atol=0.25)


def test_all_states_fit_32_pixels_of_5_angstrom(conformations: RigidMotions) -> None:
    _, radius = motion_ball(conformations)
    assert 55 < radius < 0.46 * 160


def test_opening_moves_the_arm_by_tens_of_angstrom(
    conformations: RigidMotions,
) -> None:
    moved = conformations.positions(np.array([40.0])) - conformations.reference
    assert np.linalg.norm(moved, axis=1).max() > 50


def test_chain_a_stays(conformations: RigidMotions) -> None:
    atoms, _ = demo_molecule()
    moved = conformations.positions(np.array([40.0])) - conformations.reference
    assert np.abs(moved[atoms.chains == "A"]).max() == 0


def test_molecule_differs_from_its_mirror_image(conformations: RigidMotions) -> None:
    # The triple product of the principal axes' third moments changes sign in a mirror.
    centred = conformations.reference - conformations.reference.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    skew = ((centred @ axes.T) ** 3).mean(0) / (centred @ axes.T).std(0) ** 3
    assert np.abs(skew).min() > 0.05


def test_arms_do_not_clash(conformations: RigidMotions) -> None:
    from scipy.spatial import cKDTree

    atoms, _ = demo_molecule()
    for angle in (0.0, 40.0):
        placed = conformations.positions(np.array([angle]))
        a, b = placed[atoms.chains == "A"], placed[atoms.chains == "B"]
        assert cKDTree(a).query(b)[0].min() > 2
