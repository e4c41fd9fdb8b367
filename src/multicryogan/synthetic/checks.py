"""Refuse simulation settings that cannot be used, before anything is written."""

from __future__ import annotations

from math import inf

from multicryogan.config import MotionConfig, OpticsConfig, SimulationConfig
from multicryogan.errors import InputError
from multicryogan.io.ranges import RANGES
from multicryogan.synthetic.groups import as_one_group
from multicryogan.tables import check_finite

Condition = tuple[str, object, bool, str]  # name, value, can be used, expected
Conditions = tuple[Condition, ...]
MOST_IMAGES = 100_000_000
FARTHEST = 1e5  # of a pivot, in Å
MOST_TURN = 3_600.0  # degrees


def check_simulation(config: SimulationConfig) -> None:
    """Check every number of a simulation against the range it can have.

    Raises:
        InputError: The first setting that is out of range, with its value.
    """
    check_finite(config, but=("snr_db",))  # infinite: without noise
    _check(_of_all(config))
    _check((*_of_images(config), *_of_optics(config.optics)))
    for i, motion in enumerate(config.molecule.motions):
        _check(_of_motion(motion), where=f"molecule.motions[{i}].")
    for i, group in enumerate(config.groups):
        own = as_one_group(config, group)
        share, factor = group.share, group.noise_factor
        _check(
            (
                ("share", share, 0 < share <= 1e6, "above 0, up to 1e6"),
                _within("noise_factor", factor, 0, 1e3),
                *_of_images(own),
                *_of_optics(own.optics),
            ),
            where=f"groups[{i}].",
        )


def _check(conditions: Conditions, where: str = "") -> None:
    """Raise for the first that cannot be used."""
    for name, value, is_usable, expected in conditions:
        if not is_usable:
            name = name.removeprefix("optics.") if where else name
            raise InputError(f"{where}{name} is {value}; expected {expected}")


def _within(
    name: str, value: float, low: float, high: float, unit: str = ""
) -> Condition:
    """Condition that a number lies in a closed range."""
    return name, value, low <= value <= high, f"{low:,g} to {high:,g}{unit}"


def _of_all(config: SimulationConfig) -> Conditions:
    """What all particles have in common."""
    share, cone, snr = config.preferred_share, config.preferred_cone_deg, config.snr_db
    domain, steepest = config.molecule.domain.share, 2 * min(share, 1 - share)
    return (
        _within("images", config.images, 1, MOST_IMAGES),
        _within("law.maps", config.law.maps, 2, 1_000),
        _within("resolution", config.resolution, 0, 1e3, " Å"),
        ("snr_db", snr, snr == inf or abs(snr) <= 100, "-100 to 100 dB, or inf"),
        _within("shift_sigma_angstrom", config.shift_sigma_angstrom, 0, 1e4, " Å"),
        _within("preferred_share", share, 0, 1),
        ("preferred_cone_deg", cone, 0 < cone <= 180, "above 0, up to 180"),
        (
            "preferred_rise",
            config.preferred_rise,
            abs(config.preferred_rise) <= steepest,
            f"-{steepest:g} to {steepest:g}, so that all shares of views are 0 to 1",
        ),
        _within("contrast_spread", config.contrast_spread, 0, 2),
        _within("background_patches", config.background_patches, 0, MOST_IMAGES),
        ("molecule.domain.share", domain, 0 < domain <= 1, "above 0, up to 1"),
    )


def _of_motion(motion: MotionConfig) -> Conditions:
    """Lengths and angles of what moves in a box."""
    parts = (
        ("pivot", motion.pivot, FARTHEST, " Å"),
        ("axis", motion.axis, FARTHEST, ""),
        ("range_deg", motion.range_deg, MOST_TURN, "°"),
    )
    return tuple(
        _within(f"{name}[{i}]", value, -most, most, unit)
        for name, values, most, unit in parts
        for i, value in enumerate(values)
    )


def _of_images(config: SimulationConfig) -> Conditions:
    """Sampling and noise."""
    falloff = config.noise_falloff_angstrom
    return (
        _within("box", config.box, 8, 1024, " pixels"),
        _within("pixel_size", config.pixel_size, *RANGES["pixel_size"], " Å"),
        _within("noise_falloff_angstrom", falloff, 0, 1e4, " Å"),
    )


def _of_optics(optics: OpticsConfig) -> Conditions:
    """What `read_particles` takes again, and no negative widths."""
    low, high = optics.defocus_um
    contrast, (_, most) = optics.amplitude_contrast, RANGES["bfactor_angstrom2"]
    spread, astigmatism = optics.phase_shift_spread_deg, optics.astigmatism_angstrom
    return (
        _within("optics.voltage_kv", optics.voltage_kv, *RANGES["voltage_kv"], " kV"),
        _within("optics.cs_mm", optics.cs_mm, *RANGES["cs_mm"], " mm"),
        _within("optics.amplitude_contrast", contrast, *RANGES["amplitude_contrast"]),
        (
            "optics.defocus_um",
            (low, high),
            -90 <= low <= high <= 90,
            "lowest, then highest, -90 to 90 µm",
        ),
        _within("optics.astigmatism_angstrom", astigmatism, 0, 1e5, " Å"),
        _within("optics.phase_shift_deg", optics.phase_shift_deg, -360, 360, "°"),
        _within("optics.phase_shift_spread_deg", spread, 0, 360, "°"),
        _within("optics.bfactor_angstrom2", optics.bfactor_angstrom2, 0, most, " Å²"),
    )
