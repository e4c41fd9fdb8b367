"""Streams repeat, and differ by seed, name, rank and step; shards make a whole."""

import pytest
import torch

from multicryogan.rng import Shard, stream


def draw(
    seed: int = 0, name: str = "pose", rank: int = 0, step: int = 0
) -> torch.Tensor:
    return torch.rand(20_000, generator=stream(seed, name, rank=rank, step=step))


def test_the_same_stream_repeats() -> None:
    assert torch.equal(draw(step=7), draw(step=7))


def test_a_stream_is_the_same_on_every_machine() -> None:
    # Seeds of torch's Mersenne twister: a run must resume elsewhere with equal draws.
    assert stream(3, "noise", rank=1, step=2).initial_seed() == 3601124258473834358


def test_a_stream_ignores_the_global_seed() -> None:
    before = draw()
    torch.manual_seed(123)
    assert torch.equal(draw(), before)


@pytest.mark.parametrize(
    "other", [draw(seed=1), draw(name="noise"), draw(rank=1), draw(step=1)]
)
def test_different_streams_are_uncorrelated(other: torch.Tensor) -> None:
    correlation = torch.corrcoef(torch.stack((draw(), other)))[0, 1]
    assert abs(correlation) < 0.03


def test_names_with_digits_do_not_collide_with_ranks() -> None:
    assert not torch.equal(draw(name="a/1", rank=0), draw(name="a", rank=1))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shards_cover_a_batch_once_and_in_order(world: int) -> None:
    items = list(range(12))
    parts = [items[Shard(rank, world).share(12)] for rank in range(world)]
    assert [item for part in parts for item in part] == items


def test_a_count_that_does_not_divide_is_refused() -> None:
    with pytest.raises(AssertionError, match="3 items over 2 processes"):
        Shard(0, 2).share(3)
