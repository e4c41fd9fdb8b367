"""Which frequencies the CTFs of all particles keep together.

The theorem behind the method tells two distributions of volumes apart as long as no
frequency is lost in every image; so does every averaging of views.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.data.preprocess import spread_rows
from multicryogan.imaging import CTFParams, ctf

POINTS = 400  # frequencies: ten between zeros of 3 µm at 4 Å
AZIMUTHS = 6  # views have all turns in the plane, so astigmatism is averaged as well
MOST = 2_000  # particles
SPREAD = 0.5  # mean squared CTF of well spread defoci
# A tenth of that: ten times as many images for the same map.
POOR = SPREAD / 10


@dataclass(frozen=True, slots=True)
class Coverage:
    """Mean squared CTF over particles and azimuths, against frequency.

    Attributes:
        frequency: (F,) in 1/Å, from 0 on.
        power: (F,) between 0 and 1.
    """

    frequency: Tensor
    power: Tensor

    @property
    def peak(self) -> int | None:
        """Where the first rise ends; None while it goes on."""
        falls = (self.power[1:] < self.power[:-1]).nonzero()
        return int(falls[0]) if len(falls) else None

    @property
    def weakest(self) -> int | None:
        """Where it is least beyond the first rise; None while that goes on."""
        peak = self.peak
        return None if peak is None else peak + int(self.power[peak:].argmin())

    def resolution(self, place: int) -> float:
        """Å of a place."""
        return float(1 / self.frequency[place])


def measure_coverage(optics: CTFParams, resolution: float) -> Coverage:
    """Average the squared CTF of particles.

    Args:
        optics: Of N particles, fields (N,); 2,000 spread evenly are used at most.
        resolution: Finest detail in Å.

    Returns:
        The average up to that resolution.
    """
    particles = len(optics.voltage_kv)
    count = min(MOST, particles)
    rows = spread_rows(particles, count)
    frequency = torch.linspace(0, 1 / resolution, POINTS)
    angle = torch.arange(AZIMUTHS) * torch.pi / AZIMUTHS
    direction = torch.stack((angle.sin(), angle.cos()), dim=-1)[:, None]
    values = ctf(optics.select(rows), frequency[:, None] * direction)  # (n, A, F)
    return Coverage(frequency, values.square().mean((0, 1)))
