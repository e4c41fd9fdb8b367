"""One contract for every operator of equation (1), volumes or images going in."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from multicryogan.fourier import disc_mask, fourier_resize, frequency_grid, low_pass
from multicryogan.imaging import (
    CTFParams,
    ImagingParams,
    ctf,
    form_images,
    project,
    project_spectrum,
    shift_images,
)
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

FLOAT = torch.float64
VOXEL_SIZE = 4.0
VOLUMES, POSES = 3, 2


@dataclass(frozen=True)
class Operands:
    """What an operator needs beside its input."""

    rotation: Tensor  # (V, P, 3, 3)
    shift_angstrom: Tensor  # (V, P, 2)
    optics: CTFParams  # (V, P)

    def only(self, index: int) -> "Operands":
        """Keep one volume."""
        row = torch.tensor([index])
        return Operands(
            self.rotation[row], self.shift_angstrom[row], self.optics.select(row)
        )

    def params(self) -> ImagingParams:
        """Give them in the form that form_images takes."""
        return ImagingParams(self.rotation, self.shift_angstrom, self.optics)


def make_operands(dtype: torch.dtype = FLOAT) -> Operands:
    batch = (VOLUMES, POSES)
    one = torch.ones(batch)
    spread = torch.rand(batch, generator=stream(0, "ctf"))
    optics = CTFParams(
        defocus_u_angstrom=10_000 + 5000 * spread,
        defocus_v_angstrom=11_000 + 2000 * spread,
        defocus_angle_deg=30 * one,
        phase_shift_deg=10 * spread,
        voltage_kv=300 * one,
        cs_mm=2.7 * one,
        amplitude_contrast=0.1 * one,
        bfactor_angstrom2=40 * one,
        scale=0.9 * one,
    )
    return Operands(
        random_rotations(batch, stream(0, "pose")).to(dtype),
        (6 * torch.randn(*batch, 2, generator=stream(0, "shift"))).to(dtype),
        optics.to(dtype),
    )


def apply_ctf(images: Tensor, operands: Operands) -> Tensor:
    freqs = frequency_grid(images.shape[-1], VOXEL_SIZE, like=images)
    return low_pass(images, ctf(operands.optics, freqs))


def spectrum_parts(volume: Tensor, operands: Operands) -> Tensor:
    return torch.view_as_real(project_spectrum(volume, operands.rotation, 3))


Operator = Callable[[Tensor, Operands], Tensor]
OF_VOLUMES: dict[str, Operator] = {
    "project": lambda x, o: project(x, o.rotation),
    "project_spectrum": spectrum_parts,
    "form_images": lambda x, o: form_images(x, o.params(), VOXEL_SIZE),
    "form_images_low_pass": lambda x, o: form_images(x, o.params(), VOXEL_SIZE, 3),
    "resize_volume": lambda x, o: fourier_resize(x, 6, ndim=3),
}
OF_IMAGES: dict[str, Operator] = {
    "shift": lambda x, o: shift_images(x, o.shift_angstrom, VOXEL_SIZE),
    "ctf": apply_ctf,
    "low_pass": lambda x, o: low_pass(x, disc_mask(x.shape[-1], 3, like=x, edge=1)),
    "resize_images": lambda x, o: fourier_resize(x, 6),
}
OPERATORS = OF_VOLUMES | OF_IMAGES
every_operator = pytest.mark.parametrize("name", OPERATORS)
both_parities = pytest.mark.parametrize("box", [8, 9])


def make_input(
    name: str, box: int, seed: int = 0, dtype: torch.dtype = FLOAT
) -> Tensor:
    shape = (box,) * 3 if name in OF_VOLUMES else (POSES, box, box)
    generator = stream(seed, "input")
    return torch.randn(VOLUMES, *shape, generator=generator, dtype=FLOAT).to(dtype)


@both_parities
@pytest.mark.parametrize("name", ["project", "form_images", "shift", "ctf", "low_pass"])
def test_images_are_as_large_as_the_box(name: str, box: int) -> None:
    images = OPERATORS[name](make_input(name, box), make_operands())
    assert images.shape == (VOLUMES, POSES, box, box)


@both_parities
def test_spectra_are_in_rfft_layout(box: int) -> None:
    spectrum = project_spectrum(make_input("project", box), make_operands().rotation)
    assert spectrum.shape == (VOLUMES, POSES, box, box // 2 + 1)
    assert spectrum.is_complex()


@both_parities
@every_operator
def test_operator_is_linear(name: str, box: int) -> None:
    operator, operands = OPERATORS[name], make_operands()
    a, b = make_input(name, box, seed=1), make_input(name, box, seed=2)
    apart = 2 * operator(a, operands) - 3 * operator(b, operands)
    torch.testing.assert_close(operator(2 * a - 3 * b, operands), apart)


@both_parities
@every_operator
def test_backward_is_the_adjoint(name: str, box: int) -> None:
    x = make_input(name, box).requires_grad_()
    y = OPERATORS[name](x, make_operands())
    probe = torch.randn(y.shape, generator=stream(0, "probe"), dtype=FLOAT)
    (back,) = torch.autograd.grad(y, x, probe)
    other = make_input(name, box, seed=3)
    torch.testing.assert_close(
        (OPERATORS[name](other, make_operands()) * probe).sum(), (other * back).sum()
    )


@every_operator
def test_gradient_agrees_with_finite_differences(name: str) -> None:
    x = make_input(name, 5)[:1].requires_grad_()
    operands = make_operands().only(0)
    assert torch.autograd.gradcheck(
        lambda x: OPERATORS[name](x, operands).square(), x, fast_mode=True
    )


@every_operator
def test_second_gradient_agrees_with_finite_differences(name: str) -> None:
    x = make_input(name, 5)[:1].requires_grad_()
    operands = make_operands().only(0)
    assert torch.autograd.gradgradcheck(
        lambda x: OPERATORS[name](x, operands).pow(3), x, fast_mode=True
    )


@pytest.mark.parametrize("box", [5, 6])
def test_gradient_in_the_rotation_agrees_with_finite_differences(box: int) -> None:
    volume = make_input("project", box)[:1]
    rotation = make_operands().rotation[:1].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda r: project(volume, r), rotation, fast_mode=True
    )


def test_gradient_in_the_shift_agrees_with_finite_differences() -> None:
    images = make_input("shift", 6)
    shift = make_operands().shift_angstrom.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: shift_images(images, s, VOXEL_SIZE), shift, fast_mode=True
    )


@pytest.mark.parametrize("index", range(VOLUMES))
@every_operator
def test_batch_members_do_not_see_each_other(name: str, index: int) -> None:
    operator, operands, x = OPERATORS[name], make_operands(), make_input(name, 8)
    alone = operator(x[index, None], operands.only(index))
    torch.testing.assert_close(alone[0], operator(x, operands)[index])


@every_operator
def test_single_precision_stays_single_and_agrees_with_double(name: str) -> None:
    double = OPERATORS[name](make_input(name, 8), make_operands())
    operands = make_operands(torch.float32)
    single = OPERATORS[name](make_input(name, 8, dtype=torch.float32), operands)
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    scale = double.abs().max().item()
    torch.testing.assert_close(single.double(), double, atol=1e-5 * scale, rtol=0)


@every_operator
def test_inputs_are_left_untouched(name: str) -> None:
    x, operands = make_input(name, 8), make_operands()
    OPERATORS[name](x, operands)
    assert torch.equal(x, make_input(name, 8))
    fresh = make_operands()
    assert torch.equal(operands.rotation, fresh.rotation)
    assert torch.equal(operands.shift_angstrom, fresh.shift_angstrom)
    assert torch.equal(
        operands.optics.defocus_u_angstrom, fresh.optics.defocus_u_angstrom
    )
