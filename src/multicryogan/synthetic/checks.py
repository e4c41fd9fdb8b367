"""Refuse simulation settings that cannot be used, before anything is written."""

from __future__ import annotations

from multicryogan.config import OpticsConfig, SimulationConfig
from multicryogan.errors import InputError
from multicryogan.synthetic.groups import as_one_group
from multicryogan.tables import check_finite

Conditions = tuple[tuple[str, object, bool, str], ...]


def check_simulation(config: SimulationConfig) -> None:
    """Check every number of a simulation against the range it can have.

    Raises:
        InputError: The first setting that is out of range, with its value.
    """
    check_finite(config, but=("snr_db",))  # infinite: without noise
    _check(_of_all(config))
    _check((*_of_images(config), *_of_optics(config.optics)))
    for i, group in enumerate(config.groups):
        own = as_one_group(config, group)
        share, factor = group.share, group.noise_factor
        _check(
            (
                ("share", share, 0 < share < float("inf"), "above 0"),
                ("noise_factor", factor, 0 <= factor < float("inf"), "0 or more"),
                *_of_images(own),
                *_of_optics(own.optics),
            ),
            where=f"groups[{i}].",
        )


def _check(conditions: Conditions, where: str = "") -> None:
    """Raise for the first (name, value, whether it can be used, expected)."""
    for name, value, is_usable, expected in conditions:
        if not is_usable:
            name = name.removeprefix("optics.") if where else name
            raise InputError(f"{where}{name} is {value}; expected {expected}")


def _of_all(config: SimulationConfig) -> Conditions:
    """What all particles have in common."""
    sigma, share = config.shift_sigma_angstrom, config.preferred_share
    cone, rise = config.preferred_cone_deg, config.preferred_rise
    spread, domain = config.contrast_spread, config.molecule.domain.share
    steepest = 2 * min(share, 1 - share)
    patches = config.background_patches
    return (
        ("images", config.images, config.images >= 1, "at least 1"),
        ("resolution", config.resolution, config.resolution >= 0, "0 Å or more"),
        ("snr_db", config.snr_db, config.snr_db >= -100, "-100 dB or more"),
        ("shift_sigma_angstrom", sigma, sigma >= 0, "0 Å or more"),
        ("preferred_share", share, 0 <= share <= 1, "0 to 1"),
        ("preferred_cone_deg", cone, 0 < cone <= 180, "above 0, up to 180"),
        (
            "preferred_rise",
            rise,
            abs(rise) <= steepest,
            f"-{steepest:g} to {steepest:g}, so that all shares of views are 0 to 1",
        ),
        ("contrast_spread", spread, 0 <= spread <= 2, "0 to 2"),
        ("background_patches", patches, patches >= 0, "0 or more"),
        ("molecule.domain.share", domain, 0 < domain <= 1, "above 0, up to 1"),
    )


def _of_images(config: SimulationConfig) -> Conditions:
    """Sampling and noise."""
    falloff = config.noise_falloff_angstrom
    return (
        ("box", config.box, 8 <= config.box <= 1024, "8 to 1024 pixels"),
        ("pixel_size", config.pixel_size, config.pixel_size > 0, "above 0 Å"),
        ("noise_falloff_angstrom", falloff, falloff >= 0, "0 Å or more"),
    )


def _of_optics(optics: OpticsConfig) -> Conditions:
    low, high = optics.defocus_um
    contrast, spread = optics.amplitude_contrast, optics.phase_shift_spread_deg
    astigmatism, bfactor = optics.astigmatism_angstrom, optics.bfactor_angstrom2
    return (
        ("optics.voltage_kv", optics.voltage_kv, optics.voltage_kv > 0, "above 0 kV"),
        ("optics.amplitude_contrast", contrast, 0 <= contrast < 1, "from 0 to below 1"),
        ("optics.defocus_um", (low, high), low <= high, "lowest, then highest"),
        ("optics.astigmatism_angstrom", astigmatism, astigmatism >= 0, "0 Å or more"),
        ("optics.phase_shift_spread_deg", spread, spread >= 0, "0 degrees or more"),
        ("optics.bfactor_angstrom2", bfactor, bfactor >= 0, "0 Å² or more"),
    )
