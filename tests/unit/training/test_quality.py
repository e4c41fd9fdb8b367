"""The log-likelihood of held-out images that a run shows while it goes on."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from multicryogan.config import LawConfig, RunConfig, SimulationConfig, run_config
from multicryogan.io import ParticleStack, read_particles
from multicryogan.likelihood import Examination, Manifold
from multicryogan.rng import Shard
from multicryogan.synthetic import read_truth, simulate
from multicryogan.training import Stage, Trainer, monitor, open_stage, quality
from multicryogan.training.laws import HIGHEST, Laws
from multicryogan.training.quality import held_out_score
from system_runs import metrics
from training_data import tiny_config

BOX = 16
LATENTS = torch.tensor([[0.25], [0.75]])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    law = LawConfig(kind="discrete")
    config = SimulationConfig(images=2_000, box=BOX, pixel_size=12.0, law=law)
    folder = tmp_path_factory.mktemp("data")
    simulate(dataclasses.replace(config, snr_db=0.0), folder / "set")
    return folder / "set"


@pytest.fixture(scope="module")
def stack(data: Path) -> ParticleStack:
    return read_particles(data / "particles.star")


@pytest.fixture(scope="module")
def maps(data: Path) -> Tensor:
    return read_truth(data).maps[:2]


def stage_of(stack: ParticleStack, config: RunConfig) -> Stage:
    return open_stage(config, stack, 1, BOX, Shard(), "cpu")


def at(maps: Tensor, latent: Tensor) -> Tensor:
    """A generator that knows two maps."""
    return maps[(latent[:, 0] > 0.5).long()]


def test_it_is_the_evidence_of_all_conformations(
    stack: ParticleStack, maps: Tensor
) -> None:
    stage = stage_of(stack, RunConfig())
    laws = Laws.begun(RunConfig(), stack)
    score = held_out_score(laws, stage, lambda z: at(maps, z), LATENTS)
    assert score is not None
    rows = stage.sampler.held_out()
    assert len(rows) == 100  # all of them
    manifold = Manifold.separate(maps, LATENTS, torch.full((2,), 0.5))
    tree = stage.poses(0.0)
    look = Examination(manifold, stage.law(HIGHEST), tree, tree.levels(HIGHEST))
    told = look.place(stage.sampler, rows).log_likelihood
    assert score.mean == pytest.approx(float(told.mean()), rel=0.02)


def test_true_maps_explain_images_best(stack: ParticleStack, maps: Tensor) -> None:
    stage = stage_of(stack, RunConfig())
    laws = Laws.begun(RunConfig(), stack)
    candidates = (maps, maps.roll(3, 2), 0.1 * maps, 0 * maps)
    scores = [
        held_out_score(laws, stage, lambda z, known=known: at(known, z), LATENTS)
        for known in candidates
    ]
    true, moved, faint, none = (score.mean for score in scores if score is not None)
    assert true > max(moved, faint) > none
    assert none == pytest.approx(0, abs=1e-3)


def test_a_run_that_is_judged_plays_the_same_game(
    stack: ParticleStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config({"data": {"box": BOX}})
    lines = []
    for name, seconds in (("judged", 0.0), ("alone", math.inf)):
        monkeypatch.setattr(monitor, "JUDGED_SECONDS", seconds)
        monkeypatch.setattr(monitor, "JUDGED_SHARE", math.inf)
        run = tmp_path / name
        run.mkdir()
        Trainer(config, stack, 1, run, shard=Shard(), device="cpu").train()
        lines.append(metrics(run))
    assert lines[0] == lines[1]
    told = (tmp_path / "judged" / "quality.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in told] == [
        line["step"] for line in lines[0]
    ]
    assert not (tmp_path / "alone" / "quality.jsonl").exists()


def test_few_images_or_unknown_optics_have_no_score(
    stack: ParticleStack, maps: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    laws = Laws.begun(RunConfig(), stack)
    drawn = stage_of(stack, run_config({"imaging": {"defocus_um": [1.0, 2.0]}}))
    assert held_out_score(laws, drawn, lambda z: at(maps, z), LATENTS) is None
    known = stage_of(stack, RunConfig())
    monkeypatch.setattr(quality, "FEWEST", 101)
    assert held_out_score(laws, known, lambda z: at(maps, z), LATENTS) is None
