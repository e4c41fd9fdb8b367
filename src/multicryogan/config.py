"""Run configuration: typed, complete, and the only place a default lives.

The string below a field is its help line; the command line shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from multicryogan.tables import build, merge

Mode = Literal["fast", "paper"]
Structures = Annotated[tuple[str, ...], Parameter(name=["--structures", "structures"])]


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
    """Number of latent dimensions (a segment has one)."""


@dataclass(frozen=True)
class GeneratorConfig:
    """From latent to volume."""

    kind: Literal["components", "cnn", "volume"] = "components"
    """components: mean and motions; cnn: 3D network; volume: one map (CryoGAN)."""
    start_map: Annotated[str, Parameter(name=["--start-map", "start-map"])] = ""
    """Map (.mrc) to start from, low-passed, in place of a rough ball; if the particle
    file holds poses, they refer to it and say how often each side is seen."""
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
    views: Literal["uniform", "learned"] = "uniform"
    """Whether directions of view are taken as equally likely, or weighed as the
    particles show, for each part of the latent."""
    defocus_um: tuple[float, float] = (0.0, 0.0)
    """Range to draw the defocus from, in µm; 0 0: from the particles' own rows."""
    noise_source: Literal["rim", "white"] = "rim"
    """rim: radial noise spectrum measured outside the particle; white: flat."""


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
    """Share of the run at half the working box (0: no coarse stage)."""
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
    conformations: int = 21
    """Conformations along each latent dimension."""
    components: int = 5
    """Linear components of the motion."""
    start_shell: int = 8
    """Low-pass of the start, in Fourier pixels; beyond it halves share nothing."""
    start: Literal["generator", "random", "both"] = "generator"
    """What to start from; of several starts, the one that explains held-out images
    best."""
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
    """Seed of the random starts."""


@dataclass(frozen=True)
class MotionConfig:
    """Rigid rotation of a selection of atoms about an axis through a pivot."""

    chains: tuple[str, ...] = ()
    """Chains that move; empty: all."""
    residues: tuple[int, int] = (-(10**6), 10**6)
    """First and last residue that move."""
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Point on the axis, (x, y, z) in Å of the structure file."""
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Direction of the axis; angles are right-handed about it."""
    range_deg: tuple[float, float] = (0.0, 20.0)
    """Angles at coordinate 0 and 1."""


@dataclass(frozen=True)
class DomainConfig:
    """A selection of atoms that only a share of the particles has."""

    share: float = 1.0
    """Share of the particles that have it, whatever their conformation; 1: all."""
    chains: tuple[str, ...] = ()
    """Chains it is part of; empty: all."""
    residues: tuple[int, int] = (-(10**6), 10**6)
    """First and last residue of it."""


@dataclass(frozen=True)
class MoleculeConfig:
    """Atoms and how they move."""

    structures: Structures = ("demo",)
    """PDB or mmCIF files (chains A, B, ... in order), PDB ids, or "demo"."""
    frames: str = ""
    """Multi-model PDB or .npz of coordinates to use instead of motions."""
    motions: tuple[MotionConfig, ...] = ()
    """One or two rigid motions; the demo molecule brings its own."""
    domain: DomainConfig = field(default_factory=DomainConfig)
    """A part that is missing in some particles."""


@dataclass(frozen=True)
class LawConfig:
    """The distribution of conformations."""

    kind: Literal["uniform", "discrete", "table"] = "uniform"
    """uniform over the range; discrete with weights; a table of occupancies."""
    coordinates: tuple[float, ...] = (0.0, 1.0)
    """Discrete states as positions 0 .. 1 along the motion."""
    weights: tuple[float, ...] = (0.25, 0.75)
    """Weights of the discrete states."""
    table: str = ""
    """.npy of occupancies over a regular grid of the coordinates."""
    maps: int = 21
    """Number of true maps written along each continuous motion."""


