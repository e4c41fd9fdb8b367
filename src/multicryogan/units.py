"""Unit conversions and the electron wavelength: the only physical constants."""

from __future__ import annotations

import torch
from torch import Tensor

ANGSTROM_PER_MM = 1e7
ANGSTROM_PER_MICROMETRE = 1e4
VOLT_PER_KV = 1e3
SAME_LENGTH = 0.01  # relative difference of fields of view and pixels that is rounding


def is_same_length(first: float, second: float) -> bool:
    """Tell whether two fields of view, or two pixels, differ by rounding alone."""
    return abs(first - second) <= SAME_LENGTH * second


def electron_wavelength_angstrom(voltage_kv: Tensor) -> Tensor:
    """Compute the relativistic electron wavelength, 0.01968762 Å at 300 kV.

    λ = 12.2643247 / sqrt(V (1 + 0.978466e-6 V)), V in volts (RELION, ctf.cpp).

    Args:
        voltage_kv: (...) acceleration voltages in kV.

    Returns:
        (...) wavelengths in Å.
    """
    volts = voltage_kv * VOLT_PER_KV
    return 12.2643247 / torch.sqrt(volts * (1 + 0.978466e-6 * volts))
