"""The laws of views and shifts, learned with the volumes."""

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from evaluation_phantoms import asymmetric_points, blobs
from multicryogan.config import RunConfig
from multicryogan.data.preprocess import Preprocessing
from multicryogan.data.sampler import ImageSampler
from multicryogan.evaluation.rigid import move
from multicryogan.imaging import form_images
from multicryogan.likelihood import PoseTree
from multicryogan.likelihood.weighing import Counts
from multicryogan.priors import VIEW_STEPS, ImagingPrior, LatentPrior, ViewLaw
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.rng import Shard, stream
from multicryogan.rotations import super_fibonacci
from multicryogan.simulator import Simulator
from multicryogan.training import Trainer, load_snapshot, load_views
from multicryogan.training.laws import FADE, Laws, counts_from, find, learn
from multicryogan.training.stage import Stage
from refinement_data import Images
from training_data import tiny_config, tiny_stack

BOX, PIXEL_SIZE, IMAGES = 16, 5.0, 200
CONE = math.cos(math.radians(30))
LATENTS = LatentPrior("segment", 1).grid(VIEW_STEPS)
POWER = 1.0  # of the noise: poses are plain
LEARNED = {
    "imaging": {
        "views": "learned",
        "shift_sigma_angstrom": 4.0,
        "contrast_spread": 0.1,
    }
}


def still(latent: Tensor) -> Tensor:
    """(V, D, D, D) one shape, whatever the latent."""
    volume = blobs(BOX, asymmetric_points(BOX, 0))
    return volume.expand(len(latent), -1, -1, -1)


def north() -> ViewLaw:
    """Views from above the equator."""
    up = (view_directions(CELLS)[:, 2] > 0).float()[None]
    return ViewLaw(up / up.sum())


