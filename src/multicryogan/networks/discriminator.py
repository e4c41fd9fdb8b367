"""The discriminator D of Algorithm 2: images to scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from multicryogan.losses import gradient_penalty, wasserstein_loss

SLOPE = 0.1  # of the leaky rectifiers, as published
MIN_BOX = 4  # halving stops here


class Discriminator(nn.Module, ABC):
    """Score images, higher for those taken to be real."""

    @abstractmethod
    def forward(self, images: Tensor, transfer: Tensor) -> Tensor:
        """Score images (B, D, D) with CTFs (B, D//2) on rings 1 .. D//2: (B,)."""

    @abstractmethod
    def loss(self, better: Tensor, worse: Tensor) -> Tensor:
        """Return the scalar that the player whose scores are `better` (B,) descends.

        `worse` (B,) are the scores of the other side's images.
        """

    @abstractmethod
    def penalty(
        self, real: Tensor, fake: Tensor, transfer: Tensor, mix: Tensor
    ) -> Tensor:
        """Return the scalar that, weighted, is added to the discriminator's own loss.

        A kind may leave arguments out of account.

        Args:
            real: (B, D, D) images from the data set.
            fake: (B, D, D) simulated images, detached.
            transfer: (B, D//2) CTFs of the simulated ones.
            mix: (B,) random positions between fake (0) and real (1).
        """

    def open_band(self, shell: float) -> None:
        """Look at frequencies up to a shell, where the kind can."""


class PooledDiscriminator(Discriminator):
    """The paper's: convolution and max-pooling, blind to the CTF."""

    def __init__(
        self,
        box: int,
        channels: int,
        hidden: int,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """Build blocks that double in channels and halve in box."""
        super().__init__()
        self.precision = precision
        layers: list[nn.Module] = []
        before, width = 1, channels
        while box > MIN_BOX:
            layers.append(nn.Conv2d(before, width, 3, padding=1))
            layers += [nn.MaxPool2d(2), nn.LeakyReLU(SLOPE)]
            before, width, box = width, 2 * width, box // 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(before * box * box, hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, 1),
        )

    def forward(self, images: Tensor, transfer: Tensor) -> Tensor:
        """Score images (B, D, D), whatever their CTFs: (B,)."""
        with reduced(self.precision, images):
            features: Tensor = self.features(images[:, None])
        score: Tensor = self.head(features.to(images.dtype))
        return score[:, 0]

    def loss(self, better: Tensor, worse: Tensor) -> Tensor:
        """Return the Wasserstein loss (equation 5)."""
        return wasserstein_loss(better, worse)

    def penalty(
        self, real: Tensor, fake: Tensor, transfer: Tensor, mix: Tensor
    ) -> Tensor:
        """Ask for unit slope between real and simulated images (WGAN-GP)."""
        return gradient_penalty(lambda x: self(x, transfer), real, fake, mix)


def reduced(precision: torch.dtype, images: Tensor) -> AbstractContextManager[object]:
    """Compute convolutions in a shorter format inside a block; weights stay long."""
    is_short = precision != torch.float32
    return torch.autocast(images.device.type, precision, enabled=is_short)


def fast_precision(device: str) -> torch.dtype:
    """Return bfloat16 where the processor computes in it, else float32."""
    if device.startswith("cuda"):
        is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_fast = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if is_fast else torch.float32
