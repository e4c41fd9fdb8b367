"""How a run changes with its progress."""

from typing import Any

import pytest

from multicryogan.config import run_config
from multicryogan.training.schedule import Schedule


def schedule(box: int = 32, **train: Any) -> Schedule:  # noqa: ANN401
    return Schedule(run_config({"data": {"box": box}, "train": train}))


@pytest.mark.parametrize(
    ("box", "boxes"), [(32, (16, 32)), (34, (18, 34)), (64, (32, 64)), (16, (16,))]
)
def test_the_coarse_box_is_half_the_box_and_even(
    box: int, boxes: tuple[int, ...]
) -> None:
    assert schedule(box).boxes == boxes


def test_without_a_coarse_share_there_is_one_stage() -> None:
    assert schedule(coarse_share=0.0).boxes == (32,)


@pytest.mark.parametrize(("progress", "stage"), [(0, 0), (0.49, 0), (0.5, 1), (1, 1)])
def test_the_fine_stage_is_due_after_the_coarse_share(
    progress: float, stage: int
) -> None:
    assert schedule(coarse_share=0.5).stage(progress) == stage


@pytest.mark.parametrize("progress", [0, 0.3, 0.9])
def test_a_small_box_has_one_stage_only(progress: float) -> None:
    assert schedule(box=16).stage(progress) == 0


@pytest.mark.parametrize(
    ("progress", "shell"), [(0, 3), (0.25, 9.5), (0.5, 16), (1, 16)]
)
def test_the_low_pass_opens_steadily_to_the_box(progress: float, shell: float) -> None:
    ours = schedule(start_shell=3, low_pass_share=0.5)
    assert ours.shell(progress) == pytest.approx(shell)


@pytest.mark.parametrize("off", [{"start_shell": 0}, {"low_pass_share": 0.0}])
def test_the_low_pass_can_be_left_out(off: dict[str, float]) -> None:
    assert schedule(**off).shell(0.0) >= 16


def gradual(progress: float) -> int:
    """Degrees of three that may act when they open from 0.2 to 0.6."""
    changes = {"motion_start": 0.2, "motion_full": 0.6}
    config = run_config({"generator": {"components": 3}, "train": changes})
    return Schedule(config).degrees(progress)


@pytest.mark.parametrize("progress", [0, 0.19])
def test_no_degree_acts_before_the_start(progress: float) -> None:
    assert gradual(progress) == 0


@pytest.mark.parametrize("progress", [0.2, 0.39])
def test_the_first_degree_acts_alone_from_the_start(progress: float) -> None:
    assert gradual(progress) == 1


def test_degrees_open_at_equal_distances() -> None:
    assert [gradual(progress) for progress in (0.41, 0.59)] == [2, 2]


@pytest.mark.parametrize("progress", [0.6, 0.9, 1])
def test_all_degrees_act_once_the_motion_is_full(progress: float) -> None:
    assert gradual(progress) == 3


def test_components_of_several_dimensions_share_their_degrees() -> None:
    latent = {"kind": "uniform", "dimensions": 2}
    config = run_config({"generator": {"components": 5}, "latent": latent})
    assert Schedule(config).degrees(1.0) == 3


def test_a_degree_that_acts_is_never_closed_again() -> None:
    opened = [gradual(n / 1000) for n in range(1001)]
    assert opened == sorted(opened)


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_degrees_may_open_all_at_once(start: float) -> None:
    ours = schedule(motion_start=start, motion_full=start)
    assert ours.degrees(start) == ours.config.generator.components


@pytest.mark.parametrize(
    ("progress", "factor"), [(0, 1), (0.4, 1), (0.7, 0.1**0.5), (1, 0.1)]
)
def test_rates_decay_exponentially_from_their_start(
    progress: float, factor: float
) -> None:
    ours = schedule(rate_decay_start=0.4, rate_decay_factor=0.1)
    assert ours.rate_factor(progress) == pytest.approx(factor)


def test_rates_need_not_decay() -> None:
    assert schedule(rate_decay_start=1.0).rate_factor(1.0) == 1.0


@pytest.mark.parametrize(
    ("progress", "phase"),
    [(0, "one shape"), (0.1, "motion opens"), (0.39, "motion opens"), (0.4, "motion")],
)
def test_the_phase_says_what_is_being_found(progress: float, phase: str) -> None:
    assert schedule().phase(progress) == phase
