"""Selecting, reshaping and moving the optics of particles."""

import torch

from multicryogan.imaging import CTFParams


def make_optics(count: int, **extra: torch.Tensor) -> CTFParams:
    names = (
        "defocus_u_angstrom",
        "defocus_v_angstrom",
        "defocus_angle_deg",
        "phase_shift_deg",
        "voltage_kv",
        "cs_mm",
        "amplitude_contrast",
    )
    fields = {name: torch.arange(count) + 10.0 * i for i, name in enumerate(names)}
    return CTFParams(**fields, **extra)


def test_select_takes_rows_of_every_field() -> None:
    optics = make_optics(6, scale=torch.arange(6.0)).select(torch.tensor([4, 1]))
    assert optics.defocus_u_angstrom.tolist() == [4, 1]
    assert optics.amplitude_contrast.tolist() == [64, 61]
    assert optics.scale is not None
    assert optics.scale.tolist() == [4, 1]


def test_absent_fields_stay_absent() -> None:
    optics = make_optics(6).select(torch.tensor([0])).reshape(1, 1).to(torch.float64)
    assert optics.scale is None
    assert optics.bfactor_angstrom2 is None


def test_reshape_gives_every_field_the_new_batch_shape() -> None:
    optics = make_optics(6, bfactor_angstrom2=torch.zeros(6)).reshape(2, 3)
    assert optics.cs_mm.shape == (2, 3)
    assert optics.bfactor_angstrom2 is not None
    assert optics.bfactor_angstrom2.shape == (2, 3)


def test_to_changes_the_dtype_of_a_copy() -> None:
    optics = make_optics(2)
    assert optics.to(torch.float64).voltage_kv.dtype == torch.float64
    assert optics.voltage_kv.dtype == torch.float32
