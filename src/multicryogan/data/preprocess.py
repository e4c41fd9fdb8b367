"""Preparation of images: the same operations for real and for simulated ones.

Real images come to the working box and to white protein (`working_images`); then
both kinds go through `standardise`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from scipy.special import ndtr, stdtrit
from torch import Tensor

from multicryogan.config import DataConfig
from multicryogan.errors import InputError
from multicryogan.fourier import disc_mask, low_pass, resampling_matrix
from multicryogan.io import ParticleStack

_CENTRE = 0.4  # contrast is read inside this share of half the box ...
_RIM = (0.8, 1.0)  # ... against this ring
_CONTRAST_ROWS = 2_000
_CONTRAST_BLOCK = 64  # images in memory at once
_CLEAR_EVIDENCE = 3.0  # z-score of many images; more is asked of few


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How images are prepared."""

    box: int  # working box in pixels
    sign: int  # +1 for white protein, -1 for dark
    background_radius_px: float  # working pixels outside it are background
    window_edge_px: float  # soft edge of the window that ends at box // 2

    @staticmethod
    def of(settings: DataConfig, box: int, sign: int) -> Preprocessing:
        """Follow settings, which are for `settings.box`, at a working box."""
        return Preprocessing(
            box=box,
            sign=sign,
            background_radius_px=settings.background_radius * box / 2,
            window_edge_px=settings.window_edge_px * box / settings.box,
        )

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise InputError(f"sign must be 1 or -1, got {self.sign}")
        if self.box < 2:
            raise InputError(f"the working box must have 2 pixels or more: {self.box}")
        if not 0 <= self.window_edge_px <= self.box // 2:
            raise InputError(
                f"window_edge_px is {self.window_edge_px:g}; it must lie between 0 and "
                f"{self.box // 2} at a box of {self.box}"
            )
        corner = math.sqrt(2) * (self.box // 2)
        if not 0 < self.background_radius_px < corner:
            raise InputError(
                f"a background radius of {self.background_radius_px:g} leaves no "
                f"pixel outside at a box of {self.box}; give less than {corner:.1f}"
            )


@dataclass(frozen=True, slots=True)
class Contrast:
    """Whether protein is brighter than the background, and how sure that is."""

    sign: int  # +1 white protein, -1 dark
    evidence: float  # z-score of centre minus rim over the images read
    text: str  # one line for the user


def spread_rows(total: int, count: int) -> Tensor:
    """(count,) rows spread evenly over `total`, each in the middle of its part."""
    return ((torch.arange(count, dtype=torch.float64) + 0.5) * total / count).long()


def read_working(
    stack: ParticleStack,
    rows: Tensor,
    preprocessing: Preprocessing,
    device: str,
    field_angstrom: float | None = None,
) -> Tensor:
    """Read rows (B,) of particles as working images: (B, box, box).

    Images of several boxes and pixel sizes come to one field of view, the smallest of
    them or the one given, and one pixel size.
    """
    field = field_angstrom or stack.field_angstrom
    images = torch.empty(len(rows), *(preprocessing.box,) * 2, device=device)
    for here, number, raw in stack.images_by_grid(rows):
        ratio = stack.grids[number].field_angstrom / field
        read = torch.from_numpy(raw).to(device)
        images[here] = working_images(read, preprocessing, ratio)
    return images


def working_images(
    raw: Tensor, preprocessing: Preprocessing, field_ratio: float = 1.0
) -> Tensor:
    """Turn images as read into white protein at the working box.

    Intensities are kept, so that the noise can be measured at the rim; `standardise`
    follows.

    Args:
        raw: (B, D, D) images as in the file.
        preprocessing: Gives the sign and the working box.
        field_ratio: Side of the images in Å over that of the working images.

    Returns:
        (B, box, box) images.

    Raises:
        InputError: The working box has more pixels than the images in its field.
    """
    box, spanned = preprocessing.box, raw.shape[-1] / field_ratio
    if box > spanned + 0.5:
        raise InputError(
            f"the working box of {box} pixels is larger than the images "
            f"({spanned:.0f} pixels); choose a box of at most {spanned:.0f}"
        )
    signed = preprocessing.sign * raw
    if box == raw.shape[-1]:
        return signed
    matrix = resampling_matrix(raw.shape[-1], box, field_ratio).to(raw)
    return matrix @ (signed @ matrix.T)


def standardise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Low-pass images, bring them to background mean 0 and deviation 1, window them.

    y = w (u - mean) / deviation with u = F^-1 M F x: M keeps |k| < box / 2, without
    the Nyquist row and the corners, which a Fourier crop empties; mean and deviation
    of each image are those of its pixels outside the background radius; w is a soft
    disc that ends at box // 2. An affine change of intensity, a x + b with a > 0,
    does not change y.

    Args:
        images: (..., box, box) images at the working box.
        preprocessing: Gives the background radius and the window.

    Returns:
        (..., box, box) images; differentiable in `images`.
    """
    box = preprocessing.box
    if images.shape[-2:] != (box, box):
        raise ValueError(
            f"expected images (..., {box}, {box}), got {tuple(images.shape)}"
        )
    window = _soft_window(preprocessing).to(images)
    passed = below_nyquist(box).to(images)
    banded = low_pass(images, passed)
    return normalise_background(banded, preprocessing) * window


def normalise_background(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Give the pixels outside the background radius mean 0 and deviation 1.

    Args:
        images: (..., box, box) images.
        preprocessing: Gives the background radius.

    Returns:
        (..., box, box) images, each shifted and scaled.
    """
    mask = background_mask(preprocessing).to(images)
    count = mask.sum()
    mean = (images * mask).sum((-2, -1), keepdim=True) / count
    centred = images - mean
    variance = (centred.square() * mask).sum((-2, -1), keepdim=True) / count
    # A blank image, rounding apart, becomes zero with gradient zero instead of NaN.
    rounding = (8 * torch.finfo(images.dtype).eps * mean.detach()).square()
    is_blank = variance <= rounding
    return centred * torch.where(is_blank, 1.0, variance).rsqrt() * ~is_blank


@lru_cache(maxsize=16)
def background_mask(preprocessing: Preprocessing) -> Tensor:
    """(box, box) 1 outside the background radius, 0 inside; not to be modified."""
    radius = _radius(preprocessing.box)
    return (radius > preprocessing.background_radius_px).float()


def detect_contrast(stack: ParticleStack, rows: int = _CONTRAST_ROWS) -> Contrast:
    """Tell white from dark protein: the mean of the centre against that of the rim.

    Without clear evidence (z-score below 3, or the like of few images) protein is
    taken as white, as RELION extracts it.

    Args:
        stack: The particles.
        rows: At most so many of them are read, spread evenly over the stack.

    Returns:
        The sign, its z-score and a line to print.
    """
    count = min(rows, len(stack))
    blocks = torch.split(spread_rows(len(stack), count), _CONTRAST_BLOCK)
    difference = torch.cat(
        [
            _centre_minus_rim(torch.from_numpy(images))
            for block in blocks
            for _, _, images in stack.images_by_grid(block)
        ]
    )
    evidence = 0.0
    if count > 1 and difference.std() > 0:
        evidence = float(difference.mean() / difference.std() * math.sqrt(count))
    sign = -1 if evidence <= -_clear_evidence(count) else 1
    return Contrast(sign, evidence, _contrast_text(sign, evidence, count))


def _clear_evidence(count: int) -> float:
    """Student's t of so many images that is as rare as the z-score of many."""
    freedom = max(count - 1, 1)
    return float(stdtrit(freedom, ndtr(_CLEAR_EVIDENCE)))


def _centre_minus_rim(images: Tensor) -> Tensor:
    """(B,) mean of the centre minus mean of the rim, in deviations of the rim."""
    radius = _radius(images.shape[-1]) / (images.shape[-1] / 2)
    centre = radius < _CENTRE
    rim = (radius >= _RIM[0]) & (radius < _RIM[1])
    of_rim = images[:, rim].double()
    deviation = of_rim.std(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
    return (images[:, centre].double().mean(dim=1) - of_rim.mean(dim=1)) / deviation


def _contrast_text(sign: int, evidence: float, count: int) -> str:
    """One line that says what was found and what to do when it is not clear."""
    measured = f"centre against rim of {count} images: z = {evidence:+.1f}"
    if abs(evidence) < _clear_evidence(count):
        return f"contrast unclear ({measured}); taken as white, set it if it is dark"
    return f"{'white' if sign > 0 else 'dark'} protein ({measured})"


@lru_cache(maxsize=16)
def _soft_window(preprocessing: Preprocessing) -> Tensor:
    """(box, box) 1 in the middle, a raised cosine down to 0 at box // 2."""
    radius, end = _radius(preprocessing.box), preprocessing.box // 2
    if preprocessing.window_edge_px == 0:
        return (radius < end).float()
    ramp = ((end - radius) / preprocessing.window_edge_px).clamp(0, 1)
    return 0.5 * (1 - torch.cos(math.pi * ramp))


def below_nyquist(box: int) -> Tensor:
    """(box, box//2+1) 1 where |k| < box / 2."""
    # |k|^2 is an integer: this radius lies between it and (box / 2)^2.
    return disc_mask(box, math.sqrt(box**2 / 4 - 0.125), like=torch.empty(0))


def _radius(box: int) -> Tensor:
    """(box, box) distance of each pixel from the centre, box // 2, in pixels."""
    offset = torch.arange(box) - box // 2
    return (offset[:, None].square() + offset.square()).float().sqrt()
