"""Clean images against closed forms from the atoms themselves."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from multicryogan.config import (
    GroupConfig,
    MoleculeConfig,
    OpticsConfig,
    SimulationConfig,
)
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations
from multicryogan.synthetic.conformations import Conformations, Frames, RigidMotions
from multicryogan.synthetic.density import blur_b_angstrom2
from multicryogan.synthetic.draws import Views, constant_optics
from multicryogan.synthetic.groups import Geometry, optics_groups
from multicryogan.synthetic.molecule import load_conformations
from multicryogan.synthetic.render import (
    noise_power,
    render_clean,
    true_map,
)

PIXEL_SIZE = 5.0
FLAT = OpticsConfig(amplitude_contrast=1.0, cs_mm=0.0)  # CTF = 1 without defocus


def views_of(count: int, optics: OpticsConfig, defocus: float, shift: float) -> Views:
    rotation = random_rotations((count,), stream(1, "rotation"))
    shifts = shift * torch.randn(count, 2, generator=stream(1, "shift"))
    defoci = torch.full((count,), defocus)
    ctf = constant_optics(optics, defoci, defoci, torch.zeros(count))
    return Views(rotation, shifts, ctf, torch.zeros(count, dtype=torch.int64))


def rendered(
    conformations: Conformations,
    coordinates: np.ndarray,
    views: Views,
    geometry: Geometry,
) -> Tensor:
    images = torch.zeros(len(coordinates), geometry.box, geometry.box)
    for rows, block in render_clean(conformations, coordinates, views, geometry):
        images[torch.from_numpy(rows)] = block
    return images


def projected_atoms(
    conformations: Conformations,
    coordinate: np.ndarray,
    views: Views,
    row: int,
    geometry: Geometry,
) -> np.ndarray:
    """Sum the scattering of the atoms, mode by mode, |k| < D / 2: (D, D) image.

    Each atom adds f(s) exp(-2πi k·r) / voxel volume, with f the electron scattering
    factor times exp(-B s² / 4).
    """
    box, pixel_size = geometry.box, geometry.pixel_size
    ky, kx = np.meshgrid(
        np.fft.fftfreq(box, pixel_size), np.fft.rfftfreq(box, pixel_size), indexing="ij"
    )
    s2 = ky**2 + kx**2
    placed = conformations.positions(coordinate) @ views.rotation[row].numpy().T
    placed = placed[:, :2] + views.shift_angstrom[row].numpy()
    placed = placed + box // 2 * pixel_size  # from the corner pixel
    spectrum = np.zeros(ky.shape, complex)
    for element in np.unique(conformations.elements):
        x, y = placed[conformations.elements == element].T
        along_x = np.exp(-2j * np.pi * kx[0] * x[:, None])
        along_y = np.exp(-2j * np.pi * ky[:, 0] * y[:, None])
        spectrum += scattering(str(element), s2, geometry) * (along_y.T @ along_x)
    spectrum[s2 >= 1 / (2 * pixel_size) ** 2] = 0
    return np.fft.irfft2(spectrum / pixel_size**3, s=(box, box))


def scattering(element: str, s2: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Blurred electron scattering factor in Å at squared frequencies in 1/Å²."""
    import gemmi

    coefficients = gemmi.Element(element).c4322.get_coefs()
    blur = blur_b_angstrom2(geometry.resolution)
    pairs = zip(coefficients[:5], coefficients[5:], strict=True)
    return sum(a * np.exp(-(b + blur) * s2 / 4) for a, b in pairs)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("box", [32, 33])
def test_one_atom_projects_to_a_gaussian_at_its_place(box: int) -> None:
    atom = RigidMotions(np.array(["S"]), np.array([[25.0, -14.0, 31.0]]), ())
    geometry = Geometry(box, PIXEL_SIZE, 30.0)
    views = views_of(4, FLAT, 0.0, shift=9.0)
    images = rendered(atom, np.zeros((4, 1)), views, geometry).numpy()
    for row in range(4):
        expected = projected_atoms(atom, np.zeros(1), views, row, geometry)
        assert relative_error(images[row], expected) < 0.006


