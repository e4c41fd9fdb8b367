"""One stage of a run: the data at one box, and the simulator that must match it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.data.preprocess import Preprocessing
from multicryogan.data.sampler import ImageSampler
from multicryogan.data.spectra import Spectra, survey
from multicryogan.data.view import View
from multicryogan.imaging import CTFParams
from multicryogan.imaging.noise import radial_power
from multicryogan.io import ParticleStack
from multicryogan.networks import Generator
from multicryogan.priors import ImagingPrior, LatentPrior, with_defocus_range
from multicryogan.rng import Shard, stream
from multicryogan.simulator import SimulatedBatch, Simulator
from multicryogan.units import electron_wavelength_angstrom

ROUND_PHASE = 0.1  # radians of astigmatism below which a CTF counts as round


@dataclass(slots=True)
class Stage:
    """Data, simulator and noise at one working box.

    Attributes:
        box: Working box in pixels.
        pixel_size: Å per pixel at that box.
        sampler: Draws real images.
        simulator: Draws simulated ones.
        preprocessing: How both are standardised.
        spectra: Power of real images and of their rims.
        noise: Spectrum of the simulated noise, calibrated as training goes on.
        batch: Volumes and poses per volume of the whole batch.
    """

    box: int
    pixel_size: float
    sampler: ImageSampler
    simulator: Simulator
    preprocessing: Preprocessing
    spectra: Spectra
    noise: NoiseCalibration
    batch: tuple[int, int]

    def view(self, shell: float) -> View:
        """Build what the discriminator sees under a low-pass."""
        return View(self.preprocessing, shell, self.spectra.standard)

    def simulate(
        self,
        generator: Generator,
        view: View,
        step: int,
        purpose: str = "train",
        batch: tuple[int, int] | None = None,
    ) -> SimulatedBatch:
        """Run Algorithm 1 with the noise as calibrated so far."""
        return self.simulator.sample(
            generator,
            self.noise.power,
            batch or self.batch,
            step,
            purpose=purpose,
            max_shell=view.max_shell,
        )

    def alone(self) -> Stage:
        """Copy this stage for one process that draws whole batches."""
        return dataclasses.replace(
            self,
            sampler=dataclasses.replace(self.sampler, shard=Shard()),
            simulator=dataclasses.replace(self.simulator, shard=Shard()),
        )

    def real(self, step: int, purpose: str = "train") -> Tensor:
        """Draw as many real images as a batch has simulated ones: (B, D, D)."""
        return self.sampler.batch(self.batch[0] * self.batch[1], step, purpose)


@dataclass(slots=True)
class NoiseCalibration:
    """Noise power per shell, steered so that simulated images match the real ones.

    The rim of real images gives the start. It holds a little delocalised signal, so
    it is an upper bound; the lower bound keeps noise from taking the place of signal.

    Attributes:
        power: (D//2+1,) spectrum in use, raw intensities.
        rim_power: (D//2+1,) spectrum measured outside the particles.
        real_power: (D//2+1,) power of standardised real images, the target.
    """

    power: Tensor
    rim_power: Tensor
    real_power: Tensor

    LOWEST = 0.9  # of the rim's power
    HIGHEST = 1.02
    GAIN = 0.1

    def follow(self, fake_power: Tensor) -> None:
        """Move towards agreement, given the power of standardised simulated images."""
        ratio = self.real_power / fake_power.clamp(min=1e-12)
        moved = self.power * (1 + self.GAIN * (ratio - 1)).clamp(0.5, 2)
        low, high = self.LOWEST * self.rim_power, self.HIGHEST * self.rim_power
        self.power = torch.minimum(torch.maximum(moved, low), high)


def open_stage(
    config: RunConfig,
    stack: ParticleStack,
    sign: int,
    box: int,
    shard: Shard,
    device: str,
) -> Stage:
    """Survey the particles at a box and set up the simulator for it."""
    seed = config.train.seed
    preprocessing = Preprocessing(
        box=box,
        sign=sign,
        background_radius_px=config.data.background_radius * box / 2,
        window_edge_px=config.data.window_edge_px * box / config.data.box,
    )
    pixel_size = stack.pixel_size * stack.box / box
    optics = stack.ctf_params()
    is_round = optics is None or astigmatic_phase(optics, pixel_size) < ROUND_PHASE
    if optics is not None and max(config.imaging.defocus_um) > 0:
        draws = stream(seed, "defocus")
        optics = with_defocus_range(optics, config.imaging.defocus_um, draws)
    sampler = ImageSampler(
        stack,
        preprocessing,
        seed,
        config.train.use_symmetry and is_round,
        shard,
        device,
    )
    simulator = Simulator(
        LatentPrior(config.latent.kind, config.latent.dimensions),
        ImagingPrior(optics, config.imaging.shift_sigma_angstrom, seed),
        pixel_size,
        seed,
        shard,
        device,
    )
    spectra = survey(
        stack,
        preprocessing,
        seed,
        device,
        is_white=config.imaging.noise_source == "white",
    )
    noise = NoiseCalibration(spectra.rim, spectra.rim, spectra.standard)
    train = config.train
    batch = (train.volumes_per_batch, train.poses_per_volume)
    return Stage(
        box,
        pixel_size,
        sampler,
        simulator,
        preprocessing,
        spectra,
        noise,
        batch,
    )


def astigmatic_phase(optics: CTFParams, pixel_size: float) -> float:
    """Largest phase in radians by which astigmatism changes a CTF at Nyquist.

    `pi lambda |U - V| / 2 s^2` at s = 1 / (2 pixel_size), over all particles.
    """
    difference = (optics.defocus_u_angstrom - optics.defocus_v_angstrom).abs()
    wavelength = electron_wavelength_angstrom(optics.voltage_kv)
    phase = torch.pi * wavelength * difference / 2 / (2 * pixel_size) ** 2
    return float(phase.max())


def starting_scale(stage: Stage, generator: Generator) -> float:
    """Find the density scale at which simulated signal is as strong as the real one.

    The signal's power is what working images have beyond their rims; at least a
    hundredth of all power, so that a start is never without signal.
    """
    silent = torch.zeros_like(stage.noise.power)
    with torch.no_grad():
        generator.scale.fill_(1.0)
        # Every process draws the same whole batch: one start for any team.
        drawn = stage.alone().simulator.sample(
            generator, silent, (4, 32), 0, purpose="scale"
        )
        simulated = radial_power(drawn.clean.flatten(0, 1))[1:-1]
    total = stage.spectra.raw[1:-1]
    modes = torch.arange(1, len(total) + 1, device=total.device)
    excess = (total - stage.spectra.rim[1:-1]) @ modes.to(total)
    floor = 0.01 * (total @ modes.to(total))
    strength = torch.maximum(excess, floor) / (simulated @ modes.to(total))
    return float(strength.sqrt())
