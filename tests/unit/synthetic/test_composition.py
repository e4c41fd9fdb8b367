"""A domain that only some particles have."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multicryogan.config import (
    DomainConfig,
    LawConfig,
    MoleculeConfig,
    SimulationConfig,
)
from multicryogan.errors import InputError
from multicryogan.imaging import CTFParams, ImagingParams, form_images
from multicryogan.io import read_particles
from multicryogan.synthetic import Truth, read_truth, simulate
from multicryogan.synthetic.composition import Composition
from multicryogan.synthetic.conformations import Frames, RigidMotions, motion_ball
from multicryogan.synthetic.groups import Geometry
from multicryogan.synthetic.molecule import load_conformations
from multicryogan.synthetic.render import true_map

LID = DomainConfig(share=0.6, chains=("A",), residues=(250, 400))
CONFIG = SimulationConfig(
    images=300,
    snr_db=math.inf,
    molecule=MoleculeConfig(domain=LID),
    law=LawConfig(maps=2),
)
WITHOUT, WITH = np.array([10.0, 0.0]), np.array([10.0, 1.0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("composition") / "set"
    simulate(CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def truth(folder: Path) -> Truth:
    return read_truth(folder)


@pytest.fixture(scope="module")
def lidded() -> Composition:
    loaded = load_conformations(CONFIG.molecule, Path())
    assert isinstance(loaded, Composition)
    return loaded


def test_the_last_coordinate_is_presence(lidded: Composition) -> None:
    assert lidded.units == ("deg", "present")
    assert lidded.limits.tolist() == [[0, 40], [0, 1]]


def test_atoms_of_the_domain_are_there_or_not(lidded: Composition) -> None:
    assert lidded.is_present(WITH).all()
    np.testing.assert_array_equal(lidded.is_present(WITHOUT), ~lidded.is_domain)
    assert 200 < lidded.is_domain.sum() < 1000


def test_a_domain_changes_nothing_in_where_atoms_are(lidded: Composition) -> None:
    found, expected = motion_ball(lidded), motion_ball(lidded.whole)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-9)
    assert found[1] == pytest.approx(expected[1])


def test_maps_differ_by_the_density_of_the_domain(lidded: Composition) -> None:
    geometry = Geometry(32, 5.0, 7.5)
    without, whole = (true_map(lidded, at, geometry) for at in (WITHOUT, WITH))
    alone = lidded.whole.select(lidded.is_domain)
    domain = true_map(alone, WITH[:1], geometry)
    torch.testing.assert_close(whole - without, domain, atol=1e-5, rtol=1e-4)
    mass = domain.sum().item() * 5.0**3
    assert mass == pytest.approx(scattering(alone.elements), rel=0.01)


def scattering(elements: np.ndarray) -> float:
    """Sum of the scattering factors of atoms at zero frequency, in Å."""
    import gemmi

    factors = [sum(gemmi.Element(e).c4322.get_coefs()[:5]) for e in elements.tolist()]
    return float(sum(factors))


def test_images_show_the_domain_where_the_truth_says_so(
    folder: Path, truth: Truth, lidded: Composition
) -> None:
    stack = read_particles(folder / "particles.star")
    ctf = stack.ctf_params()
    assert ctf is not None
    for row in range(6):
        at = truth.coordinates[row].double().numpy()
        assert bool(truth.is_present[row]) == (at[1] == 1)
        right, wrong = (
            misfit(stack.images([row])[0], other, truth, ctf, row, lidded)
            for other in (at, np.array([at[0], 1 - at[1]]))
        )
        assert right < 0.15
        assert wrong > 2 * right


def misfit(
    image: np.ndarray,
    at: np.ndarray,
    truth: Truth,
    ctf: CTFParams,
    row: int,
    lidded: Composition,
) -> float:
    """Relative distance of an image from that of the map at a conformation."""
    density = true_map(lidded, at, Geometry.of(truth.config))
    params = ImagingParams(
        truth.rotation[row][None, None],
        truth.shift_angstrom[row][None, None],
        ctf.select(torch.tensor([row])).reshape(1, 1),
    )
    expected = form_images(density[None], params, 5.0)[0, 0].numpy()
    return float(np.linalg.norm(image - expected) / np.linalg.norm(expected))


def test_truth_says_of_each_particle_whether_the_domain_is_there(truth: Truth) -> None:
    assert truth.units == ("deg", "present")
    assert truth.is_present.double().mean().item() == pytest.approx(0.6, abs=0.1)
    assert torch.equal(truth.is_present, truth.coordinates[:, 1] == 1)


def test_true_maps_are_written_for_both(truth: Truth) -> None:
    expected = [[0, 0], [0, 1], [40, 0], [40, 1]]
    assert truth.map_coordinates.tolist() == expected
    torch.testing.assert_close(truth.map_weights, torch.tensor([0.2, 0.3, 0.2, 0.3]))
    mass = truth.maps.sum((1, 2, 3))
    assert (mass[[1, 3]] > mass[[0, 2]] * 1.05).all()


def test_a_molecule_without_motion_has_one_coordinate(lidded: Composition) -> None:
    still = Composition(replace(lidded.whole, motions=()), lidded.is_domain)
    assert still.units == ("present",)
    assert still.limits.tolist() == [[0, 1]]
    groups = list(still.groups(np.array([[1.0], [0.0], [1.0]])))
    assert [group.rows.tolist() for group in groups] == [[1], [0, 2]]
    sizes = [sum(len(b.elements) for b in group.bodies) for group in groups]
    assert sizes == [(~lidded.is_domain).sum(), len(lidded.elements)]


def test_frames_may_lack_a_domain() -> None:
    ends = np.arange(24.0).reshape(2, 4, 3)
    frames = Frames(np.array(["C"] * 4), ends)
    partial = Composition(frames, np.array([True, False, False, False]))
    assert partial.units == ("frame", "present")
    found = partial.quantise(np.array([[0.49 / frames.steps_per_frame, 1], [1, 0]]))
    np.testing.assert_allclose(found, [[0, 1], [1, 0]])
    atoms = [len(group.bodies[0].elements) for group in partial.groups(found)]
    assert atoms == [3, 4]


def test_a_domain_may_be_the_part_that_moves(tmp_path: Path) -> None:
    domain = DomainConfig(share=0.5, chains=("B",))
    config = replace(CONFIG, images=20, molecule=MoleculeConfig(domain=domain))
    simulate(config, tmp_path / "set")
    truth = read_truth(tmp_path / "set")
    # Without chain B both ends of the motion are the same.
    assert (truth.maps[0] - truth.maps[2]).abs().max() < 1e-3 * truth.maps.max()


def test_without_a_share_nothing_is_missing() -> None:
    loaded = load_conformations(MoleculeConfig(), Path())
    assert isinstance(loaded, RigidMotions)
    assert loaded.is_present(np.zeros(1)).all()


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (DomainConfig(share=0.5), "molecule.domain selects all atoms"),
        (DomainConfig(share=0.5, chains=("Q",)), "molecule.domain selects no atoms"),
        (DomainConfig(share=0.0, chains=("A",)), "molecule.domain.share is 0"),
        (DomainConfig(share=1.5, chains=("A",)), "molecule.domain.share is 1.5"),
    ],
)
def test_an_unusable_domain_is_refused(
    domain: DomainConfig, message: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, molecule=MoleculeConfig(domain=domain))
    with pytest.raises(InputError, match=message):
        simulate(config, tmp_path / "set")
