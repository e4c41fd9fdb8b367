"""The bound of what single images tell, on images that tell nearly all."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark_files import load_benchmark
from evaluation_phantoms import hinge
from multicryogan.config import (
    DomainConfig,
    LawConfig,
    MoleculeConfig,
    MotionConfig,
    SimulationConfig,
)
from multicryogan.io import write_volume
from multicryogan.likelihood import PoseTree
from multicryogan.priors import LatentPrior
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations
from multicryogan.synthetic import Truth, read_truth, simulate

oracle = load_benchmark("oracle")


@pytest.fixture(autouse=True)
def fewer_poses(monkeypatch: pytest.MonkeyPatch) -> None:
    few = "multicryogan.training.stage.PoseTree"
    monkeypatch.setattr(few, lambda: PoseTree(1_152))


def report(folder: Path, law: LawConfig, snr_db: float) -> dict[str, str]:
    """Lines of the report by their first words, of 150 images of the demo molecule."""
    config = SimulationConfig(
        images=150, box=16, pixel_size=10.0, law=law, snr_db=snr_db
    )
    simulate(config, folder)
    truth = read_truth(folder)
    lines = oracle.report(oracle.search(folder, truth, torch.arange(150)), truth)
    return {line.split(":")[0]: line.split(":", 1)[1] for line in lines[1:]}


def test_clear_images_tell_state_and_pose(tmp_path: Path) -> None:
    law = LawConfig(kind="discrete")
    found = report(tmp_path / "data", law, 0.0)
    assert float(found["in the right group"].split()[0]) > 98
    # 9,216 poses lie 12 degrees apart.
    assert float(found["pose error"].split()[1]) < 9


def test_noise_tells_nothing(tmp_path: Path) -> None:
    found = report(tmp_path / "data", LawConfig(kind="discrete"), -50.0)
    assert float(found["pose error"].split()[1]) > 90
    right = float(found["in the right group"].split()[0])
    assert right == pytest.approx(75, abs=12)  # the larger state is always chosen


def test_clear_images_tell_the_coordinate(tmp_path: Path) -> None:
    line = report(tmp_path / "data", LawConfig(maps=9), 0.0)[
        "coordinate, posterior mean"
    ]
    words = line.replace(",", "").split()
    assert float(words[2]) > 0.9
    assert float(words[5]) < 40 / math.sqrt(12) / 2  # half of the prior's spread


def test_what_the_true_maps_tell_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    law = LawConfig(maps=9)
    made = SimulationConfig(images=60, box=16, pixel_size=10.0, law=law)
    simulate(made, tmp_path / "data")
    asked = [str(tmp_path / "data"), "--told", str(tmp_path / "told.txt")]
    oracle.main(asked)
    first = capsys.readouterr().out
    assert "\nin thirds of the range, as placed: " in first
    monkeypatch.setattr(oracle, "search", None)
    oracle.main(asked)
    assert capsys.readouterr().out == first


def test_shares_are_those_of_the_images(tmp_path: Path) -> None:
    found = report(tmp_path / "data", LawConfig(kind="discrete"), 0.0)
    told, own = found["shares by the mean posterior"].split(";")
    numbers = [
        [float(x.split()[0]) for x in side.split(":")[-1].split("/")]
        for side in (told, own)
    ]
    torch.testing.assert_close(*map(torch.tensor, numbers), atol=1.0, rtol=0)


def test_clear_images_tell_two_coordinates_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the maps' components, as hundreds of maps are compared."""
    monkeypatch.setattr(oracle, "MOST_MAPS", 1)
    np.save(tmp_path / "table.npy", np.ones((4, 3)))
    motions = tuple(
        MotionConfig(chains=(chain,), axis=axis, range_deg=(0.0, 60.0))
        for chain, axis in (("A", (0.0, 1.0, 0.0)), ("B", (0.0, 0.0, 1.0)))
    )
    config = SimulationConfig(
        images=60,
        box=16,
        pixel_size=10.0,
        law=LawConfig(kind="table", table=str(tmp_path / "table.npy")),
        snr_db=5.0,
        molecule=MoleculeConfig(motions=motions),
    )
    simulate(config, tmp_path / "data")
    truth = read_truth(tmp_path / "data")
    lines = oracle.report(
        oracle.search(tmp_path / "data", truth, torch.arange(60)), truth
    )
    ranks = [
        float(line.split("rank correlation ")[1].split(",")[0])
        for line in lines
        if line.startswith("coordinate")
    ]
    assert len(ranks) == 2
    assert min(ranks) > 0.85
    assert "(100.00 % of their variance)" in lines[0]


