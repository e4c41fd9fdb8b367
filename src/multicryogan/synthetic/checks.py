"""Refuse simulation settings that cannot be used, before anything is written."""

from __future__ import annotations

from multicryogan.config import SimulationConfig
from multicryogan.errors import InputError


def check_simulation(config: SimulationConfig) -> None:
    """Check every number of a simulation against the range it can have.

    Raises:
        InputError: The first setting that is out of range, with its value.
    """
    optics = config.optics
    low, high = optics.defocus_um
    falloff, sigma = config.noise_falloff_angstrom, config.shift_sigma_angstrom
    cone, contrast = config.preferred_cone_deg, optics.amplitude_contrast
    astigmatism, bfactor = optics.astigmatism_angstrom, optics.bfactor_angstrom2
    conditions = (
        ("images", config.images, config.images >= 1, "at least 1"),
        ("box", config.box, 8 <= config.box <= 1024, "8 to 1024 pixels"),
        ("pixel_size", config.pixel_size, config.pixel_size > 0, "above 0 Å"),
        ("resolution", config.resolution, config.resolution >= 0, "0 Å or more"),
        ("snr_db", config.snr_db, config.snr_db >= -100, "-100 dB or more"),
        ("noise_falloff_angstrom", falloff, falloff >= 0, "0 Å or more"),
        ("shift_sigma_angstrom", sigma, sigma >= 0, "0 Å or more"),
        (
            "preferred_share",
            config.preferred_share,
            0 <= config.preferred_share <= 1,
            "0 to 1",
        ),
        ("preferred_cone_deg", cone, 0 < cone <= 180, "above 0, up to 180"),
        ("optics.voltage_kv", optics.voltage_kv, optics.voltage_kv > 0, "above 0 kV"),
        ("optics.amplitude_contrast", contrast, 0 <= contrast < 1, "from 0 to below 1"),
        ("optics.defocus_um", (low, high), low <= high, "lowest, then highest"),
        ("optics.astigmatism_angstrom", astigmatism, astigmatism >= 0, "0 Å or more"),
        ("optics.bfactor_angstrom2", bfactor, bfactor >= 0, "0 Å² or more"),
    )
    for name, value, is_usable, expected in conditions:
        if not is_usable:
            raise InputError(f"{name} is {value}; expected {expected}")