@dataclass(frozen=True)
class OpticsConfig:
    """Ranges from which the optics of simulated particles are drawn."""

    voltage_kv: float = 300.0
    """Acceleration voltage."""
    cs_mm: float = 2.7
    """Spherical aberration."""
    amplitude_contrast: float = 0.1
    """Fraction of amplitude contrast."""
    defocus_um: tuple[float, float] = (1.0, 2.0)
    """Range of the mean defocus in µm, underfocus positive."""
    astigmatism_angstrom: float = 0.0
    """Largest difference between the two defoci, in Å."""
    phase_shift_deg: float = 0.0
    """Phase-plate shift, the mean of its range."""
    phase_shift_spread_deg: float = 0.0
    """Width of the range that the phase shift of each micrograph is drawn from."""
    bfactor_angstrom2: float = 0.0
    """B-factor of the envelope."""


@dataclass(frozen=True)
class GroupConfig:
    """An optics group: what it does not set is as for all particles."""

    share: float = 1.0
    """Weight of the group among the particles; the weights need not sum to 1."""
    noise_factor: float = 1.0
    """Noise standard deviation per pixel, over the one that snr_db gives group 1."""
    voltage_kv: float | None = None
    """Acceleration voltage."""
    cs_mm: float | None = None
    """Spherical aberration."""
    amplitude_contrast: float | None = None
    """Fraction of amplitude contrast."""
    defocus_um: tuple[float, float] | None = None
    """Range of the mean defocus in µm."""
    astigmatism_angstrom: float | None = None
    """Largest difference between the two defoci, in Å."""
    phase_shift_deg: float | None = None
    """Phase-plate shift, the mean of its range."""
    phase_shift_spread_deg: float | None = None
    """Width of the range of phase shifts."""
    bfactor_angstrom2: float | None = None
    """B-factor of the envelope."""
    box: int | None = None
    """Side of the images in pixels."""
    pixel_size: float | None = None
    """Å per pixel."""
    noise_falloff_angstrom: float | None = None
    """0: white noise; else power falls as 1 / (1 + (f * falloff)^2)."""


@dataclass(frozen=True)
class SimulationConfig:
    """One synthetic data set, complete."""

    molecule: Annotated[MoleculeConfig, Parameter(group="Molecule")] = field(
        default_factory=MoleculeConfig
    )
    law: Annotated[LawConfig, Parameter(group="Conformations")] = field(
        default_factory=LawConfig
    )
    optics: Annotated[OpticsConfig, Parameter(group="Optics")] = field(
        default_factory=OpticsConfig
    )
    groups: tuple[GroupConfig, ...] = ()
    """Optics groups, each with its own stack; none: all particles are one group."""
    images: int = 10_000
    """Number of particle images."""
    box: int = 32
    """Side of the images in pixels."""
    pixel_size: float = 5.0
    """Å per pixel."""
    snr_db: float = -10.0
    """Variance of clean pixels over whole images of group 1 / noise variance, in dB."""
    noise_falloff_angstrom: float = 0.0
    """0: white noise; else power falls as 1 / (1 + (f * falloff)^2)."""
    shift_sigma_angstrom: float = 0.0
    """Standard deviation of the in-plane shifts, in Å."""
    preferred_share: float = 0.0
    """Share of views drawn within preferred_cone_deg of the z axis."""
    preferred_cone_deg: float = 30.0
    """Half-angle of the cone of preferred views."""
    preferred_rise: float = 0.0
    """Preferred share at the end of the first coordinate less that at its start; the
    share is linear between, and preferred_share half way."""
    contrast_spread: float = 0.0
    """Standard deviation of the logarithm of the contrasts, whose mean is 1."""
    contrast_in_star: bool = False
    """Tell the contrast in the .star as rlnCtfScalefactor; real files have 1 there."""
    background_patches: int = 0
    """Patches of noise alone to write beside the particles, as background.star."""
    resolution: float = 0.0
    """Blur of the atoms in Å; 0: one and a half of the largest pixels."""
    seed: int = 0
    """Seed of every random draw."""


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