@pytest.mark.parametrize("kind", ["uniform", "discrete"])
def test_clear_images_tell_a_domain(kind: str, tmp_path: Path) -> None:
    domain = DomainConfig(share=0.6, chains=("A",), residues=(250, 400))
    config = SimulationConfig(
        images=60,
        box=16,
        pixel_size=10.0,
        law=LawConfig(kind=kind, maps=3),
        snr_db=5.0,
        molecule=MoleculeConfig(domain=domain),
    )
    simulate(config, tmp_path / "data")
    truth = read_truth(tmp_path / "data")
    lines = oracle.report(
        oracle.search(tmp_path / "data", truth, torch.arange(60)), truth
    )
    found = {line.split(":")[0]: line.split(":", 1)[1] for line in lines[1:]}
    if kind == "uniform":
        assert float(found["coordinate, posterior mean"].split()[2].strip(",")) > 0.8
        assert float(found["domain there or not, told rightly"].split()[0]) > 85
    else:
        assert float(found["in the right group"].split()[0]) > 85


def write_assigned(
    folder: Path, maps: Tensor, latent: Tensor, rotation: Tensor, weight: Tensor
) -> None:
    """Write what the report reads of a folder of `assign`."""
    folder.mkdir()
    for number, volume in enumerate(maps, start=1):
        write_volume(folder / f"class_{number:03d}.mrc", volume, 4.0)
    places = LatentPrior("segment", 1).grid(len(maps))
    np.savez(
        folder / "latents.npz",
        latent=latent.reshape(len(latent), -1).numpy(),
        rotation=rotation.numpy(),
        conformation=weight.argmax(1).numpy(),
        conformation_weight=weight.numpy(),
        conformation_latents=places.numpy(),
    )


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """40 particles in two states."""
    folder = tmp_path_factory.mktemp("oracle") / "data"
    law = LawConfig(kind="discrete", weights=(0.5, 0.5))
    simulate(SimulationConfig(images=40, box=16, pixel_size=10.0, law=law), folder)
    return read_truth(folder)


@pytest.mark.parametrize("sign", [1, -1])
def test_assigned_groups_are_counted_in_either_order(
    sign: int, tmp_path: Path, truth: Truth
) -> None:
    latent = 0.5 + sign * (truth.state - 0.5) * 0.6
    latent[3] = 1 - latent[3]
    weight = torch.tensor([[0.3, 0.7]]).expand(40, 2)
    write_assigned(tmp_path / "a", truth.maps, latent, truth.rotation, weight)
    told = oracle.report_assigned(tmp_path / "a", torch.arange(40), truth)
    assert told.startswith("in the right group: 97.5 +- 2.5 %; ")
    assert "shares by the mean posterior of all: 30.0 % / 70.0 %" in told


def test_assigned_groups_are_cut_where_neighbouring_maps_differ_most(
    tmp_path: Path, truth: Truth
) -> None:
    maps = hinge(16, [0, 1, 2, 30, 31])  # at latents of 0.1, 0.3, 0.5, 0.7, 0.9
    latent = torch.where(truth.state == 0, 0.59, 0.61)
    weight = torch.tensor([[0.1, 0.1, 0.1, 0.4, 0.3]]).expand(40, 5)
    write_assigned(tmp_path / "a", maps, latent, truth.rotation, weight)
    told = oracle.report_assigned(tmp_path / "a", torch.arange(40), truth)
    assert told.startswith("in the right group: 100.0 +- 0.0 %; ")
    assert "shares by the mean posterior of all: 30.0 % / 70.0 %" in told


