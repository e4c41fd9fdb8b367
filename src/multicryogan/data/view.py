"""What the discriminator sees of an image, real or simulated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, standardise
from multicryogan.fourier import low_pass, shell_index
from multicryogan.imaging import CTFParams
from multicryogan.imaging.ctf import ring_ctf


@dataclass(frozen=True, slots=True)
class Views:
    """Images as the discriminator is shown them."""

    images: Tensor  # (B, D, D), background of mean zero and deviation one
    transfer: Tensor  # (B, D//2) CTF on rings 1 .. D//2; one where it is not known

    def detached(self) -> Views:
        """Leave the graph that made them."""
        return Views(self.images.detach(), self.transfer)

    def followed_by(self, others: Views) -> Views:
        """Join two batches."""
        return Views(
            torch.cat((self.images, others.images)),
            torch.cat((self.transfer, others.transfer)),
        )


@dataclass(frozen=True, slots=True)
class View:
    """Standardise, and tell the CTF; the same for real and simulated images.

    Attributes:
        preprocessing: How images are standardised at the working box.
        pixel_size: Å per pixel at the working box.
        shows_ctf: Whether the CTF of each real image is known.
        equaliser: (G, D//2+1) factor of each shell that gives all optics groups the
            same noise; none: they have.
    """

    preprocessing: Preprocessing
    pixel_size: float
    shows_ctf: bool
    equaliser: Tensor | None = None

    def __call__(self, raw: Tensor, optics: CTFParams | None) -> Views:
        """Show (B, D, D) raw working images with optics (B,)."""
        box = self.preprocessing.box
        if self.equaliser is not None:
            raw = coloured(raw, self.equaliser, optics)
        images = standardise(raw, self.preprocessing)
        if optics is None or not self.shows_ctf:
            return Views(images, images.new_ones(len(images), box // 2))
        transfer = ring_ctf(optics, box // 2, box * self.pixel_size)
        if self.equaliser is not None:
            transfer = transfer * optics.of_group(self.equaliser)[:, 1:]
        return Views(images, transfer.to(images))


def coloured(images: Tensor, factor: Tensor, optics: CTFParams | None) -> Tensor:
    """Multiply the shells of (B, D, D) images by the factors of their optics groups.

    Args:
        images: Of any content.
        factor: (G, D//2+1) of each shell.
        optics: (B,) of the images; without any they are of the first group.
    """
    own = factor[:1] if optics is None else optics.of_group(factor)
    box = images.shape[-1]
    shells = shell_index(box, like=images).clamp(max=box // 2)
    return low_pass(images, own[:, shells])
