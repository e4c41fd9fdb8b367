"""The marginal likelihood of images under equation (1): a score without a truth.

With Gaussian noise of power σ² per mode, a clean slice S and the CTF c,

    log p(y | S, c) / p(y | noise) = Σ_k (2 Re(conj(c y) S) - c² |S|²) / (2 σ²)

over all modes of the orthonormal transform. Each term is a number of the image times
a number of the slice: all images meet all slices in one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.errors import InputError
from multicryogan.fourier import shell_index, shell_weights
from multicryogan.imaging.ctf import ctf
from multicryogan.imaging.params import CTFParams
from multicryogan.imaging.projection import SliceModes, sample_modes, slice_modes

SCORES_AT_ONCE = 2**20  # pairs of image and pose in memory
LEAST_LOG = -1e4  # exp of it is zero in every format


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over images and its standard error, in nats per image."""

    mean: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class ImageLaw:
    """What is known of images beside their volumes, poses and optics.

    Attributes:
        noise_power: (G, D//2+1) noise power per mode of each shell in each optics
            group, orthonormal transform (see imaging/noise.py).
        pixel_size: Å per pixel.
        max_shell: Largest |k| in Fourier pixels; modes |k| >= D / 2 are left out.
    """

    noise_power: Tensor
    pixel_size: float
    max_shell: int

    def modes(self, box: int, like: Tensor) -> SliceModes:
        """List the modes 1 <= |k| <= max_shell, |k| < D / 2, on the device of `like`.

        The mode of zero frequency is left out: grey levels of images are arbitrary.
        """
        if self.max_shell < 1:
            raise ValueError(
                f"expected a max_shell of at least 1, got {self.max_shell}"
            )
        frequency = slice_modes(box, self.max_shell, like=like).frequency
        return SliceModes(box, frequency[frequency.any(-1)])


@dataclass(frozen=True, slots=True)
class PosePosterior:
    """What each of B images says about the M poses of each of V volumes, in nats.

    Attributes:
        log_mean: (B, V) log mean over poses of p(y | pose, volume) / p(y | noise).
        best: (B, V) its highest value at a single pose.
        pose: (B, V) int64 index of that pose.
        shift_px: (B, V, 2) its in-plane shift (x, y).
        entropy: (B, V) of the posterior over poses, volume given; log M at most.
        poses: M.
    """

    log_mean: Tensor
    best: Tensor
    pose: Tensor
    shift_px: Tensor
    entropy: Tensor
    poses: int

    @staticmethod
    def join(parts: Sequence[PosePosterior], dim: int) -> PosePosterior:
        """Put those of other images (dim 0) or volumes (dim 1) together."""
        return PosePosterior(
            log_mean=torch.cat([part.log_mean for part in parts], dim),
            best=torch.cat([part.best for part in parts], dim),
            pose=torch.cat([part.pose for part in parts], dim),
            shift_px=torch.cat([part.shift_px for part in parts], dim),
            entropy=torch.cat([part.entropy for part in parts], dim),
            poses=parts[0].poses,
        )


@torch.no_grad()
def pose_posterior(
    images: Tensor,
    optics: CTFParams | None,
    volumes: Tensor,
    rotations: Tensor,
    law: ImageLaw,
    *,
    scores_at_once: int = SCORES_AT_ONCE,
) -> PosePosterior:
    """Compare every image with every pose of every volume.

    The mean grey level of images and volumes plays no part: the mode of zero
    frequency is left out. Shifts are not searched.

    Args:
        images: (B, D, D) raw images, axes (y, x), white protein.
        optics: Fields (B,), astigmatic or not; None: no CTF.
        volumes: (V, D, D, D) densities, axes (z, y, x), whose projections are in the
            grey levels of the images.
        rotations: (M, 3, 3) equally likely poses A, r_image = A r_volume.
        law: Of the images.
        scores_at_once: Pairs of image and pose in memory.

    Returns:
        The posterior of every image; log_mean is 0 where a volume is empty.

    Raises:
        InputError: If a shell in use has no noise.
    """
    box = images.shape[-1]
    if images.shape[1:] != (box,) * 2 or volumes.shape[1:] != (box,) * 3:
        raise ValueError(
            f"expected images (B, D, D) and volumes (V, D, D, D), got "
            f"{tuple(images.shape)} and {tuple(volumes.shape)}"
        )
    modes = law.modes(box, images)
    factors = image_factors(images, optics, law, modes)
    side = max(1, math.isqrt(scores_at_once))
    columns = [_sum_over_poses(factors, v, rotations, modes, side) for v in volumes]
    return PosePosterior.join(columns, dim=1)


