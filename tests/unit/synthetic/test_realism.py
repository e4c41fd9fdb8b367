"""The configs of real stacks' complications, each made of a few images of Hsp90."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multicryogan.config import SimulationConfig
from multicryogan.imaging import radial_power
from multicryogan.io import ParticleStack, read_particles
from multicryogan.synthetic import Truth, read_truth, simulate
from multicryogan.tables import build, read_toml

CONFIGS = Path(__file__).parents[3] / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("realism-*.toml"))
IMAGES = 200


class Made:
    """Data sets of this session by the name of their config."""

    def __init__(self, folder: Path, hsp90: Path) -> None:
        self.folder, self.hsp90 = folder, hsp90

    def config(self, name: str) -> SimulationConfig:
        """Few images and few maps."""
        values = read_toml(CONFIGS / f"{name}.toml")
        config = replace(build(SimulationConfig, values), images=IMAGES)
        if config.law.kind == "table":  # a coarser one: 400 maps take half a minute
            table = np.load(self.hsp90 / config.law.table)[::5, ::5]
            np.save(self.folder / "table.npy", table)
            path = str(self.folder / "table.npy")
            return replace(config, law=replace(config.law, table=path))
        return replace(config, law=replace(config.law, maps=2))

    def __call__(self, name: str) -> tuple[Truth, ParticleStack]:
        """Make a data set when it is first asked for."""
        folder = self.folder / name
        if not folder.exists():
            simulate(self.config(name), folder, base=self.hsp90)
        return read_truth(folder), read_particles(folder / "particles.star")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Made:
    return Made(tmp_path_factory.mktemp("realism"), shared_data / "hsp90")


def test_there_is_a_config_for_each_complication() -> None:
    words = "all composition correlated correlated-states noise optics "
    words += "shifts-10 shifts-5 twist views"
    assert [f"realism-{word}" for word in words.split()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_size_and_noise_are_those_of_the_paper(name: str) -> None:
    config = build(SimulationConfig, read_toml(CONFIGS / f"{name}.toml"))
    sampling = (config.images, config.box, config.pixel_size, config.snr_db)
    assert sampling == (100_000, 32, 5.0, -10.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_set_can_be_made_of_each(name: str, made: Made) -> None:
    truth, stack = made(name)
    assert len(stack) == len(truth.coordinates) == IMAGES
    assert stack.file_problems() == ()
    assert truth.maps.shape[1:] == (32, 32, 32)
    assert truth.map_weights.sum().item() == pytest.approx(1)
    assert len(truth.units) == truth.coordinates.shape[1]
    for box in np.unique(stack.boxes):
        images = stack.images(np.flatnonzero(stack.boxes == box))
        assert np.isfinite(images).all()


@pytest.mark.parametrize(
    ("name", "sigma"),
    [("realism-shifts-5", 5.0), ("realism-shifts-10", 10.0), ("realism-all", 5.0)],
)
def test_particles_are_off_centre(name: str, sigma: float, made: Made) -> None:
    truth, _ = made(name)
    assert truth.shift_angstrom.std().item() == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("name", ["realism-optics", "realism-all"])
def test_sessions_differ(name: str, made: Made) -> None:
    truth, stack = made(name)
    groups = truth.group.numpy()
    assert set(groups) == {1, 2, 3}
    first = [int(np.flatnonzero(groups == number)[0]) for number in (1, 2, 3)]
    found = [(stack.boxes[row], stack.pixel_sizes[row]) for row in first]
    assert found == [(32, 5.0), (40, 4.0), (48, 3.5)]
    ctf = stack.ctf_params()
    assert ctf is not None
    phase = ctf.phase_shift_deg
    assert (phase[truth.group < 3] == 0).all()
    assert ((phase[truth.group == 3] - 90).abs() <= 30).all()
    astigmatism = ctf.defocus_u_angstrom - ctf.defocus_v_angstrom
    assert 800 < astigmatism.max() <= 1000.01
    assert truth.scale.log().std().item() == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("name", ["realism-noise", "realism-all"])
def test_noise_is_coloured(name: str, made: Made) -> None:
    truth, stack = made(name)
    rows = np.flatnonzero(truth.group.numpy() == 1)
    power = radial_power(torch.from_numpy(stack.images(rows)))
    frequency = 15 / 160
    expected = 1 / (1 + (30 * frequency) ** 2)
    # At low frequency the particles add to the noise.
    low = 1 / (1 + (30 * 6 / 160) ** 2)
    assert power[15] / power[6] == pytest.approx(expected / low, rel=0.25)


@pytest.mark.parametrize("name", ["realism-views", "realism-all"])
def test_half_of_the_views_are_near_one_axis(name: str, made: Made) -> None:
    truth, _ = made(name)
    by_chance = (1 - np.cos(np.radians(30))) / 2
    near = (truth.rotation[:, 2, 2] > np.cos(np.radians(30))).double().mean()
    assert near.item() == pytest.approx(0.5 + 0.5 * by_chance, abs=0.12)


def test_views_follow_the_opening(made: Made) -> None:
    truth, _ = made("realism-correlated")
    is_near = truth.rotation[:, 2, 2] > np.cos(np.radians(30))
    is_open = truth.coordinates[:, 0] > 10
    assert is_near[is_open].double().mean() > 0.6
    assert is_near[~is_open].double().mean() < 0.45


def test_views_follow_the_state(made: Made) -> None:
    """All open molecules are seen from near one axis, closed ones by chance."""
    truth, _ = made("realism-correlated-states")
    assert truth.map_coordinates.tolist() == [[0], [20]]
    torch.testing.assert_close(truth.map_weights, torch.tensor([0.25, 0.75]))
    is_near = truth.rotation[:, 2, 2] > np.cos(np.radians(30))
    is_open = truth.state == 1
    assert is_open.double().mean().item() == pytest.approx(0.75, abs=0.1)
    assert is_near[is_open].all()
    by_chance = (1 - np.cos(np.radians(30))) / 2
    found = is_near[~is_open].double().mean().item()
    assert found == pytest.approx(by_chance, abs=0.12)


def test_the_domain_is_in_three_fifths(made: Made) -> None:
    truth, _ = made("realism-composition")
    assert truth.units == ("present",)
    assert truth.map_coordinates.tolist() == [[0], [1]]
    torch.testing.assert_close(truth.map_weights, torch.tensor([0.4, 0.6]))
    assert truth.is_present.double().mean().item() == pytest.approx(0.6, abs=0.12)
    assert torch.equal(truth.state, truth.is_present.long())


def test_the_twist_is_drawn_from_its_table(made: Made) -> None:
    truth, _ = made("realism-twist")
    assert truth.units == ("deg", "deg")
    assert truth.map_coordinates.amax(0).tolist() == [20, 40]
    assert (truth.state >= 0).all()
