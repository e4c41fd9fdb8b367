"""Placements against Bayes' rule written out over all pairs."""

import math

import pytest
import torch
from torch import Tensor

from multicryogan.likelihood import PosePosterior, place
from multicryogan.rng import stream

IMAGES, VOLUMES, POSES = 6, 4, 30
LATENTS = torch.tensor([[0.0, 1.0], [0.2, 5.0], [0.9, -1.0], [1.0, 2.0]]).double()
WEIGHTS = torch.tensor([2.0, 1.0, 4.0, 1.0]).double()


def log_ratios(scale: float) -> Tensor:
    """(B, V, M) of every image, volume and pose."""
    shape = (IMAGES, VOLUMES, POSES)
    return scale * torch.randn(shape, generator=stream(0, "ratio")).double()


def summed(ratio: Tensor) -> PosePosterior:
    best, pose = ratio.max(2)
    entropy = torch.special.entr(ratio.softmax(2)).sum(2)
    still = ratio.new_zeros(*pose.shape, 2)
    mean = ratio.exp().mean(2).log()
    return PosePosterior(mean, best, pose, still, entropy, POSES)


def pairs(ratio: Tensor) -> Tensor:
    """(B, V, M) posterior weights by Bayes' rule."""
    weight = WEIGHTS[:, None] * ratio.exp()
    return weight / weight.sum((1, 2), keepdim=True)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_a_placement_is_bayes_rule_over_all_pairs(scale: float) -> None:
    ratio = log_ratios(scale)
    found, weight = place(summed(ratio), LATENTS, WEIGHTS), pairs(ratio)
    share = weight.sum(2)
    torch.testing.assert_close(found.conformation_weight, share)
    torch.testing.assert_close(found.latent, share @ LATENTS)
    offset = LATENTS - found.latent[:, None]
    variance = (share[..., None] * offset.square()).sum(1)
    torch.testing.assert_close(found.latent_spread, variance.sqrt())
    torch.testing.assert_close(
        found.entropy, torch.special.entr(weight).sum((1, 2)), rtol=1e-6, atol=1e-6
    )
    highest, index = weight.flatten(1).max(1)
    torch.testing.assert_close(found.pair_weight, highest)
    assert torch.equal(found.conformation * POSES + found.pose, index)


def test_log_likelihood_averages_volumes_by_weight_and_poses_evenly() -> None:
    ratio = log_ratios(1.0)
    found = place(summed(ratio), LATENTS, WEIGHTS)
    mean = (WEIGHTS / WEIGHTS.sum()) @ ratio.exp().mean(2).T
    torch.testing.assert_close(found.log_likelihood, mean.log())


def test_an_image_that_says_nothing_has_the_prior() -> None:
    found = place(summed(log_ratios(0.0)), LATENTS, WEIGHTS)
    share = WEIGHTS / WEIGHTS.sum()
    torch.testing.assert_close(found.conformation_weight, share.expand(IMAGES, -1))
    entropy = torch.special.entr(share).sum() + math.log(POSES)
    torch.testing.assert_close(found.entropy, entropy.expand(IMAGES))


def test_a_conformation_without_weight_is_never_chosen() -> None:
    ratio = log_ratios(1.0)
    ratio[:, 2] += 50
    none = WEIGHTS * torch.tensor([1.0, 1.0, 0.0, 1.0])
    found = place(summed(ratio), LATENTS, none)
    assert (found.conformation != 2).all()
    assert found.conformation_weight[:, 2].max() == 0
    assert found.entropy.isfinite().all()


def test_a_small_spread_far_from_zero_is_told_in_single_precision() -> None:
    ratio = log_ratios(0.0)
    latents = torch.tensor([[300.0], [300.01], [300.02], [300.03]])
    found = place(summed(ratio.float()), latents, torch.ones(4))
    expected = torch.full((IMAGES, 1), 0.01 * math.sqrt(5 / 4))
    torch.testing.assert_close(found.latent_spread, expected, rtol=0.01, atol=0)


@pytest.mark.parametrize("weights", [[0.0, 0, 0, 0], [1.0, -1, 1, 1]])
def test_weights_that_are_no_weights_are_a_mistake(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights of at least 0"):
        place(summed(log_ratios(1.0)), LATENTS, torch.tensor(weights))