def test_only_the_images_of_the_report_are_counted(
    tmp_path: Path, truth: Truth
) -> None:
    rows = torch.arange(0, 40, 4)
    latent = torch.full((40,), 0.5)
    latent[rows] = torch.where(truth.state[rows] == 0, 0.2, 0.8)
    rotation = random_rotations((40,), stream(0, "wrong"))
    rotation[rows] = truth.rotation[rows].float()
    weight = torch.full((40, 2), 0.5)
    write_assigned(tmp_path / "a", truth.maps, latent, rotation, weight)
    told = oracle.report_assigned(tmp_path / "a", rows, truth)
    assert told.startswith("in the right group: 100.0 +- 0.0 %; ")
    assert "pose error: median 0.0 degrees; above 30 degrees 0.0 +-" in told


def poses_told(folder: Path, rotation: Tensor, truth: Truth) -> tuple[float, float]:
    """Median error in degrees, and percent above 30."""
    latent, weight = torch.full((40,), 0.5), torch.full((40, 2), 0.5)
    write_assigned(folder, truth.maps, latent, rotation, weight)
    told = oracle.report_assigned(folder, torch.arange(40), truth)
    words = told.split("pose error: median ")[1].split()
    return float(words[0]), float(words[5])


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_poses_of_a_turned_map_are_scored_as_right(
    is_mirrored: bool, tmp_path: Path, truth: Truth
) -> None:
    turn = random_rotations((), stream(0, "turn"))
    # The map's point p stands at R M p: A p = A' R M p for the same image.
    hand = torch.diag(torch.tensor([1.0, 1.0, -1.0 if is_mirrored else 1.0]))
    rotation = hand @ truth.rotation.float() @ hand @ turn.T
    assert poses_told(tmp_path / "a", rotation, truth) == (0.0, 0.0)


def test_a_tenth_of_wrong_poses_is_told(tmp_path: Path, truth: Truth) -> None:
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    rotation = truth.rotation.float().clone()
    rotation[::10] = half_turn @ rotation[::10]
    assert poses_told(tmp_path / "a", rotation, truth) == (0.0, 10.0)


def test_random_poses_are_not_turned_into_right_ones(
    tmp_path: Path, truth: Truth
) -> None:
    rotation = random_rotations((40,), stream(0, "wrong"))
    median, far = poses_told(tmp_path / "a", rotation, truth)
    assert median > 40
    assert far > 60


def test_a_turn_for_each_conformation_is_told_apart(
    tmp_path: Path, truth: Truth
) -> None:
    """The second conformation is turned by a quarter on the first."""
    rotation, second = truth.rotation.float().clone(), torch.arange(40) % 2 == 1
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    rotation[second] = rotation[second] @ quarter
    weight = torch.stack((~second, second), dim=1).float()
    write_assigned(tmp_path / "a", truth.maps, weight[:, 1], rotation, weight)
    told = oracle.report_assigned(tmp_path / "a", torch.arange(40), truth)
    one, each = told.split("a turn for each conformation: ")
    assert "above 30 degrees 50.0 +-" in one
    assert each.startswith("pose error: median 0.0 degrees; above 30 degrees 0.0 +-")


def test_particles_with_and_without_a_domain_are_groups(
    tmp_path: Path, truth: Truth
) -> None:
    """A rigid molecule, whose only coordinate is whether the domain is there."""
    there = truth.state
    alone = replace(
        truth,
        units=(oracle.PRESENT,),
        coordinates=there[:, None].float(),
        state=torch.full_like(there, -1),
    )
    weight = torch.nn.functional.one_hot(there, 2).float()
    latent = 0.25 + 0.5 * there
    write_assigned(tmp_path / "a", truth.maps, latent, truth.rotation, weight)
    told = oracle.report_assigned(tmp_path / "a", torch.arange(40), alone)
    assert told.startswith("in the right group: 100.0 +- 0.0 %")


@pytest.mark.parametrize("sign", [1, -1])
def test_the_rank_of_assigned_coordinates_counts_in_either_direction(
    sign: int, tmp_path: Path
) -> None:
    law = LawConfig(maps=3)
    simulate(
        SimulationConfig(images=20, box=16, pixel_size=10.0, law=law), tmp_path / "d"
    )
    moving = read_truth(tmp_path / "d")
    latent = sign * moving.coordinates[:, 0].float()
    weight = torch.full((20, 3), 1 / 3)
    write_assigned(tmp_path / "a", moving.maps, latent, moving.rotation, weight)
    told = oracle.report_assigned(tmp_path / "a", torch.arange(20), moving)
    assert told.startswith("posterior mean: rank correlation 1.000; pose error: ")


