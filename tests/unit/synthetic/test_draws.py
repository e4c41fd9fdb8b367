"""Poses, shifts and optics of synthetic particles."""

import math
from dataclasses import replace

import pytest
import torch

from multicryogan.config import OpticsConfig, SimulationConfig
from multicryogan.rng import stream
from multicryogan.synthetic.draws import Views, draw_views

CONFIG = SimulationConfig(images=20000, seed=7)


def draw(config: SimulationConfig) -> Views:
    """Views of particles whose conformation does not matter."""
    return draw_views(config, torch.rand(config.images, generator=stream(0, "along")))


def test_views_are_uniform_over_the_sphere() -> None:
    views = draw(CONFIG).rotation[:, 2]  # viewing directions
    torch.testing.assert_close(views.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    second = views.T @ views / len(views)
    torch.testing.assert_close(second, torch.eye(3) / 3, atol=0.01, rtol=0)


def test_preferred_views_lie_in_their_cone() -> None:
    views = draw(replace(CONFIG, preferred_share=1.0, preferred_cone_deg=30.0))
    tilt_deg = views.rotation[:, 2, 2].clamp(-1, 1).acos().rad2deg()
    assert 29 < tilt_deg.max() <= 30.001


def test_preferred_views_are_uniform_in_their_cone() -> None:
    views = draw(replace(CONFIG, preferred_share=1.0, preferred_cone_deg=60.0))
    height = views.rotation[:, 2, 2]
    assert height.mean().item() == pytest.approx(0.75, abs=0.005)
    assert views.rotation[:, 2, :2].mean(0).abs().max() < 0.02


def test_preferred_share_adds_to_the_uniform_views() -> None:
    views = draw(replace(CONFIG, preferred_share=0.4, preferred_cone_deg=30.0))
    in_cone = (views.rotation[:, 2, 2] >= 0.8660).double().mean().item()
    uniform_share = (1 - 0.8660) / 2
    assert in_cone == pytest.approx(0.4 + 0.6 * uniform_share, abs=0.015)


def test_preferred_share_rises_along_the_first_coordinate() -> None:
    config = replace(
        CONFIG, preferred_share=0.4, preferred_rise=0.6, preferred_cone_deg=10.0
    )
    along = torch.linspace(0, 1, config.images)
    height = draw_views(config, along).rotation[:, 2, 2]
    in_cone = (height >= math.cos(math.radians(10))).double()
    by_chance = (1 - math.cos(math.radians(10))) / 2
    for part, place in zip(in_cone.chunk(5), (0.1, 0.3, 0.5, 0.7, 0.9), strict=True):
        share = 0.4 + 0.6 * (place - 0.5)
        expected = share + (1 - share) * by_chance
        assert part.mean().item() == pytest.approx(expected, abs=0.03)


def test_views_that_do_not_rise_are_those_of_any_conformation() -> None:
    config = replace(CONFIG, preferred_share=0.4)
    first = draw_views(config, torch.zeros(config.images))
    second = draw_views(config, torch.ones(config.images))
    assert torch.equal(first.rotation, second.rotation)


def test_contrasts_are_log_normal_with_a_mean_of_one() -> None:
    scale = draw(replace(CONFIG, contrast_spread=0.3)).ctf.scale
    assert scale is not None
    assert scale.mean().item() == pytest.approx(1, abs=0.01)
    assert scale.log().std().item() == pytest.approx(0.3, rel=0.02)


def test_contrast_says_nothing_about_optics_and_pose() -> None:
    views = draw(replace(CONFIG, contrast_spread=0.3, shift_sigma_angstrom=1.0))
    scale = views.ctf.scale
    assert scale is not None
    others = (views.ctf.defocus_u_angstrom, *views.shift_angstrom.T)
    for other in (*others, *views.rotation.flatten(1).T):
        correlation = torch.corrcoef(torch.stack((scale, other)))[0, 1]
        assert correlation.abs() < 4 / math.sqrt(len(scale))


def test_rotations_are_proper() -> None:
    rotation = draw(replace(CONFIG, preferred_share=0.5)).rotation
    identity = torch.eye(3).expand(len(rotation), 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        torch.det(rotation), torch.ones(len(rotation)), atol=1e-5, rtol=0
    )


def test_shifts_have_their_standard_deviation() -> None:
    shift = draw(replace(CONFIG, shift_sigma_angstrom=7.0)).shift_angstrom
    assert shift.shape == (20000, 2)
    torch.testing.assert_close(shift.std(0), torch.full((2,), 7.0), rtol=0.02, atol=0)


def test_particles_are_centred_without_shifts() -> None:
    assert (draw(CONFIG).shift_angstrom == 0).all()


def test_defocus_is_uniform_in_its_range() -> None:
    defocus = draw(CONFIG).ctf.defocus_u_angstrom
    assert 10000 <= defocus.min() < 10010
    assert 19990 < defocus.max() <= 20000
    assert defocus.mean().item() == pytest.approx(15000, rel=0.01)


def test_defocus_is_round_without_astigmatism() -> None:
    ctf = draw(CONFIG).ctf
    assert torch.equal(ctf.defocus_u_angstrom, ctf.defocus_v_angstrom)
    assert (ctf.defocus_angle_deg == 0).all()


def test_astigmatism_is_the_difference_of_the_defoci() -> None:
    optics = OpticsConfig(astigmatism_angstrom=800.0)
    ctf = draw(replace(CONFIG, optics=optics)).ctf
    difference = ctf.defocus_u_angstrom - ctf.defocus_v_angstrom
    assert difference.min() > -0.01
    assert 795 < difference.max() <= 800.01
    assert 0 <= ctf.defocus_angle_deg.min() < ctf.defocus_angle_deg.max() < 180


def test_astigmatism_keeps_the_mean_defocus() -> None:
    plain = draw(CONFIG).ctf.defocus_u_angstrom
    optics = OpticsConfig(astigmatism_angstrom=800.0)
    ctf = draw(replace(CONFIG, optics=optics)).ctf
    mean = (ctf.defocus_u_angstrom + ctf.defocus_v_angstrom) / 2
    torch.testing.assert_close(mean, plain)


def test_larger_set_begins_with_the_rows_of_a_smaller_one() -> None:
    few, many = draw(replace(CONFIG, images=10)), draw(CONFIG)
    assert torch.equal(few.rotation, many.rotation[:10])
    assert torch.equal(few.ctf.defocus_u_angstrom, many.ctf.defocus_u_angstrom[:10])


def test_another_seed_draws_other_rows() -> None:
    other = draw(replace(CONFIG, seed=8))
    assert not torch.equal(other.rotation, draw(CONFIG).rotation)
