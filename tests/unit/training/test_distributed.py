"""Averages over processes, seen from one process alone."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from multicryogan.errors import InputError
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


TEAM = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "9"}


def set_team(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    """Set what torchrun sets, with changes; None: not set at all."""
    for name, value in (TEAM | changes).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


def test_what_torchrun_sets_gives_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    set_team(monkeypatch)
    assert distributed.told_shard() == Shard(1, 2)


@pytest.mark.parametrize("world", [None, "", "1"])
@pytest.mark.parametrize("rank", ["1", "foo"])
def test_a_rank_of_no_team_is_of_others(
    monkeypatch: pytest.MonkeyPatch, world: str | None, rank: str
) -> None:
    set_team(monkeypatch, WORLD_SIZE=world, RANK=rank)
    assert distributed.told_shard() == Shard()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORLD_SIZE", "foo", "WORLD_SIZE is 'foo'"),
        ("WORLD_SIZE", "0", "RANK is 1 of WORLD_SIZE 0"),
        ("WORLD_SIZE", "-2", "WORLD_SIZE is '-2'"),
        ("RANK", None, "WORLD_SIZE is 2 but RANK is not set"),
        ("RANK", "2", "RANK is 2 of WORLD_SIZE 2"),
        ("RANK", "one", "RANK is 'one'"),
        ("MASTER_ADDR", None, "MASTER_ADDR is not set"),
        ("MASTER_PORT", "", "MASTER_PORT is not set"),
        ("MASTER_PORT", "http", "MASTER_PORT is 'http'"),
    ],
)
def test_half_a_team_is_refused_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, said: str
) -> None:
    set_team(monkeypatch, **{name: value})
    with pytest.raises(InputError, match=f"{said}.*torchrun, or unset WORLD_SIZE"):
        distributed.join_team("cpu")


def test_processes_that_do_not_meet_are_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wait_in_vain(backend: str) -> None:
        raise dist.DistNetworkError(f"{backend}: no one came\nat all")

    set_team(monkeypatch)
    monkeypatch.setattr(dist, "init_process_group", wait_in_vain)
    with pytest.raises(InputError, match=r"do not meet at localhost:9 \(gloo: no one"):
        distributed.join_team("cpu")


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