def test_ranks_of_two_assigned_coordinates_are_told(tmp_path: Path) -> None:
    """Each of the latent axis that orders it best, in either direction."""
    np.save(tmp_path / "table.npy", np.ones((4, 3)))
    motions = tuple(
        MotionConfig(chains=(chain,), range_deg=(0.0, 60.0)) for chain in "AB"
    )
    config = SimulationConfig(
        images=20,
        box=16,
        pixel_size=10.0,
        law=LawConfig(kind="table", table=str(tmp_path / "table.npy")),
        molecule=MoleculeConfig(motions=motions),
    )
    simulate(config, tmp_path / "d")
    moving = read_truth(tmp_path / "d")
    latent = moving.coordinates.float().flip(1) * torch.tensor([-1.0, 1.0])
    weight = torch.full((20, 12), 1 / 12)
    write_assigned(tmp_path / "a", moving.maps, latent, moving.rotation, weight)
    told = oracle.report_assigned(tmp_path / "a", torch.arange(20), moving)
    assert told.startswith("posterior mean: rank correlation 1.000 / 1.000; pose")


def test_particles_are_counted_where_their_class_maps_belong(tmp_path: Path) -> None:
    """Maps in the opposite order, at latents of 0.1 to 0.9."""
    law = LawConfig(maps=5)
    config = SimulationConfig(images=200, box=16, pixel_size=10.0, law=law)
    simulate(config, tmp_path / "d")
    moving = read_truth(tmp_path / "d")
    states = moving.map_coordinates[:, 0]
    along = (moving.coordinates[:, 0] - states[0]) / (states[-1] - states[0])
    latent, weight = 0.9 - 0.8 * along, torch.full((200, 5), 0.2)
    maps, rotation = moving.maps.flip(0), moving.rotation
    write_assigned(tmp_path / "a", maps, latent, rotation, weight)
    rows = torch.arange(0, 200, 2)
    told = oracle.report_assigned(tmp_path / "a", rows, moving)
    placed, own, difference, _ = told.split("in thirds of the range, ")[1].split("; ")
    numbers = [
        [float(x.split()[0]) for x in side.split(":")[-1].split("/")]
        for side in (placed, own)
    ]
    thirds = (3 * along[rows]).long().bincount(minlength=3)
    torch.testing.assert_close(
        torch.tensor(numbers[1]), thirds.float(), atol=1.0, rtol=0
    )
    torch.testing.assert_close(*map(torch.tensor, numbers), atol=6.0, rtol=0)
    assert float(difference.split()[-2]) < 6


def test_conformations_are_also_placed_by_their_particles(tmp_path: Path) -> None:
    """Three quarters of the maps are the first, but particles are in their order."""
    config = SimulationConfig(
        images=300, box=16, pixel_size=10.0, law=LawConfig(maps=5)
    )
    simulate(config, tmp_path / "d")
    moving = read_truth(tmp_path / "d")
    states = moving.map_coordinates[:, 0]
    along = (moving.coordinates[:, 0] - states[0]) / (states[-1] - states[0])
    nearest = (9 * along).long().clamp(max=8)
    weight = torch.eye(9)[nearest]
    maps = torch.cat((moving.maps[:1].repeat(5, 1, 1, 1), moving.maps[1:]))
    write_assigned(tmp_path / "a", maps, along, moving.rotation, weight)
    rows = torch.arange(300)
    told = oracle.report_assigned(tmp_path / "a", rows, moving)
    by_map, by_own = (
        [float(x.split()[0]) for x in told.split(name)[1].split(";")[0].split("/")]
        for name in ("as placed: ", "conformations where their particles are: ")
    )
    thirds = (3 * along).long().clamp(max=2).bincount(minlength=3) / 3
    torch.testing.assert_close(torch.tensor(by_own), thirds, atol=2.0, rtol=0)
    assert by_map[0] > 45
