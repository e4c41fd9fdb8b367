"""What train and refine can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from multicryogan.tables import build, merge

Mode = Literal["fast", "paper"]


@dataclass(frozen=True)
class DataConfig:
    """How particle images are prepared."""

    box: int = 32
    """Working box in pixels: images are Fourier-cropped to it when they are larger."""
    contrast: Literal["auto", "white", "dark"] = "auto"
    """Whether protein is brighter or darker than the background."""
    background_radius: float = 0.95
    """Radius outside which pixels count as background, as a share of half the box."""
    window_edge_px: float = 2.0
    """Width of the soft edge of the circular window, in working pixels."""


@dataclass(frozen=True)
class LatentConfig:
    """What the generator draws its conformations from."""

    kind: Literal["segment", "uniform", "gaussian"] = "segment"
    """segment: alpha ~ U(0, 1); uniform: a box of n dimensions; gaussian: normal."""
    dimensions: int = 1
    """Number of latent dimensions, 4 at most (a segment has one)."""


@dataclass(frozen=True)
class GeneratorConfig:
    """From latent to volume."""

    kind: Literal["components", "cnn", "volume"] = "components"
    """components: mean and motions; cnn: 3D network; volume: one map (CryoGAN)."""
    start_map: Annotated[str, Parameter(name=["--start-map", "start-map"])] = ""
    """Map (.mrc) to start from, low-passed, in place of a rough ball; if the particle
    file holds poses, they refer to it and, where views are learned, say how often
    each side is seen."""
    focus_mask: Annotated[str, Parameter(name=["--focus-mask", "focus-mask"])] = ""
    """Mask (.mrc) drawn on the starting map, outside of which nothing moves."""
    components: int = 5
    """Number of linear components of the motion."""
    hidden: int = 64
    """Width of the network that maps the latent to component coefficients."""
    channels: int = 16
    """Channels of the 3D network at full resolution."""
    endpoint_range: float = 0.025
    """The paper's z0 and z1 are drawn from U(0, endpoint_range)."""
    symmetry: str = "C1"
    """Point group of the mean, in RELION's axes: C<n>, D<n>, T, O or I (I2)."""
    symmetric_motion: bool = False
    """Whether every conformation has the symmetry, too."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """From image to score."""

    kind: Literal["templates", "pooled"] = "templates"
    """templates: two mixtures of class averages; pooled: convolutions (the paper)."""
    templates: int = 256
    """Number of templates of each mixture."""
    channels: int = 32
    """Channels of the first convolution; they double with each halving of the box."""
    hidden: int = 128
    """Width of the layer before the score, after convolutions."""
    precision: Literal["auto", "float32"] = "auto"
    """auto: products in bfloat16 where the processor is faster at it."""


@dataclass(frozen=True)
class ImagingConfig:
    """What the simulator draws beside the conformation."""

    shift_sigma_angstrom: float = 0.0
    """Standard deviation of the in-plane shifts of the particles in Å to begin with:
    it is learned. 0: particles are centred."""
    contrast_spread: float = 0.1
    """Standard deviation of the contrast of the particles, over its mean, beyond what
    their file tells, to begin with: it is learned. 0: all are alike."""
    views: Literal["uniform", "learned"] = "uniform"
    """Whether directions of view are taken as equally likely, or weighed as the
    particles show, for each part of the latent."""
    defocus_um: tuple[float, float] = (0.0, 0.0)
    """Range to draw the defocus from, in µm; 0 0: from the particles' own rows."""
    noise_source: Literal["rim", "white"] = "rim"
    """rim: radial noise spectrum measured outside the particle; white: flat."""
    background: Annotated[str, Parameter(name=["--background", "background"])] = ""
    """Patches of empty ice (.star, .cs) to take noise from instead, boxed and
    normalised as the particles are."""


@dataclass(frozen=True)
class TrainConfig:
    """Algorithm 2: the game and its schedule."""

    images: Annotated[int, Parameter(name=["--images", "images"])] = 0
    """Simulated images of the generator updates; 0: the time limit alone decides."""
    time_limit: Annotated[float, Parameter(name=["--time-limit", "time-limit"])] = 0.0
    """Minutes to train for; 0: the number of images alone decides."""
    seed: Annotated[int, Parameter(name=["--seed", "seed"])] = 0
    """Seed of every random draw."""
    volumes_per_batch: int = 8
    """Conformations in a batch."""
    poses_per_volume: int = 16
    """Images simulated from each conformation of a batch."""
    discriminator_steps: int = 1
    """Discriminator updates per generator update (k of Algorithm 2)."""
    discriminator_warmup: int = 30
    """Discriminator updates before the first generator update of a stage."""
    penalty_weight: float = 0.1
    """Weight of the penalty on the slope of the discriminator."""
    generator_rate: float = 1e-2
    """Adam learning rate of the volumes."""
    network_rate: float = 1e-3
    """Adam learning rate of the networks inside the generator."""
    discriminator_rate: float = 5e-3
    """Adam learning rate of the discriminator."""
    beta1: float = 0.5
    """First Adam coefficient."""
    beta2: float = 0.99
    """Second Adam coefficient."""
    rate_decay_start: float = 0.4
    """Share of the run after which learning rates decay."""
    rate_decay_factor: float = 0.3
    """Learning rates end at this share of their start."""
    average_decay: float = 0.998
    """Per-step decay of the averaged generator that snapshots hold."""
    coarse_share: float = 0.5
    """Share of the run at half the working box (0, or a box under 30: none)."""
    start_shell: int = 3
    """Low-pass at the start, in Fourier pixels (0: no low-pass)."""
    low_pass_share: float = 0.8
    """Share of the run over which the low-pass opens to the working box."""
    motion_start: float = 0.1
    """Share of the run after which the first degree of the motion is opened."""
    motion_full: float = 0.4
    """Share of the run after which all degrees of the motion are open."""


