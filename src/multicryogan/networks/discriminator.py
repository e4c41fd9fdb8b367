"""The discriminator D of Algorithm 2: images to scores."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

SLOPE = 0.1  # of the leaky rectifiers, as published
MIN_BOX = 4  # halving stops here
FULL_BOX = 16  # the first layer of larger images halves them at once
MAX_DOUBLINGS = 2  # of the channels


class Discriminator(nn.Module):
    """Score images: convolutions, then two linear layers."""

    def __init__(
        self, layers: list[nn.Module], flat: int, hidden: int, precision: torch.dtype
    ) -> None:
        """Build from the convolutions and the number of features they end in."""
        super().__init__()
        self.precision = precision
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(flat, hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score (B, D, D) images: (B,), higher for those taken to be real."""
        with reduced(self.precision, images):
            features: Tensor = self.features(images[:, None])
        score: Tensor = self.head(features.to(images.dtype))
        return score[:, 0]


def strided_discriminator(
    box: int, channels: int, hidden: int, precision: torch.dtype = torch.float32
) -> Discriminator:
    """Build mode fast's: strided convolutions for images of `box` pixels."""
    layers: list[nn.Module]
    if box <= FULL_BOX:
        layers = [nn.Conv2d(1, channels, 5, padding=2)]
    else:
        layers = [nn.Conv2d(1, channels, 6, stride=2, padding=2)]
        box //= 2
    layers.append(nn.LeakyReLU(SLOPE))
    width = channels
    while box > MIN_BOX:
        wider = min(2 * width, channels * 2**MAX_DOUBLINGS)
        layers.append(nn.Conv2d(width, wider, 4, stride=2, padding=1))
        layers.append(nn.LeakyReLU(SLOPE))
        width, box = wider, box // 2
    return Discriminator(layers, width * box * box, hidden, precision)


def pooled_discriminator(
    box: int, channels: int, hidden: int, precision: torch.dtype = torch.float32
) -> Discriminator:
    """Build the paper's: blocks that double in channels and halve in box."""
    layers: list[nn.Module] = []
    before, width = 1, channels
    while box > MIN_BOX:
        layers.append(nn.Conv2d(before, width, 3, padding=1))
        layers += [nn.MaxPool2d(2), nn.LeakyReLU(SLOPE)]
        before, width, box = width, 2 * width, box // 2
    return Discriminator(layers, before * box * box, hidden, precision)


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
