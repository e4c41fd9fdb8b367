"""Random batches of real images, prepared for the discriminator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, working_images
from multicryogan.io import ParticleStack
from multicryogan.rng import Shard, stream


@dataclass(frozen=True, slots=True)
class ImageSampler:
    """Draw rows with replacement, the same ones whatever the number of processes."""

    stack: ParticleStack
    preprocessing: Preprocessing
    seed: int
    is_symmetric: bool  # augment by the exact symmetries of the image law
    shard: Shard = Shard()
    device: str = "cpu"

    def batch(self, count: int, step: int, purpose: str = "train") -> Tensor:
        """Draw `count` images of the whole batch; return this process's shard.

        Returns:
            (B, D, D) images at the working box, raw intensities, white protein.
        """
        mine = self.shard.share(count)
        rows = torch.randint(
            len(self.stack),
            (count,),
            generator=stream(self.seed, f"{purpose}/rows", step=step),
        )[mine]
        raw = torch.from_numpy(self.stack.images(rows.numpy())).to(self.device)
        images = working_images(raw, self.preprocessing)
        if not self.is_symmetric:
            return images
        element = torch.randint(
            8, (count,), generator=stream(self.seed, f"{purpose}/symmetry", step=step)
        )[mine]
        return apply_symmetry(images, element.to(self.device))


def apply_symmetry(images: Tensor, element: Tensor) -> Tensor:
    """Apply one of the eight symmetries of a square to each image about its centre.

    Under uniform views and round CTFs each is a symmetry of the law of the images:
    in-plane rotation by 90 degrees, and mirror, since opposite views are mirror
    images (DESIGN, fact 8). Simulated images need none: their views are uniform.

    Args:
        images: (B, D, D) images, centred on pixel D // 2.
        element: (B,) 0 .. 7; bit 0 flips x, bit 1 flips y, bit 2 swaps the axes.

    Returns:
        (B, D, D) images, still centred on pixel D // 2.
    """
    for bit, change in enumerate((_flip_x, _flip_y, _swap)):
        is_chosen = (element >> bit) & 1 == 1
        images = torch.where(is_chosen[:, None, None], change(images), images)
    return images


def _flip_x(images: Tensor) -> Tensor:
    # An even box has one pixel more before its centre: the flip must roll it back.
    flipped = images.flip(-1)
    return flipped if images.shape[-1] % 2 else flipped.roll(1, -1)


def _flip_y(images: Tensor) -> Tensor:
    return _flip_x(images.transpose(-1, -2)).transpose(-1, -2)


def _swap(images: Tensor) -> Tensor:
    return images.transpose(-1, -2)
