"""Facts about the frequencies that CTFs keep together."""

import math
from dataclasses import replace

import pytest
import torch

from multicryogan.data.coverage import POOR, measure_coverage
from multicryogan.imaging import CTFParams
from multicryogan.units import electron_wavelength_angstrom


def optics(low_angstrom: float, high_angstrom: float) -> CTFParams:
    """A thousand defoci between two values, 300 kV, no spherical aberration."""
    defocus = torch.linspace(low_angstrom, high_angstrom, 1_000)
    one = torch.ones_like(defocus)
    return CTFParams(defocus, defocus, 0 * one, 0 * one, 300 * one, 0 * one, 0.1 * one)


def test_one_defocus_is_lost_where_its_ctf_is_zero() -> None:
    coverage = measure_coverage(optics(15_000, 15_000), 16.0)
    place = coverage.weakest
    assert place is not None
    wavelength = float(electron_wavelength_angstrom(torch.tensor(300.0)))
    # π λ Δf s² + asin(w) = π
    zero = math.sqrt((math.pi - math.asin(0.1)) / (math.pi * wavelength * 15_000))
    assert float(coverage.frequency[place]) == pytest.approx(zero, rel=0.01)
    assert float(coverage.power[place]) < POOR


def test_spread_defoci_keep_half_of_the_power() -> None:
    coverage = measure_coverage(optics(5_000, 30_000), 4.0)
    assert float(coverage.power[-100:].mean()) == pytest.approx(0.5, abs=0.02)
    place = coverage.weakest
    assert place is not None
    assert float(coverage.power[place]) > 0.4


def test_the_first_rise_does_not_count() -> None:
    coverage = measure_coverage(optics(10_000, 20_000), 10.0)
    assert float(coverage.power[0]) == pytest.approx(0.01)
    place = coverage.weakest
    assert place is not None
    assert float(coverage.power[place]) > 0.2


def test_a_rise_up_to_nyquist_has_no_weakest_place() -> None:
    coverage = measure_coverage(optics(10_000, 10_000), 40.0)
    assert coverage.peak is None
    assert coverage.weakest is None


def test_a_phase_plate_starts_at_the_peak() -> None:
    plain = optics(5_000, 5_000)
    plate = replace(plain, phase_shift_deg=plain.phase_shift_deg + 90)
    coverage = measure_coverage(plate, 10.0)
    assert coverage.peak == 0
    assert float(coverage.power[0]) == pytest.approx(0.99)


def test_astigmatism_is_averaged_over_azimuths() -> None:
    plain = optics(15_000, 15_000)
    split = replace(
        plain,
        defocus_u_angstrom=plain.defocus_u_angstrom + 3_000,
        defocus_v_angstrom=plain.defocus_v_angstrom - 3_000,
    )
    coverage = measure_coverage(split, 14.0)
    place = coverage.weakest
    assert place is not None
    assert float(coverage.power[place]) > POOR