@dataclass(frozen=True)
class OutputConfig:
    """What a run writes, and how often."""

    checkpoint_minutes: float = 2.0
    """Minutes between checkpoints."""
    preview_minutes: float = 5.0
    """Minutes between preview pictures."""
    log_steps: int = 20
    """Generator updates between lines of metrics.jsonl."""
    tensorboard: bool = False
    """Write events for TensorBoard as well, to RUN/tensorboard."""


@dataclass(frozen=True)
class RunConfig:
    """One reconstruction, complete."""

    mode: Mode = "fast"
    """fast: linear components, coarse to fine; paper: 3D CNN and WGAN-GP."""
    data: Annotated[DataConfig, Parameter(group="Images")] = field(
        default_factory=DataConfig
    )
    latent: Annotated[LatentConfig, Parameter(group="Latent")] = field(
        default_factory=LatentConfig
    )
    generator: Annotated[GeneratorConfig, Parameter(group="Generator")] = field(
        default_factory=GeneratorConfig
    )
    discriminator: Annotated[DiscriminatorConfig, Parameter(group="Discriminator")] = (
        field(default_factory=DiscriminatorConfig)
    )
    imaging: Annotated[ImagingConfig, Parameter(group="Imaging")] = field(
        default_factory=ImagingConfig
    )
    train: Annotated[TrainConfig, Parameter(group="Training")] = field(
        default_factory=TrainConfig
    )
    output: Annotated[OutputConfig, Parameter(group="Output")] = field(
        default_factory=OutputConfig
    )


@dataclass(frozen=True)
class RefineConfig:
    """Expectation-maximisation of the manifold that a run has found."""

    iterations: int = 10
    """Iterations at most; it ends when held-out images gain no more."""
    conformations: int = 0
    """Conformations along each latent dimension; 0: 21 on a line, 11 along each of
    two."""
    components: int | None = None
    """Linear components of the motion; not given: 5 on a line, 9 over a plane."""
    start_shell: int = 8
    """Low-pass of the start, in Fourier pixels; beyond it halves share nothing."""
    start: Literal["generator", "random", "both"] = "generator"
    """What to start from: mean and main motion of the run, or noise; of several
    starts, the one that explains held-out images best."""
    restarts: int = 8
    """Random starts."""
    views: Literal["learned", "uniform"] = "learned"
    """Whether directions of view are weighed as the particles show, for each
    conformation, or taken as equally likely."""
    mask: str = "auto"
    """Where density may be. auto: about what both halves show of all conformations;
    sphere: in the box; or a mask (.mrc) drawn on the run's maps."""
    focus_mask: str = ""
    """Mask (.mrc) outside of which nothing moves; empty: that of the run, if any."""
    seed: int = 0
    """Seed of the noise in starts."""

    @property
    def mask_file(self) -> str | None:
        """The file that says where density may be, where one does."""
        return None if self.mask in ("auto", "sphere") else self.mask

    def motions(self, dimensions: int) -> int:
        """Count the components over a latent of some dimensions.

        Not given, over more than one: all products of latents up to the third degree.
        Of a hinge and a twist of Hsp90, 5 hold 85 % of the variance and 8 hold 94.5 %.
        """
        if self.components is not None:
            return self.components
        return 5 if dimensions == 1 else math.comb(dimensions + 3, 3) - 1


PAPER_MODE: dict[str, Any] = {
    "generator": {"kind": "cnn"},
    "discriminator": {"kind": "pooled"},
    "train": {
        "volumes_per_batch": 32,
        "poses_per_volume": 1,
        "discriminator_steps": 4,
        "penalty_weight": 10.0,
        "discriminator_rate": 1e-3,
        "beta2": 0.9,
        "rate_decay_start": 0.5,
        "rate_decay_factor": 0.1,
        "average_decay": 0.99,
        "coarse_share": 0.0,
        "start_shell": 0,
        "motion_start": 0.0,
        "motion_full": 0.0,
    },
}


def run_config(values: dict[str, Any]) -> RunConfig:
    """Build a run's config: defaults, then the mode's preset, then `values`."""
    preset = PAPER_MODE if values.get("mode") == "paper" else {}
    return build(RunConfig, merge(preset, values))
