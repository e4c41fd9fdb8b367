"""The bound of what single images tell, on images that tell nearly all."""

import math
from pathlib import Path

import pytest
import torch

from benchmark_files import load_benchmark
from evaluation_phantoms import hinge
from multicryogan.config import LawConfig, SimulationConfig
from multicryogan.synthetic import read_truth, simulate

oracle = load_benchmark("oracle")


def report(folder: Path, law: LawConfig, snr_db: float) -> dict[str, str]:
    """Lines of the report by their first words, of 150 images of the demo molecule."""
    config = SimulationConfig(
        images=150, box=16, pixel_size=10.0, law=law, snr_db=snr_db
    )
    simulate(config, folder)
    truth = read_truth(folder)
    lines = oracle.report(oracle.search(folder, truth, 150, 6_000), truth)
    return {line.split(":")[0]: line.split(":", 1)[1] for line in lines[1:]}


def test_clear_images_tell_state_and_pose(tmp_path: Path) -> None:
    law = LawConfig(kind="discrete")
    found = report(tmp_path / "data", law, 0.0)
    assert float(found["in the right group"].split()[0]) > 98
    # 6,000 poses lie 9 degrees apart.
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


def test_shares_are_those_of_the_images(tmp_path: Path) -> None:
    found = report(tmp_path / "data", LawConfig(kind="discrete"), 0.0)
    told, own = found["shares by the mean posterior"].split(";")
    numbers = [
        [float(x.split()[0]) for x in side.split(":")[-1].split("/")]
        for side in (told, own)
    ]
    torch.testing.assert_close(*map(torch.tensor, numbers), atol=1.0, rtol=0)


def test_groups_are_cut_where_neighbouring_maps_differ_most() -> None:
    maps = hinge(16, [0, 1, 2, 30, 31])
    places = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    assert oracle.jump(maps, places) == pytest.approx(0.6)


@pytest.mark.parametrize("sign", [1, -1])
def test_assigned_groups_are_counted_in_either_order(sign: int, tmp_path: Path) -> None:
    simulate(
        SimulationConfig(images=40, law=LawConfig(kind="discrete")), tmp_path / "d"
    )
    truth = read_truth(tmp_path / "d")
    rows = torch.arange(40)
    latent = 0.5 + sign * (truth.state - 0.5) * 0.6
    latent[3] = 1 - latent[3]
    told = oracle.report_assigned(latent, 0.5, rows, truth)
    assert told.startswith("assigned, in the right group: 97.5 +-")
