"""Every convention at once, against real particles with poses from RELION.

26 images of beta-galactosidase (EMPIAR-10061): a map of the other 25, back-projected
at RELION's poses and reprojected with this program's operators, must look like the
real image. One wrong sign or order anywhere between the file and the image and it
does not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
import torch
from torch import Tensor

from multicryogan.data import Preprocessing, detect_contrast, working_images
from multicryogan.fourier import disc_mask, low_pass
from multicryogan.imaging import CTFParams, ImagingParams, ctf, form_images
from multicryogan.imaging.projection import centre_phase, slice_modes
from multicryogan.imaging.shift import shift_phase
from multicryogan.imaging.slicing import Slicer
from multicryogan.io import read_particles
from multicryogan.likelihood.least_squares import from_spectrum, to_spectrum

BOX = 64
BAND_ANGSTROM = (12.0, 120.0)
RADIUS_ANGSTROM = 90.0  # the molecule's: 180 Å long
NOISE = 1.0  # what the sum of squared CTFs is weighed against
# RELION's D2: two-folds along x, y and z.
D2 = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))
CPU = torch.zeros(0)


@dataclass(frozen=True)
class Particles:
    """White, band-limited images (N, D, D) with their poses and optics."""

    images: Tensor
    rotation: Tensor  # (N, 3, 3)
    shift_angstrom: Tensor  # (N, 2)
    optics: CTFParams
    pixel_size: float

    @property
    def field(self) -> float:
        """Side of an image in Å."""
        return BOX * self.pixel_size

    @cached_property
    def slicer(self) -> Slicer:
        """Of the modes up to the finer end of the band."""
        return Slicer(slice_modes(BOX, int(self.field / BAND_ANGSTROM[0]), like=CPU))

    def inserted(self) -> tuple[Tensor, Tensor]:
        """What each image adds to the map: (N, G, 2) sums, (N, D D (D//2+1)) CTF²."""
        modes = self.slicer.modes
        freqs = modes.frequency.float()[None] / self.field
        transfer = ctf(self.optics, freqs)[:, 0]
        phase = shift_phase(self.shift_angstrom, freqs)[:, 0]
        values = torch.fft.rfft2(self.images).flatten(1)[:, modes.flat_index]
        values = values * transfer * phase.conj()
        values = values * centre_phase(modes, freqs).conj()  # from the centre
        # A copy of the molecule, turned by S, looks like the molecule itself.
        copies = self.rotation[:, None] @ torch.diag_embed(torch.tensor(D2))
        empty = self.slicer.table(torch.zeros(1, BOX, BOX, BOX))
        sums = torch.zeros(len(values), *empty.shape)
        squares = torch.zeros(len(values), BOX * BOX * (BOX // 2 + 1), 1)
        for i, views in enumerate(copies):
            turns = (len(views), -1, -1)
            self.slicer.insert(values[i, None, :, None].expand(turns), views, sums[i])
            square = transfer[i, None, :, None].square()
            self.slicer.insert_nearest(square.expand(turns), views, squares[i])
        return sums, squares[..., 0]

    def map_of(self, sums: Tensor, squares: Tensor) -> Tensor:
        """Divide by the CTF as Wiener does: (D, D, D), the molecule alone."""
        spectrum = to_spectrum(self.slicer.transpose_table(sums))[0] / BOX**3
        weight = squares.view(spectrum.shape) + NOISE
        return from_spectrum((spectrum / weight)[None])[0] * self.ball(RADIUS_ANGSTROM)

    def ball(self, radius_angstrom: float) -> Tensor:
        """(D, D, D) whether a voxel is in the ball."""
        square = ((torch.arange(BOX) - BOX // 2) * self.pixel_size).square()
        distance = square[:, None, None] + square[:, None] + square
        return distance < radius_angstrom**2

    def disc(self, i: int) -> Tensor:
        """(D, D) whether a pixel is in the disc about particle i."""
        axis = (torch.arange(BOX) - BOX // 2) * self.pixel_size
        x, y = self.shift_angstrom[i]
        return (axis[:, None] - y) ** 2 + (axis - x) ** 2 < RADIUS_ANGSTROM**2


def band(images: Tensor, field: float) -> Tensor:
    low, high = (disc_mask(BOX, field / edge, like=CPU) for edge in BAND_ANGSTROM[::-1])
    return low_pass(images, high - low)


@pytest.fixture(scope="module")
def particles(shared_data: Path) -> Particles:
    stack = read_particles(
        shared_data / "betagal_101" / "particles_26_with_relion_poses.star"
    )
    sign = detect_contrast(stack).sign
    raw = torch.from_numpy(stack.images(slice(None)))
    field = stack.box * stack.pixel_size
    images = band(working_images(raw, Preprocessing(BOX, sign, 30.0, 2.0)), field)
    rotation, shift, optics = (
        stack.rotations(),
        stack.shifts_angstrom(),
        stack.ctf_params(),
    )
    assert rotation is not None
    assert shift is not None
    assert optics is not None
    images = images / images.std((1, 2), keepdim=True)
    return Particles(images, rotation, shift, optics, field / BOX)


def likeness(particles: Particles, shown: Tensor | None = None) -> float:
    """Mean correlation of images with the reprojected map of the others."""
    sums, squares = particles.inserted()
    all_sums, all_squares = sums.sum(0), squares.sum(0)
    found = []
    for i, image in enumerate(particles.images if shown is None else shown):
        volume = particles.map_of(all_sums - sums[i], all_squares - squares[i])
        params = ImagingParams(
            particles.rotation[i, None, None],
            particles.shift_angstrom[i, None, None],
            particles.optics.select(torch.tensor([i])).reshape(1, 1),
        )
        made = form_images(volume[None], params, particles.pixel_size)[0, 0]
        there = particles.disc(i)
        pair = torch.stack((band(made, particles.field)[there], image[there]))
        found.append(torch.corrcoef(pair)[0, 1])
    return float(torch.stack(found).mean())


def test_the_map_of_the_others_reprojects_to_the_real_image(
    particles: Particles,
) -> None:
    assert likeness(particles) > 0.37


WRONG: dict[str, Callable[[Particles], Particles]] = {
    "transposed rotation": lambda p: replace(p, rotation=p.rotation.mT.contiguous()),
    "negated shift": lambda p: replace(p, shift_angstrom=-p.shift_angstrom),
    "x and y of the shift exchanged": lambda p: replace(
        p, shift_angstrom=p.shift_angstrom.flip(1)
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_pose_does_not_reproject_to_the_real_image(
    what: str, particles: Particles
) -> None:
    assert likeness(WRONG[what](particles)) < 0.2


def test_images_of_the_wrong_contrast_are_unlike_the_map(particles: Particles) -> None:
    assert likeness(particles, shown=-particles.images) < -0.3


def test_the_map_of_real_particles_is_positive(particles: Particles) -> None:
    # Correlations do not see a contrast or a CTF that is reversed in map and images
    # alike. The map does: protein stands out of the solvent, and its skewness is +0.4.
    sums, squares = particles.inserted()
    volume = particles.map_of(sums.sum(0), squares.sum(0))
    inside = volume[particles.ball(RADIUS_ANGSTROM)]
    deviation = (inside - inside.mean()) / inside.std()
    assert deviation.pow(3).mean() > 0.3