def _sum_over_poses(
    factors: Tensor, volume: Tensor, rotations: Tensor, modes: SliceModes, side: int
) -> PosePosterior:
    """Compare images with the poses of one volume, by blocks of side x side.

    Two sums go along with the peak, the highest log ratio so far: of
    exp(log ratio - peak), and of the same times (log ratio - peak).
    """
    peak = factors.new_full(factors.shape[:1], -math.inf)
    pose = torch.zeros_like(peak, dtype=torch.int64)
    total, moment = torch.zeros_like(peak), torch.zeros_like(peak)
    for start, some_poses in zip(
        range(0, len(rotations), side), torch.split(rotations, side), strict=True
    ):
        slices = _slice_factors(volume, some_poses, modes)
        for first in range(0, len(factors), side):
            rows = slice(first, first + side)
            log_ratio = factors[rows] @ slices.T  # (side, side)
            highest, where = log_ratio.max(1)
            pose[rows] = torch.where(highest > peak[rows], where + start, pose[rows])
            higher = torch.maximum(peak[rows], highest)
            below = log_ratio.sub_(higher[:, None])
            weight = below.exp()
            # Nothing was summed yet where the fall is infinite.
            fall = (peak[rows] - higher).clamp(min=LEAST_LOG)
            keep = fall.exp()
            moment[rows] = keep * (moment[rows] + fall * total[rows])
            moment[rows] += torch.linalg.vecdot(weight, below)
            total[rows] = keep * total[rows] + weight.sum(1)
            peak[rows] = higher
    return PosePosterior(
        log_mean=(peak + (total / len(rotations)).log())[:, None],
        best=peak[:, None],
        pose=pose[:, None],
        shift_px=peak.new_zeros(len(peak), 1, 2),
        entropy=(total.log() - moment / total)[:, None],
        poses=len(rotations),
    )


def image_factors(
    images: Tensor, optics: CTFParams | None, law: ImageLaw, modes: SliceModes
) -> Tensor:
    """(B, 3K) what Re S, Im S and |S|² of a slice are multiplied with."""
    box, index = modes.box, modes.flat_index
    shells = shell_index(box, like=images).flatten()[index]
    is_silent = ~(law.noise_power[:, shells] > 0).all(0)
    if bool(is_silent.any()):
        shell = int(shells[is_silent].min())
        raise InputError(
            f"noise power of {float(law.noise_power[:, shell].min()):g} in shell "
            f"{shell} of "
            f"{box // 2}: set max_shell below it, or use images that were not filtered"
        )
    # Each mode stands once or twice in the full transform; D² makes it orthonormal.
    weights = shell_weights(box, like=images).flatten()[index] / box**2  # (K,)
    if optics is None:
        weights = weights / law.noise_power[:1, shells]  # (1, K)
    else:
        weights = weights / optics.of_group(law.noise_power)[:, shells]  # (B, K)
    values = torch.fft.rfft2(images).flatten(1)[:, index]  # (B, K)
    if optics is None:
        modulation = torch.ones_like(values.real)
    else:
        freqs = modes.frequency.to(images.dtype)[None] / (box * law.pixel_size)
        modulation = ctf(optics, freqs)[:, 0]
    values = values * (weights * modulation)
    squares = -0.5 * weights * modulation.square()
    return torch.cat((values.real, values.imag, squares), dim=1)


def _slice_factors(volume: Tensor, rotations: Tensor, modes: SliceModes) -> Tensor:
    """(m, 3K) Re S, Im S and |S|² of the slices of one volume."""
    values = sample_modes(volume[None], rotations[None], modes)[0]  # (m, K)
    power = values.real.square() + values.imag.square()
    return torch.cat((values.real, values.imag, power), dim=1)


def evidence(single: Tensor, weights: Tensor) -> Tensor:
    """(B,) evidence of all conformations of (V,) weights, from that of each, (B, V)."""
    return (single + weights.log()).logsumexp(1)


def mean_score(values: Tensor) -> Score:
    """Average (B,) values; the standard error says how far to trust it."""
    count = len(values)
    if count < 2:
        raise ValueError(f"expected at least 2 images, got {count}")
    values = values.double()
    return Score(values.mean().item(), values.std().item() / math.sqrt(count))
