"""A look at a sample of images: which are broken, blank or unlike the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multicryogan.data.preprocess import spread_rows
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack

BLOCK = 64  # images in memory at once
OUTLYING = 12.0  # robust deviations of an image's mean or contrast from the others'
SPOTTED = 15.0  # deviations of a pixel from the mean of its image
MASKED = 0.2  # share of the pixels in corners that have one value: more than by chance
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImageSample:
    """Rows of the particle table that were looked at, and what was seen."""

    rows: Rows
    broken: tuple[str, ...]  # why, for each image that cannot be read
    blank: Rows  # all pixels equal
    masked: Rows  # corners of one value
    outlying: Rows  # mean or contrast far from that of the others
    spotted: Rows  # with pixels far from all others


def inspect_images(stack: ParticleStack, most: int) -> ImageSample:
    """Read images spread evenly over the stack and sort out the odd ones.

    Args:
        stack: The particles.
        most: At most so many are read.

    Returns:
        The rows of each kind, in order.
    """
    count = min(most, len(stack))
    rows = spread_rows(len(stack), count).numpy()
    broken: list[str] = []
    blocks = [
        _measure(stack, rows[start : start + BLOCK], broken)
        for start in range(0, count, BLOCK)
    ]
    mean, deviation, extreme, even = np.concatenate(blocks).T  # NaN where broken
    blank = deviation <= 8 * np.finfo(np.float32).eps * np.abs(mean)
    rest = np.isfinite(mean) & ~blank
    outlying = np.zeros(count, bool)
    outlying[rest] = _is_far(mean[rest], np.median(deviation[rest]))
    outlying[rest] |= _is_far(np.log(deviation[rest]), 0.05)
    return ImageSample(
        rows=rows,
        broken=tuple(broken),
        blank=rows[blank],
        masked=rows[rest & (even >= MASKED)],
        outlying=rows[outlying],
        spotted=rows[rest & (extreme > SPOTTED * deviation)],
    )


def refuse_masked(stack: ParticleStack) -> None:
    """Refuse particles whose corners were emptied: noise is measured there.

    Raises:
        InputError: More than half of some images have corners of one value.
    """
    rows = spread_rows(len(stack), min(BLOCK, len(stack)))
    parts = [_evenness(images) for _, _, images in stack.images_by_grid(rows)]
    check_masked(stack, int((np.concatenate(parts) >= MASKED).sum()), len(rows))


def check_masked(stack: ParticleStack, masked: int, looked_at: int) -> None:
    """Refuse particles of which more than half of those looked at are masked.

    Raises:
        InputError: With how many there are.
    """
    if 2 * masked > looked_at:
        raise InputError(
            f"{stack.path}: {masked:,} of {looked_at:,} images are masked (their "
            "corners hold one value), so that their noise cannot be measured; extract "
            "the particles again without a mask"
        )


def _evenness(images: NDArray[Any]) -> Floats:
    """(B,) share of the pixels outside the inscribed circle that equal the first."""
    box = images.shape[-1]
    offset = np.arange(box) - box // 2
    is_corner = offset[:, None] ** 2 + offset**2 > box**2 / 4
    corners = images[:, is_corner]
    share: Floats = (corners[:, 1:] == corners[:, :1]).mean(axis=1)
    return share


def _measure(stack: ParticleStack, rows: Rows, broken: list[str]) -> Floats:
    """(B, 4) mean, deviation, largest distance from the mean, evenness of corners."""
    try:
        parts = list(stack.images_by_grid(torch.from_numpy(rows)))
    except InputError as error:
        if len(rows) > 1:  # one of them: the others tell something all the same
            single = [
                _measure(stack, rows[i : i + 1], broken) for i in range(len(rows))
            ]
            return np.concatenate(single)
        broken.append(str(error))
        return np.full((1, 4), np.nan)
    measured = np.empty((len(rows), 4))
    for here, _, read in parts:
        images = read.astype(np.float64)
        mean = images.mean(axis=(1, 2))
        extreme = np.abs(images - mean[:, None, None]).max(axis=(1, 2))
        columns = (mean, images.std(axis=(1, 2)), extreme, _evenness(read))
        measured[here] = np.stack(columns, axis=1)
    return measured


def _is_far(values: Floats, least: float) -> NDArray[np.bool_]:
    """Whether values are far from their median, in robust deviations."""
    if len(values) == 0:
        return np.zeros(0, bool)
    distance = np.abs(values - np.median(values))
    # 1.4826 median distances are one deviation of a normal law.
    far: NDArray[np.bool_] = distance > OUTLYING * max(
        1.4826 * float(np.median(distance)), least / OUTLYING
    )
    return far
