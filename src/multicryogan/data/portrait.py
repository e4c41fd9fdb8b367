"""What a picture of a particle file shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.config import DataConfig
from multicryogan.data.coverage import Coverage, measure_coverage
from multicryogan.data.preprocess import Preprocessing, read_working, spread_rows
from multicryogan.data.signal import Power, measure_power
from multicryogan.io import ParticleStack

LOOKED_AT = 2_000  # images
SHOWN = 8  # of them as pictures


@dataclass(frozen=True, slots=True)
class Portrait:
    """Power, CTF, contrast and some images of particles at the working box D.

    Attributes:
        power: Of noise and of whole images, per shell.
        pixel_size: Å per pixel at the working box.
        coverage: Mean squared CTF; None without optics.
        defocus_um: (N,) mean defocus of every particle; None without optics.
        sign: Factor that makes protein white.
        profile: (D//2 - 1,) mean image at radii 1 (and 0), 2, ... working pixels,
            before that factor, in deviations of the rim.
        images: (A, D, D) particles, protein white.
    """

    power: Power
    pixel_size: float
    coverage: Coverage | None
    defocus_um: Tensor | None
    sign: int
    profile: Tensor
    images: Tensor


def portray(stack: ParticleStack, settings: DataConfig, sign: int) -> Portrait:
    """Measure what a picture shows, on up to 2,000 images.

    Args:
        stack: The particles.
        settings: Working box and background radius.
        sign: +1 for white protein, -1 for dark.

    Returns:
        The measurements.
    """
    box = settings.box
    preprocessing = Preprocessing.of(settings, box, sign)
    count = min(LOOKED_AT, len(stack))
    rows = spread_rows(len(stack), count)
    mean = torch.stack(
        [
            _in_deviations(read_working(stack, part, preprocessing, "cpu")).sum(0)
            for part in torch.split(rows, 250)
        ]
    ).sum(0)
    optics = stack.ctf_params()
    pixel_size = stack.field_angstrom / box
    defocus_um = None
    if optics is not None:
        defocus_um = (optics.defocus_u_angstrom + optics.defocus_v_angstrom) / 2e4
    return Portrait(
        power=measure_power(stack, preprocessing, count),
        pixel_size=pixel_size,
        coverage=None if optics is None else measure_coverage(optics, 2 * pixel_size),
        defocus_um=defocus_um,
        sign=sign,
        profile=sign * _radial_mean(mean / count),
        images=read_working(stack, rows[:: -(-count // SHOWN)], preprocessing, "cpu"),
    )


def _in_deviations(images: Tensor) -> Tensor:
    """(B, D, D) images of mean 0 and deviation 1 in a ring inside the edge."""
    radius = _pixel_radius(images.shape[-1])
    rim = images[:, radius == images.shape[-1] // 2 - 1]
    mean, deviation = rim.mean(1), rim.std(1).clamp(min=1e-12)
    return (images - mean[:, None, None]) / deviation[:, None, None]


def _radial_mean(image: Tensor) -> Tensor:
    """(D//2 - 1,) mean at each rounded radius; one pixel alone would be noise."""
    radius = _pixel_radius(len(image)).flatten().clamp(min=1) - 1
    sums = torch.zeros(int(radius.max()) + 1).index_add(0, radius, image.flatten())
    return (sums / radius.bincount())[: len(image) // 2 - 1]


def _pixel_radius(box: int) -> Tensor:
    """(D, D) rounded distance from the centre, box // 2, in pixels."""
    offset = torch.arange(box) - box // 2
    return (offset[:, None].square() + offset.square()).float().sqrt().round().long()
