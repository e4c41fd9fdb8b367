"""The discriminator of mode fast: two banks of templates, seen from every angle.

With known Gaussian noise the optimal discriminator is `log p_data(y) - log p_gen(y)`.
Here each of the two densities is a mixture: an image is one of J templates, turned in
its plane by any angle, mirrored or not, modulated by its own CTF, plus noise,

    log p(y) = log sum_j pi_j sum_turns exp(Re <c w_j, turned y> - |c w_j|^2 / 2),

up to what both have in common. Single particles are centred, their in-plane angle is
uniform, and opposite views are mirror images: all that a general network would have to
learn is built in, and the templates, which are what is learned, are the class averages
that microscopists know. They are trained as any discriminator is, by the game alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from multicryogan.losses import relativistic_loss
from multicryogan.networks.discriminator import Discriminator
from multicryogan.networks.harmonics import circular_harmonics

ORDERS = 0.75  # circular harmonics, as a share of the box
EDGE_RINGS = 1.5  # width of the low-pass's soft edge
LEAST_SNR = 0.002  # of a ring
BLOCK = 8192  # columns that stay in a processor's cache
LEAST_STEP = 0.05  # of the learning rate, in rings of little signal


class TemplateDiscriminator(Discriminator):
    """Score images by two mixtures of templates, one for each side of the game."""

    analysis: Tensor
    cosines: Tensor
    sines: Tensor
    whitening: Tensor
    step: Tensor
    band: Tensor

    def __init__(self, box: int, count: int, precision: torch.dtype) -> None:
        """Build for images of `box` pixels with `count` templates J a side, all zero.

        Matrix products are computed in `precision`, everything else in float32.
        """
        super().__init__()
        self.precision, self.rings = precision, box // 2
        self.orders = int(ORDERS * box) + 1
        matrix = circular_harmonics(box, self.rings, self.orders)
        parts = torch.stack((matrix.real, matrix.imag), dim=1)  # (K, 2, M, D*D)
        analysis = parts.permute(3, 2, 1, 0).flatten(1)  # (D*D, M*2*K)
        turns = torch.arange(2 * self.orders) * math.pi / self.orders
        phase = torch.outer(turns, torch.arange(float(self.orders)))  # (A, M)
        for name, value in (
            ("analysis", analysis.contiguous()),
            ("cosines", phase.cos()),
            ("sines", phase.sin()),
        ):
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("whitening", torch.ones(self.rings))
        self.register_buffer("step", torch.ones(self.rings))
        self.register_buffer("band", torch.ones(self.rings))
        # Axes: bank of the real, of the simulated; real and imaginary part; order m;
        # ring k; template.
        self.values = nn.Parameter(torch.zeros(2, 2, self.orders, self.rings, count))
        self.share = nn.Parameter(torch.zeros(2, count))

    def forward(self, images: Tensor, transfer: Tensor) -> Tensor:
        """Score (B, D, D) images with CTFs `transfer` (B, D//2) on rings 1 .. D//2."""
        transfer = transfer * self.band
        seen = self._analyse(images) * transfer[:, None, None]  # (B, M, 2, K)
        templates = self.templates()
        alike = self._compare(seen, templates)  # (B, 2, J)
        energy = templates.square().sum((1, 2)).transpose(0, 1).flatten(1)  # (K, 2*J)
        energy = (transfer.square() @ energy).view_as(alike)
        share = torch.log_softmax(self.share, dim=1)
        evidence = torch.logsumexp(alike - energy / 2 + share, dim=-1)  # (B, 2)
        return evidence[:, 0] - evidence[:, 1]

    def loss(self, better: Tensor, worse: Tensor) -> Tensor:
        """Return the relativistic loss, whose slope vanishes where both sides agree."""
        return relativistic_loss(better, worse)

    def penalty(
        self, real: Tensor, fake: Tensor, transfer: Tensor, mix: Tensor
    ) -> Tensor:
        """Mean squared difference between the banks, whatever the images.

        Where banks are near each other, templates equally frequent and the CTF one,
        it is the mean squared slope of the score, which R1 and R2 (Mescheder et al.
        2018) penalise; it needs no second derivative. In units of the noise.
        """
        first, second = self.templates().unbind()
        return (first - second).square().sum((0, 1, 2)).mean()

    def templates(self) -> Tensor:
        """Return (2, 2, M, K, J) templates in units of the noise, low-passed.

        Axes: bank of the real or the simulated images; real and imaginary part; order;
        ring; template.
        """
        return self.values * (self.step * self.band)[:, None]

    def open_band(self, shell: float) -> None:
        """Look at rings up to a shell."""
        ring = torch.arange(1, self.rings + 1, device=self.band.device)
        self.band.copy_(((shell + 1 - ring) / EDGE_RINGS).clamp(0, 1))

    @torch.no_grad()
    def adapt(self, noise: Tensor, snr: Tensor) -> None:
        """Take the units from the noise, and learning rates from the signal.

        Adam moves every number by the same length, while signal falls with the ring.

        Args:
            noise: (D//2+1,) noise power of each shell of the images to come.
            snr: (D//2+1,) mean power of signal over that of noise in each shell.
        """
        ring = snr[1 : self.rings + 1].clone()
        ring[-1] = ring[-2]  # a Fourier crop empties the last
        ring[1:] = ring[1:].cummin(0).values  # noisy estimates must not rise again
        ring = ring.clamp(min=LEAST_SNR)
        templates = self.values * self.step[:, None]
        self.whitening.copy_(noise[1 : self.rings + 1].rsqrt())
        self.step.copy_((ring / ring.max()).sqrt().clamp(min=LEAST_STEP))
        self.values.copy_(templates / self.step[:, None])

    @torch.no_grad()
    def start(self, images: Tensor, transfer: Tensor, snr: Tensor) -> None:
        """Start both banks from one real image per template, Wiener-filtered.

        Args:
            images: (J, D, D) images.
            transfer: (J, D//2) their CTFs on rings 1 .. D//2.
            snr: (D//2+1,) signal over noise, as for `adapt`.
        """
        ring = snr[1 : self.rings + 1].clamp(min=LEAST_SNR)
        filtered = (
            self._analyse(images) * (transfer.sign() * ring / (1 + ring))[:, None, None]
        )
        self.values.copy_((filtered / self.step).permute(2, 1, 3, 0))

    @torch.no_grad()
    def take_over(self, coarse: TemplateDiscriminator) -> None:
        """Go on with the templates of a coarser box; finer rings start empty."""
        templates = torch.zeros_like(self.values)
        known = coarse.values * coarse.step[:, None]
        templates[:, :, : coarse.orders, : coarse.rings] = known
        self.values.copy_(templates / self.step[:, None])
        self.share.copy_(coarse.share)

    def _analyse(self, images: Tensor) -> Tensor:
        """(B, M, 2, K) circular harmonics of images in units of the noise."""
        values = images.flatten(1) @ self.analysis
        return values.view(-1, self.orders, 2, self.rings) * self.whitening

    def _compare(self, seen: Tensor, templates: Tensor) -> Tensor:
        """(B, 2, J) log-sum-exp over turns and mirrors of the inner products.

        `sum_k conj(w[m, k]) b[m, k]` and the same with w for the mirror image are two
        real products for each order m; a Fourier sum over m turns them by all angles.
        """
        real, imaginary = (
            templates[:, part].permute(1, 2, 0, 3).flatten(2) for part in (0, 1)
        )  # (M, K, 2*J)
        to_real = torch.cat(
            (torch.cat((real, real), 2), torch.cat((imaginary, -imaginary), 2)), 1
        )
        to_imaginary = torch.cat(
            (torch.cat((-imaginary, imaginary), 2), torch.cat((real, real), 2)), 1
        )
        short = seen.transpose(0, 1).flatten(2).to(self.precision)  # (M, B, 2*K)
        x = torch.bmm(short, to_real.to(self.precision)).flatten(1)
        y = torch.bmm(short, to_imaginary.to(self.precision)).flatten(1)
        cosines, sines = self.cosines.to(self.precision), self.sines.to(self.precision)
        alike: Tensor = TurnedLogSumExp.apply(x, y, cosines, sines)  # type: ignore[no-untyped-call]
        return torch.logsumexp(alike.view(len(seen), 2, 2, -1), dim=1)


class TurnedLogSumExp(torch.autograd.Function):
    """`log sum_a exp(sum_m cos[a, m] x[m] - sin[a, m] y[m])`, block by block.

    Most of a step's time goes here, in passes over memory: blocks stay in the cache,
    and the weights of the angles are kept for the way back instead of computed again.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, y: Tensor, cosines: Tensor, sines: Tensor
    ) -> Tensor:
        """Sum over angles: x and y (M, N), cosines and sines (A, M) to (N,)."""
        count = x.shape[1]
        block = BLOCK if x.device.type == "cpu" else count
        weights = x.new_empty(len(cosines), count)
        total = torch.empty(count, device=x.device)
        for start in range(0, count, block):
            part = slice(start, start + block)
            turned = torch.addmm(cosines @ x[:, part], sines, y[:, part], alpha=-1)
            peak = turned.amax(0)
            share = turned.sub_(peak).exp_()
            mass = share.sum(0, dtype=torch.float32)
            total[part] = peak + mass.log()
            torch.div(share, mass, out=weights[:, part])
        ctx.save_for_backward(weights, cosines, sines)
        return total

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        """Send the gradient to every angle by its weight."""
        weights, cosines, sines = ctx.saved_tensors  # type: ignore[attr-defined]
        count = weights.shape[1]
        block = BLOCK if weights.device.type == "cpu" else count
        to_x = weights.new_empty(cosines.shape[1], count)
        to_y = torch.empty_like(to_x)
        gradient = gradient.to(weights.dtype)
        for start in range(0, count, block):
            part = slice(start, start + block)
            turned = weights[:, part] * gradient[part]
            to_x[:, part] = cosines.T @ turned
            to_y[:, part] = sines.T @ turned
        return to_x, to_y.neg_(), None, None