def test_shift_moves_the_particle_to_where_it_says() -> None:
    atom = RigidMotions(np.array(["C"]), np.zeros((1, 3)), ())
    views = views_of(1, FLAT, 0.0, shift=0.0)
    views.shift_angstrom[0] = torch.tensor([20.0, -35.0])  # (x, y) Å
    geometry = Geometry(32, PIXEL_SIZE, 20.0)
    image = rendered(atom, np.zeros((1, 1)), views, geometry)[0]
    peak = np.unravel_index(int(image.argmax()), image.shape)
    assert peak == (16 - 7, 16 + 4)


@pytest.mark.parametrize("box", [32, 33])
def test_moving_molecule_is_the_sum_of_its_atoms(box: int) -> None:
    demo = load_conformations(MoleculeConfig(), Path())
    geometry = Geometry(box, PIXEL_SIZE, 7.5)
    views = views_of(3, FLAT, 0.0, shift=4.0)
    angles = np.array([[0.0], [17.0], [40.0]])
    images = rendered(demo, angles, views, geometry).numpy()
    for row in range(3):
        expected = projected_atoms(demo, angles[row], views, row, geometry)
        assert relative_error(images[row], expected) < 0.015


def test_frames_render_as_their_atoms() -> None:
    demo = load_conformations(MoleculeConfig(), Path())
    ends = np.stack([demo.positions(np.array([a])) for a in (0.0, 10.0)])
    frames = Frames(demo.elements, ends)
    geometry = Geometry(32, PIXEL_SIZE, 7.5)
    views = views_of(3, FLAT, 0.0, shift=4.0)
    coordinates = np.array([[0.5], [0.0], [0.5]])
    images = rendered(frames, coordinates, views, geometry).numpy()
    for row in range(3):
        expected = projected_atoms(frames, coordinates[row], views, row, geometry)
        assert relative_error(images[row], expected) < 0.015


def test_ctf_is_plus_w_at_zero_frequency() -> None:
    atom = RigidMotions(np.array(["C"]), np.zeros((1, 3)), ())
    views = views_of(1, OpticsConfig(amplitude_contrast=0.1), 15000.0, shift=0.0)
    geometry = Geometry(32, PIXEL_SIZE, 20.0)
    image = rendered(atom, np.zeros((1, 1)), views, geometry)
    expected = 0.1 * scattering("C", np.zeros(1), geometry)[0] / PIXEL_SIZE**3
    assert image.sum().item() == pytest.approx(expected, rel=0.01)


def test_images_are_modulated_by_the_ctf() -> None:
    demo = load_conformations(MoleculeConfig(), Path())
    geometry, angle = Geometry(32, PIXEL_SIZE, 7.5), np.array([[20.0]])
    views = views_of(1, OpticsConfig(), 15000.0, shift=0.0)
    image = rendered(demo, angle, views, geometry)[0].numpy()
    atoms = projected_atoms(demo, angle[0], views, 0, geometry)

    ky, kx = np.meshgrid(
        np.fft.fftfreq(32, PIXEL_SIZE), np.fft.rfftfreq(32, PIXEL_SIZE), indexing="ij"
    )
    s2 = kx**2 + ky**2
    wavelength = 0.01968762  # Å at 300 kV
    gamma = -math.pi * wavelength * 15000.0 * s2
    gamma += math.pi / 2 * 2.7e7 * wavelength**3 * s2**2 - math.asin(0.1)
    expected = np.fft.irfft2(np.fft.rfft2(atoms) * -np.sin(gamma), s=(32, 32))
    assert relative_error(image, expected) < 0.015


def test_images_are_projections_of_the_true_maps() -> None:
    from scipy.ndimage import map_coordinates

    demo = load_conformations(MoleculeConfig(), Path())
    geometry = Geometry(32, PIXEL_SIZE, 15.0)
    views = views_of(3, FLAT, 0.0, shift=0.0)
    angles = np.array([[0.0], [17.0], [40.0]])
    images = rendered(demo, angles, views, geometry).numpy()
    axis = np.arange(32.0) - 16
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack((x, y, z), axis=-1)
    for row in range(3):
        density = true_map(demo, angles[row], geometry).numpy()
        turned = points @ views.rotation[row].numpy() + 16  # A^T r
        at = turned[..., ::-1].transpose(3, 0, 1, 2)  # (z, y, x)
        projection = map_coordinates(density, at, order=3).sum(0)
        correlation = np.corrcoef(projection.ravel(), images[row].ravel())[0, 1]
        assert correlation > 0.99
        slope = np.vdot(projection, images[row]) / np.vdot(projection, projection)
        assert slope == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("box", [40, 41])
