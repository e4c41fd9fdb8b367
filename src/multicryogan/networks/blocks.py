"""Parts of the generators: basis functions, masks, the 3D network."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

KNEE_SHELL = 5  # k0: where free voxels' spectrum begins to fall


def legendre(x: Tensor, count: int) -> Tensor:
    """Evaluate the Legendre polynomials of degree 1 .. count.

    Args:
        x: (...) positions from -1 to 1.
        count: Highest degree.

    Returns:
        (..., count) values, by Bonnet's recursion
        `(n + 1) P[n+1] = (2n + 1) x P[n] - n P[n-1]`.
    """
    values = [torch.ones_like(x), x]
    for n in range(1, count):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return torch.stack(values[1 : count + 1], dim=-1)


def soft_sphere(box: int) -> Tensor:
    """(D, D, D) sphere that touches the box, with a soft edge of two voxels."""
    axis = torch.arange(box) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    radius = (z.square() + y.square() + x.square()).to(torch.get_default_dtype()).sqrt()
    return ((box / 2 - radius) / 2).clamp(0, 1)


@lru_cache(maxsize=4)
def spectrum_shape(box: int, shell: float) -> Tensor:
    """Weigh the frequencies of free voxels: `1 / (1 + (k / k0)^2)` up to a shell.

    Adam moves every voxel by the same length whatever its gradient, so its noise is
    white, while a molecule's spectrum falls: without this weight the noise drowns the
    higher shells. Frequencies that the low-passed images cannot show are left out.

    Args:
        box: Side D in voxels.
        shell: Last shell that is let through, with a soft edge of two shells; never
            beyond the box's Nyquist shell, which no image shows.

    Returns:
        (D, D, D//2+1) weights of the rfftn modes; not to be modified.
    """
    k = torch.fft.fftfreq(box, 1 / box)
    half = torch.fft.rfftfreq(box, 1 / box)
    squares = (g.square() for g in torch.meshgrid(k, k, half, indexing="ij"))
    radius = sum(squares, torch.zeros(())).sqrt()
    end = min(shell + 2, box / 2)
    edge = ((end - radius) / 2).clamp(0, 1)
    return edge / (1 + (radius / KNEE_SHELL).square())


def gaussian_blob(box: int, generator: torch.Generator) -> Tensor:
    """(D, D, D) rough ball to start from: a Gaussian times uneven voxels.

    The unevenness breaks the symmetry of the ball, which no gradient could.
    """
    axis = (torch.arange(box) - box // 2) / (box / 4)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    ball = torch.exp(-0.5 * (z.square() + y.square() + x.square()))
    return ball * (1 + 0.5 * torch.randn(ball.shape, generator=generator))


class UNet3d(nn.Module):
    """A small 3D network with two halvings; the volume it returns is positive."""

    def __init__(self, channels: int) -> None:
        """Build with `channels` at full box, twice and four times that below."""
        super().__init__()
        one, two, four = channels, 2 * channels, 4 * channels
        self.enter = nn.Conv3d(1, one, 3, padding=1)
        self.down = nn.Conv3d(one, two, 4, stride=2, padding=1)
        self.bottom = nn.Conv3d(two, four, 4, stride=2, padding=1)
        self.rise = nn.ConvTranspose3d(four, two, 4, stride=2, padding=1)
        self.up = nn.ConvTranspose3d(2 * two, one, 4, stride=2, padding=1)
        self.leave = nn.Conv3d(2 * one, 1, 3, padding=1)

    def forward(self, volume: Tensor) -> Tensor:
        """Map (V, D, D, D) to positive (V, D, D, D); D is a multiple of 4."""
        fine = functional.leaky_relu(self.enter(volume[:, None]), 0.1)
        middle = functional.leaky_relu(self.down(fine), 0.1)
        coarse = functional.leaky_relu(self.bottom(middle), 0.1)
        risen = functional.leaky_relu(self.rise(coarse), 0.1)
        risen = functional.leaky_relu(self.up(torch.cat((risen, middle), 1)), 0.1)
        # A rectifier here would die at the first step: all zero, no gradient.
        return functional.softplus(self.leave(torch.cat((risen, fine), 1)))[:, 0]
