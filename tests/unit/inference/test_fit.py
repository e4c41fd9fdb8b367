"""False optima and collapsed motion are recognised without the truth."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from multicryogan.imaging import CTFParams, ImagingParams, form_images, sample_noise
from multicryogan.inference.fit import FEWEST, Claim, Fit, measure_fit
from multicryogan.likelihood import (
    Examination,
    ImageLaw,
    Manifold,
    PoseTree,
    Score,
    pose_posterior,
)
from multicryogan.priors import ImagingPrior, ViewLaw
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.rng import stream
from multicryogan.rotations import random_rotations

BOX, PIXEL_SIZE = 16, 8.0
IMAGES, DECIBEL = 400, -5

Images = tuple[Tensor, CTFParams]


def places(name: str) -> Tensor:
    """(8, 3) points (x, y, z) in voxels from the centre."""
    drawn = BOX / 7 * torch.randn(8, 3, generator=stream(0, name))
    return drawn.clamp(-4.5, 4.5)


def density(points: Tensor) -> Tensor:
    """(D, D, D) a Gaussian at each point."""
    axis = torch.arange(BOX) - BOX // 2
    x, y, z = ((-((axis - p[:, None]) ** 2) / 2.9).exp() for p in points.T)
    return torch.einsum("pz,py,px->zyx", z, y, x)


def without_low_shells(volume: Tensor) -> Tensor:
    k = torch.fft.fftfreq(BOX, 1 / BOX)
    radius = (k[:, None, None] ** 2 + k[:, None] ** 2 + k**2).sqrt()
    return torch.fft.ifftn(torch.fft.fftn(volume) * (radius > 4)).real


def moved(share: float = 1.0) -> Tensor:
    """(D, D, D) the phantom with half of its points on their way elsewhere."""
    points = places("atoms")
    points[:4] = torch.lerp(points[:4], places("goal")[:4], share)
    volume = density(points)
    return volume * (TRUE.std() / volume.std())


TRUE = density(places("atoms"))
STATES = torch.stack((TRUE, moved()))


def clean_images(volumes: Tensor, name: str) -> Images:
    """Draw as many random views of each volume, through a CTF each."""
    shape = (len(volumes), IMAGES // len(volumes))
    u = 10_000 + 10_000 * torch.rand(shape, generator=stream(0, f"{name}/ctf"))
    one = torch.ones(shape)
    optics = CTFParams(u, u, 0 * one, 0 * one, 300 * one, 2.7 * one, 0.1 * one)
    rotation = random_rotations(shape, stream(0, f"{name}/pose"))
    clean = form_images(volumes, ImagingParams(rotation, ctf=optics), PIXEL_SIZE)
    return clean.flatten(0, 1), optics.reshape(-1)


def noisy(images: Images, power: Tensor, name: str) -> Images:
    clean, optics = images
    noise = sample_noise(tuple(clean.shape), power, stream(0, f"{name}/noise"))
    return clean + noise, optics


def fit_of(result: Tensor, truth: Tensor) -> Fit:
    """Fit of volumes (V, D, D, D) to images of the true ones."""
    real = clean_images(truth, "real")
    power = torch.full((BOX // 2 + 1,), real[0].var().item() * 10 ** (-DECIBEL / 10))
    fit = measure_fit(
        look_at(result, power),
        noisy(real, power, "real"),
        noisy(clean_images(result, "own"), power, "own"),
    )
    print(fit)
    return fit


def look_at(volumes: Tensor, power: Tensor) -> Examination:
    """Equally likely volumes (V, D, D, D), and white noise."""
    latents = torch.linspace(0, 1, len(volumes))[:, None]
    weights = torch.full((len(volumes),), 1 / len(volumes))
    return Examination(
        Manifold.separate(volumes, latents, weights),
        ImageLaw(power[None], PIXEL_SIZE, BOX // 2 - 1),
        PoseTree(),
        level=PoseTree().levels(BOX // 2 - 1),
    )


def of_true_power(volume: Tensor) -> Tensor:
    """(1, D, D, D) a wrong volume as strong as the true one."""
    return (volume * (TRUE.std() / volume.std()))[None]


def partly_moved() -> Tensor:
    points = places("atoms")
    points[:3] = places("elsewhere")[:3]
    return density(points)


def overfitted() -> Tensor:
    noise = without_low_shells(torch.randn(TRUE.shape, generator=stream(0, "fit")))
    return TRUE + noise * (TRUE.std() / noise.std())


@pytest.mark.parametrize("truth", [TRUE[None], STATES], ids=["one", "two"])
def test_the_truth_is_sound(truth: Tensor) -> None:
    fit = fit_of(truth, truth)
    assert fit.is_sound
    assert abs(fit.whole.gap.mean) < 3 * fit.whole.gap.standard_error


@pytest.mark.parametrize(
    "result",
    [
        of_true_power(density(places("others"))),
        of_true_power(partly_moved()),
        overfitted()[None],
        1.5 * TRUE[None],
    ],
    ids=["another molecule", "some points moved", "noise in high shells", "too strong"],
)
def test_a_false_optimum_is_unsound(result: Tensor) -> None:
    assert not fit_of(result, TRUE[None]).is_sound


@pytest.mark.parametrize("state", [0, 1])
def test_one_state_in_place_of_two_as_strong_is_unsound(state: int) -> None:
    fit = fit_of(STATES[state, None].expand(2, -1, -1, -1), STATES)
    assert not fit.is_sound
    assert not fit.moves


@pytest.mark.parametrize("truth", [STATES, TRUE[None]], ids=["two", "one"])
def test_motion_collapsed_to_its_mean_does_not_move(truth: Tensor) -> None:
    fit = fit_of(truth.mean(0).expand(3, -1, -1, -1), truth)
    assert not fit.moves
    assert abs(fit.motion.mean) < 1e-4


def test_the_weaker_one_of_two_states_claims_too_little() -> None:
    weak = 0.65 * TRUE
    fit = fit_of(weak.expand(2, -1, -1, -1), torch.stack((STATES[1], weak)))
    assert not fit.is_sound
    assert not fit.moves


def test_a_mean_of_states_claims_less_than_it_explains() -> None:
    """The limit that the module's head states: the gap does not see this collapse."""
    fit = fit_of(STATES.mean(0, keepdim=True), STATES)
    assert fit.whole.gap.mean < 0
    assert fit.is_sound


