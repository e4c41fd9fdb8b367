"""Whether simulated images look like real ones: pictures, and power of every shell.

If volumes, optics and noise are right, the mean power of simulated images (equation 1)
is that of the real ones in every shell. Noise of the wrong strength shows here before
it shows in a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.imaging import CTFParams
from multicryogan.imaging.noise import radial_power
from multicryogan.io import read_arrays, whole_file

LIKENESS = "likeness.npz"
SHAPES = {
    "pixel_size": "",
    "real": "rDD",
    "simulated": "sDD",
    "groups": "G",
    "power": "2GS",
    "error": "2GS",
}
PICTURES = 8  # of each kind
PARTS = 8  # of the images, whose spread gives the error of a mean
FEWEST = 4 * PARTS  # images of an optics group


@dataclass(frozen=True, slots=True)
class Likeness:
    """Real and simulated images, and their power in G optics groups.

    Attributes:
        pixel_size: Å.
        real: (N, D, D) pictures of real images, on one grey scale with `simulated`.
        simulated: (N, D, D).
        groups: Names of the optics groups.
        power: (2, G, D//2+1) mean power per mode of real and of simulated images.
        error: (2, G, D//2+1) standard errors of these.
    """

    pixel_size: float
    real: NDArray[np.float32]
    simulated: NDArray[np.float32]
    groups: tuple[str, ...]
    power: NDArray[np.float32]
    error: NDArray[np.float32]


def measure_likeness(
    real: tuple[Tensor, CTFParams | None],
    simulated: tuple[Tensor, CTFParams | None],
    pictures: tuple[Tensor, Tensor],
    names: Sequence[str],
    pixel_size: float,
) -> Likeness:
    """Compare raw images of both kinds.

    Args:
        real: (B, D, D) raw held-out images and their optics (B,).
        simulated: The same of images made from what was found.
        pictures: (B, D, D) both, as they are to be shown.
        names: Of the optics groups; those with too few images are left out.
        pixel_size: Å.
    """
    groups, powers = [], []
    for number, name in enumerate(names or ["all"]):
        parts = [_of_group(images, number) for images in (real, simulated)]
        if min(len(part) for part in parts) >= FEWEST:
            groups.append(name)
            powers.append([_mean_power(part) for part in parts])
    first, second = map(_some, pictures)
    shape = (len(powers), 2, 2, real[0].shape[-1] // 2 + 1)
    found = np.array(powers, dtype=np.float32).reshape(shape)  # (G, 2, 2, D//2+1)
    power, error = found.transpose(2, 1, 0, 3)
    return Likeness(pixel_size, first, second, tuple(groups), power, error)


def _some(pictures: Tensor) -> NDArray[np.float32]:
    """Take a few of (B, D, D) pictures, from the first to the last."""
    count = min(PICTURES, len(pictures))
    picked = torch.linspace(0, len(pictures) - 1, count).round().long()
    return pictures[picked.to(pictures.device)].cpu().numpy().astype(np.float32)


def _of_group(images: tuple[Tensor, CTFParams | None], number: int) -> Tensor:
    """Images of an optics group; of one whose optics are not known, all."""
    raw, optics = images
    if optics is None or optics.group is None:
        return raw
    return raw[(optics.group == number).to(raw.device)]


def _mean_power(images: Tensor) -> NDArray[Any]:
    """(2, D//2+1) mean power per mode of (B, D, D) images, and its standard error."""
    parts = torch.stack([radial_power(part) for part in images.chunk(PARTS)])
    error = parts.std(0) / len(parts) ** 0.5
    return torch.stack((parts.mean(0), error)).cpu().numpy()


def write_likeness(found: Likeness, folder: Path) -> None:
    """Write likeness.npz."""
    with whole_file(folder / LIKENESS) as path, path.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            pixel_size=np.float32(found.pixel_size),
            real=found.real,
            simulated=found.simulated,
            groups=np.array(found.groups, dtype=str),
            power=found.power,
            error=found.error,
        )


def read_likeness(folder: Path) -> Likeness | None:
    """Read what `write_likeness` wrote; None where there is none.

    Raises:
        InputError: The file is none of ours.
    """
    path = folder / LIKENESS
    if not path.is_file():
        return None
    stored = read_arrays(path, SHAPES, "delete it, the page does without")
    return Likeness(
        float(stored["pixel_size"]),
        stored["real"],
        stored["simulated"],
        tuple(map(str, stored["groups"])),
        stored["power"],
        stored["error"],
    )
