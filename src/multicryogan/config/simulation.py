"""What simulate can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from cyclopts import Parameter

Structures = Annotated[tuple[str, ...], Parameter(name=["--structures", "structures"])]


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
