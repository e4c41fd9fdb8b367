"""One stage of a run: the data at one box, and the simulator that must match it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.config import ImagingConfig, RunConfig
from multicryogan.data.background import open_background
from multicryogan.data.gains import with_gains
from multicryogan.data.optics import optics_groups
from multicryogan.data.patches import PatchNoise
from multicryogan.data.preprocess import Preprocessing
from multicryogan.data.sampler import ImageSampler
from multicryogan.data.spectra import Spectra, survey
from multicryogan.data.view import View, Views, coloured
from multicryogan.errors import InputError
from multicryogan.imaging import CTFParams
from multicryogan.imaging.noise import radial_power
from multicryogan.io import ParticleStack
from multicryogan.likelihood import ImageLaw, PoseTree
from multicryogan.likelihood.shifts import REACH
from multicryogan.networks import Generator
from multicryogan.priors import ImagingPrior, LatentPrior, ViewLaw, with_defocus_range
from multicryogan.rng import Shard, stream
from multicryogan.simulator import SimulatedBatch, Simulator

MOST_NATS = 200.0  # that an image shows: clearer ones the discriminator tells too well
MARGIN_SHELLS = 3  # beyond the low-pass: windowed images mix neighbouring shells


@dataclass(frozen=True, slots=True)
class Stage:
    """Data, simulator and noise at one working box.

    Attributes:
        box: Working box in pixels.
        pixel_size: Å per pixel at that box.
        sampler: Draws real images.
        simulator: Draws simulated ones.
        view: Prepares both for the discriminator.
        spectra: Power of real images and of their rims, or of patches of background;
            the rim's is that of the simulated noise.
        dither: (G, D//2+1) power of noise that images are given before the
            discriminator sees them; none: they stay.
        shown: Spectra of the images with that noise.
        batch: Volumes and poses per volume of the whole batch.
    """

    box: int
    pixel_size: float
    sampler: ImageSampler
    simulator: Simulator
    view: View
    spectra: Spectra
    dither: Tensor | None
    shown: Spectra
    batch: tuple[int, int]

    def simulate(
        self,
        generator: Callable[[Tensor], Tensor],
        shell: float,
        step: int,
        purpose: str = "train",
        batch: tuple[int, int] | None = None,
    ) -> tuple[SimulatedBatch, Views]:
        """Run Algorithm 1 up to a low-pass; return what it made and how it is shown."""
        made = self.simulator.sample(
            generator,
            self.spectra.rim,
            batch or self.batch,
            step,
            purpose=purpose,
            max_shell=self._max_shell(shell),
        )
        optics = made.params.ctf
        flat = None if optics is None else optics.reshape(-1)
        raw = made.noisy.flatten(0, 1)
        return made, self.show(raw, flat, f"{purpose}/simulated", step)

    def real(self, step: int, purpose: str = "train") -> Views:
        """Show as many real images as a batch has simulated ones."""
        count = self.batch[0] * self.batch[1]
        drawn = self.sampler.batch(count, step, purpose)
        self.sampler.expect(count, step + 1, purpose)
        return self.show(*drawn, f"{purpose}/real", step)

    def show(
        self, raw: Tensor, optics: CTFParams | None, purpose: str, step: int
    ) -> Views:
        """Show this process's (B, D, D) images of a batch to the discriminator.

        Where they are clearer than it can do with, noise is added to them.
        """
        if self.dither is not None:
            shard, device = self.sampler.shard, self.sampler.device
            name = f"{purpose}/dither"
            draws = stream(self.simulator.seed, name, step=step, device=device)
            size = (len(raw) * shard.world, *raw.shape[1:])
            white = torch.randn(size, generator=draws, device=device)
            white = white[shard.share(size[0])]
            raw = raw + coloured(white, self.dither.sqrt(), optics)
        return self.view(raw, optics)

    def under(
        self, shift_sigma_angstrom: float, contrast_spread: float, views: ViewLaw | None
    ) -> Stage:
        """Copy this stage with other laws of shifts, contrasts and views."""
        prior = dataclasses.replace(
            self.simulator.imaging_prior,
            shift_sigma_angstrom=shift_sigma_angstrom,
            contrast_spread=contrast_spread,
            views=views,
        )
        simulator = dataclasses.replace(self.simulator, imaging_prior=prior)
        return dataclasses.replace(self, simulator=simulator)

    def law(self, shell: int | None = None) -> ImageLaw:
        """Law of the images up to a shell; None: all modes below Nyquist."""
        last = self.box // 2 if shell is None else shell
        return ImageLaw(self.spectra.rim, self.pixel_size, last)

    def poses(self, shift_sigma_angstrom: float) -> PoseTree:
        """All poses, and shifts of this standard deviation along each axis."""
        return PoseTree().with_shifts(shift_sigma_angstrom / self.pixel_size, self.box)

    def alone(self) -> Stage:
        """Copy this stage for one process that draws whole batches."""
        return dataclasses.replace(
            self,
            sampler=dataclasses.replace(self.sampler, shard=Shard()),
            simulator=dataclasses.replace(self.simulator, shard=Shard()),
        )

    def _max_shell(self, shell: float) -> int | None:
        """Last shell that is simulated; None: all."""
        highest = int(shell) + MARGIN_SHELLS
        return None if highest >= self.box // 2 else highest


def open_stage(
    config: RunConfig,
    stack: ParticleStack,
    sign: int,
    box: int,
    shard: Shard,
    device: str,
    most_nats: float = MOST_NATS,
) -> Stage:
    """Survey the particles at a box and set up the simulator for it.

    Args:
        config: Resolved config of the run.
        stack: Particles.
        sign: +1 when protein is bright, -1 when it is dark.
        box: Working box in pixels.
        shard: This process's part of every batch.
        device: "cpu" or a CUDA device.
        most_nats: That the discriminator is shown of an image.

    Raises:
        InputError: Shifts are so wide that they lead out of the images.
    """
    seed, imaging = config.train.seed, config.imaging
    _check_shifts(imaging.shift_sigma_angstrom, stack.field_angstrom)
    preprocessing = Preprocessing.of(config.data, box, sign)
    pixel_size = stack.field_angstrom / box
    optics = stack.ctf_params()
    group = optics_groups(stack)
    if optics is not None:
        optics = dataclasses.replace(optics, group=torch.from_numpy(group))
    is_white = imaging.noise_source == "white"
    spectra = survey(stack, group, preprocessing, seed, device, is_white=is_white)
    patches = None
    if imaging.background:
        background = open_background(stack, imaging.background)
        patches = PatchNoise(background, preprocessing, device)
        spectra = dataclasses.replace(spectra, rim=patches.power(group, seed))
    if optics is not None:
        optics = with_gains(optics, spectra, stack.field_angstrom)
    sampler = ImageSampler(stack, preprocessing, seed, optics, shard, device)
    simulator = Simulator(
        LatentPrior(config.latent.kind, config.latent.dimensions),
        _imaging_prior(imaging, optics, seed),
        pixel_size,
        seed,
        shard,
        device,
        patches,
    )
    dither = spectra.dither(most_nats)
    shown = spectra.with_noise(dither)
    equaliser = shown.equaliser() if len(spectra.share) > 1 else None
    view = View(preprocessing, pixel_size, max(imaging.defocus_um) <= 0, equaliser)
    given = dither if bool((dither > 0).any()) else None
    batch = (config.train.volumes_per_batch, config.train.poses_per_volume)
    return Stage(
        box, pixel_size, sampler, simulator, view, spectra, given, shown, batch
    )


def starting_scale(stage: Stage, generator: Generator) -> float:
    """Find the density scale at which simulated signal is as strong as the real one.

    The signal's power is what working images have beyond their rims; at least a
    hundredth of all power, so that a start is never without signal.
    """
    spectra = stage.spectra
    silent = torch.zeros_like(spectra.rim)
    with torch.no_grad():
        generator.scale.fill_(1.0)
        # Every process draws the same whole batch: one start for any team.
        simulator = dataclasses.replace(stage.alone().simulator, patches=None)
        drawn = simulator.sample(generator, silent, (4, 32), 0, purpose="scale")
        simulated = radial_power(drawn.clean.flatten(0, 1))[1:-1]
    modes = torch.arange(1, len(simulated) + 1).to(simulated)
    excess = spectra.excess[1:-1] @ modes
    floor = 0.01 * (excess + spectra.noise[1:-1] @ modes)
    strength = torch.maximum(excess, floor) / (simulated @ modes)
    return float(strength.sqrt())


def _imaging_prior(
    imaging: ImagingConfig, optics: CTFParams | None, seed: int
) -> ImagingPrior:
    """Law of optics, shifts and contrasts that images are simulated with."""
    if optics is not None and max(imaging.defocus_um) > 0:
        draws = stream(seed, "defocus")
        optics = with_defocus_range(optics, imaging.defocus_um, draws)
    sigma, spread = imaging.shift_sigma_angstrom, imaging.contrast_spread
    return ImagingPrior(optics, sigma, seed, contrast_spread=spread)


def _check_shifts(sigma_angstrom: float, field_angstrom: float) -> None:
    """Refuse shifts that would be searched beyond the rims of the images.

    Raises:
        InputError: Their standard deviation is so large.
    """
    most = field_angstrom / 2 / REACH
    if sigma_angstrom > most:
        raise InputError(
            f"imaging.shift_sigma_angstrom is {sigma_angstrom:g}; images of "
            f"{field_angstrom:.0f} Å are searched to {REACH:g} times as far: give at "
            f"most {most:.0f}"
        )
