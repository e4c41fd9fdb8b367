"""Averages over processes, seen from one process alone."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from multicryogan.rng import Shard
from multicryogan.training import distributed


@pytest.fixture
def team_of_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group with one member: every collective is really called."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    distributed.leave_team()
    assert not dist.is_initialized()


def test_without_torchrun_a_process_stands_alone() -> None:
    assert distributed.join_team("cpu") == Shard(0, 1)
    assert not dist.is_initialized()


def test_alone_everything_stays_as_it_is() -> None:
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(distributed.average(values), values)
    assert distributed.from_first(3.25, "cpu") == 3.25


def test_leaving_no_team_is_harmless() -> None:
    distributed.leave_team()


@pytest.mark.usefixtures("team_of_one")
def test_a_team_of_one_averages_to_itself() -> None:
    assert distributed.average(torch.tensor([4.0])).item() == 4.0
    assert distributed.from_first(1 / 3, "cpu") == 1 / 3


@pytest.mark.usefixtures("team_of_one")
def test_gradients_keep_their_places_in_the_flat_average() -> None:
    first, second = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(4))
    first.grad, second.grad = torch.arange(6.0).view(2, 3), torch.arange(4.0)
    distributed.average_gradients([first, second])
    assert torch.equal(first.grad, torch.arange(6.0).view(2, 3))
    assert torch.equal(second.grad, torch.arange(4.0))


@pytest.mark.usefixtures("team_of_one")
def test_a_missing_gradient_counts_as_zero_and_a_held_one_is_left_out() -> None:
    missing, held = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    held.requires_grad_(False)
    distributed.average_gradients([missing, held])
    assert missing.grad is not None
    assert torch.equal(missing.grad, torch.zeros(3))
    assert held.grad is None
