"""Optics groups: files, images and noise of each."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multicryogan.config import (
    GroupConfig,
    LawConfig,
    OpticsConfig,
    SimulationConfig,
)
from multicryogan.errors import InputError
from multicryogan.imaging import radial_power
from multicryogan.io import read_particles
from multicryogan.io.star import read_star
from multicryogan.synthetic import Truth, read_truth, simulate
from multicryogan.synthetic.groups import Geometry, optics_groups

CONFIG = SimulationConfig(
    images=900,
    seed=3,
    shift_sigma_angstrom=4.0,
    optics=OpticsConfig(astigmatism_angstrom=700.0),
    law=LawConfig(maps=2),
)
GROUPS = (
    GroupConfig(share=2.0),
    GroupConfig(noise_factor=1.5, voltage_kv=200.0, cs_mm=2.0),
    GroupConfig(
        box=41,
        pixel_size=4.0,
        amplitude_contrast=0.07,
        noise_factor=0.5,
        noise_falloff_angstrom=30.0,
        defocus_um=(0.5, 0.8),
        phase_shift_deg=90.0,
        phase_shift_spread_deg=60.0,
    ),
)
GROUPED = replace(CONFIG, groups=GROUPS)


def images_of(folder: Path, rows: np.ndarray | None = None) -> np.ndarray:
    stack = read_particles(folder / "particles.star")
    return stack.images(np.arange(len(stack)) if rows is None else rows)


def made(config: SimulationConfig, folder: Path) -> Path:
    simulate(config, folder)
    return folder


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(GROUPED, tmp_path_factory.mktemp("noisy") / "set")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = replace(GROUPED, snr_db=math.inf)
    return made(config, tmp_path_factory.mktemp("clean") / "set")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without groups and without noise."""
    config = replace(CONFIG, snr_db=math.inf)
    return made(config, tmp_path_factory.mktemp("single") / "set")


@pytest.fixture(scope="module")
def truth(noisy: Path) -> Truth:
    return read_truth(noisy)


@pytest.fixture(scope="module")
def noise(noisy: Path, clean: Path, truth: Truth) -> dict[int, np.ndarray]:
    """Noise of the images of each group."""
    rows = {g: np.flatnonzero(truth.group.numpy() == g) for g in (1, 2, 3)}
    return {g: images_of(noisy, r) - images_of(clean, r) for g, r in rows.items()}


def test_without_groups_all_particles_are_one() -> None:
    (group,) = optics_groups(replace(CONFIG, noise_falloff_angstrom=20.0))
    assert (group.number, group.share, group.noise_factor) == (1, 1.0, 1.0)
    assert (group.optics, group.noise_falloff_angstrom) == (CONFIG.optics, 20.0)
    assert group.geometry == Geometry(32, 5.0, 7.5)


def test_what_a_group_does_not_set_is_common() -> None:
    first, second, third = optics_groups(GROUPED)
    assert first.optics == CONFIG.optics
    assert second.optics == replace(CONFIG.optics, voltage_kv=200.0, cs_mm=2.0)
    assert (second.geometry.box, second.geometry.pixel_size) == (32, 5.0)
    assert third.optics.astigmatism_angstrom == 700.0
    assert third.optics.defocus_um == (0.5, 0.8)
    assert [group.share for group in (first, second, third)] == [0.5, 0.25, 0.25]


def test_the_blur_is_one_and_a_half_of_the_largest_pixels_for_all() -> None:
    groups = (GroupConfig(), GroupConfig(pixel_size=6.0, box=28))
    blurs = [
        g.geometry.resolution for g in optics_groups(replace(CONFIG, groups=groups))
    ]
    assert blurs == [9.0, 9.0]


def test_one_group_gives_the_images_of_none(tmp_path: Path) -> None:
    few = replace(CONFIG, images=60)
    none = made(few, tmp_path / "none")
    one = made(replace(few, groups=(GroupConfig(share=3.0),)), tmp_path / "one")
    for name in ("particles.mrcs", "particles.star"):
        assert (none / name).read_bytes() == (one / name).read_bytes()


def test_groups_of_common_sampling_and_optics_have_the_images_of_none(
    clean: Path, single: Path, truth: Truth
) -> None:
    rows = np.flatnonzero(truth.group.numpy() == 1)
    expected = images_of(single, rows)
    # Other blocks of rows may round otherwise.
    tolerance = 1e-6 * expected.std()
    np.testing.assert_allclose(images_of(clean, rows), expected, rtol=0, atol=tolerance)


def test_shares_are_those_of_the_groups(truth: Truth) -> None:
    shares = torch.bincount(truth.group)[1:] / len(truth.group)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.05)


def test_rows_of_the_groups_are_mixed(truth: Truth) -> None:
    changes = (truth.group[1:] != truth.group[:-1]).double().mean()
    assert changes == pytest.approx(1 - 0.25 - 2 / 16, abs=0.06)


def test_optics_table_has_a_row_for_each_group(noisy: Path) -> None:
    optics = read_star(noisy / "particles.star").find("optics")
    assert optics is not None
    expected = {
        "rlnOpticsGroup": [1, 2, 3],
        "rlnOpticsGroupName": ["opticsGroup1", "opticsGroup2", "opticsGroup3"],
        "rlnVoltage": [300, 200, 300],
        "rlnSphericalAberration": [2.7, 2.0, 2.7],
        "rlnAmplitudeContrast": [0.1, 0.1, 0.07],
        "rlnImagePixelSize": [5, 5, 4],
        "rlnImageSize": [32, 32, 41],
    }
    assert {name: optics[name].tolist() for name in expected} == expected


