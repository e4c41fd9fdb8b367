"""When particles tell no shares, and when halves tell no resolution."""

import dataclasses

import pytest
import torch

from multicryogan.errors import InputError
from multicryogan.evaluation import half_set_fsc
from multicryogan.inference.findings import untold
from multicryogan.inference.placed import Placed
from multicryogan.inference.populations import latent_density
from multicryogan.inference.refined import Refined
from multicryogan.inference.refinement import State
from multicryogan.rng import stream
from refinement_data import TREE

COUNT, STEPS, BOX = 200, 5, 32
EVEN = torch.full((STEPS,), 1 / STEPS)


def posteriors(sharpness: float) -> torch.Tensor:
    """(N, V) posteriors of particles that name their conformation more or less."""
    where = torch.arange(COUNT) % STEPS
    return (sharpness * torch.eye(STEPS)[where]).softmax(1)


@pytest.mark.parametrize(("sharpness", "is_told"), [(1e-4, False), (5.0, True)])
def test_particles_that_tell_nothing_have_no_shares_and_no_landscape(
    sharpness: float, is_told: bool
) -> None:
    weight = posteriors(sharpness)
    reason = untold(latent_density(weight, EVEN, (STEPS,), 0))
    volumes = torch.randn(STEPS, 8, 8, 8, generator=stream(0, "maps"))
    latents = torch.linspace(0, 1, STEPS)[:, None]
    placed = Placed(latents, EVEN, volumes, 1.0, weight, weight.argmax(1))
    if is_told:
        assert reason is None
        assert placed.landscape(0).states
        return
    assert reason is not None
    assert "200 particles tell as little" in reason
    with pytest.raises(InputError, match="no landscape"):
        placed.landscape(0)


def halves_that_agree_to(shell: int, start_shell: int, last_shell: int) -> Refined:
    """Bright images; the halves have a shape in common up to a shell."""
    noise = torch.randn(3, BOX, BOX, BOX, generator=stream(0, "halves"))
    axis = torch.fft.fftfreq(BOX) * BOX
    radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
    spectrum = torch.fft.fftn(noise, dim=(1, 2, 3))
    shared = radius < shell + 0.5
    halves = torch.fft.ifftn(
        torch.where(shared, spectrum[0], spectrum[1:]), dim=(1, 2, 3)
    ).real
    curve = half_set_fsc(*halves, torch.ones(BOX, BOX, BOX), 1.0, seed=0)
    history = ({"log_likelihood": [50.0, 50.0], "held_out": None},)
    state = State(1, last_shell, (), noise, noise, TREE, history)  # type: ignore[arg-type]
    pose_nats = 12.0
    return Refined(
        state, noise, "generator", {}, (curve,), last_shell, start_shell, pose_nats
    )


@pytest.mark.parametrize(
    ("shell", "start_shell", "last_shell", "is_told"),
    [(8, 8, 11, False), (9, 8, 11, False), (10, 8, 11, True), (8, 8, 8, True)],
)
def test_halves_that_agree_no_further_than_their_start_tell_no_resolution(
    shell: int, start_shell: int, last_shell: int, is_told: bool
) -> None:
    found = halves_that_agree_to(shell, start_shell, last_shell)
    assert found.curves[0].resolution_shell == shell
    (resolution,) = found.resolutions_angstrom
    assert (resolution < BOX) is is_told
    assert any("no further than the start" in x for x in found.warnings) != is_told


def test_faint_images_tell_no_resolution() -> None:
    found = halves_that_agree_to(12, 8, 14)
    faint = ({"log_likelihood": [3.0, 3.0], "held_out": None},)
    state = dataclasses.replace(found.state, history=faint)
    (warning,) = dataclasses.replace(found, state=state).warnings
    assert "an image tells 3.0 nats" in warning