def test_other_pixels_show_the_same_atoms_at_the_same_place(box: int) -> None:
    groups = (GroupConfig(), GroupConfig(box=box, pixel_size=3.7))
    config = SimulationConfig(pixel_size=PIXEL_SIZE, resolution=20.0, groups=groups)
    geometry = optics_groups(config)[1].geometry
    place = np.array([[25.0, -14.0, 31.0]])
    atom = RigidMotions(np.array(["S"]), place, ())
    views = views_of(4, FLAT, 0.0, shift=9.0)
    images = rendered(atom, np.zeros((4, 1)), views, geometry).numpy()
    # A projection sums voxels of 5 Å: over all its area that is f(0) / 5 Å.
    whole = scattering("S", np.zeros(1), geometry)[0] / PIXEL_SIZE
    at = np.arange(box) * 3.7 - box // 2 * 3.7
    for row in range(4):
        own = projected_atoms(atom, np.zeros(1), views, row, geometry)
        own *= 3.7 / PIXEL_SIZE
        assert relative_error(images[row], own) < 0.006
        area = images[row].sum() * 3.7**2
        assert area == pytest.approx(whole, rel=0.01)
        peak = (images[row] - images[row].max() / 2).clip(min=0)
        found = np.array([(peak @ at).sum(), (at @ peak).sum()]) / peak.sum()
        expected = (place @ views.rotation[row].numpy().T)[0, :2]
        expected = expected + views.shift_angstrom[row].numpy()
        np.testing.assert_allclose(found, expected, atol=0.2)  # Å


def test_contrast_scales_an_image() -> None:
    demo = load_conformations(MoleculeConfig(), Path())
    views = views_of(3, OpticsConfig(), 15000.0, shift=0.0)
    scale = torch.tensor([1.0, 0.5, 2.0])
    scaled = replace(views, ctf=replace(views.ctf, scale=scale))
    geometry = Geometry(32, PIXEL_SIZE, 7.5)
    plain = rendered(demo, np.zeros((3, 1)), views, geometry)
    found = rendered(demo, np.zeros((3, 1)), scaled, geometry)
    torch.testing.assert_close(found, scale[:, None, None] * plain)


@pytest.mark.parametrize("box", [32, 33])
def test_map_keeps_the_values_of_the_density(box: int) -> None:
    from multicryogan.synthetic.density import atom_density

    demo = load_conformations(MoleculeConfig(), Path())
    found = true_map(demo, np.zeros(1), Geometry(box, PIXEL_SIZE, 20.0))
    expected = atom_density(
        demo.elements, demo.positions(np.zeros(1)), box, PIXEL_SIZE, 20.0
    )
    assert (found - expected).norm() / expected.norm() < 0.02


@pytest.mark.parametrize("box", [32, 33])
@pytest.mark.parametrize("falloff", [0.0, 40.0])
def test_noise_power_has_the_variance_asked_for(box: int, falloff: float) -> None:
    from multicryogan.imaging import sample_noise

    config = SimulationConfig(box=box, noise_falloff_angstrom=falloff)
    (group,) = optics_groups(config)
    noise = sample_noise((500, box, box), noise_power(30.0, group), stream(0, "noise"))
    assert noise.var().item() == pytest.approx(30.0, rel=0.02)


def test_coloured_noise_falls_as_asked() -> None:
    (group,) = optics_groups(SimulationConfig(noise_falloff_angstrom=40.0))
    power = noise_power(1.0, group)
    frequency = 8 / (32 * PIXEL_SIZE)
    assert power[8] / power[0] == pytest.approx(1 / (1 + (40 * frequency) ** 2))


def test_noise_of_no_variance_is_none() -> None:
    (group,) = optics_groups(SimulationConfig())
    assert (noise_power(0.0, group) == 0).all()


def test_resolution_is_one_and_a_half_pixels_when_not_given() -> None:
    assert Geometry.of(SimulationConfig(pixel_size=4.0)).resolution == 6.0
