"""The same code on a GPU."""

from pathlib import Path

import pytest
import torch

from multicryogan.config import run_config
from multicryogan.imaging import ImagingParams, form_images
from multicryogan.networks import TemplateDiscriminator
from multicryogan.rng import Shard, stream
from multicryogan.rotations import random_rotations
from multicryogan.tables import merge
from multicryogan.training import Trainer, load_snapshot
from training_data import TINY, tiny_optics, tiny_stack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]


def test_images_are_those_of_the_cpu() -> None:
    volume = torch.randn((2, 32, 32, 32), generator=stream(0, "volume"))
    rotation = random_rotations((2, 3), stream(0, "pose"))
    optics = tiny_optics(6).reshape(2, 3)
    here = form_images(volume, ImagingParams(rotation, None, optics), 5.0)
    there = form_images(
        volume.cuda(), ImagingParams(rotation.cuda(), None, optics.to("cuda")), 5.0
    )
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-3)


def test_scores_and_slopes_are_those_of_the_cpu() -> None:
    draws = stream(0, "test")
    discriminator = TemplateDiscriminator(16, 5, torch.float32)
    with torch.no_grad():
        discriminator.values.normal_(0, 0.3, generator=draws)
    images = torch.randn((7, 16, 16), generator=draws)
    transfer = torch.rand((7, 8), generator=draws)
    found = []
    for device in ("cpu", "cuda"):
        shown = images.to(device).requires_grad_(True)
        scores = discriminator.to(device)(shown, transfer.to(device))
        (slope,) = torch.autograd.grad(scores.sum(), shown)
        found.append((scores.detach().cpu(), slope.cpu()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)


def test_a_run_on_the_gpu_leaves_a_snapshot_for_the_cpu(tmp_path: Path) -> None:
    stack = tiny_stack(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    config = run_config(merge(TINY, {"discriminator": {"precision": "auto"}}))
    trainer = Trainer(config, stack, 1, run, shard=Shard(), device="cuda")
    assert trainer.train()
    generator, _, voxel_size = load_snapshot(run)
    assert voxel_size == 5.0
    assert generator(torch.zeros(1, 1)).isfinite().all()


def test_a_run_goes_on_on_the_gpu(tmp_path: Path) -> None:
    stack = tiny_stack(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    config = run_config(TINY)
    first = Trainer(config, stack, 1, run, shard=Shard(), device="cuda")
    first.train()
    again = Trainer(config, stack, 1, run, shard=Shard(), device="cuda")
    assert again.step == first.step
    mean = again.players.generator.state_dict()["mean"]
    assert torch.equal(mean, first.players.generator.state_dict()["mean"])
