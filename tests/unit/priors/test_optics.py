"""Optics drawn from a range instead of the particles' rows."""

import pytest
import torch

from multicryogan.imaging import CTFParams
from multicryogan.priors import with_defocus_range
from multicryogan.rng import stream


def rows(count: int) -> CTFParams:
    one = torch.ones(count)
    return CTFParams(
        30_000 * one, 20_000 * one, 40 * one, 0 * one, 200 * one, 2 * one, 0.07 * one
    )


def test_defocus_fills_the_range_evenly() -> None:
    drawn = with_defocus_range(rows(20_000), (1.0, 2.0), stream(0, "defocus"))
    defocus = drawn.defocus_u_angstrom
    assert defocus.min() >= 10_000
    assert defocus.max() <= 20_000
    assert defocus.mean().item() == pytest.approx(15_000, rel=0.01)
    assert defocus.std().item() == pytest.approx(10_000 / 12**0.5, rel=0.02)


def test_a_range_has_no_astigmatism() -> None:
    drawn = with_defocus_range(rows(10), (1.0, 2.0), stream(0, "defocus"))
    assert torch.equal(drawn.defocus_u_angstrom, drawn.defocus_v_angstrom)


def test_other_fields_stay() -> None:
    drawn = with_defocus_range(rows(10), (1.0, 2.0), stream(0, "defocus"))
    assert torch.equal(drawn.voltage_kv, rows(10).voltage_kv)
    assert torch.equal(drawn.amplitude_contrast, rows(10).amplitude_contrast)
