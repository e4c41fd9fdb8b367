"""Conformations as the page gets them: bytes, coefficients, a small cube."""

import base64
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluation_phantoms import hinge
from multicryogan.fourier import fourier_resize
from multicryogan.report.contents import Shapes
from multicryogan.report.explorer import (
    MOST,
    as_bytes,
    cropped,
    grid_of,
    pack,
    spanned_by_few,
)
from multicryogan.rng import stream

BOX, COUNT = 32, 9


def shapes(box: int = BOX) -> Shapes:
    latents = torch.linspace(0, 1, COUNT)[:, None]
    volumes = hinge(box, [20 * float(x) for x in latents])
    return Shapes(volumes, 5.0, latents, torch.full((COUNT,), 1 / COUNT), None)


def unpacked(packed: dict[str, Any]) -> Tensor:
    """(V, D, D, D) as the page adds them up."""
    box = packed["box"]
    volumes = []
    for part in packed["components"]:
        raw = np.frombuffer(base64.b64decode(part["values"]), dtype=np.uint8)
        values = part["scale"] * raw.astype(np.float32) + part["zero"]
        volumes.append(torch.from_numpy(values.reshape(box, box, box)))
    return torch.einsum(
        "vc,czyx->vzyx", torch.tensor(packed["coefficients"]), torch.stack(volumes)
    )


def test_the_page_gets_every_conformation_back() -> None:
    given, packed = shapes(), pack(shapes())
    got, side = unpacked(packed), packed["box"]
    kept = slice((BOX - side) // 2, (BOX + side) // 2)
    wanted = given.volumes[:, kept, kept, kept]
    spread = (wanted - wanted.mean(0)).square().mean()
    assert (got - wanted).square().mean() < 0.02 * spread


def test_it_is_told_how_much_of_the_motion_few_components_show() -> None:
    draws = stream(0, "noise")
    noisy = torch.randn((20, 8, 8, 8), generator=draws).abs()
    latents = torch.arange(20.0)[:, None]
    weights = torch.full((20,), 0.05)
    spanned, shown = spanned_by_few(noisy, latents, weights)
    missed = (spanned.volumes - noisy).square().mean()
    spread = (noisy - noisy.mean(0)).square().mean()
    assert len(spanned.basis) == 1 + MOST
    assert shown == pytest.approx(1 - float(missed / spread), abs=1e-4)
    assert shown < 0.7
    assert pack(shapes())["variance_shown"] >= 0.99
    one = spanned_by_few(noisy[:1], latents[:1], torch.ones(1))
    assert one[1] == 1.0


def test_only_what_cannot_be_shown_is_cut_off() -> None:
    given, packed = shapes(), pack(shapes())
    assert packed["box"] < BOX
    outside = given.volumes.clone()
    side = packed["box"]
    kept = slice((BOX - side) // 2 + 1, (BOX + side) // 2 - 1)
    outside[:, kept, kept, kept] = 0
    assert outside.max() < packed["lowest"]


def test_small_volumes_are_interpolated_for_the_surface() -> None:
    small = shapes(12)
    packed = pack(small)
    assert packed["voxel_size"] == pytest.approx(5.0 / 3)
    got, side = unpacked(packed), packed["box"]
    wanted = fourier_resize(small.volumes, 36, 3)
    kept = slice((36 - side) // 2, (36 + side) // 2)
    assert (got - wanted[:, kept, kept, kept]).abs().max() < 0.05 * wanted.max()


def test_a_cut_keeps_the_centre_at_half_the_side() -> None:
    volume = torch.zeros(1, BOX, BOX, BOX)
    volume[0, BOX // 2, BOX // 2, BOX // 2] = 1
    small = cropped(volume, 0.5)
    side = small.shape[-1]
    assert side < BOX
    assert small[0, side // 2, side // 2, side // 2] == 1


def test_bytes_are_within_half_a_step() -> None:
    volume = torch.linspace(-3, 5, 8**3).view(8, 8, 8)
    part = as_bytes(volume)
    raw = np.frombuffer(base64.b64decode(part["values"]), dtype=np.uint8)
    got = part["scale"] * raw.reshape(8, 8, 8) + part["zero"]
    assert np.abs(got - volume.numpy()).max() <= 0.51 * 8 / 255


def test_an_empty_component_has_a_scale() -> None:
    assert as_bytes(torch.zeros(4, 4, 4))["scale"] > 0


def test_levels_are_in_order_and_the_mean_is_that_of_the_shares() -> None:
    packed = pack(shapes())
    assert 0 < packed["lowest"] < packed["threshold"] < packed["highest"]
    mean = torch.tensor(packed["shares"]) @ torch.tensor(packed["coefficients"])
    torch.testing.assert_close(torch.tensor(packed["mean"]), mean)


@pytest.mark.parametrize(
    ("count", "dimensions", "steps"), [(21, 1, [21]), (49, 2, [7, 7]), (50, 2, [50])]
)
def test_a_square_grid_of_two_latents_has_two_sliders(
    count: int, dimensions: int, steps: list[int]
) -> None:
    assert grid_of(count, dimensions) == steps
