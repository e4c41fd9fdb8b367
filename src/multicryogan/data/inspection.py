"""A look at a sample of images: which are broken, blank or unlike the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from multicryogan.data.preprocess import spread_rows
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack

BLOCK = 64  # images in memory at once
OUTLYING = 12.0  # robust deviations of an image's mean or contrast from the others'
SPOTTED = 15.0  # deviations of a pixel from the mean of its image
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImageSample:
    """Rows of the particle table that were looked at, and what was seen."""

    rows: Rows
    broken: tuple[str, ...]  # why, for each image that cannot be read
    blank: Rows  # all pixels equal
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
    mean, deviation, extreme = np.concatenate(blocks).T  # NaN where broken
    blank = deviation <= 8 * np.finfo(np.float32).eps * np.abs(mean)
    rest = np.isfinite(mean) & ~blank
    outlying = np.zeros(count, bool)
    outlying[rest] = _is_far(mean[rest], np.median(deviation[rest]))
    outlying[rest] |= _is_far(np.log(deviation[rest]), 0.05)
    return ImageSample(
        rows=rows,
        broken=tuple(broken),
        blank=rows[blank],
        outlying=rows[outlying],
        spotted=rows[rest & (extreme > SPOTTED * deviation)],
    )


def _measure(stack: ParticleStack, rows: Rows, broken: list[str]) -> Floats:
    """(B, 3) mean, deviation and largest distance of a pixel from the mean."""
    try:
        parts = list(stack.images_by_grid(torch.from_numpy(rows)))
    except InputError as error:
        if len(rows) > 1:  # one of them: the others tell something all the same
            single = [
                _measure(stack, rows[i : i + 1], broken) for i in range(len(rows))
            ]
            return np.concatenate(single)
        broken.append(str(error))
        return np.full((1, 3), np.nan)
    measured = np.empty((len(rows), 3))
    for here, _, read in parts:
        images = read.astype(np.float64)
        mean = images.mean(axis=(1, 2))
        extreme = np.abs(images - mean[:, None, None]).max(axis=(1, 2))
        measured[here] = np.stack((mean, images.std(axis=(1, 2)), extreme), axis=1)
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
