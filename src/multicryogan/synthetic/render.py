"""Noise-free images of moving atoms, and the noise that is added to them.

Densities are sampled with half the pixel size of the images, and only the modes that
the images keep are computed: rendering on the fine grid and Fourier-cropping. So
truth and model do not share a projector's grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.fourier import (
    fourier_resize,
    shell_index,
    shell_weights,
)
from multicryogan.imaging import ctf, shift_phase
from multicryogan.imaging.projection import (
    SliceModes,
    place_modes,
    sample_modes,
    slice_modes,
)
from multicryogan.synthetic.conformations import Body, Conformations, Group
from multicryogan.synthetic.density import atom_density
from multicryogan.synthetic.draws import Views
from multicryogan.synthetic.groups import Geometry, OpticsGroup

OVERSAMPLING = 2  # voxels of the densities per image pixel

T = TypeVar("T")
Placed = list[tuple[Body, Tensor]]  # bodies with their densities on the fine grid


def true_map(
    conformations: Conformations, coordinate: NDArray[np.float64], geometry: Geometry
) -> Tensor:
    """Make the density of one conformation at the pixel size of the images.

    Images of the data set are `project` of these maps, with shift, CTF and noise.

    Args:
        conformations: The molecule.
        coordinate: (d,) conformation.
        geometry: Sampling.

    Returns:
        (D, D, D) density in Å^-2, axes (z, y, x).
    """
    is_present = conformations.is_present(coordinate)
    placed = conformations.positions(coordinate)[is_present]
    fine = _fine_density(conformations.elements[is_present], placed, geometry)
    return fourier_resize(fine, geometry.box, ndim=3)


def render_clean(
    conformations: Conformations,
    coordinates: NDArray[np.float64],
    views: Views,
    geometry: Geometry,
    threads: int = 1,
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Render every particle without noise, in the order that is cheapest.

    Args:
        conformations: The molecule.
        coordinates: (N, d) conformation of each particle.
        views: Pose and optics of each particle.
        geometry: Sampling.
        threads: Blocks of images to render at the same time.

    Yields:
        Rows (n,) of the data set and their images (n, D, D), CTF-modulated.
    """
    for group in conformations.groups(coordinates):
        densities = [
            _fine_density(body.elements, body.positions, geometry)
            for body in group.bodies
        ]
        bodies = list(zip(group.bodies, densities, strict=True))
        step = geometry.rows_per_block
        parts = [slice(i, i + step) for i in range(0, len(group.rows), step)]

        def form(
            part: slice, group: Group = group, bodies: Placed = bodies
        ) -> tuple[NDArray[np.int64], Tensor]:
            rows = group.rows[part]
            return rows, _form(bodies, part, torch.from_numpy(rows), views, geometry)

        yield from _in_threads(form, parts, threads)


def _in_threads(
    function: Callable[[slice], T], parts: Sequence[slice], threads: int
) -> Iterator[T]:
    """Apply a function to blocks, one thread each, and yield results in order.

    Blocks share nothing, so this is faster than splitting every operator, above all
    on a machine that is also busy with other work.
    """
    with ThreadPoolExecutor(threads) as pool:
        for i in range(0, len(parts), threads):
            yield from pool.map(function, parts[i : i + threads])


def noise_power(variance: float, group: OpticsGroup) -> Tensor:
    """Noise power of each shell, (D//2+1,), in the images of an optics group.

    White, or 1 / (1 + (f falloff)²) with f in 1/Å; either way the mean over all modes
    is the variance of the noise per pixel, `variance` times the group's factor squared.
    """
    box = group.geometry.box
    frequency = torch.arange(box // 2 + 1) / (box * group.geometry.pixel_size)
    shape = 1 / (1 + (frequency * group.noise_falloff_angstrom) ** 2)
    shells = shell_index(box, like=shape).clamp(max=box // 2)
    weights = shell_weights(box, like=shape)
    mean = (shape[shells] * weights).sum() / box**2
    return variance * group.noise_factor**2 * shape / mean


def _fine_density(
    elements: NDArray[np.str_], positions: NDArray[np.float64], geometry: Geometry
) -> Tensor:
    """(2D, 2D, 2D) density with half the pixel size."""
    return atom_density(
        elements,
        positions,
        OVERSAMPLING * geometry.box,
        geometry.pixel_size / OVERSAMPLING,
        geometry.resolution,
    )


def _form(
    bodies: Placed,
    part: slice,
    rows: Tensor,
    views: Views,
    geometry: Geometry,
) -> Tensor:
    """(n, D, D) CTF-modulated images of a block: equation (1) without noise."""
    box, pixel_size = geometry.box, geometry.pixel_size
    rotation = views.rotation[rows]
    reference = bodies[0][1]
    modes = slice_modes(box, None, like=reference)
    fine_modes = SliceModes(OVERSAMPLING * box, modes.frequency)
    freqs = modes.frequency.to(reference.dtype)[None] / (box * pixel_size)

    # The fine grid's centre is at D / 2 pixels, that of an image on pixel D // 2.
    recentring = (box // 2 - box / 2) * pixel_size
    values = torch.zeros(len(rows), len(modes.frequency), dtype=torch.complex64)
    for body, density in bodies:
        body_rotation = torch.from_numpy(body.rotation[part]).float()
        offset = torch.from_numpy(body.offset[part]).float()
        at = (rotation @ offset[..., None])[:, :2, 0]
        shift = at + views.shift_angstrom[rows] + recentring
        sampled = sample_modes(
            density[None], (rotation @ body_rotation)[None], fine_modes
        )
        values = values + sampled[0] * shift_phase(shift, freqs)[:, 0]
    values = values * ctf(views.ctf.select(rows), freqs)[:, 0]
    # One factor each for y and x (crop), one for the sum over twice as many voxels.
    spectrum = place_modes(values, modes) / OVERSAMPLING**3 * geometry.intensity
    images: Tensor = torch.fft.irfft2(spectrum, s=(box, box))
    return images