def test_motion_of_a_rigid_molecule_does_not_move() -> None:
    path = torch.stack([moved(share) for share in torch.linspace(0, 1, 5).tolist()])
    fit = fit_of(path, TRUE[None])
    assert not fit.moves
    assert fit.motion.mean < -4 * fit.motion.standard_error


@pytest.mark.parametrize("count", [2, 5])
def test_true_motion_moves(count: int) -> None:
    shares = torch.linspace(0, 1, count).tolist()
    path = torch.stack([moved(share) for share in shares])
    assert fit_of(path, path).moves


@pytest.mark.parametrize(("truth", "best"), [(TRUE[None], 0), (STATES, 2)])
def test_motion_is_the_evidence_of_all_less_that_of_the_best_or_their_mean(
    truth: Tensor, best: int
) -> None:
    power = torch.full((BOX // 2 + 1,), 2.0)
    real = noisy(clean_images(truth, "real"), power, "real")
    look = look_at(STATES, power)
    count = look.tree.count(look.level)
    every = look.tree.rotations(torch.arange(count), look.level)
    evidence = [
        pose_posterior(*real, v[None], every, look.law).log_mean[:, 0].double()
        for v in (*STATES, STATES.mean(0))
    ]
    means = [e.mean().item() for e in evidence]
    assert max(means) == means[best]
    paired = ((evidence[0].exp() + evidence[1].exp()) / 2).log() - evidence[best]
    found = measure_fit(look, real, real).motion
    assert found.mean == pytest.approx(paired.mean().item(), abs=0.01)
    error = paired.std().item() / math.sqrt(IMAGES)
    assert found.standard_error == pytest.approx(error, rel=0.05)


SOUND = Claim(Score(25.0, 0.3), Score(25.5, 0.4))
LOUD = replace(SOUND, simulated=Score(40.0, 0.1))


def fit(*claims: Claim, motion: float = 2.0) -> Fit:
    groups = dict(zip("abc", claims[1:], strict=False))
    return Fit(claims[0], groups, Score(motion, 0.1))


def test_the_gap_has_the_error_of_two_samples() -> None:
    assert SOUND.gap.mean == pytest.approx(0.5)
    assert SOUND.gap.standard_error == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("simulated", "is_sound"),
    [
        (Score(40.0, 5.0), True),  # large, not clear
        (Score(25.5, 0.01), True),  # clear, not large
        (Score(40.0, 0.1), False),
    ],
)
def test_a_gap_counts_when_it_is_clear_and_large(
    simulated: Score, is_sound: bool
) -> None:
    claim = replace(SOUND, real=Score(25.0, 0.01), simulated=simulated)
    assert claim.is_sound == is_sound


def test_each_fault_is_named_with_its_numbers() -> None:
    faint = Claim(Score(0.1, 0.1), Score(5.0, 0.1))
    modest = replace(SOUND, simulated=Score(5.0, 0.3))
    for claim, fault in ((LOUD, "less well"), (faint, "noise"), (modest, "far better")):
        (line,) = Fit(claim, {}, Score(1.0, 0.1)).faults
        assert fault in line
        assert f"{claim.real.mean:.1f} +- " in line
    (line,) = Fit(SOUND, {"a": SOUND, "b": LOUD}, Score(1.0, 0.1)).faults
    assert "of optics group b" in line
    assert Fit(SOUND, {"a": SOUND}, Score(1.0, 0.1)).faults == []


def test_a_result_that_explains_nothing_is_unsound() -> None:
    nothing = Score(0.0, 0.0)
    assert not Claim(nothing, nothing).is_sound


def test_a_result_that_claims_far_too_little_is_unsound() -> None:
    assert not replace(SOUND, simulated=Score(5.0, 0.3)).is_sound


def test_rounding_is_no_motion() -> None:
    assert not Fit(SOUND, {}, Score(1e-5, 1e-7)).moves


def test_an_unsound_fit_names_the_cure() -> None:
    text = fit(LOUD).text()
    assert "does NOT fit" in text
    assert "train longer or with another --seed" in text


def test_a_sound_fit_asks_for_nothing() -> None:
    text = fit(SOUND, SOUND, SOUND).text()
    assert "explains the images as well as it claims" in text
    assert "--seed" not in text
    assert "group" not in text


@pytest.mark.parametrize(
    ("motion", "words"),
    [
        (2.0, "explains them better than one volume does, by 2.00 +- 0.10 nats"),
        (0.1, "the molecule is rigid, or its motion was not found"),
    ],
)
def test_the_motion_is_told(motion: float, words: str) -> None:
    text = fit(SOUND, motion=motion).text()
    assert words in text
    assert "\n" not in text


def test_a_group_that_is_amiss_is_named() -> None:
    found = fit(SOUND, SOUND, LOUD)
    assert not found.is_sound
    assert (
        "of optics group b are explained less well than it claims (held-out images 25.0"
        in found.text()
    )
    assert "group a" not in found.text()


def test_a_group_is_judged_by_itself() -> None:
    """Noise of the second is told wrongly, and the first says far more."""
    real, own = (clean_images(TRUE[None], name) for name in ("real", "own"))
    power = (
        torch.tensor([1.0, 100.0])[:, None] * real[0].var() * torch.ones(BOX // 2 + 1)
    )
    group = torch.arange(IMAGES) % 2
    few = group.clone()
    few[FEWEST // 2 :] = 0
    look = look_at(TRUE[None], power[0])
    look = replace(look, law=replace(look.law, noise_power=power))

    def images(made: Images, name: str, factor: float, group: Tensor) -> Images:
        true = power * torch.tensor([1.0, factor])[:, None]
        noise = sample_noise(
            tuple(made[0].shape), true[group], stream(0, f"{name}/noise")
        )
        return made[0] + noise, replace(made[1], group=group)

    def judged(factor: float, group: Tensor) -> Fit:
        drawn = images(real, "real", factor, group), images(own, "own", 1.0, group)
        return measure_fit(look, *drawn, ("a", "b"))

    right, wrong = judged(1.0, group), judged(1.5, group)
    assert set(right.groups) == {"a", "b"}
    assert right.groups["a"].is_sound
    assert wrong.groups["a"].is_sound
    assert not wrong.groups["b"].is_sound
    assert set(judged(1.5, few).groups) == {"a"}


def test_shifts_contrasts_and_views_count_by_their_laws() -> None:
    """What explains its own images by other laws would call the truth a false one."""
    up = (view_directions(CELLS)[:, 2] > 0.5).float()[None]
    views = ViewLaw(up / up.sum())
    prior = ImagingPrior(None, 8.0, 1, views, 0.3)
    power = torch.full((BOX // 2 + 1,), 1.5)

    def images(name: str) -> Images:
        params = prior.sample(torch.zeros(1).long(), IMAGES, name, 0)
        clean = form_images(TRUE[None], params, PIXEL_SIZE)[0]
        return noisy((clean, None), power, name)  # type: ignore[arg-type]

    plain = look_at(TRUE[None], power)
    lawful = replace(
        plain,
        manifold=plain.manifold.seen_from(views).of_contrasts(0.3),
        tree=PoseTree().with_shifts(1.0, BOX),
    )
    real, own = images("real"), images("own")
    told = measure_fit(lawful, real, own).whole
    assert told.is_sound
    for poorer in (
        replace(lawful, manifold=plain.manifold.of_contrasts(0.3)),
        replace(lawful, manifold=plain.manifold.seen_from(views)),
        replace(lawful, tree=PoseTree()),
    ):
        assert measure_fit(poorer, real, own).whole.real.mean < told.real.mean - 0.1
