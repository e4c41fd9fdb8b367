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


@pytest.mark.parametrize(
    ("progress", "is_open"), [(0, False), (0.19, False), (0.2, True), (1, True)]
)
def test_motion_opens_when_it_is_due(progress: float, is_open: bool) -> None:
    assert schedule(motion_start=0.2).is_motion_open(progress) is is_open


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
