"""How strong the signal is in each optics group, beside what its CTFs say.

Programs that extract particles bring the noise to a deviation of one. Dose, thickness
of the ice and detector then show in the strength of the signal. Seen from all sides, a
molecule has one power spectrum S: beyond its noise a group has the power a² c² S.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from multicryogan.data.spectra import Spectra
from multicryogan.imaging import CTFParams
from multicryogan.imaging.ctf import ring_ctf

ROWS = 2_000  # of a group, whose CTFs are averaged
ROUNDS = 20
STEADY = 200  # images with which a group's own gain counts as much as the mean, 1
RANGE = (0.2, 5.0)  # beyond it the signal was not measured


def with_gains(optics: CTFParams, spectra: Spectra, field_angstrom: float) -> CTFParams:
    """Multiply the scale of every particle by the gain of its group.

    Args:
        optics: Of N particles, each field (N,), groups numbered as in the spectra.
        spectra: Of G groups.
        field_angstrom: Side of the working images in Å.

    Returns:
        The optics; as they came where there is one group.
    """
    groups = len(spectra.share)
    if groups == 1 or optics.group is None:
        return optics
    rings = spectra.rim.shape[1] - 1
    squares = []
    for number in range(groups):
        rows = (optics.group == number).nonzero()[:ROWS, 0]
        transfer = ring_ctf(optics.select(rows), rings, field_angstrom)
        squares.append(transfer.square().mean(0))
    gain = group_gains(spectra, torch.stack(squares), len(optics.group))
    own = gain[optics.group].to(optics.voltage_kv)
    scale = own if optics.scale is None else optics.scale * own
    return replace(optics, scale=scale)


def group_gains(spectra: Spectra, squared_ctf: Tensor, particles: int) -> Tensor:
    """Fit a_g and S_k to the power beyond the noise, a_g² c²_gk S_k.

    Least squares in turn, each power weighed by its variance, raw² over the number of
    modes. The gains of few particles lean towards 1.

    Args:
        spectra: Of G groups.
        squared_ctf: (G, D//2) mean squared CTF on rings 1 .. D//2.
        particles: N in all.

    Returns:
        (G,) gains; their squares are 1 on average over the particles.
    """
    excess = (spectra.raw - spectra.rim)[:, 1:-1].double().cpu()
    ring = torch.arange(1, excess.shape[1] + 1)
    weight = ring * spectra.share.cpu()[:, None] / spectra.raw[:, 1:-1].cpu().square()
    square = squared_ctf[:, :-1].double().cpu()
    gain = torch.ones(len(excess), 1, dtype=torch.float64)  # squared
    for _ in range(ROUNDS):
        seen = gain * square
        signal = (weight * seen * excess).sum(0) / (weight * seen.square()).sum(0)
        seen = square * signal.clamp(min=0)
        top = (weight * seen * excess).sum(1)
        gain = (top / (weight * seen.square()).sum(1).clamp(min=1e-30))[:, None]
        gain = gain.clamp(RANGE[0] ** 2, RANGE[1] ** 2)
        gain = gain / (spectra.share.double().cpu() @ gain)
    own = spectra.share.cpu() * particles
    trust = own / (own + STEADY)
    return (1 + trust * (gain[:, 0] - 1)).sqrt()
