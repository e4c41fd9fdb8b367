"""The discriminator that a stage begins with."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from multicryogan.data.sampler import ImageSampler
from multicryogan.imaging import CTFParams
from multicryogan.io import ParticleStack
from multicryogan.networks import PooledDiscriminator, TemplateDiscriminator
from multicryogan.rng import Shard
from multicryogan.training.opponent import make_opponent
from multicryogan.training.stage import Stage, open_stage
from training_data import tiny_config, tiny_stack


def make_stage(stack: ParticleStack, box: int = 32, shard: Shard = Shard()) -> Stage:
    return open_stage(tiny_config(), stack, 1, box, shard, "cpu")


def make_templates(
    stage: Stage, coarse: TemplateDiscriminator | None = None
) -> TemplateDiscriminator:
    made = make_opponent(tiny_config(), stage, coarse)
    assert isinstance(made, TemplateDiscriminator)
    return made


def test_it_starts_with_templates_that_do_not_tell_real_from_fake(
    stack: ParticleStack,
) -> None:
    real, fake = make_templates(make_stage(stack)).templates()
    assert torch.equal(real, fake)
    assert real.abs().max() > 0


def test_each_template_starts_from_an_image_of_its_own(stack: ParticleStack) -> None:
    real = make_templates(make_stage(stack)).templates()[0].flatten(0, 2)
    assert torch.corrcoef(real.T.detach()).fill_diagonal_(0).max() < 0.9


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Collect the rows that samplers read."""
    rows: list[Tensor] = []
    take = ImageSampler.take

    def collect(self: ImageSampler, chosen: Tensor) -> tuple[Tensor, CTFParams | None]:
        rows.append(chosen)
        return take(self, chosen)

    monkeypatch.setattr(ImageSampler, "take", collect)
    return rows


def start_with(count: int, stack: ParticleStack, box: int = 32) -> None:
    changes = {"data": {"box": box}, "discriminator": {"templates": count}}
    config = tiny_config(changes)
    make_opponent(config, open_stage(config, stack, 1, box, Shard(), "cpu"))


def test_templates_start_from_different_images(
    stack: ParticleStack, taken: list[Tensor]
) -> None:
    start_with(len(stack), stack)
    assert torch.equal(taken[0].sort().values, torch.arange(len(stack)))


def test_more_templates_than_images_use_them_again(
    stack: ParticleStack, taken: list[Tensor]
) -> None:
    start_with(len(stack) + 4, stack)
    assert torch.equal(taken[0][-4:], taken[0][:4])


def test_templates_start_from_the_rows_that_may_be_known(
    stack: ParticleStack, taken: list[Tensor]
) -> None:
    rows = torch.tensor([7, 2, 5])
    make_opponent(tiny_config(), make_stage(stack), rows=rows)
    assert taken[0].unique().tolist() == [2, 5, 7]


def test_templates_never_start_from_held_out_images(
    tmp_path: Path, taken: list[Tensor]
) -> None:
    stack = tiny_stack(tmp_path, 2_000, 16)
    start_with(1_900, stack, 16)
    assert not (taken[0] % 20 == 0).any()
    assert len(taken[0].unique()) == 1_900


def test_every_process_starts_from_the_same_templates(stack: ParticleStack) -> None:
    alone = make_templates(make_stage(stack))
    member = make_templates(make_stage(stack, shard=Shard(1, 2)))
    assert torch.equal(alone.values, member.values)


@pytest.mark.parametrize("box", [16, 32])
def test_its_unit_is_the_noise_of_the_images_of_its_stage(
    stack: ParticleStack, box: int
) -> None:
    stage = make_stage(stack, box)
    noise = stage.spectra.standard_noise()[1 : box // 2 + 1]
    torch.testing.assert_close(make_templates(stage).whitening, noise.rsqrt())


def test_it_goes_on_with_the_templates_of_the_coarse_stage(
    stack: ParticleStack,
) -> None:
    coarse = make_templates(make_stage(stack, 16))
    with torch.no_grad():
        coarse.values.mul_(3.0)  # unlike any start
    known, taken = coarse.templates(), make_templates(make_stage(stack), coarse)
    _, _, orders, rings, _ = known.shape
    torch.testing.assert_close(taken.templates()[:, :, :orders, :rings], known)


def test_the_pooled_discriminator_begins_anew(stack: ParticleStack) -> None:
    config = tiny_config({"discriminator": {"kind": "pooled"}})
    stage = open_stage(config, stack, 1, 32, Shard(), "cpu")
    first = make_opponent(config, stage)
    again = make_opponent(config, stage, first)
    assert isinstance(again, PooledDiscriminator)
    assert again is not first