def test_each_group_has_its_own_stack(noisy: Path, truth: Truth) -> None:
    names = sorted(path.name for path in noisy.glob("*.mrcs"))
    assert names == [f"particles_group_{i}.mrcs" for i in (1, 2, 3)]
    stack = read_particles(noisy / "particles.star")
    assert stack.file_problems() == ()
    is_third = truth.group.numpy() == 3
    np.testing.assert_array_equal(stack.boxes, np.where(is_third, 41, 32))
    np.testing.assert_array_equal(stack.pixel_sizes, np.where(is_third, 4.0, 5.0))
    np.testing.assert_array_equal(stack.table["rlnOpticsGroup"], truth.group.numpy())


def test_star_gives_the_optics_of_every_particle(noisy: Path) -> None:
    ctf = read_particles(noisy / "particles.star").ctf_params()
    rows = np.load(noisy / "truth" / "rows.npz", allow_pickle=False)
    for name in (
        "defocus_u_angstrom",
        "defocus_angle_deg",
        "phase_shift_deg",
        "voltage_kv",
        "cs_mm",
        "amplitude_contrast",
    ):
        found = getattr(ctf, name).numpy()
        np.testing.assert_allclose(found, rows[name], rtol=1e-6)


def test_a_micrograph_holds_one_group_and_one_phase_shift(noisy: Path) -> None:
    table = read_particles(noisy / "particles.star").table
    by_micrograph = table.groupby("rlnMicrographName")
    assert (by_micrograph["rlnOpticsGroup"].nunique() == 1).all()
    assert (by_micrograph["rlnPhaseShift"].nunique() == 1).all()
    assert by_micrograph.size().max() == 100
    assert set(table.loc[table["rlnOpticsGroup"] != 3, "rlnPhaseShift"]) == {0.0}


def test_phase_shifts_span_their_range(tmp_path: Path) -> None:
    from multicryogan.synthetic.draws import draw_views

    optics = OpticsConfig(phase_shift_deg=90.0, phase_shift_spread_deg=60.0)
    config = SimulationConfig(images=60_000, optics=optics)
    drawn = draw_views(config, torch.zeros(60_000)).ctf.phase_shift_deg
    assert 60 <= drawn.min() < 62
    assert 118 < drawn.max() <= 120
    assert drawn.std().item() == pytest.approx(60 / math.sqrt(12), rel=0.05)


def test_noise_of_a_group_is_its_factor_of_that_of_the_first(
    noise: dict[int, np.ndarray],
) -> None:
    first = noise[1].var()
    assert noise[2].var() / first == pytest.approx(1.5**2, rel=0.02)
    assert noise[3].var() / first == pytest.approx(0.5**2, rel=0.02)


def test_snr_is_that_of_the_first_group(
    clean: Path, noise: dict[int, np.ndarray], truth: Truth
) -> None:
    signal = images_of(clean, np.flatnonzero(truth.group.numpy() == 1))
    assert signal.var() / noise[1].var() == pytest.approx(0.1, rel=0.02)


def test_each_group_has_its_own_noise_spectrum(noise: dict[int, np.ndarray]) -> None:
    white, coloured = (radial_power(torch.from_numpy(noise[g])) for g in (1, 3))
    assert white[15] / white[2] == pytest.approx(1, abs=0.06)
    low, high = (1 / (1 + (30 * k / (41 * 4.0)) ** 2) for k in (2, 15))
    assert coloured[15] / coloured[2] == pytest.approx(high / low, rel=0.06)


def test_noise_of_the_groups_is_independent(noise: dict[int, np.ndarray]) -> None:
    count = min(len(noise[1]), len(noise[2]))
    correlation = np.corrcoef(noise[1][:count].ravel(), noise[2][:count].ravel())
    assert abs(correlation[0, 1]) < 0.01


def test_a_group_without_particles_is_refused(tmp_path: Path) -> None:
    groups = (GroupConfig(), GroupConfig(share=1e-6))
    with pytest.raises(InputError, match="group 2 has none of 30 particles"):
        simulate(replace(CONFIG, images=30, groups=groups), tmp_path / "set")


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (GroupConfig(share=0.0), r"groups\[1\].share is 0"),
        (GroupConfig(noise_factor=-1.0), r"groups\[1\].noise_factor is -1"),
        (GroupConfig(pixel_size=0.0), r"groups\[1\].pixel_size is 0"),
        (GroupConfig(box=4), r"groups\[1\].box is 4"),
        (GroupConfig(voltage_kv=0.0), r"groups\[1\].voltage_kv is 0"),
        (GroupConfig(defocus_um=(2.0, 1.0)), r"groups\[1\].defocus_um"),
        (GroupConfig(box=24), "a box of 24 pixels of 5 Å"),
    ],
)
def test_an_unusable_group_is_refused(
    group: GroupConfig, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        simulate(replace(CONFIG, groups=(GroupConfig(), group)), tmp_path / "set")