def stage_of(
    shift_sigma_angstrom: float,
    views: ViewLaw,
    contrast_spread: float = 0.0,
    images: int = IMAGES,
) -> Stage:
    """Images under these laws, and a simulator that knows none."""
    drawn = ImagingPrior(None, shift_sigma_angstrom, 1, views, contrast_spread)
    one = drawn.sample(torch.zeros(1).long(), images, "data", 0)
    clean = form_images(still(torch.zeros(1, 1)), one, PIXEL_SIZE)[0]
    noise = torch.randn(clean.shape, generator=stream(0, "test/noise"))
    noisy = clean + math.sqrt(POWER) * noise
    preprocessing = Preprocessing(BOX, 1, 7.0, 1.0)
    sampler = ImageSampler(Images(noisy.numpy()), preprocessing, 0, None)  # type: ignore[arg-type]
    simulator = Simulator(
        LatentPrior("segment", 1), ImagingPrior(None, 0.0, 0), PIXEL_SIZE, 0, Shard()
    )
    spectra = SimpleNamespace(rim=torch.full((1, BOX // 2 + 1), POWER))
    parts = (BOX, PIXEL_SIZE, sampler, simulator, None, spectra, None, spectra, (1, 1))
    return Stage(*parts)  # type: ignore[arg-type]


def learned(stage: Stage, laws: Laws, times: int) -> Laws:
    for number in range(1, times + 1):
        laws = learn(laws, stage, still, LATENTS, 0, number)
        stage = stage.under(laws.shift_sigma_angstrom, laws.contrast_spread, laws.views)
    return laws


@pytest.fixture(scope="module")
def found() -> Laws:
    """What was learned of shifts of 6 Å and views from the north."""
    begun = Laws(3.0, 0.0, torch.zeros(VIEW_STEPS, CELLS))
    return learned(stage_of(6.0, north(), images=400), begun, 6)


def test_the_width_of_the_shifts_is_learned(found: Laws) -> None:
    assert found.shift_sigma_angstrom == pytest.approx(6.0, rel=0.1)


def test_the_directions_of_view_are_learned(found: Laws) -> None:
    """All lie in one half of the sphere, or where the prior and the blur put them."""
    z = view_directions(CELLS)[:, 2]
    directions = found.counts.sum(0) / found.counts.sum()
    assert float(directions[z > -0.2].sum()) > 0.9
    assert found.views is not None
    share = found.views.mean(torch.ones(VIEW_STEPS))
    assert float(share[z > 0].sum()) > 0.55  # few images lean to uniform


def half_in_a_cone() -> ViewLaw:
    cap = (view_directions(CELLS)[:, 2] > CONE).float()[None]
    return ViewLaw(0.5 * cap / cap.sum() + 0.5 / CELLS)


@lru_cache
def bent() -> Tensor:
    """(1, D, D, D) the mean of the shape in turns of up to 120 degrees."""
    rotation = super_fibonacci(500)
    near = rotation[rotation.diagonal(dim1=1, dim2=2).sum(1) > 0]
    shapes = still(torch.zeros(len(near), 1))
    return move(shapes, near, torch.zeros(len(near), 3)).mean(0, keepdim=True)


def smeared(latent: Tensor) -> Tensor:
    """Make a shape that looks alike from many sides: (V, D, D, D)."""
    return bent().expand(len(latent), -1, -1, -1)


def in_cone(laws: Laws) -> float:
    """Largest share of the counts within 30 degrees of any direction."""
    directions = view_directions(CELLS)
    near = (directions @ directions.T > CONE).float()
    return float((near @ laws.counts.sum(0)).max() / laws.counts.sum())


def test_a_rigid_map_finds_views_that_a_bent_volume_hides() -> None:
    stage = stage_of(0.0, half_in_a_cone(), images=2_000)
    begun = Laws(0.0, 0.0, torch.zeros(VIEW_STEPS, CELLS))
    cells = half_in_a_cone().weights
    true = in_cone(replace(begun, counts=cells))
    hidden = begun
    for number in range(1, 4):
        hidden = learn(hidden, stage, smeared, LATENTS, 0, number)
    found = find(begun, stage, smeared, LATENTS, 0, 5)
    assert in_cone(hidden) < 0.65 * true
    assert in_cone(found) > in_cone(hidden) + 0.05
    assert found.times == 5
    assert found.counts.shape == begun.counts.shape
    assert found.images == pytest.approx(float(found.counts.sum()), rel=1e-3)


def test_a_rigid_map_finds_shifts_and_contrasts() -> None:
    begun = Laws(3.0, 0.1, torch.zeros(VIEW_STEPS, CELLS))
    found = find(begun, stage_of(6.0, ViewLaw.uniform(), 0.3), still, LATENTS, 0, 5)
    assert found.shift_sigma_angstrom == pytest.approx(6.0, rel=0.15)
    assert found.contrast_spread == pytest.approx(0.3, rel=0.15)


def test_older_counts_fade() -> None:
    tree, one = PoseTree().with_shifts(1.0, BOX), torch.ones(VIEW_STEPS, CELLS)
    counts = Counts(
        one.sum(1), one, torch.tensor(50.0), torch.tensor([22.0, 27.0]), 0.0, 20
    )
    bright = torch.tensor([100.0, 104.0])
    laws = Laws(5.0, 0.2, 10 * one, 3_000.0, bright, images=100.0)
    joined = laws.joined(counts, tree, 1, PIXEL_SIZE)
    assert joined.images == pytest.approx(FADE * 100 + 20)
    assert joined.shift_square == pytest.approx(FADE * 3_000 + 25 * 50)
    torch.testing.assert_close(joined.counts, (FADE * 10 + 1) * one)
    torch.testing.assert_close(joined.contrast, FADE * bright + counts.contrast)
    mean = (FADE * 100 + 22) / joined.images
    variance = (FADE * 104 + 27) / joined.images - mean**2
    assert joined.contrast_spread == pytest.approx(math.sqrt(variance) / mean)
    alike = replace(laws, contrast_spread=0.0).joined(counts, tree, 1, PIXEL_SIZE)
    assert alike.contrast_spread == 0


def test_the_spread_of_the_contrasts_is_learned() -> None:
    begun = Laws(0.0, 0.1, torch.zeros(VIEW_STEPS, CELLS))
    once = learned(stage_of(0.0, ViewLaw.uniform(), 0.3), begun, 4)
    assert once.contrast_spread == pytest.approx(0.3, rel=0.1)
    alike = learned(stage_of(0.0, ViewLaw.uniform()), begun, 4)
    assert alike.contrast_spread < 0.05


def test_centred_particles_stay_centred() -> None:
    begun = Laws(0.0, 0.0, torch.zeros(VIEW_STEPS, CELLS))
    once = learned(stage_of(0.0, ViewLaw.uniform()), begun, 1)
    assert once.shift_sigma_angstrom == 0


def test_shifts_are_never_lost_altogether() -> None:
    begun = Laws(3.0, 0.0, torch.zeros(VIEW_STEPS, CELLS))
    found = learned(stage_of(0.0, ViewLaw.uniform()), begun, 4)
    assert 0 < found.shift_sigma_angstrom < 2


def test_nothing_is_known_at_the_beginning() -> None:
    laws = Laws.begun(RunConfig(), stage_of(0.0, ViewLaw.uniform()).sampler.stack)
    assert laws.views is None
    assert laws.shift_sigma_angstrom == 0


@pytest.mark.parametrize(
    ("shape", "group"),
    [
        ({"kind": "components"}, "C1"),
        ({"kind": "components", "symmetric_motion": True}, "D2"),
        ({"kind": "volume"}, "D2"),
    ],
)
def test_views_have_the_symmetry_of_all_conformations(
    shape: dict[str, Any], group: str
) -> None:
    """A motion that breaks it tells directions apart."""
    config = tiny_config({"generator": {"symmetry": "D2", **shape}})
    laws = Laws.begun(config, stage_of(0.0, ViewLaw.uniform()).sampler.stack)
    tree, counts = PoseTree(), north().weights.expand(VIEW_STEPS, -1)
    one = Counts(counts.sum(1), 1e4 * counts, torch.tensor(0.0), torch.ones(2), 0.0, 20)
    found = laws.joined(one, tree, 1, PIXEL_SIZE).views
    assert found is not None
    expected = ViewLaw.of_counts(one.views, group)
    assert torch.equal(found.weights, expected.weights)
    is_up = view_directions(CELLS)[:, 2] > 0
    share = float(found.weights[0, is_up].sum())
    assert share == pytest.approx(0.5, abs=0.01) if group == "D2" else share > 0.8


@pytest.mark.parametrize(("box", "shell"), [(12, 4.5), (16, 6), (32, 8), (256, 8)])
def test_volumes_of_a_small_box_count_before_its_low_pass_has_opened(
    box: int, shell: float
) -> None:
    assert counts_from(box) == shell
    assert shell < box / 2


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learn from few images, which say little."""
    monkeypatch.setattr("multicryogan.training.laws.IMAGES", 4)
    monkeypatch.setattr("multicryogan.training.laws.RIGID_IMAGES", 4)
    monkeypatch.setattr("multicryogan.training.laws.RIGID", (5,))


def trainer_in(folder: Path, data: Path) -> Trainer:
    folder.mkdir(exist_ok=True)
    config = tiny_config(LEARNED)
    stack = tiny_stack(data)
    return Trainer(config, stack, 1, folder, shard=Shard(), device="cpu")


@pytest.mark.usefixtures("few")
def test_a_resumed_run_goes_on_with_what_it_learned(tmp_path: Path) -> None:
    straight = trainer_in(tmp_path / "a", tmp_path)
    assert straight.train()
    assert straight.laws.times > 0
    first = trainer_in(tmp_path / "b", tmp_path)
    update = first._update

    def counted(shell: float) -> dict[str, float]:
        metrics = update(shell)
        first.is_stopping = first.step >= 9
        return metrics

    first._update = counted  # type: ignore[method-assign]
    assert not first.train()
    assert first.laws.times > 0
    second = trainer_in(tmp_path / "b", tmp_path)
    assert torch.equal(second.laws.counts, first.laws.counts)
    assert second.train()
    assert second.laws.shift_sigma_angstrom == straight.laws.shift_sigma_angstrom
    ours, whole = (
        cast(Tensor, torch.cat([p.flatten() for p in t.players.averaged.parameters()]))
        for t in (second, straight)
    )
    assert torch.equal(ours, whole)


@pytest.mark.usefixtures("few")
def test_simulated_images_follow_what_was_learned(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path / "a", tmp_path)
    trainer.train()
    prior = trainer.stage.simulator.imaging_prior
    assert prior.views is not None
    assert prior.shift_sigma_angstrom == trainer.laws.shift_sigma_angstrom != 4.0
    views, config = load_views(trainer.run), load_snapshot(trainer.run)[1]
    assert views is not None
    assert torch.equal(views.weights, prior.views.weights)
    assert config.imaging.shift_sigma_angstrom == prior.shift_sigma_angstrom


def test_a_run_of_uniform_views_tells_no_other(tmp_path: Path) -> None:
    config = tiny_config({"train": {"images": 4}})
    stack = tiny_stack(tmp_path)
    trainer = Trainer(config, stack, 1, tmp_path, shard=Shard(), device="cpu")
    trainer.train()
    assert load_views(tmp_path) is None
