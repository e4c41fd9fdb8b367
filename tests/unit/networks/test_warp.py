"""The monotone map of the latent."""

import pytest
import torch
from torch import Tensor

from multicryogan.networks.warp import CELLS, GAIN, Warp
from multicryogan.rng import stream


def uneven(dimensions: int = 1) -> Warp:
    warp = Warp(dimensions)
    torch.nn.init.normal_(warp.logits, generator=stream(0, "warp"))
    return warp


def line(count: int = 97) -> Tensor:
    return torch.linspace(0, 1, count)[:, None]


def test_a_new_warp_is_the_identity() -> None:
    torch.testing.assert_close(Warp(2)(line().expand(-1, 2)), line().expand(-1, 2))


def test_both_ends_stay_and_all_between_rises() -> None:
    with torch.no_grad():
        moved = uneven()(line())[:, 0]
    torch.testing.assert_close(moved[[0, -1]], torch.tensor([0.0, 1.0]))
    assert moved.diff().min() > 0


def test_the_rise_of_a_cell_is_its_share_of_the_exponentials() -> None:
    """The exponential is 5 in the third cell and 1 in the 31 others."""
    warp = Warp(1)
    with torch.no_grad():
        warp.logits[0, 2] = torch.tensor(5.0).log() / GAIN
        ends = torch.tensor([[2.0], [2.5], [3.0]]) / CELLS
        moved = warp(ends)[:, 0]
    torch.testing.assert_close(moved, torch.tensor([2.0, 4.5, 7.0]) / 36)


def test_dimensions_are_warped_each_by_itself() -> None:
    warp, position = uneven(2), torch.rand(5, 2, generator=stream(0, "x"))
    first, second = Warp(1), Warp(1)
    with torch.no_grad():
        first.logits.copy_(warp.logits[:1])
        second.logits.copy_(warp.logits[1:])
        both = torch.cat([first(position[:, :1]), second(position[:, 1:])], dim=1)
        torch.testing.assert_close(warp(position), both)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_descent_finds_a_jump(share: float) -> None:
    """From the identity to 0.1 below a share of the latents and 0.9 above."""
    warp, draws = Warp(1), stream(0, "latent")
    optimizer = torch.optim.Adam(warp.parameters(), 1e-2)
    for _ in range(600):
        position = torch.rand(32, 1, generator=draws)
        wanted = torch.where(position < share, 0.1, 0.9)
        optimizer.zero_grad()
        (warp(position) - wanted).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        low, high = warp(torch.tensor([[share - 0.05], [share + 0.05]])).flatten()
    assert low < 0.25
    assert high > 0.75
