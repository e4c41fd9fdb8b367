"""Facts about the forecast of a run."""

from pathlib import Path

import pytest

from multicryogan.training import Forecast, forecast
from multicryogan.training.forecast import Pace
from training_data import tiny_config, tiny_stack


def test_images_are_those_of_the_updates_in_the_time_of_each_stage() -> None:
    stages = Pace(16, 0.25, 0.1), Pace(32, 0.75, 0.5)
    # Of 60 s: 15 s of ten updates a second, 45 s of two.
    assert Forecast(stages, "cpu", 128, 0).images(1.0) == 128 * (150 + 90)


def test_both_stages_are_timed_and_nothing_is_written(tmp_path: Path) -> None:
    stack = tiny_stack(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = forecast(tiny_config(), stack, 1, "cpu", 0.0)
    assert [(stage.box, stage.share) for stage in found.stages] == [
        (16, 0.5),
        (32, 0.5),
    ]
    assert all(stage.seconds_per_update > 0 for stage in found.stages)
    assert found.batch == 4
    assert found.peak_bytes > 1e8  # torch alone is more
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_stage_takes_all_the_time(tmp_path: Path, share: float) -> None:
    config = tiny_config({"train": {"coarse_share": share}})
    found = forecast(config, tiny_stack(tmp_path), 1, "cpu", 0.0)
    assert sum(stage.share for stage in found.stages) == 1


def test_the_time_given_is_kept(tmp_path: Path) -> None:
    import time

    stack = tiny_stack(tmp_path)
    start = time.monotonic()
    forecast(tiny_config(), stack, 1, "cpu", 1.0)
    assert 0.5 < time.monotonic() - start < 10  # the clock of a busy machine
